//! When something is due, and at which values nothing is: worked out from the state, never kept
//! beside it.
//!
//! The heap holds one entry a point that is not later than its true deadline; a reading does not
//! touch it. When an entry comes up too early it is put back at the true moment, which costs one heap
//! operation per point and staleness limit, not per reading.

use std::cmp::Reverse;

use super::Engine;
use super::band::Band;
use super::hot::HotPoint;
use super::point::{CALIBRATION, PointState, is_by_link, loss_of_view_after, stale_after};
use super::rule::Watched;
use super::unit::is_units_matter;
use crate::reading::{Quality, Timestamp, UncertainCause};

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
pub(super) enum Due {
    /// The last good reading is taken to hold still: the on-delay is over.
    Raise(u32),
    /// No reading for too long.
    Stale,
    /// Not good for so long that it is in loss of view.
    View(u32),
}

pub(super) fn after(moment: Timestamp, ms: i64) -> Timestamp {
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

    /// Works out the band in which nothing can change, and the point's next deadline.
    pub(super) fn settle(&mut self, point: u32) {
        let band = self.band(point);
        if let Some(hot) = self.hot.get_mut(point as usize) {
            hot.band = band;
        }
        self.arm(point);
    }

    fn band(&self, point: u32) -> Band {
        let hot = self.hot.get(point as usize);
        if !hot.is_some_and(|hot| hot.quality.is_good()) {
            return Band::EMPTY;
        }
        let mut band = Band::ALL;
        for place in self.alarms_of(point) {
            let alarm = self.alarm_at(place);
            let (Some(rule), Some(status)) = (
                self.rules.get(alarm as usize),
                self.live.get(alarm as usize),
            ) else {
                continue;
            };
            match &rule.watch {
                Watched::Values { .. }
                    if status.run.held.is_some()
                        || status.gone.is_some()
                        || self.late.is_handed_over(alarm) =>
                {
                    return Band::EMPTY;
                }
                Watched::Values { condition, .. } => {
                    band = band.and(condition.band(status.run.active));
                }
                Watched::View { .. } if status.axes.active => return Band::EMPTY,
                Watched::View { .. } | Watched::Told(..) | Watched::Nothing => {}
            }
        }
        band
    }

    /// When an alarm about the system changes, if it is on the way to.
    pub(super) fn told_due(&self, alarm: u32) -> Option<Timestamp> {
        let rule = self.rules.get(alarm as usize)?;
        let status = self.live.get(alarm as usize)?;
        let Watched::Told(key) = &rule.watch else {
            return None;
        };
        let told = self.told.get(&**key)?;
        if told.holds() == status.axes.active {
            return None;
        }
        let (since, delay) = if told.holds() {
            (told.began_at, rule.on_delay)
        } else {
            (told.since, rule.off_delay)
        };
        Some(Timestamp(since.0.saturating_add(delay)))
    }

    /// The first thing that is due at a point, and when.
    pub(super) fn next_due(&self, point: u32) -> Option<(Timestamp, Due)> {
        let hot = self.hot.get(point as usize)?;
        let state = self.points.get(point as usize)?;
        if hot.seen == Timestamp::MIN {
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
            let (Some(rule), Some(status)) = (
                self.rules.get(alarm as usize),
                self.live.get(alarm as usize),
            ) else {
                continue;
            };
            match &rule.watch {
                Watched::Values { condition, .. }
                    if !status.run.active
                        && condition.holds_still()
                        && rule.counts(hot.quality) =>
                {
                    if let Some(held) = status.run.held {
                        let left = rule.on_delay.saturating_sub(held);
                        let wait = left.saturating_add(state.period.saturating_mul(2));
                        consider(after(hot.seen, wait), Due::Raise(alarm));
                    }
                }
                Watched::View {
                    calibration_max, ..
                } if !status.run.active
                    && !self.cut_off
                    && !is_units_matter(&self.units, state.unit, hot.quality) =>
                {
                    let delays = (rule.on_delay, *calibration_max);
                    if let Some(moment) = lost_view_at(state, hot, delays) {
                        consider(moment, Due::View(alarm));
                    }
                }
                _ => {}
            }
        }
        if !hot.quality.is_bad() && hot.quality != too_old {
            consider(after(hot.seen, stale_after(state.period)), Due::Stale);
        }
        first
    }

    /// `now` went back: what lies in the new future would else hold deadlines up.
    pub(super) fn step_back(&mut self, now: Timestamp) {
        for (hot, state) in self.hot.iter_mut().zip(&mut self.points) {
            hot.seen = hot.seen.min(now);
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
        for (hot, state) in self.hot.iter_mut().zip(&mut self.points) {
            if hot.seen != Timestamp::MIN {
                hot.seen = later(hot.seen);
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
    hot: &HotPoint,
    (on_delay, calibration_max): (i64, i64),
) -> Option<Timestamp> {
    if is_by_link(hot.quality) || state.unit_lost || state.gateway_lost {
        return None;
    }
    if hot.quality == CALIBRATION {
        let allowed = calibration_max.max(on_delay);
        return state.unseen_since.map(|since| after(since, allowed));
    }
    let held = after(state.lost_since?, on_delay);
    let is_silent = !hot.ever || hot.quality == Quality::Uncertain(UncertainCause::Stale);
    if is_silent {
        // Since the last reading, and not since it was stale.
        let allowed = on_delay.max(loss_of_view_after(state.period));
        Some(after(hot.seen, allowed))
    } else {
        Some(held)
    }
}
