//! What follows from a change of an alarm for the ledger, and how the alarms of an entry stand when
//! a person takes a step with it.
//!
//! Invariants: what is found in a store never says that an alarm of the live lane is normal; what
//! cannot be seen, or is not measured any more, is unknown and never normal.
//!
//! Limits: one alarm is judged, and how much of its source is unseen. What needs several points (a
//! cut commanded and its feed still live) or records of work and calibration is not here yet;
//! `config/standards/ledger.toml` lists it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{Effect, Watch};
use crate::alarm::{
    AlarmChange, AlarmDefinition, AlarmView, Cause, Condition, Subject, SystemCondition,
};
use crate::config::{Industry, MajorRule, RaiseRule, Source};
use crate::hazard::{
    Class, Hazard, HazardCommand, Judged, Lasting, Occurred, Origin, Owed, Returned, Rule, Stand,
    Worsens,
};
use crate::point::Point;
use crate::reading::{Lane, Timestamp};
use crate::warning::is_level_two;

impl Watch {
    /// Hands a change of an alarm on to the ledger.
    pub(super) fn enter(
        &mut self,
        now: Timestamp,
        place: Option<usize>,
        change: &AlarmChange,
        effects: &mut Vec<Effect>,
    ) {
        let mut changes = Vec::new();
        let recurs = self.config.hazard.recurs_within;
        match change.cause {
            Cause::Raised => {
                let Some(judged) = place.and_then(|place| self.judged(place)) else {
                    return;
                };
                let occurred = Occurred {
                    occurrence: change.occurrence,
                    at: change.raised_at,
                };
                self.ledger
                    .raised(now, occurred, judged, recurs, &mut changes);
            }
            Cause::Returned | Cause::Removed { .. } => {
                let lasted = change.sampled_at.ms_since(change.raised_at);
                let is_active = place.is_some_and(|place| self.is_active(place));
                let returned = Returned {
                    alarm: &change.alarm,
                    occurrence: change.occurrence,
                    lasted: Duration::from_millis(u64::try_from(lasted).unwrap_or(0)),
                    is_normal: !is_active,
                };
                self.ledger.returned(now, &returned, recurs, &mut changes);
            }
            Cause::Acknowledged { .. }
            | Cause::Reset { .. }
            | Cause::QualityChanged
            | Cause::CarriedOn
            | Cause::Replaced { .. } => {}
        }
        effects.extend(changes.into_iter().map(Effect::Hazard));
    }

    /// What time alone does to the ledger.
    pub(super) fn tick_ledger(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut changes = Vec::new();
        let mut ledger = std::mem::take(&mut self.ledger);
        let shares = RefCell::default();
        let lasting = |occurrence| {
            let view = self.engine.occurrence(occurrence)?;
            Some(Lasting {
                is_live: view.lane == Lane::Live,
                is_major: self.hides_much(view.alarm, &shares),
            })
        };
        let recurs = self.config.hazard.recurs_within;
        ledger.tick(now, recurs, lasting, &mut changes);
        self.ledger = ledger;
        effects.extend(changes.into_iter().map(Effect::Hazard));
    }

    /// A person's step with an entry.
    pub(super) fn step(
        &mut self,
        now: Timestamp,
        command: &HazardCommand,
        effects: &mut Vec<Effect>,
    ) {
        let stand = self.ledger.hazard(command.hazard);
        let stand = stand.map_or(Stand::UNKNOWN, |hazard| self.stand(hazard));
        let mut changes = Vec::new();
        let rules = &self.config.hazard;
        let number = self.number;
        let taken = self
            .ledger
            .command(now, number, command, &stand, rules, &mut changes);
        match taken {
            Ok(()) => effects.extend(changes.into_iter().map(Effect::Hazard)),
            Err(refused) => effects.push(Effect::HazardRefused {
                hazard: command.hazard,
                refused,
            }),
        }
    }

    /// Since when what is still measured of an entry is normal, and was seen to be so without a
    /// break; none while it is not, or cannot be known.
    pub fn normal_since(&self, hazard: &Hazard) -> Option<Timestamp> {
        hazard.seen_normal_since(&self.stand(hazard))
    }

    /// Alarms of an entry that are no longer configured: nobody measures whether they are normal.
    pub fn gone_alarms<'a>(&self, hazard: &'a Hazard) -> impl Iterator<Item = &'a String> {
        let alarms = hazard.alarms.iter();
        alarms.filter(|alarm| self.concerns.find(alarm).is_none())
    }

    /// How the alarms of an entry stand now.
    fn stand(&self, hazard: &Hazard) -> Stand {
        let find = |alarm: &String| self.concerns.find(alarm);
        let places: Vec<usize> = hazard.alarms.iter().filter_map(find).collect();
        let latest = places.iter().filter_map(|place| {
            let standing = self.engine.standing(*place)?;
            Some(standing.occurrence)
        });
        let occurrences = hazard.occurrences.iter().copied().chain(latest);
        let listed = occurrences.filter_map(|occurrence| self.engine.occurrence(occurrence));
        let mut seen = places.iter().map(|place| self.seen_since(*place));
        Stand {
            owed: listed.filter_map(|view| owed(&view)).min(),
            gone: self.gone_alarms(hazard).cloned().collect(),
            seen_since: seen.try_fold(Timestamp::MIN, |one, other| Some(one.max(other?))),
        }
    }

    /// Since when the subject of an alarm is seen: a point by its readings, a gateway since it was
    /// born, a unit since both it and its gateway are there.
    fn seen_since(&self, alarm: usize) -> Option<Timestamp> {
        let subject = &self.config.alarms.get(alarm)?.subject;
        match subject {
            Subject::Point(point) => self.engine.good_since(*point),
            Subject::Unit(gateway, unit) => {
                let there = self.gateways.get(gateway)?.units.get(unit).copied()??;
                let behind = self
                    .engine
                    .not_lost_since(&Subject::Gateway(gateway.clone()))?;
                Some(there.max(behind).max(self.engine.not_lost_since(subject)?))
            }
            Subject::Gateway(_) => self.engine.not_lost_since(subject),
            // No rule makes an entry of what the centre says about itself.
            Subject::Centre => Some(Timestamp::MIN),
        }
    }

    fn is_active(&self, alarm: usize) -> bool {
        let standing = self.engine.standing(alarm);
        standing.is_some_and(|standing| standing.active_since.is_some())
    }

    /// The rule of the ledger that an alarm falls under; none for those that are no hazard.
    fn judged(&self, place: usize) -> Option<Judged> {
        let alarm = self.config.alarms.get(place)?;
        let source = self.concerns.source_of(place);
        let source = source.and_then(|place| self.config.sources.get(place));
        let rules = &self.config.hazard;
        let (rule, terms) = match alarm.condition {
            Condition::Limit(limit) if is_level_two(limit.setpoint) => (
                Rule::LevelTwo,
                self.limit_terms(alarm, &rules.level2, source),
            ),
            Condition::Limit(_) => (
                Rule::LevelOne,
                self.limit_terms(alarm, &rules.level1, source),
            ),
            Condition::System(SystemCondition::LossOfView) => {
                (Rule::LossOfView, self.sight_terms(alarm))
            }
            Condition::System(_) => return None,
        };
        let (figures, class, worsens) = terms;
        let (subject, title) = self.config.subject(alarm);
        Some(Judged {
            origin: Origin {
                alarm: alarm.name.clone(),
                subject,
                title,
                source: source.map(|source| source.id.clone()),
                found_by: "system".into(),
            },
            rule,
            figures,
            class,
            worsens,
        })
    }

    /// By what an alarm about a limit becomes an entry.
    fn limit_terms(
        &self,
        alarm: &AlarmDefinition,
        figures: &RaiseRule,
        source: Option<&Source>,
    ) -> Terms {
        let rule = &self.config.hazard.major;
        let lasting = match (&alarm.subject, alarm.condition) {
            (Subject::Point(point), Condition::Limit(limit)) => {
                let kind = self
                    .config
                    .points
                    .get(point.index())
                    .map(|point| &point.kind);
                let mut limits = rule.limits.iter();
                limits.find(|one| one.setpoint == limit.setpoint && Some(&one.kind) == kind)
            }
            _ => None,
        };
        let worsens = lasting.map(|one| Worsens {
            after: one.after,
            deadline: Some(rule.immediate),
        });
        let class = match worsens {
            Some(_) => Class::Major,
            None => class(alarm.condition, source, rule),
        };
        (figures.clone(), class, worsens)
    }

    /// By what a loss of view becomes an entry: who hides a gas detector, alone or with its unit or
    /// gateway, is under the rule for those, and who hides one that a mine must not miss, makes a
    /// candidate for a major hazard.
    fn sight_terms(&self, alarm: &AlarmDefinition) -> Terms {
        let rules = &self.config.hazard;
        let hidden = self.hidden(&alarm.subject);
        let is_gas = hidden
            .iter()
            .any(|point| rules.gas_kinds.contains(&point.kind));
        let mut figures = if is_gas {
            rules.gas_loss_of_view.clone()
        } else {
            rules.loss_of_view.clone()
        };
        if hidden.iter().any(|point| self.is_missed_at_a_mine(point)) {
            figures.deadline = figures.deadline.min(rules.major.immediate);
            return (figures, Class::Major, None);
        }
        let worsens = Worsens {
            after: rules.major.unseen.after,
            deadline: None,
        };
        (figures, Class::General, Some(worsens))
    }

    /// Whether it is a point of a mine of which none may be unseen.
    fn is_missed_at_a_mine(&self, point: &Point) -> bool {
        let mut sources = self.config.sources.iter();
        let is_mine = sources.any(|source| {
            source.industry == Industry::CoalMine && point.source.as_ref() == Some(&source.id)
        });
        is_mine
            && self.config.hazard.major.unseen.mine.iter().any(|one| {
                one.kind == point.kind && (one.position.is_none() || one.position == point.position)
            })
    }

    /// Whether so much of one of its sources is unseen now that an entry of this loss of view is a
    /// candidate for a major hazard. `shares` keeps what was worked out for each source.
    fn hides_much(&self, alarm: usize, shares: &RefCell<BTreeMap<usize, f64>>) -> bool {
        let definition = self.config.alarms.get(alarm);
        let is_sight = definition
            .is_some_and(|alarm| alarm.condition == Condition::System(SystemCondition::LossOfView));
        let sources = self.concerns.sources_of.get(alarm).filter(|_| is_sight);
        sources.into_iter().flatten().any(|source| {
            let mut shares = shares.borrow_mut();
            let share = shares
                .entry(*source)
                .or_insert_with(|| self.unseen_share(*source));
            *share >= self.config.hazard.major.unseen.share
        })
    }

    /// The points that cannot be seen while a subject is not.
    fn hidden(&self, subject: &Subject) -> Vec<&Point> {
        let points = self.config.points.iter();
        match subject {
            Subject::Point(id) => self.config.points.get(id.index()).into_iter().collect(),
            Subject::Unit(gateway, unit) => points
                .filter(|point| point.gateway == *gateway && point.device == *unit)
                .collect(),
            Subject::Gateway(gateway) => points.filter(|point| point.gateway == *gateway).collect(),
            Subject::Centre => Vec::new(),
        }
    }
}

/// Figures, class, and when it gets worse.
type Terms = (RaiseRule, Class, Option<Worsens>);

/// What is owed for an alarm in the list.
fn owed(view: &AlarmView<'_>) -> Option<(Owed, String)> {
    let what = if view.axes.active {
        Owed::ReturnToNormal
    } else if !view.axes.acknowledged {
        Owed::Acknowledgement
    } else if view.axes.latched {
        Owed::Reset
    } else {
        return None;
    };
    Some((what, view.name.to_owned()))
}

/// Class of an entry that a rule raises; for a major one a candidate, which a person judges.
fn class(condition: Condition, source: Option<&Source>, rule: &MajorRule) -> Class {
    let Condition::Limit(limit) = condition else {
        return Class::General;
    };
    let major = source.is_some_and(|source| match source.industry {
        Industry::Chemical => {
            rule.chemical_setpoints.contains(&limit.setpoint)
                && source.level.is_some_and(|level| level <= rule.level_max)
        }
        Industry::CoalMine => rule.mine_setpoints.contains(&limit.setpoint),
    });
    if major { Class::Major } else { Class::General }
}
