//! Another configuration in the place of the one in force, without losing what is known.
//!
//! Alarms are the same when name, subject and kind of condition are; limits, delays, priority and
//! latch may change and the state stays. A point is the same when tag and unit are: a value in
//! another unit says nothing. What is gone leaves the list with a cause of its own, so an alarm
//! added again later under the same name begins afresh.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::rule::{Rule, Watched};
use super::status::Sight;
use crate::alarm::change::Effect;
use crate::alarm::definition::{AlarmDefinition, Subject, SystemCondition};
use crate::point::Point;
use crate::reading::{Lane, Timestamp};

/// What makes an alarm the same one under another configuration, beside its name.
#[derive(PartialEq)]
enum Identity<'a> {
    /// Tag, unit, kind of condition.
    Values(&'a str, &'a str, &'static str),
    /// Tag.
    View(&'a str),
    Told(&'a (Subject, SystemCondition)),
    Nothing,
}

impl Engine {
    /// Puts another configuration in force at `now`. Limits that were moved are judged at once
    /// against the last good value.
    pub fn reconfigure(
        &mut self,
        now: Timestamp,
        points: &[Point],
        alarms: &[AlarmDefinition],
        effects: &mut Vec<Effect>,
    ) {
        self.move_to(now, effects);
        let fresh = Self::new(points, alarms);
        let gone = self.gone_in(&fresh);
        for alarm in &gone {
            self.remove(now, (*alarm, Lane::Live), effects);
            self.remove(now, (*alarm, Lane::Historical), effects);
        }
        let mut kept = self.snapshot();
        for alarm in gone {
            if let Some(rule) = self.rules.get(alarm as usize) {
                kept.alarms.remove(&*rule.name);
                kept.late_alarms.remove(&*rule.name);
            }
        }
        let known = self.points.iter();
        let units: BTreeMap<_, _> = known.map(|p| (&*p.tag, &*p.measured_in)).collect();
        for state in &fresh.points {
            if units.get(&*state.tag) != Some(&&*state.measured_in) {
                kept.points.remove(&*state.tag);
                kept.late_points.remove(&*state.tag);
                kept.late_gaps.remove(&*state.tag);
            }
        }
        let mut engine = Self::restore(points, alarms, &kept);
        engine.relink(now, effects);
        for unit in 0..engine.units.len() as u32 {
            engine.weigh(unit, now, effects);
        }
        engine.move_to(now, effects);
        engine.judge_again(now, effects);
        engine.meet_deadlines(now, effects);
        *self = engine;
    }

    /// Alarms of this engine that `fresh` does not have.
    fn gone_in(&self, fresh: &Self) -> Vec<u32> {
        let there: BTreeMap<_, _> = fresh
            .rules
            .iter()
            .map(|rule| (&*rule.name, fresh.identity(rule)))
            .collect();
        (0..)
            .zip(&self.rules)
            .filter(|(_, rule)| there.get(&*rule.name) != Some(&self.identity(rule)))
            .map(|(place, _)| place)
            .collect()
    }

    fn identity<'a>(&'a self, rule: &'a Rule) -> Identity<'a> {
        let point = |place: u32| self.points.get(place as usize);
        match &rule.watch {
            Watched::Values {
                point: at,
                condition,
            } => point(*at).map_or(Identity::Nothing, |point| {
                Identity::Values(&point.tag, &point.measured_in, condition.word())
            }),
            Watched::View { point: at, .. } => {
                point(*at).map_or(Identity::Nothing, |point| Identity::View(&point.tag))
            }
            Watched::Told(key) => Identity::Told(key),
            Watched::Nothing => Identity::Nothing,
        }
    }

    /// A point may now be read by another gateway: whether its link is lost is that one's matter.
    fn relink(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let lost: BTreeSet<_> = self
            .told
            .iter()
            .filter(|((_, condition), told)| {
                told.active && *condition == SystemCondition::LossOfView
            })
            .map(|((subject, _), _)| subject.clone())
            .collect();
        let mut before = Vec::new();
        for state in &mut self.points {
            before.push(state.unit_lost || state.gateway_lost);
            (state.unit_lost, state.gateway_lost) = (false, false);
        }
        for subject in &lost {
            for point in self.links.get(subject).into_iter().flatten() {
                if let Some(state) = self.points.get_mut(*point as usize) {
                    match subject {
                        Subject::Unit(..) => state.unit_lost = true,
                        _ => state.gateway_lost = true,
                    }
                }
            }
        }
        for (point, was_lost) in (0..).zip(before) {
            let state = self.points.get(point as usize);
            let lost = state.is_some_and(|state| state.unit_lost || state.gateway_lost);
            if was_lost && !lost {
                self.link_restored(point, now, effects);
            } else if lost && !was_lost {
                self.link_lost(point, now, effects);
            }
        }
    }

    /// Every limit against the last value, as if it had come again at this moment.
    fn judge_again(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for point in 0..self.points.len() as u32 {
            let Some(hot) = self.hot.get(point as usize) else {
                continue;
            };
            let outside = !hot.band.contains(hot.value);
            if !hot.ever || !hot.quality.is_good() || !outside {
                continue;
            }
            let sight = Sight {
                now,
                sampled_at: hot.sampled_at,
                value: Some(hot.value),
                quality: hot.quality,
            };
            let before = (hot.quality, hot.sampled_at);
            self.judge_limits(point, before, 0, sight, effects);
            self.settle(point);
        }
    }
}
