//! What happens because time passes by the centre's clock.
//!
//! Deadlines are worked out from the state, never kept beside it. The heap holds one entry a point
//! that is not later than its true deadline; a reading does not touch it. When an entry comes up
//! too early it is put back at the true moment, which costs one heap operation per point and
//! staleness limit, not per reading.

use std::cmp::Reverse;

use super::entry::Sight;
use super::live::{CALIBRATION, is_by_link, loss_of_view_after, stale_after};
use super::rule::{Run, Watched};
use super::{Engine, PointState};
use crate::alarm::change::Effect;
use crate::reading::{Lane, Quality, Timestamp, UncertainCause};

/// Deadlines that are met in one call, less the effects that stand in its list already: whoever has
/// one input judged in several calls (each gateway that is lost is one) gives them one list, and
/// all of them have this one budget. A deadline with its alarms and its entry in the ledger is
/// some 5 kB in the journal at the worst, so one input stays below what an entry may hold (64 MiB).
pub(super) const DEADLINES_MAX: usize = 5_000;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// Place of a point.
    Point(u32),
    /// Place of an alarm about the system.
    Alarm(u32),
}

/// What is due at a point.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// The last good reading is taken to hold still: the on-delay is over.
    Raise(u32),
    /// No reading for too long.
    Stale,
    /// Not good for so long that it is in loss of view.
    View(u32),
}

fn after(moment: Timestamp, ms: i64) -> Timestamp {
    Timestamp(moment.0.saturating_add(ms))
}

impl Engine {
    /// When a tick is wanted next. Never later than the next thing that is due; it may be earlier.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.peek().map(|Reverse((due, _))| *due)
    }

    /// Sees to it that the heap knows the point's next deadline.
    pub(super) fn arm(&mut self, point: u32) {
        let due = self.next_due(point).map(|(due, _)| due);
        let Some(state) = self.points.get_mut(point as usize) else {
            return;
        };
        if let Some(due) = due
            && state.queued.is_none_or(|queued| due < queued)
        {
            state.queued = Some(due);
            self.deadlines.push(Reverse((due, Slot::Point(point))));
        }
    }

    /// Sees to it that the heap knows the deadline of an alarm about the system.
    pub(super) fn arm_told(&mut self, alarm: u32) {
        if let Some(due) = self.told_due(alarm) {
            self.deadlines.push(Reverse((due, Slot::Alarm(alarm))));
        }
    }

    /// Does what is due at `now`, earliest first, as far as the budget of `effects` goes
    /// ([`DEADLINES_MAX`]). What is left keeps its moment, so that the next tick is due at once.
    pub(super) fn meet_deadlines(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let budget = self.deadlines_max.saturating_sub(effects.len());
        if budget == 0 {
            return;
        }
        let mut due = Vec::new();
        while let Some(Reverse((queued, slot))) = self.deadlines.peek().copied()
            && queued <= now
        {
            self.deadlines.pop();
            let truly = match slot {
                Slot::Point(point) => self.unqueue(point, queued),
                // Each change of it has queued its own deadline; others are void.
                Slot::Alarm(alarm) => self.told_due(alarm).filter(|due| *due == queued),
            };
            match truly {
                Some(moment) if moment <= now => due.push((moment, slot)),
                Some(_) => self.arm_slot(slot),
                None => {}
            }
        }
        // The heap's order depends on how lazy it was; the order of effects must not.
        due.sort_unstable();
        due.dedup();
        let left = due.split_off(due.len().min(budget));
        for (_, slot) in left {
            match slot {
                Slot::Point(point) => self.arm(point),
                Slot::Alarm(alarm) => self.arm_told(alarm),
            }
        }
        for (_, slot) in due {
            match slot {
                Slot::Point(point) => self.meet(point, now, effects),
                Slot::Alarm(alarm) => self.meet_told(alarm, now, effects),
            }
        }
    }

    fn arm_slot(&mut self, slot: Slot) {
        if let Slot::Point(point) = slot {
            self.arm(point);
        }
    }

    /// Takes the point's entry out of its account; `None` if that entry was void.
    fn unqueue(&mut self, point: u32, queued: Timestamp) -> Option<Timestamp> {
        let state = self.points.get_mut(point as usize)?;
        if state.queued != Some(queued) {
            return None;
        }
        state.queued = None;
        self.next_due(point).map(|(due, _)| due)
    }

    /// Does what is due at one point. Each deed removes its own deadline, so this ends.
    fn meet(&mut self, point: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some((moment, due)) = self.next_due(point)
            && moment <= now
        {
            match due {
                Due::Raise(alarm) => self.raise_by_silence(point, alarm, now, effects),
                Due::Stale => {
                    let stale = Quality::Uncertain(UncertainCause::Stale);
                    self.set_quality(point, stale, (moment, now), effects);
                }
                Due::View(alarm) => {
                    if let Some(sight) = self.sight_of(point, now, 0) {
                        self.raise((alarm, Lane::Live), sight, effects);
                    }
                }
            }
        }
        self.settle(point);
    }

    /// The on-delay ran out without a further reading. A sender that reports only changes says
    /// nothing while the value stays, so the last good reading is taken to hold still.
    fn raise_by_silence(
        &mut self,
        point: u32,
        alarm: u32,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let place = alarm as usize;
        let (Some(rule), Some(entry)) = (self.rules.get(place), self.live.get_mut(place)) else {
            return;
        };
        let left = rule.on_delay.saturating_sub(entry.run.held.unwrap_or(0));
        entry.run = Run {
            active: true,
            held: None,
        };
        if let Some(sight) = self.sight_of(point, now, left)
            && !self.adopts(alarm, sight, effects)
        {
            self.raise((alarm, Lane::Live), sight, effects);
        }
    }

    /// The latest reading of a point as it is judged `ms` later without another one.
    fn sight_of(&self, point: u32, now: Timestamp, ms: i64) -> Option<Sight> {
        let line = self.lines.get(point as usize)?;
        // A point never seen has no moment of its own: the centre's is the only one there is.
        let sampled_at = if line.ever { line.sampled_at } else { now };
        Some(Sight {
            now,
            sampled_at: after(sampled_at, ms),
            value: line.value.is_finite().then_some(line.value),
            quality: line.quality,
        })
    }

    /// The first thing that is due at a point, and when.
    fn next_due(&self, point: u32) -> Option<(Timestamp, Due)> {
        let line = self.lines.get(point as usize)?;
        let state = self.points.get(point as usize)?;
        if line.seen == Timestamp::MIN {
            return None;
        }
        let too_old = Quality::Uncertain(UncertainCause::Stale);
        let mut first: Option<(Timestamp, Due)> = None;
        let mut consider = |moment: Timestamp, due: Due| {
            if first.is_none_or(|(earliest, _)| moment < earliest) {
                first = Some((moment, due));
            }
        };
        for place in self.alarms_of(point) {
            let alarm = self.alarm_at(place);
            let (Some(rule), Some(entry)) = (
                self.rules.get(alarm as usize),
                self.live.get(alarm as usize),
            ) else {
                continue;
            };
            match (&rule.watch, entry.run) {
                (
                    Watched::Limit { .. },
                    Run {
                        active: false,
                        held: Some(held),
                    },
                ) if rule.counted(0.0, line.quality).is_some() => {
                    let left = rule.on_delay.saturating_sub(held);
                    let wait = left.saturating_add(state.period.saturating_mul(2));
                    consider(after(line.seen, wait), Due::Raise(alarm));
                }
                (
                    Watched::View {
                        calibration_max, ..
                    },
                    run,
                ) if !run.active
                    && !self.cut_off
                    && !self.is_units_matter(state.unit, line.quality) =>
                {
                    let delays = (rule.on_delay, *calibration_max);
                    if let Some(moment) = lost_view_at(state, line, delays) {
                        consider(moment, Due::View(alarm));
                    }
                }
                _ => {}
            }
        }
        if !line.quality.is_bad() && line.quality != too_old {
            consider(after(line.seen, stale_after(state.period)), Due::Stale);
        }
        first
    }

    /// `now` went back: what lies in the new future would else hold deadlines up.
    pub(super) fn step_back(&mut self, now: Timestamp) {
        for (line, state) in self.lines.iter_mut().zip(&mut self.points) {
            line.seen = line.seen.min(now);
            state.lost_since = state.lost_since.map(|since| since.min(now));
            state.unseen_since = state.unseen_since.map(|since| since.min(now));
            state.good_since = state.good_since.map(|since| since.min(now));
        }
        for told in self.told.values_mut() {
            told.since = told.since.min(now);
            told.began_at = told.began_at.min(now);
        }
        self.rebuild_deadlines();
    }

    /// Nobody saw anything from `since` until `now`: silences and delays go on from where they were.
    pub(super) fn pass_over(&mut self, now: Timestamp, since: Timestamp) {
        let blind = now.ms_since(since).max(0);
        let later = |moment: Timestamp| after(moment, blind).min(now);
        for (line, state) in self.lines.iter_mut().zip(&mut self.points) {
            if line.seen != Timestamp::MIN {
                line.seen = later(line.seen);
            }
            state.lost_since = state.lost_since.map(later);
            state.good_since = state.good_since.map(later);
        }
        for told in self.told.values_mut() {
            told.since = later(told.since);
            told.began_at = later(told.began_at);
        }
        self.rebuild_deadlines();
    }

    /// Works every deadline out again.
    pub(super) fn rebuild_deadlines(&mut self) {
        self.deadlines.clear();
        for point in 0..self.points.len() as u32 {
            if let Some(state) = self.points.get_mut(point as usize) {
                state.queued = None;
            }
            self.arm(point);
        }
        for alarm in 0..self.rules.len() as u32 {
            self.arm_told(alarm);
        }
    }
}

/// When a point that cannot be seen is in loss of view; never while its unit or gateway is: one
/// cause, one alarm.
fn lost_view_at(
    state: &PointState,
    line: &super::Line,
    (on_delay, calibration_max): (i64, i64),
) -> Option<Timestamp> {
    if is_by_link(line.quality) || state.unit_lost || state.gateway_lost {
        return None;
    }
    if line.quality == CALIBRATION {
        let allowed = calibration_max.max(on_delay);
        return state.unseen_since.map(|since| after(since, allowed));
    }
    let held = after(state.lost_since?, on_delay);
    let is_silent = !line.ever || line.quality == Quality::Uncertain(UncertainCause::Stale);
    if is_silent {
        Some(held.max(after(line.seen, loss_of_view_after(state.period))))
    } else {
        Some(held)
    }
}
