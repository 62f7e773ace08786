//! Where the store of a gateway ends: who answers for what it had active.
//!
//! Invariants: no data is never recovery. What the store ended with stays active until the live
//! lane has a reading that counts: it ends by that, or goes on as the same occurrence in the live
//! lane, which sounds for it then if it was too old to sound when it was found. Another outage
//! before that takes it back into the store.
//!
//! Limit: what the live lane saw to be in order later than the store ends with the store, whatever
//! came after.

use super::Engine;
use super::entry::{Entry, Sight, is_never};
use super::late::LatePoint;
use super::rule::Run;
use crate::alarm::change::{Cause, Effect};
use crate::alarm::definition::Subject;
use crate::alarm::state::{Axes, State};
use crate::reading::{Lane, Timestamp};

impl Engine {
    /// The store of a gateway has been read to its end. The live lane, which has gone on all the
    /// time, answers for what is now; where it cannot, its next reading that counts does.
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
            for place in self.alarms_of(point) {
                let alarm = self.alarm_at(place);
                let is_answered = self.live_answers(alarm, point, latest);
                let Some(entry) = self.late.entries.get_mut(&alarm) else {
                    continue;
                };
                entry.pending = None;
                entry.is_handed_over = entry.axes.active && !is_answered;
                if entry.is_handed_over {
                    continue;
                }
                entry.run = Run::default();
                let sight = Sight {
                    now,
                    sampled_at: latest.moment(now),
                    value: entry.value,
                    quality: latest.quality,
                };
                if entry.axes.active {
                    self.end((alarm, Lane::Historical), sight, effects);
                }
                self.forget_late(alarm);
            }
            self.settle(point);
        }
    }

    /// Whether the live lane has seen how the alarm stands, later than the store that ended with
    /// `latest`. Of what was not good, or is still waited for, that cannot be said.
    fn live_answers(&self, alarm: u32, point: u32, latest: LatePoint) -> bool {
        let place = point as usize;
        let (Some(entry), Some(line), Some(state)) = (
            self.live.get(alarm as usize),
            self.lines.get(place),
            self.points.get(place),
        ) else {
            return false;
        };
        let good_at = line.good_at(state);
        !is_never(&good_at) && good_at >= latest.sampled_at && entry.run.held.is_none()
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
        let is_owed = self.displace(key, late.occurrence, sight, effects);
        let Some(live) = self.live.get_mut(alarm as usize) else {
            return false;
        };
        let rest = Entry {
            run: if late.is_handed_over {
                Run::default()
            } else {
                late.run
            },
            began_at: late.began_at,
            quiet_at: late.quiet_at,
            ..Entry::default()
        };
        let spans = std::mem::take(&mut live.spans);
        *live = Entry {
            axes: Axes {
                active: true,
                acknowledged: late.axes.acknowledged && !is_owed,
                latched: false,
                ..live.axes
            },
            run: live.run,
            began_at: late.began_at,
            quiet_at: late.quiet_at,
            spans,
            acknowledged_by: late.acknowledged_by.filter(|_| !is_owed),
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

    /// The live lane finds that what the store ended with holds no more, or has it as its own.
    pub(super) fn refuse(&mut self, alarm: u32, sight: Sight, effects: &mut Vec<Effect>) {
        let entry = self.late.entries.get_mut(&alarm);
        if let Some(entry) = entry.filter(|entry| entry.is_handed_over) {
            entry.run = Run::default();
            self.end((alarm, Lane::Historical), sight, effects);
            self.forget_late(alarm);
        }
    }

    /// Another outage, and the live lane has not decided about the last one: the store goes on,
    /// and its end hands over again.
    pub(super) fn take_back(&mut self, point: u32, alarm: u32) {
        if let Some(entry) = self.late.entries.get_mut(&alarm)
            && std::mem::take(&mut entry.is_handed_over)
        {
            self.settle(point);
        }
    }
}
