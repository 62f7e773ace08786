//! What follows from a change of an alarm for the ledger, and how the alarms of an entry stand when
//! a person takes a step with it.
//!
//! Invariants: what is found in a store never says that an alarm of the live lane is normal; what
//! cannot be seen, or is not measured any more, is unknown and never normal.

use std::time::Duration;

use super::{Effect, Watch};
use crate::alarm::{
    AlarmChange, AlarmDefinition, AlarmView, Cause, Condition, Subject, SystemCondition,
};
use crate::config::{HazardRules, Industry, MajorRule, RaiseRule, Source};
use crate::hazard::{
    Class, Hazard, HazardCommand, Judged, Occurred, Origin, Owed, Returned, Rule, Stand,
};
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
            Cause::Returned | Cause::Removed => {
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
        let engine = &self.engine;
        let is_live = |occurrence| {
            let view = engine.occurrence(occurrence)?;
            Some(view.lane == Lane::Live)
        };
        let recurs = self.config.hazard.recurs_within;
        self.ledger.tick(now, recurs, is_live, &mut changes);
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

    fn seen_since(&self, alarm: usize) -> Option<Timestamp> {
        match self.config.alarms.get(alarm)?.subject {
            Subject::Point(point) => self.engine.good_since(point),
            _ => Some(Timestamp::MIN),
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
        let (rule, figures) = match alarm.condition {
            Condition::Limit(limit) if is_level_two(limit.setpoint) => {
                (Rule::LevelTwo, &rules.level2)
            }
            Condition::Limit(_) => (Rule::LevelOne, &rules.level1),
            Condition::System(SystemCondition::LossOfView) => {
                (Rule::LossOfView, self.sight_rule(alarm, rules))
            }
            Condition::System(_) => return None,
        };
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
            figures: figures.clone(),
            class: class(alarm.condition, source, &rules.major),
        })
    }

    /// Who hides a gas detector, alone or with its unit or gateway, is under the rule for those.
    fn sight_rule<'a>(&self, alarm: &AlarmDefinition, rules: &'a HazardRules) -> &'a RaiseRule {
        let mut hidden =
            self.config
                .points
                .iter()
                .enumerate()
                .filter(|(place, point)| match &alarm.subject {
                    Subject::Point(id) => id.index() == *place,
                    Subject::Unit(gateway, unit) => {
                        point.gateway == *gateway && point.device == *unit
                    }
                    Subject::Gateway(gateway) => point.gateway == *gateway,
                    Subject::Centre => false,
                });
        if hidden.any(|(_, point)| rules.gas_kinds.contains(&point.kind)) {
            &rules.gas_loss_of_view
        } else {
            &rules.loss_of_view
        }
    }
}

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
