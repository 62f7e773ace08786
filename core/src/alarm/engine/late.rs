//! Readings out of a gateway's store after an outage (断点续传): the same limits, judged beside
//! the live lane and in their own order.
//!
//! Invariants: what is found here is an occurrence of its own, marked late, and stays until it is
//! acknowledged; the live lane is never changed by it. One excursion is one occurrence, whichever
//! lane sees which part of it; two are the same when no reading lies between them that was in
//! order; no data is not. So one that began just before the live lane found it is put off until the
//! store says that it ended first; and one that goes on behind the store's end is handed over
//! (see [`super::handover`]).
//!
//! Limits: nothing is kept of points without stored readings; one late occurrence an alarm stands
//! in the list, a newer one takes its place and says so. Changes of quality are not
//! told here, and there is no deadline: a stored reading has no silence after it. An on-delay is
//! counted in each lane by itself: an excursion of which neither lane sees that much is not found.
//! Two excursions in two outages are taken for one when the store was not read in between and no
//! alarm of the live lane tells them apart.

use serde::{Deserialize, Serialize};

use super::entry::{Entry, Sight, is_never, never};
use super::live::counted_time;
use super::rule::{Edge, Run};
use super::{Engine, FUTURE_MS_MAX};
use crate::alarm::change::Effect;
use crate::reading::{Lane, Quality, Reading, Timestamp};

/// The latest stored reading of a point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LatePoint {
    /// By the gateway's clock; [`Timestamp::MIN`] while none could be believed.
    pub(super) sampled_at: Timestamp,
    /// Its quality.
    pub(super) quality: Quality,
    /// The latest good one, while this one is not.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    good_at: Timestamp,
}

impl LatePoint {
    /// The latest good one.
    fn good_at(self) -> Timestamp {
        if self.quality.is_good() {
            self.sampled_at
        } else {
            self.good_at
        }
    }

    /// When it was sampled; where that is not to be believed, when it came.
    pub(super) fn moment(self, now: Timestamp) -> Timestamp {
        if self.sampled_at == Timestamp::MIN {
            now
        } else {
            self.sampled_at
        }
    }
}

/// Whether an excursion of the store is one that the live lane has.
enum Known {
    No,
    /// Unless the store says that it ended before the live one began.
    Perhaps {
        runs_into: Timestamp,
    },
    Yes,
}

/// An excursion of the store that may be one of the live lane, and when that one began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    sight: Sight,
    runs_into: Timestamp,
}

impl Engine {
    /// Readings of one message out of a store.
    pub(super) fn late_readings(
        &mut self,
        now: Timestamp,
        readings: &[Reading],
        effects: &mut Vec<Effect>,
    ) {
        for reading in readings {
            self.judge_late(now, reading, effects);
        }
    }

    fn judge_late(&mut self, now: Timestamp, reading: &Reading, effects: &mut Vec<Effect>) {
        let reading = &reading.checked();
        let point = reading.point.0;
        let Some(period) = self.points.get(reading.point.index()).map(|p| p.period) else {
            self.counters.unknown_point += 1;
            return;
        };
        self.counters.late += 1;
        let before = self.late.points.get(&point).copied();
        let mut sampled_at = reading.sampled_at;
        if sampled_at.ms_since(now) > FUTURE_MS_MAX {
            // Its moment is not to be believed and would blind the ones after it. Its value is
            // judged all the same, as if no time had passed.
            self.counters.untimely.from_future += 1;
            sampled_at = before.map_or(Timestamp::MIN, |before| before.sampled_at);
        } else if before.is_some_and(|before| sampled_at <= before.sampled_at) {
            self.counters.untimely.out_of_order += 1;
            return;
        }
        let latest = LatePoint {
            sampled_at,
            quality: reading.quality,
            good_at: if reading.quality.is_good() {
                never()
            } else {
                before.map_or(never(), LatePoint::good_at)
            },
        };
        self.late.points.insert(point, latest);
        let sight = Sight {
            now,
            sampled_at: latest.moment(now),
            value: reading.value.is_finite().then_some(reading.value),
            quality: reading.quality,
        };
        for place in self.alarms_of(point) {
            let alarm = self.alarm_at(place);
            self.take_back(point, alarm);
            self.step_late((alarm, period), before, sight, effects);
        }
    }

    fn step_late(
        &mut self,
        (alarm, period): (u32, i64),
        before: Option<LatePoint>,
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
            .filter(|before| rule.counted(0.0, before.quality).is_some())
            .map_or(0, |before| {
                let elapsed = sight.sampled_at.ms_since(before.sampled_at);
                counted_time(elapsed, period)
            });
        let mut entry = self.late.entries.get(&alarm).cloned().unwrap_or_default();
        let good_at = before.map_or(never(), LatePoint::good_at);
        let quiet_at = quiet_live.unwrap_or(good_at);
        let edge = entry.step(rule, value, elapsed, (quiet_at, sight.sampled_at));
        let (began_at, quiet_at) = (entry.began_at, entry.quiet_at);
        if entry.run != Run::default() || self.late.entries.contains_key(&alarm) {
            self.late.entries.insert(alarm, entry);
        }
        match edge {
            Some(Edge::Raised) => match self.known_live(alarm, began_at, quiet_at) {
                Known::No => self.raise(key, sight, effects),
                Known::Perhaps { runs_into } => self.put_off(alarm, Pending { sight, runs_into }),
                Known::Yes => {}
            },
            Some(Edge::Returned) => {
                let entry = self.late.entries.get_mut(&alarm);
                if let Some(pending) = entry.and_then(|entry| entry.pending.take()) {
                    // It was over before the one of the live lane began.
                    let (now, raised) = (sight.now, pending.sight);
                    self.raise(key, Sight { now, ..raised }, effects);
                }
                if self.is_late_active(alarm) {
                    self.end(key, sight, effects);
                }
            }
            None => {
                let now_live = self.known_live(alarm, sight.sampled_at, began_at);
                if matches!(now_live, Known::Yes) && self.is_late_active(alarm) {
                    // The store has come to where the live lane took over.
                    self.end(key, sight, effects);
                }
            }
        }
        self.forget_late(alarm);
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
        if let Some(entry) = self.late.entries.get_mut(&alarm) {
            entry.pending = Some(Box::new(pending));
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
        if let Some(entry) = self.late.entries.get_mut(&alarm) {
            // It did not end before it ran into the live one: it is that one.
            entry
                .pending
                .take_if(|pending| pending.runs_into <= sight.sampled_at);
            if entry.run.active {
                // It may go on from the outage before.
                before = before.max(entry.began_at);
            }
        }
        let quiet_at = self.live_was_quiet(alarm, before, sight.sampled_at)?;
        // Between two outages it was in order; what comes now is another excursion.
        if self.is_late_active(alarm) {
            self.end((alarm, Lane::Historical), sight, effects);
        }
        if let Some(entry) = self.late.entries.get_mut(&alarm) {
            entry.run = Run::default();
        }
        Some(quiet_at)
    }

    pub(super) fn is_late_active(&self, alarm: u32) -> bool {
        let late = self.late.entries.get(&alarm);
        late.is_some_and(|late| late.axes.active)
    }

    /// Drops the late entry if there is nothing to remember of it.
    pub(super) fn forget_late(&mut self, alarm: u32) {
        let settled = |entry: &Entry| !entry.is_listed() && entry.run == Run::default();
        if self.late.entries.get(&alarm).is_some_and(settled) {
            self.late.entries.remove(&alarm);
        }
    }
}
