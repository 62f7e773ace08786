//! Readings out of a gateway's store after an outage (断点续传): the same limits, judged beside
//! the live lane and in their own order.
//!
//! Invariants: what is found here is an occurrence of its own, marked late, and stays until it is
//! acknowledged. The live lane is changed by it in one case: an excursion that it took to go on
//! through a hole had ended there, and what it has seen since is another one. One excursion is one
//! occurrence, whichever lane sees which part of it; two are the same when no reading lies between
//! them that was in order; no data is not. So one that began just before the live lane found it is
//! put off until the store says that it ended first; and one that goes on behind the store's end is
//! handed over (see [`super::handover`]). What comes in a gap that was asked for again is judged in
//! an order of its own: it may raise, and ends nothing that is later than it.
//!
//! Limits: nothing is kept of points without stored readings; one late occurrence an alarm stands
//! in the list, a newer one takes its place and says so. Changes of quality are not
//! told here, and there is no deadline: a stored reading has no silence after it. An on-delay is
//! counted in each lane by itself: an excursion of which neither lane sees that much is not found.
//! Two excursions in two outages are taken for one when the store was not read in between and no
//! alarm of the live lane tells them apart.

use super::Engine;
use super::history::LatePoint;
use super::order::{Place, is_ahead, place};
use super::point::{counted_time, never};
use super::rule::Rule;
use super::run::{Edge, Run};
use super::status::{Pending, Sight, Span};
use crate::alarm::change::{Effect, Turn};
use crate::reading::{Lane, Quality, Reading, Timestamp};

/// Whether an excursion of the store is one that the live lane has.
enum Known {
    No,
    /// Unless the store says that it ended before the live one began.
    Perhaps {
        runs_into: Timestamp,
    },
    Yes,
}

impl Engine {
    /// Readings of one message out of a store.
    pub(super) fn late_readings(
        &mut self,
        now: Timestamp,
        (turn, readings): (Turn, &[Reading]),
        effects: &mut Vec<Effect>,
    ) {
        for reading in readings {
            self.judge_late(now, (turn, reading), effects);
        }
    }

    fn judge_late(
        &mut self,
        now: Timestamp,
        (turn, reading): (Turn, &Reading),
        effects: &mut Vec<Effect>,
    ) {
        let reading = &reading.checked();
        let point = reading.point.0;
        let Some(period) = self.points.get(reading.point.index()).map(|p| p.period) else {
            self.counters.unknown_point += 1;
            return;
        };
        self.counters.late += 1;
        let sampled_at = reading.sampled_at;
        let mut before = self.late.points.get(&point).copied();
        let mut found = place(before.map(LatePoint::latest), sampled_at, turn);
        let in_gap = found == Place::InGap;
        if in_gap {
            // A gap has an order of its own: its messages come in their turn.
            before = self.late.gaps.get(&point).copied();
            found = place(before.map(LatePoint::latest), sampled_at, Turn::Next);
        }
        let elapsed = match found {
            Place::Later(elapsed) => counted_time(elapsed, period),
            Place::SetBack | Place::InGap => {
                self.counters.untimely.backwards_steps += u64::from(!in_gap);
                0
            }
            Place::OutOfOrder => {
                self.counters.untimely.out_of_order += 1;
                return;
            }
        };
        let is_ahead = is_ahead(sampled_at, now);
        self.counters.untimely.from_future += u64::from(is_ahead);
        let latest = LatePoint {
            sampled_at,
            quality: reading.quality,
            good_at: if reading.quality.is_good() {
                never()
            } else {
                before.map_or(never(), LatePoint::good_at)
            },
            is_ahead,
        };
        let known = if in_gap {
            &mut self.late.gaps
        } else {
            &mut self.late.points
        };
        known.insert(point, latest);
        let sight = Sight {
            now,
            sampled_at,
            value: reading.value.is_finite().then_some(reading.value),
            quality: reading.quality,
        };
        for place in self.alarms_of(point) {
            let alarm = self.alarm_at(place);
            if in_gap && self.is_ahead_of_gap(alarm, sampled_at) {
                continue;
            }
            self.take_back(point, alarm);
            self.step_late(alarm, (before, elapsed), sight, effects);
        }
    }

    /// Whether what is known of an alarm is later than a reading in a gap at `sampled_at`, which then
    /// says nothing of it: such a reading ends nothing, and breaks no delay that began behind it.
    fn is_ahead_of_gap(&self, alarm: u32, sampled_at: Timestamp) -> bool {
        let status = self.late.alarms.get(&alarm);
        status.is_some_and(|status| {
            status.run.active || (status.run.held.is_some() && sampled_at < status.began_at)
        })
    }

    /// One reading of the store, `elapsed` milliseconds of counted time after the one before.
    fn step_late(
        &mut self,
        alarm: u32,
        (before, elapsed): (Option<LatePoint>, i64),
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) {
        let key = (alarm, Lane::Historical);
        let quiet_live = self.meet_live(alarm, before, sight, effects);
        let Some(rule) = self.rules.get(alarm as usize) else {
            return;
        };
        let value = sight.value.unwrap_or(f64::NAN);
        let Some(value) = rule.counted(value, sight.quality) else {
            return;
        };
        let elapsed = before
            .filter(|before| rule.counts(before.quality))
            .map_or(0, |_| elapsed);
        let mut status = self.late.alarms.get(&alarm).cloned().unwrap_or_default();
        if status.run == Run::default()
            && let Some(span) = self.live_span(alarm, sight.sampled_at)
        {
            // In a hole of what the live lane has: it holds until the store says that it ended.
            status.run.turn(true);
            (status.quiet_at, status.began_at) = (span.quiet_at, span.began_at);
        }
        let good_at = before.map_or(never(), LatePoint::good_at);
        let quiet_at = quiet_live.unwrap_or(good_at);
        let edge = status.step(rule, value, elapsed, (quiet_at, sight.sampled_at));
        let (began_at, quiet_at) = (status.began_at, status.quiet_at);
        if status.run != Run::default() || self.late.alarms.contains_key(&alarm) {
            self.late.alarms.insert(alarm, status);
        }
        match edge {
            Some(Edge::Raised) => match self.known_live(alarm, began_at, quiet_at) {
                Known::No => self.raise(key, sight, effects),
                Known::Perhaps { runs_into } => self.put_off(alarm, Pending { sight, runs_into }),
                Known::Yes => {}
            },
            Some(Edge::Returned) => {
                let status = self.late.alarms.get_mut(&alarm);
                if let Some(pending) = status.and_then(|status| status.pending.take()) {
                    // It was over before the one of the live lane began.
                    self.raise_past(alarm, pending.sight, sight, effects);
                } else if self.late.is_active(alarm) {
                    self.end(key, sight, effects);
                } else {
                    self.divide(alarm, sight, effects);
                }
            }
            None => {
                let now_live = self.known_live(alarm, sight.sampled_at, began_at);
                if matches!(now_live, Known::Yes) && self.late.is_active(alarm) {
                    // The store has come to where the live lane took over.
                    self.end(key, sight, effects);
                }
            }
        }
        self.late.forget(alarm);
    }

    /// An excursion that is over when it is told: `raised` and `ended` are its readings.
    fn raise_past(&mut self, alarm: u32, raised: Sight, ended: Sight, effects: &mut Vec<Effect>) {
        let (now, key) = (ended.now, (alarm, Lane::Historical));
        self.raise(key, Sight { now, ..raised }, effects);
        if let Some(status) = self.late.alarms.get_mut(&alarm) {
            status.run.turn(false);
        }
        self.end(key, ended, effects);
    }

    /// The excursion of the live lane around a moment.
    fn live_span(&self, alarm: u32, at: Timestamp) -> Option<Span> {
        let spans = &self.live.get(alarm as usize)?.spans;
        spans.iter().find(|span| span.is_around(at)).copied()
    }

    /// The store says that an excursion ended at `sight`, in a hole of the live lane, which took it
    /// to go on: there it ended, and what the live lane has seen since is another one.
    fn divide(&mut self, alarm: u32, sight: Sight, effects: &mut Vec<Effect>) {
        let at = sight.sampled_at;
        let rule = self.rules.get(alarm as usize);
        let point = rule.and_then(Rule::point).unwrap_or(u32::MAX);
        let live = self.live.get_mut(alarm as usize);
        let (Some(live), Some(hot)) = (live, self.hot.get(point as usize)) else {
            return;
        };
        let Some(span) = live.spans.iter_mut().find(|span| span.is_around(at)) else {
            return;
        };
        let whole = *span;
        span.ended_at = Some(at);
        let seen_at = match whole.ended_at {
            _ if whole.resumed_at > at => whole.resumed_at,
            // A hole so short that nobody noticed it.
            None if hot.quality.is_good() && hot.sampled_at > at => hot.sampled_at,
            None => {
                live.gone = Some(Box::new(sight));
                // Whatever comes next must be judged.
                self.settle(point);
                return;
            }
            Some(_) => return,
        };
        let (quality, value) = (Quality::Good, live.value);
        let seen = Sight {
            sampled_at: seen_at,
            value,
            quality,
            ..sight
        };
        (live.quiet_at, live.began_at) = (at, seen_at);
        if let Some(ended_at) = whole.ended_at {
            let second = Span {
                quiet_at: at,
                began_at: seen_at,
                ..whole
            };
            live.keep_span(second);
            live.spans.sort_by_key(|span| span.began_at);
            let ended = Sight {
                sampled_at: ended_at,
                ..sight
            };
            self.raise_past(alarm, seen, ended, effects);
        } else {
            self.end((alarm, Lane::Live), sight, effects);
            self.raise((alarm, Lane::Live), seen, effects);
            self.settle(point);
        }
    }

    /// Whether an excursion of the store that began at `began_at`, after a reading at `quiet_at`
    /// that was none, is one that the live lane has.
    fn known_live(&self, alarm: u32, began_at: Timestamp, quiet_at: Timestamp) -> Known {
        let live = self.live.get(alarm as usize);
        let spans = live.map_or(&[][..], |live| &live.spans);
        let mut known = Known::No;
        for span in spans {
            let has_ended = span.ended_at.is_some_and(|ended_at| ended_at <= began_at);
            if span.began_at <= began_at && !has_ended && quiet_at < span.began_at {
                return Known::Yes;
            }
            // No live reading lies between the two: they may be one.
            if span.quiet_at < began_at && began_at < span.began_at {
                known = Known::Perhaps {
                    runs_into: span.began_at,
                };
            }
        }
        known
    }

    /// A live reading between two of the store at which the alarm was in order, if one is known.
    fn live_was_quiet(&self, alarm: u32, before: Timestamp, at: Timestamp) -> Option<Timestamp> {
        let spans = &self.live.get(alarm as usize)?.spans;
        let quiet = spans
            .iter()
            .flat_map(|span| [Some(span.quiet_at), span.ended_at]);
        let between = |quiet: &Timestamp| before < *quiet && *quiet < at;
        quiet.flatten().filter(between).max()
    }

    /// Keeps back what may be an excursion of the live lane.
    fn put_off(&mut self, alarm: u32, pending: Pending) {
        if let Some(status) = self.late.alarms.get_mut(&alarm) {
            status.pending = Some(Box::new(pending));
        }
    }

    /// What the live lane has seen since the stored reading before, by the one that is at hand now.
    /// Gives when the alarm was last in order, if that was since.
    fn meet_live(
        &mut self,
        alarm: u32,
        before: Option<LatePoint>,
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) -> Option<Timestamp> {
        let mut before = before.map_or(never(), |before| before.sampled_at);
        if let Some(status) = self.late.alarms.get_mut(&alarm) {
            // It did not end before it ran into the live one: it is that one.
            status
                .pending
                .take_if(|pending| pending.runs_into <= sight.sampled_at);
            if status.run.active {
                // It may go on from the outage before.
                before = before.max(status.began_at);
            }
        }
        let quiet_at = self.live_was_quiet(alarm, before, sight.sampled_at)?;
        // Between two outages it was in order; what comes now is another excursion.
        if self.late.is_active(alarm) {
            self.end((alarm, Lane::Historical), sight, effects);
        }
        if let Some(status) = self.late.alarms.get_mut(&alarm) {
            status.run = Run::default();
        }
        Some(quiet_at)
    }
}
