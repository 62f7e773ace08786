//! Alarms about units, gateways and the centre: driven by what the shell tells (and for units by
//! what their points are, see [`super::unit`]), delayed on `now`.
//!
//! A unit or gateway in loss of view also takes its points out of view at once: their quality
//! becomes bad, and they raise no alarm of their own for it. Behind a lost gateway it is link down.
//! Behind a lost unit whose gateway lives it is no answer, or what the gateway said last of how the
//! unit is read wrongly: nobody need look for a cable.
//!
//! Invariant: a break shorter than the off-delay ends nothing, and no on-delay either. So a gateway
//! that is there for a moment again and again is told.
//!
//! Limits: what is told of a subject that has neither points nor alarms is dropped, and so is
//! anything told of a point (the engine finds that out itself), so that memory stays bounded.

use serde::{Deserialize, Serialize};

use super::Engine;
use super::entry::Sight;
use super::live::is_by_link;
use super::rule::Watched;
use super::unit::is_wrong;
use crate::alarm::change::Effect;
use crate::alarm::definition::{Subject, SystemCondition};
use crate::reading::{BadCause, Lane, Quality, Timestamp};

/// What is known about one condition of one subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Whether it holds, by what the shell said last.
    pub(super) active: bool,
    /// Whether it holds, by what the points of the unit are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) by_points: bool,
    /// Centre's clock: since when it holds by either, or by none.
    pub(super) since: Timestamp,
    /// Centre's clock: since when it holds, or did last, but for short breaks.
    pub(super) began_at: Timestamp,
}

impl Told {
    pub(super) fn holds(self) -> bool {
        self.active || self.by_points
    }
}

impl Engine {
    /// Something about the system began or ended.
    pub(super) fn told(
        &mut self,
        now: Timestamp,
        (subject, condition): (&Subject, SystemCondition),
        active: bool,
        effects: &mut Vec<Effect>,
    ) {
        let key = (subject.clone(), condition);
        let takes_points = condition == SystemCondition::LossOfView;
        let known = self.by_condition.contains_key(&key)
            || (takes_points && self.links.contains_key(subject));
        let is_news = self.told.get(&key).is_some_and(|told| told.active) != active;
        if !known || !is_news {
            return;
        }
        let before = self.told.get(&key).filter(|told| told.active).copied();
        self.hold(now, key, |told| told.active = active, effects);
        if condition == SystemCondition::CutOff {
            self.cut_off = active;
            self.pass_over(now, before.map_or(now, |told| told.since));
        }
        if takes_points {
            self.view_of_link(subject, now, active, effects);
        }
    }

    /// Writes down what is new about a condition, and raises or ends its alarms without a delay.
    pub(super) fn hold(
        &mut self,
        now: Timestamp,
        key: (Subject, SystemCondition),
        change: impl FnOnce(&mut Told),
        effects: &mut Vec<Effect>,
    ) {
        let alarms = self.by_condition.get(&key).cloned().unwrap_or_default();
        let rules = alarms.iter().filter_map(|a| self.rules.get(*a as usize));
        let off_delay = rules.map(|rule| rule.off_delay).max().unwrap_or(0);
        let told = self.told.entry(key).or_default();
        let held = told.holds();
        change(told);
        if told.holds() == held {
            return;
        }
        if !held && now.ms_since(told.since) >= off_delay {
            told.began_at = now;
        }
        told.since = now;
        for alarm in alarms {
            self.meet_told(alarm, now, effects);
            self.arm_told(alarm);
        }
    }

    fn view_of_link(
        &mut self,
        subject: &Subject,
        now: Timestamp,
        lost: bool,
        effects: &mut Vec<Effect>,
    ) {
        for point in self.links.get(subject).cloned().unwrap_or_default() {
            let Some(state) = self.points.get_mut(point as usize) else {
                continue;
            };
            match subject {
                Subject::Unit(..) => state.unit_lost = lost,
                _ => state.gateway_lost = lost,
            }
            let still_lost = state.unit_lost || state.gateway_lost;
            if lost {
                self.link_lost(point, now, effects);
            } else if !still_lost {
                self.link_restored(point, now, effects);
            }
        }
    }

    /// The link of a point is gone: its quality says which, as exactly as is known.
    pub(super) fn link_lost(&mut self, point: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        let place = point as usize;
        let (Some(line), Some(state)) = (self.lines.get(place), self.points.get(place)) else {
            return;
        };
        let quality = match line.quality {
            _ if state.gateway_lost => Quality::Bad(BadCause::LinkDown),
            before if is_by_link(before) || is_wrong(before) => before,
            _ => Quality::Bad(BadCause::NoAnswer),
        };
        self.set_quality(point, quality, (now, now), effects);
    }

    /// When an alarm about the system changes, if it is on the way to.
    pub(super) fn told_due(&self, alarm: u32) -> Option<Timestamp> {
        let rule = self.rules.get(alarm as usize)?;
        let entry = self.live.get(alarm as usize)?;
        let Watched::Told(subject, condition) = &rule.watch else {
            return None;
        };
        let told = self.told.get(&(subject.clone(), *condition))?;
        if told.holds() == entry.axes.active {
            return None;
        }
        let (since, delay) = if told.holds() {
            (told.began_at, rule.on_delay)
        } else {
            (told.since, rule.off_delay)
        };
        Some(Timestamp(since.0.saturating_add(delay)))
    }

    /// Raises or ends an alarm about the system whose delay is over.
    pub(super) fn meet_told(&mut self, alarm: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.told_due(alarm).is_none_or(|due| due > now) {
            return;
        }
        let Some(entry) = self.live.get_mut(alarm as usize) else {
            return;
        };
        let was_active = entry.axes.active;
        entry.run.active = !was_active;
        let sight = Sight {
            now,
            sampled_at: now,
            value: None,
            quality: Quality::Good,
        };
        if was_active {
            self.end((alarm, Lane::Live), sight, effects);
        } else {
            self.raise((alarm, Lane::Live), sight, effects);
        }
    }
}
