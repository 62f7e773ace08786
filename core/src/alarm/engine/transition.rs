//! The changes that an alarm goes through.
//!
//! Whoever moves axes ([`super::command`] and [`super::handover`] beside this file) ends in
//! [`Engine::tell`], which alone writes [`AlarmChange`]s, so list, numbers and effects cannot part.
//! Invariants: an occurrence stands in `listed` exactly as long as its process state is not normal;
//! a number is given once; only a command acknowledges. What is owed for an occurrence that is
//! replaced is owed for the newer one.

use super::Engine;
use super::rule::Rule;
use super::run::Run;
use super::status::{AlarmStatus, Sight};
use crate::alarm::change::{AlarmChange, Cause, Effect};
use crate::alarm::state::{Axes, State};
use crate::reading::{Lane, Quality, Timestamp};

/// A late alarm older than this does not sound the horn: nobody can act on it any more
/// (Davy's own figure).
const SOUNDS_MS_MAX: i64 = 5 * 60 * 1000;

impl Engine {
    /// Which part of `of_point` holds the alarms of a point.
    pub(super) fn alarms_of(&self, point: u32) -> std::ops::Range<usize> {
        let range = self.points.get(point as usize).map(|state| state.alarms);
        let (first, end) = range.unwrap_or_default();
        first as usize..end as usize
    }

    /// The alarm at a place of `of_point`.
    pub(super) fn alarm_at(&self, place: usize) -> u32 {
        self.of_point.get(place).copied().unwrap_or(u32::MAX)
    }

    /// The quality by which an alarm is shown in a lane.
    pub(super) fn quality_of(&self, (alarm, lane): (u32, Lane)) -> Quality {
        let point = self.rules.get(alarm as usize).and_then(Rule::point);
        let Some(point) = point else {
            return Quality::Good;
        };
        let live = self.hot.get(point as usize).map(|hot| hot.quality);
        let stored = self.late.points.get(&point).map(|stored| stored.quality);
        let kept = self.late.alarms.get(&alarm).map(|status| status.quality);
        match lane {
            Lane::Live => live.unwrap_or_default(),
            // Once the history has ended, what it ended with is all that is known.
            Lane::Historical => stored.or(kept).unwrap_or_default(),
        }
    }

    pub(super) fn status(&self, alarm: u32, lane: Lane) -> Option<&AlarmStatus> {
        match lane {
            Lane::Live => self.live.get(alarm as usize),
            Lane::Historical => self.late.alarms.get(&alarm),
        }
    }

    /// The status of an alarm in a lane, overlays as they are now.
    pub(super) fn status_mut(&mut self, alarm: u32, lane: Lane) -> Option<&mut AlarmStatus> {
        let live = self.live.get_mut(alarm as usize)?;
        match lane {
            Lane::Live => Some(live),
            Lane::Historical => {
                let status = self.late.alarms.entry(alarm).or_default();
                // Overlays are of the alarm, not of a lane.
                status.axes = Axes {
                    active: status.axes.active,
                    acknowledged: status.axes.acknowledged,
                    latched: status.axes.latched,
                    ..live.axes
                };
                Some(status)
            }
        }
    }

    /// Whether the horn speaks already for the same thing: HH of the same point, active and shown.
    /// What does not sound itself covers nothing, but what covers that one may.
    pub(super) fn is_covered(&self, alarm: u32) -> bool {
        let stronger = |alarm: u32| {
            self.rules
                .get(alarm as usize)
                .and_then(|rule| rule.stronger)
        };
        let speaks =
            |status: &AlarmStatus| status.axes.active && !status.is_hidden() && status.sounds;
        std::iter::successors(stronger(alarm), |alarm| stronger(*alarm)).any(|alarm| {
            self.live.get(alarm as usize).is_some_and(speaks)
                || self.late.alarms.get(&alarm).is_some_and(speaks)
        })
    }

    /// The occurrence of an alarm that stands in the list leaves it for a newer one, and says so.
    /// Answers whether it was still owed an answer, which the newer one owes now.
    pub(super) fn displace(
        &mut self,
        key: (u32, Lane),
        newer: u64,
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(status) = self.status_mut(key.0, key.1).filter(|e| e.is_listed()) else {
            return false;
        };
        let from = status.axes.state();
        let was_owed = !status.axes.acknowledged;
        status.axes.active = false;
        status.axes.acknowledged = true;
        status.axes.latched = false;
        let older = status.occurrence;
        self.listed.remove(&older);
        let cause = Cause::Replaced {
            newer,
            unanswered: was_owed,
        };
        self.say(key, from, sight, cause, false, effects);
        was_owed
    }

    /// A new occurrence. One that still stands in the list is replaced by it.
    pub(super) fn raise(
        &mut self,
        (alarm, lane): (u32, Lane),
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) {
        let covered = self.is_covered(alarm);
        let occurrence = self.occurrences + 1;
        self.displace((alarm, lane), occurrence, sight, effects);
        let Some(status) = self.status_mut(alarm, lane) else {
            return;
        };
        let from = status.axes.state();
        status.axes.active = true;
        status.axes.acknowledged = false;
        status.axes.latched = false;
        status.run.turn(true);
        status.occurrence = occurrence;
        status.raised_at = sight.sampled_at;
        status.raised_now = sight.now;
        status.acknowledged_by = None;
        status.sounds = false;
        status.condition_at = sight.sampled_at;
        status.value = sight.value;
        if lane == Lane::Live {
            status.open_span();
        }
        status.is_too_old =
            lane == Lane::Historical && sight.now.ms_since(sight.sampled_at) > SOUNDS_MS_MAX;
        let sounds = !status.is_too_old && !covered && !status.is_hidden();
        self.occurrences = occurrence;
        self.listed.insert(occurrence, (alarm, lane));
        self.tell((alarm, lane), from, sight, Cause::Raised, sounds, effects);
    }

    /// The condition has ended.
    pub(super) fn end(
        &mut self,
        (alarm, lane): (u32, Lane),
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) {
        let latch = self
            .rules
            .get(alarm as usize)
            .is_some_and(|rule| rule.latch);
        let Some(status) = self.status_mut(alarm, lane) else {
            return;
        };
        let from = status.axes.state();
        if let Some(span) = status.spans.last_mut() {
            span.ended_at = Some(sight.sampled_at);
        }
        status.is_handed_over = false;
        status.axes.active = false;
        status.axes.latched = latch;
        status.condition_at = sight.sampled_at;
        status.value = sight.value;
        self.tell((alarm, lane), from, sight, Cause::Returned, false, effects);
    }

    /// It is now, or is no longer, unknown whether the listed alarms of a point still hold.
    pub(super) fn quality_changed(&mut self, point: u32, sight: Sight, effects: &mut Vec<Effect>) {
        for place in self.alarms_of(point) {
            let alarm = self.alarm_at(place);
            let rule = self.rules.get(alarm as usize);
            let is_of_values = rule.is_some_and(|rule| rule.condition().is_some());
            let Some(status) = self.live.get(alarm as usize) else {
                continue;
            };
            if is_of_values && status.is_listed() {
                let from = status.axes.state();
                let key = (alarm, Lane::Live);
                self.tell(key, from, sight, Cause::QualityChanged, false, effects);
            }
        }
    }

    /// Writes down what the status has become, and takes it off the list when nothing is owed.
    pub(super) fn tell(
        &mut self,
        key: (u32, Lane),
        from: State,
        sight: Sight,
        cause: Cause,
        sounds: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(status) = self.status_mut(key.0, key.1) else {
            return;
        };
        status.changed_at = sight.now;
        status.quality = sight.quality;
        if matches!(cause, Cause::Raised | Cause::CarriedOn) {
            status.sounds |= sounds;
        }
        let (occurrence, listed) = (status.occurrence, status.is_listed());
        let settled = !listed && status.run == Run::default();
        if !listed {
            self.listed.remove(&occurrence);
        }
        self.say(key, from, sight, cause, sounds, effects);
        if settled && key.1 == Lane::Historical {
            self.late.alarms.remove(&key.0);
        }
    }

    /// Appends the change to the effects.
    fn say(
        &self,
        key: (u32, Lane),
        from: State,
        sight: Sight,
        cause: Cause,
        sounds: bool,
        effects: &mut Vec<Effect>,
    ) {
        let rule = self.rules.get(key.0 as usize);
        let (Some(status), Some(rule)) = (self.status(key.0, key.1), rule) else {
            return;
        };
        effects.push(Effect::Changed(AlarmChange {
            occurrence: status.occurrence,
            alarm: rule.name.to_string(),
            from,
            to: status.axes.state(),
            axes: status.axes,
            cause,
            priority: rule.priority,
            value: sight.value,
            quality: sight.quality,
            raised_at: status.raised_at,
            sampled_at: sight.sampled_at,
            lane: key.1,
            sounds,
        }));
    }

    /// The alarm leaves with the configuration that defined it.
    pub(super) fn remove(&mut self, now: Timestamp, key: (u32, Lane), effects: &mut Vec<Effect>) {
        let quality = self.quality_of(key);
        if key.1 == Lane::Historical && !self.late.alarms.contains_key(&key.0) {
            return;
        }
        let Some(status) = self.status_mut(key.0, key.1) else {
            return;
        };
        let from = status.axes.state();
        let unanswered = !status.axes.acknowledged;
        let told = match key.1 {
            Lane::Live => from != State::Normal,
            Lane::Historical => status.is_listed(),
        };
        let sight = Sight {
            now,
            sampled_at: status.condition_at,
            value: status.value,
            quality,
        };
        status.axes = Axes::NORMAL;
        status.run = Run::default();
        if told {
            self.tell(
                key,
                from,
                sight,
                Cause::Removed { unanswered },
                false,
                effects,
            );
        }
    }
}
