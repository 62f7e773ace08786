//! Readings as measured: order, limits, and the end of a loss of view.
//!
//! Invariants: no data is never recovery. A delay counts only the time between two readings that
//! count; the off-delay and the return of a loss of view end by a reading, never by a deadline.
//!
//! Limit: a breaking 4–20 mA loop is under range until the gateway has held it for 4 s, so it may
//! reach a low limit whose on-delay is shorter.

use super::Engine;
use super::band::Band;
use super::hot::{HotPoint, take_ordinary};
use super::order::{FUTURE_MS_MAX, Latest, Place, is_ahead, place};
use super::point::counted_time;
use super::rule::Watched;
use super::run::Edge;
use super::status::Sight;
use crate::alarm::change::{Effect, Turn};
use crate::reading::{Lane, Quality, Reading, Timestamp};

impl Engine {
    /// Readings of one message, as measured.
    pub(super) fn live_readings(
        &mut self,
        now: Timestamp,
        (turn, readings): (Turn, &[Reading]),
        effects: &mut Vec<Effect>,
    ) {
        let horizon = Timestamp(now.0.saturating_add(FUTURE_MS_MAX));
        let mut rest = readings;
        loop {
            let taken = take_ordinary(&mut self.hot, rest, now, horizon);
            match rest.get(taken..).and_then(<[_]>::split_first) {
                Some((reading, others)) => {
                    self.judge(now, (turn, reading), effects);
                    rest = others;
                }
                None => return,
            }
        }
    }

    /// Judges one reading in full.
    fn judge(
        &mut self,
        now: Timestamp,
        (turn, reading): (Turn, &Reading),
        effects: &mut Vec<Effect>,
    ) {
        // A "good" value that is no number would look like one that is in order.
        let reading = &reading.checked();
        let point = reading.point.0;
        let index = reading.point.index();
        let (Some(hot), Some(state)) = (self.hot.get_mut(index), self.points.get_mut(index)) else {
            self.counters.unknown_point += 1;
            return;
        };
        let sampled_at = reading.sampled_at;
        let latest = hot.ever.then(|| Latest {
            sampled_at: hot.sampled_at,
            // Silence for two periods, then readings of an earlier time: the clock was set back.
            yields: is_ahead(hot.sampled_at, hot.seen)
                || now.ms_since(hot.seen) > state.period.saturating_mul(2),
        });
        let elapsed = match place(latest, sampled_at, turn) {
            Place::Later(elapsed) => counted_time(elapsed, state.period),
            Place::SetBack => {
                self.counters.untimely.backwards_steps += 1;
                0
            }
            Place::InGap | Place::OutOfOrder => {
                self.counters.untimely.out_of_order += 1;
                return;
            }
        };
        self.counters.untimely.from_future += u64::from(is_ahead(sampled_at, now));
        let before = hot.quality;
        let good_at = hot.good_at(state);
        *hot = HotPoint {
            band: Band::EMPTY,
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
            let (Some(rule), Some(status)) = (
                self.rules.get(alarm as usize),
                self.live.get_mut(alarm as usize),
            ) else {
                continue;
            };
            let value = sight.value.unwrap_or(f64::NAN);
            let Some(value) = rule.counted(value, sight.quality) else {
                continue;
            };
            let was_seen = rule.counts(before);
            let elapsed = if was_seen { elapsed } else { 0 };
            // What is judged again is no later sight of it.
            let gone = status
                .gone
                .take_if(|gone| gone.sampled_at < sight.sampled_at);
            if gone.is_some() {
                status.run.turn(false);
            }
            let good_at = gone.as_ref().map_or(good_at, |gone| gone.sampled_at);
            let edge = status.step(rule, value, elapsed, (good_at, sight.sampled_at));
            let waits = status.run.held.is_some();
            let resumes = !was_seen && status.axes.active && gone.is_none() && edge.is_none();
            if let Some(span) = status.spans.last_mut().filter(|_| resumes) {
                span.resumed_at = sight.sampled_at;
            }
            if let Some(gone) = gone {
                let now = sight.now;
                self.end((alarm, Lane::Live), Sight { now, ..*gone }, effects);
            }
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
            let status = self.live.get_mut(alarm as usize);
            if let (Some(rule), Some(status)) = (rule, status)
                && matches!(rule.watch, Watched::View { .. })
                && status.axes.active
                && sight.now.ms_since(since) >= rule.off_delay
            {
                status.run.active = false;
                self.end((alarm, Lane::Live), sight, effects);
            }
        }
    }
}
