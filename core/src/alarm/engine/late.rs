//! Readings out of a gateway's store after an outage (断点续传): the same limits, judged beside
//! the live lane and in their own order.
//!
//! Invariants: what is found here is an occurrence of its own, marked late, and stays until it is
//! acknowledged; the live lane is never changed by it. One excursion is one occurrence, whichever
//! lane sees which part of it; two are the same when no reading lies between them that was in
//! order. So one that began just before the live lane found it is put off until the store says
//! that it ended first; and one that goes on behind the store's end is carried on by the live
//! lane, which sounds for it then if it was too old to sound when it was found.
//!
//! Limits: nothing is kept of points without stored readings; one late occurrence an alarm stands
//! in the list, a newer one takes its place and says so. Changes of quality are not
//! told here, and there is no deadline: a stored reading has no silence after it. An on-delay is
//! counted in each lane by itself: an excursion of which neither lane sees that much is not found.
//! Two excursions in two outages are taken for one when the store was not read in between and no
//! alarm of the live lane tells them apart.

use serde::{Deserialize, Serialize};

use super::entry::{Entry, Sight};
use super::live::counted_time;
use super::rule::{Edge, Run};
use super::{Engine, FUTURE_MS_MAX};
use crate::alarm::change::{Cause, Effect};
use crate::alarm::definition::Subject;
use crate::alarm::state::{Axes, State};
use crate::reading::{Lane, Quality, Reading, Timestamp};

/// The latest stored reading of a point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LatePoint {
    /// By the gateway's clock; [`Timestamp::MIN`] while none could be believed.
    pub(super) sampled_at: Timestamp,
    /// Its quality.
    pub(super) quality: Quality,
}

impl LatePoint {
    /// When it was sampled; where that is not to be believed, when it came.
    fn moment(self, now: Timestamp) -> Timestamp {
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
            self.counters.from_future += 1;
            sampled_at = before.map_or(Timestamp::MIN, |before| before.sampled_at);
        } else if before.is_some_and(|before| sampled_at <= before.sampled_at) {
            self.counters.out_of_order += 1;
            return;
        }
        let latest = LatePoint {
            sampled_at,
            quality: reading.quality,
        };
        self.late.points.insert(point, latest);
        let sight = Sight {
            now,
            sampled_at: latest.moment(now),
            value: reading.value.is_finite().then_some(reading.value),
            quality: reading.quality,
        };
        for place in self.alarms_of(point) {
            self.step_late((self.alarm_at(place), period), before, sight, effects);
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
        let before_at = before.map_or(Timestamp::MIN, |before| before.sampled_at);
        let before_at = self.meet_live(alarm, before_at, sight, effects);
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
        let edge = entry.step(rule, value, elapsed, (before_at, sight.sampled_at));
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

    /// What the live lane has seen since the stored reading before, which was at `before`, by the
    /// one that is at hand now. Gives when the alarm was last in order, if that was since.
    fn meet_live(
        &mut self,
        alarm: u32,
        before: Timestamp,
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) -> Timestamp {
        if let Some(entry) = self.late.entries.get_mut(&alarm) {
            // It did not end before it ran into the live one: it is that one.
            entry
                .pending
                .take_if(|pending| pending.runs_into <= sight.sampled_at);
        }
        let Some(quiet_at) = self.live_was_quiet(alarm, before, sight.sampled_at) else {
            return before;
        };
        // Between two outages it was in order; what comes now is another excursion.
        if self.is_late_active(alarm) {
            self.end((alarm, Lane::Historical), sight, effects);
        }
        if let Some(entry) = self.late.entries.get_mut(&alarm) {
            entry.run = Run::default();
        }
        quiet_at
    }

    /// The store of a gateway has been read to its end. The live lane, which has gone on all the
    /// time, answers for what is now; where it has seen nothing since, its next reading does.
    pub(super) fn history_ends(
        &mut self,
        now: Timestamp,
        gateway: &str,
        effects: &mut Vec<Effect>,
    ) {
        let link = Subject::Gateway(gateway.to_owned());
        let points = self.links.get(&link).cloned().unwrap_or_default();
        for point in points {
            let Some(latest) = self.late.points.remove(&point) else {
                continue;
            };
            let is_latest = self
                .lines
                .get(point as usize)
                .is_none_or(|live| live.sampled_at < latest.sampled_at);
            for place in self.alarms_of(point) {
                let alarm = self.alarm_at(place);
                let Some(entry) = self.late.entries.get_mut(&alarm) else {
                    continue;
                };
                entry.run = Run::default();
                entry.pending = None;
                let sight = Sight {
                    now,
                    sampled_at: latest.moment(now),
                    value: entry.value,
                    quality: latest.quality,
                };
                if entry.axes.active && is_latest {
                    entry.is_handed_over = true;
                } else if entry.axes.active {
                    self.end((alarm, Lane::Historical), sight, effects);
                }
                self.forget_late(alarm);
            }
            self.settle(point);
        }
    }

    /// Whether the next live reading of the alarm decides about one out of the store.
    pub(super) fn is_handed_over(&self, alarm: u32) -> bool {
        let late = self.late.entries.get(&alarm);
        late.is_some_and(|late| late.is_handed_over)
    }

    /// The live lane finds active what the store has active: it goes on as that occurrence. One
    /// that was too old for the horn when it was found sounds now: somebody can act on it again.
    pub(super) fn adopts(&mut self, alarm: u32, sight: Sight, effects: &mut Vec<Effect>) -> bool {
        let (covered, key) = (self.is_covered(alarm), (alarm, Lane::Live));
        let (Some(late), Some(live)) = (
            self.late.entries.get(&alarm).cloned(),
            self.live.get(alarm as usize),
        ) else {
            return false;
        };
        let is_open = late.axes.active && live.quiet_at < late.began_at;
        if !(late.is_handed_over || is_open) {
            return false;
        }
        self.displace(key, late.occurrence, sight, effects);
        let Some(live) = self.live.get_mut(alarm as usize) else {
            return false;
        };
        let rest = Entry {
            run: late.run,
            began_at: late.began_at,
            quiet_at: late.quiet_at,
            ..Entry::default()
        };
        let spans = std::mem::take(&mut live.spans);
        *live = Entry {
            axes: Axes {
                active: true,
                acknowledged: late.axes.acknowledged,
                latched: false,
                ..live.axes
            },
            run: live.run,
            began_at: late.began_at,
            quiet_at: late.quiet_at,
            spans,
            is_handed_over: false,
            is_too_old: false,
            ..late
        };
        live.open_span();
        let state = live.axes.state();
        let sounds = late.is_too_old && state == State::Unacked && !covered;
        self.listed.insert(live.occurrence, key);
        // The rest of the store is judged on, and may hold another one.
        self.late.entries.insert(alarm, rest);
        self.forget_late(alarm);
        self.tell(key, state, sight, Cause::CarriedOn, sounds, effects);
        true
    }

    /// The live lane finds that what the store ended with holds no more.
    pub(super) fn refuse(&mut self, alarm: u32, sight: Sight, effects: &mut Vec<Effect>) {
        if self.is_handed_over(alarm) {
            self.end((alarm, Lane::Historical), sight, effects);
            self.forget_late(alarm);
        }
    }

    fn is_late_active(&self, alarm: u32) -> bool {
        let late = self.late.entries.get(&alarm);
        late.is_some_and(|late| late.axes.active)
    }

    /// Drops the late entry if there is nothing to remember of it.
    fn forget_late(&mut self, alarm: u32) {
        let settled = |entry: &Entry| !entry.is_listed() && entry.run == Run::default();
        if self.late.entries.get(&alarm).is_some_and(settled) {
            self.late.entries.remove(&alarm);
        }
    }
}
