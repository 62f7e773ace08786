//! Readings as measured: order, quality, limits, and whether a point is in view.
//!
//! Invariants: no data is never recovery. A delay counts only the time between two readings that
//! count; the off-delay and the return of a loss of view end by a reading, never by a deadline.
//!
//! A point is in view while its quality is good, or is beyond its range on a side where it has a
//! limit, which then counts as reached. Calibration is in view as well, for a limited time.
//!
//! Limits: an instrument that falls silent in calibration or beyond its range is found by
//! staleness like any other. A bad quality keeps its cause when it falls silent. A breaking 4–20
//! mA loop is under range until the gateway has held it for 4 s, so it may reach a low limit
//! whose on-delay is shorter.

use super::entry::Sight;
use super::line::{Line, take_ordinary};
use super::rule::{Edge, Watched};
use super::unit::is_wrong;
use super::{Engine, FUTURE_MS_MAX};
use crate::alarm::change::Effect;
use crate::reading::{BadCause, Lane, Quality, Reading, Timestamp, UncertainCause};

/// Without a reading for three periods, but not sooner than this, a point is stale
/// (Davy's own figure).
const STALE_MS_MIN: i64 = 15_000;

/// Without a reading for this long, or twice what makes it stale, a point may be in loss of view
/// (Davy's own figure; IEC 61511 asks for a time to detect, without one).
const LOSS_OF_VIEW_MS_MIN: i64 = 30_000;

/// How long without a reading makes a point of this period stale, in milliseconds.
pub(super) fn stale_after(period: i64) -> i64 {
    period.saturating_mul(3).max(STALE_MS_MIN)
}

/// How long without a reading may be a loss of view, in milliseconds.
pub(super) fn loss_of_view_after(period: i64) -> i64 {
    stale_after(period)
        .saturating_mul(2)
        .max(LOSS_OF_VIEW_MS_MIN)
}

/// The time between two readings that counts for a delay. A longer hole is like silence, behind
/// which a point is stale: nothing is known of the value in it. So neither an outage nor a step of
/// the gateway's clock lets a delay end.
pub(super) fn counted_time(elapsed: i64, period: i64) -> i64 {
    if (0..=stale_after(period)).contains(&elapsed) {
        elapsed
    } else {
        0
    }
}

/// Calibration gas, not the plant's.
pub(super) const CALIBRATION: Quality = Quality::Uncertain(UncertainCause::Calibration);

/// Whether it is the way to the point that is gone, and not the point.
pub(super) fn is_by_link(quality: Quality) -> bool {
    matches!(
        quality,
        Quality::Bad(BadCause::NoAnswer | BadCause::LinkDown)
    )
}

impl Engine {
    /// Readings of one message, as measured.
    pub(super) fn live_readings(
        &mut self,
        now: Timestamp,
        readings: &[Reading],
        effects: &mut Vec<Effect>,
    ) {
        let horizon = Timestamp(now.0.saturating_add(FUTURE_MS_MAX));
        let mut rest = readings;
        loop {
            let taken = take_ordinary(&mut self.lines, rest, now, horizon);
            match rest.get(taken..).and_then(<[_]>::split_first) {
                Some((reading, others)) => {
                    self.judge(now, reading, effects);
                    rest = others;
                }
                None => return,
            }
        }
    }

    /// Judges one reading in full.
    fn judge(&mut self, now: Timestamp, reading: &Reading, effects: &mut Vec<Effect>) {
        // A "good" value that is no number would look like one that is in order.
        let reading = &reading.checked();
        let point = reading.point.0;
        let place = reading.point.index();
        let (Some(line), Some(state)) = (self.lines.get_mut(place), self.points.get_mut(place))
        else {
            self.counters.unknown_point += 1;
            return;
        };
        let mut sampled_at = reading.sampled_at;
        if sampled_at.ms_since(now) > FUTURE_MS_MAX {
            self.counters.untimely.from_future += 1;
            sampled_at = now;
        } else if line.ever && sampled_at <= line.sampled_at {
            // Silence for two periods, then readings of an earlier time: the gateway's clock was
            // set back. The same time again is a repeat, however late.
            let silent = now.ms_since(line.seen) > state.period.saturating_mul(2);
            if sampled_at == line.sampled_at || !silent {
                self.counters.untimely.out_of_order += 1;
                return;
            }
            self.counters.untimely.backwards_steps += 1;
        }
        let before = line.quality;
        let elapsed = if line.ever {
            counted_time(sampled_at.ms_since(line.sampled_at), state.period)
        } else {
            0
        };
        let good_at = line.good_at(state);
        *line = Line {
            low: Line::EMPTY.0,
            high: Line::EMPTY.1,
            sampled_at,
            seen: now,
            value: reading.value,
            quality: reading.quality,
            ever: true,
        };
        state.good_at = if reading.quality.is_good() {
            Timestamp::MIN
        } else {
            good_at
        };
        let sight = Sight {
            now,
            sampled_at,
            value: reading.value.is_finite().then_some(reading.value),
            quality: reading.quality,
        };
        self.quality_moved(point, before, now, sight, effects);
        self.judge_limits(point, (before, good_at), elapsed, sight, effects);
        self.judge_view(point, sight, effects);
        self.settle(point);
    }

    /// Each limit of the point against its latest reading, `elapsed` after the one of quality
    /// `before`; the last good one before it was at `good_at`.
    pub(super) fn judge_limits(
        &mut self,
        point: u32,
        (before, good_at): (Quality, Timestamp),
        elapsed: i64,
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) {
        for place in self.alarms_of(point) {
            let alarm = self.alarm_at(place);
            let (Some(rule), Some(entry)) = (
                self.rules.get(alarm as usize),
                self.live.get_mut(alarm as usize),
            ) else {
                continue;
            };
            let value = sight.value.unwrap_or(f64::NAN);
            let Some(value) = rule.counted(value, sight.quality) else {
                continue;
            };
            let counts = rule.counted(0.0, before).is_some();
            let elapsed = if counts { elapsed } else { 0 };
            let edge = entry.step(rule, value, elapsed, (good_at, sight.sampled_at));
            let waits = entry.run.held.is_some();
            match edge {
                Some(Edge::Raised) if self.adopts(alarm, sight, effects) => {}
                Some(Edge::Raised) => self.raise((alarm, Lane::Live), sight, effects),
                Some(Edge::Returned) => self.end((alarm, Lane::Live), sight, effects),
                None => {}
            }
            if !waits {
                self.refuse(alarm, sight, effects);
            }
        }
    }

    /// A good reading may end a loss of view, when the ones before it were good for the off-delay.
    fn judge_view(&mut self, point: u32, sight: Sight, effects: &mut Vec<Effect>) {
        let state = self.points.get(point as usize);
        let Some(since) = state.and_then(|state| state.good_since) else {
            return;
        };
        for place in self.alarms_of(point) {
            let alarm = self.alarm_at(place);
            let rule = self.rules.get(alarm as usize);
            let entry = self.live.get_mut(alarm as usize);
            if let (Some(rule), Some(entry)) = (rule, entry)
                && matches!(rule.watch, Watched::View { .. })
                && entry.axes.active
                && sight.now.ms_since(since) >= rule.off_delay
            {
                entry.run.active = false;
                self.end((alarm, Lane::Live), sight, effects);
            }
        }
    }

    /// The quality of a point is not what it was: tells its alarms, and notes whether it is in
    /// view. `lost_at` is the moment, by the centre's clock, from which it is what it is now.
    pub(super) fn quality_moved(
        &mut self,
        point: u32,
        before: Quality,
        lost_at: Timestamp,
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) {
        let is_seen = self.is_seen(point, sight.quality);
        let unit = self.points.get(point as usize).map(|state| state.unit);
        let unit = unit.unwrap_or(u32::MAX);
        let was_behind = is_by_link(before) || self.is_units_matter(unit, before);
        let is_behind = is_by_link(sight.quality) || self.is_units_matter(unit, sight.quality);
        if let Some(state) = self.points.get_mut(point as usize) {
            // Behind a lost link or a wrong unit nothing was known of the point itself: its own
            // time begins when there is an answer.
            let link_answers = was_behind && !is_behind;
            let since = |before: Option<Timestamp>, still: bool| {
                let kept = before.filter(|_| !link_answers);
                still.then(|| kept.unwrap_or(lost_at))
            };
            let is_lost = !is_seen && sight.quality != CALIBRATION;
            state.lost_since = since(state.lost_since, is_lost);
            state.unseen_since = since(state.unseen_since, !is_seen);
            state.good_since = if sight.quality.is_good() {
                state.good_since.or(Some(lost_at))
            } else {
                None
            };
        }
        if before.is_good() != sight.quality.is_good() {
            self.quality_changed(point, sight, effects);
        }
        if before != sight.quality {
            self.weigh_point(unit, (before, sight.quality), sight.now, effects);
        }
    }

    /// Whether a quality tells where the process stands: good, or beyond the range on a side where
    /// the point has a limit.
    fn is_seen(&self, point: u32, quality: Quality) -> bool {
        let counts = |place| {
            let rule = self.rules.get(self.alarm_at(place) as usize);
            rule.is_some_and(|rule| rule.counted(0.0, quality).is_some())
        };
        quality.is_good() || self.alarms_of(point).any(counts)
    }

    /// Gives the point another quality without a reading: stale, or its link is down.
    pub(super) fn set_quality(
        &mut self,
        point: u32,
        quality: Quality,
        (lost_at, now): (Timestamp, Timestamp),
        effects: &mut Vec<Effect>,
    ) {
        let Some(line) = self.lines.get_mut(point as usize) else {
            return;
        };
        if let Some(state) = self.points.get_mut(point as usize) {
            state.good_at = line.good_at(state);
        }
        let before = std::mem::replace(&mut line.quality, quality);
        let sight = Sight {
            now,
            sampled_at: line.sampled_at,
            value: line.value.is_finite().then_some(line.value),
            quality,
        };
        self.quality_moved(point, before, lost_at, sight, effects);
        self.settle(point);
    }

    /// Points wait for their (next) first reading from `now` on.
    pub(super) fn start_waiting(&mut self, point: u32, now: Timestamp) {
        let place = point as usize;
        if let (Some(line), Some(state)) = (self.lines.get_mut(place), self.points.get_mut(place))
            && line.seen == Timestamp::MIN
        {
            line.seen = now;
            (state.lost_since, state.unseen_since) = (Some(now), Some(now));
        }
        self.settle(point);
    }

    /// The link of a point is back: it waits anew for a reading, and is not good until one comes.
    pub(super) fn link_restored(&mut self, point: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        let place = point as usize;
        if let (Some(line), Some(state)) = (self.lines.get_mut(place), self.points.get_mut(place))
            && (is_by_link(line.quality) || is_wrong(line.quality))
        {
            let before = line.quality;
            line.quality = if line.ever && line.value.is_finite() {
                Quality::Uncertain(UncertainCause::Stale)
            } else {
                Quality::Bad(BadCause::Unspecified)
            };
            line.seen = now;
            (state.lost_since, state.unseen_since) = (Some(now), Some(now));
            let (unit, after) = (state.unit, line.quality);
            self.weigh_point(unit, (before, after), now, effects);
        }
        self.settle(point);
    }

    /// Works out the band in which nothing can change, and the point's next deadline.
    pub(super) fn settle(&mut self, point: u32) {
        let (low, high) = self.band(point);
        if let Some(line) = self.lines.get_mut(point as usize) {
            (line.low, line.high) = (low, high);
        }
        self.arm(point);
    }

    fn band(&self, point: u32) -> (f64, f64) {
        let line = self.lines.get(point as usize);
        if !line.is_some_and(|line| line.quality.is_good()) {
            return Line::EMPTY;
        }
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        for place in self.alarms_of(point) {
            let alarm = self.alarm_at(place) as usize;
            let (Some(rule), Some(entry)) = (self.rules.get(alarm), self.live.get(alarm)) else {
                continue;
            };
            match rule.watch {
                Watched::Limit {
                    setpoint,
                    limit,
                    reset,
                    ..
                } => {
                    if entry.run.held.is_some() || self.is_handed_over(alarm as u32) {
                        return Line::EMPTY;
                    }
                    match (setpoint.is_high(), entry.run.active) {
                        (true, false) => high = high.min(limit),
                        (true, true) => low = low.max(reset),
                        (false, false) => low = low.max(limit.next_up()),
                        (false, true) => high = high.min(reset.next_up()),
                    }
                }
                Watched::View { .. } if entry.axes.active => return Line::EMPTY,
                Watched::View { .. } | Watched::Told(..) | Watched::Nothing => {}
            }
        }
        (low, high)
    }
}
