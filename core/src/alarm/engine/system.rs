//! Alarms about units, gateways and the centre: raised and ended by what is told of them, delayed
//! on `now`. What is told comes from the shell, and of units also from what their points are (see
//! [`super::unit`]).
//!
//! Invariant: a break shorter than the off-delay ends nothing, and no on-delay either. So a gateway
//! that is there for a moment again and again is told.

use super::Engine;
use super::due::after;
use super::point::{is_wrong, loss_of_view_after};
use super::status::Sight;
use super::told::Told;
use crate::alarm::change::Effect;
use crate::alarm::definition::{Subject, SystemCondition};
use crate::reading::{Lane, Quality, Timestamp};

impl Engine {
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
        let seen_until = self.seen_until(&key, now);
        let told = self.told.entry(key).or_default();
        let held = told.holds();
        change(told);
        if told.holds() == held {
            return;
        }
        if !held && now.ms_since(told.since) >= off_delay {
            told.began_at = seen_until;
        }
        told.since = now;
        for alarm in alarms {
            self.meet_told(alarm, now, effects);
            self.arm_told(alarm);
        }
    }

    /// Until when there was something to see of a unit or gateway: a loss of view begins with the
    /// last reading of its points and not when it is told, which a keep-alive puts off. Of points
    /// that are seldom read more is waited for, as of each of them.
    fn seen_until(&self, key: &(Subject, SystemCondition), now: Timestamp) -> Timestamp {
        if key.1 != SystemCondition::LossOfView {
            return now;
        }
        let (mut seen, mut period) = (None, i64::MAX);
        for point in self.links.get(&key.0).into_iter().flatten() {
            let place = *point as usize;
            if let (Some(hot), Some(state)) = (self.hot.get(place), self.points.get(place))
                && hot.ever
            {
                seen = seen.max(Some(
                    state.lost_since.map_or(hot.seen, |lost| lost.min(hot.seen)),
                ));
                period = period.min(state.period);
            }
        }
        let more = loss_of_view_after(period).saturating_sub(loss_of_view_after(0));
        seen.map_or(now, |seen| after(seen, more).min(now))
    }

    /// Raises or ends an alarm about the system whose delay is over.
    pub(super) fn meet_told(&mut self, alarm: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.told_due(alarm).is_none_or(|due| due > now) {
            return;
        }
        let Some(status) = self.live.get_mut(alarm as usize) else {
            return;
        };
        let was_active = status.axes.active;
        status.run.active = !was_active;
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

    /// A point has another quality: its unit may be wrong now, or right again.
    pub(super) fn weigh_point(
        &mut self,
        unit: u32,
        (before, after): (Quality, Quality),
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(unit) = self.units.get_mut(unit as usize) {
            unit.uncount(before);
            unit.count(after);
        }
        self.weigh(unit, now, effects);
    }

    /// Tells when a unit has become wrong, or right again.
    pub(super) fn weigh(&mut self, unit: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(unit) = self.units.get_mut(unit as usize) else {
            return;
        };
        let judged = unit.judged();
        if judged == unit.is_wrong {
            return;
        }
        unit.is_wrong = judged;
        let subject = unit.subject.clone();
        if !judged {
            self.release(&subject, now);
        }
        let key = (subject, SystemCondition::LossOfView);
        self.hold(now, key, |told| told.by_points = judged, effects);
    }

    /// Behind a wrong unit nothing was known of its points: the time of those that are still lost
    /// begins now.
    fn release(&mut self, unit: &Subject, now: Timestamp) {
        for point in self.links.get(unit).cloned().unwrap_or_default() {
            let place = point as usize;
            let (Some(hot), Some(state)) = (self.hot.get(place), self.points.get_mut(place)) else {
                continue;
            };
            if is_wrong(hot.quality) {
                (state.lost_since, state.unseen_since) = (Some(now), Some(now));
                self.settle(point);
            }
        }
    }

    /// Works out what is known of each unit, after a snapshot was read.
    pub(super) fn count_units(&mut self) {
        for unit in &mut self.units {
            (unit.points, unit.wrong, unit.answering) = (0, 0, 0);
            let key = (unit.subject.clone(), SystemCondition::LossOfView);
            unit.is_wrong = self.told.get(&key).is_some_and(|told| told.by_points);
        }
        for (hot, state) in self.hot.iter().zip(&self.points) {
            if let Some(unit) = self.units.get_mut(state.unit as usize) {
                unit.add(hot.quality);
            }
        }
    }

    /// Whether a subject is a unit that has points.
    pub(super) fn is_unit(&self, subject: &Subject) -> bool {
        matches!(subject, Subject::Unit(..)) && self.links.contains_key(subject)
    }
}
