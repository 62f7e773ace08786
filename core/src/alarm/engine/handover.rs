//! Where the store of a gateway ends: who answers for what it had active.
//!
//! Invariants: no data is never recovery. What the store ended with stays active until the live
//! lane has a reading that counts: it ends by that, or goes on as the same occurrence in the live
//! lane, which sounds for it then if it was too old to sound when it was found. Another outage
//! before that takes it back into the store.
//!
//! Limit: what the live lane saw to be in order later than the store ends with the store, whatever
//! came after.

use std::mem::take;

use super::Engine;
use super::history::LatePoint;
use super::point::is_never;
use super::run::Run;
use super::status::{AlarmStatus, Sight};
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
            self.late.gaps.remove(&point);
            let Some(latest) = self.late.points.remove(&point) else {
                continue;
            };
            for place in self.alarms_of(point) {
                let alarm = self.alarm_at(place);
                let is_answered = self.live_answers(alarm, point, latest);
                let Some(status) = self.late.alarms.get_mut(&alarm) else {
                    continue;
                };
                status.pending = None;
                status.is_handed_over = status.axes.active && !is_answered;
                if status.is_handed_over {
                    continue;
                }
                status.run = Run::default();
                let sight = Sight {
                    now,
                    sampled_at: latest.sampled_at,
                    value: status.value,
                    quality: latest.quality,
                };
                if status.axes.active {
                    self.end((alarm, Lane::Historical), sight, effects);
                }
                self.late.forget(alarm);
            }
            self.settle(point);
        }
    }

    /// Whether the live lane has seen how the alarm stands, later than the store that ended with
    /// `latest`. Of what was not good, or is still waited for, that cannot be said.
    fn live_answers(&self, alarm: u32, point: u32, latest: LatePoint) -> bool {
        let place = point as usize;
        let (Some(status), Some(hot), Some(state)) = (
            self.live.get(alarm as usize),
            self.hot.get(place),
            self.points.get(place),
        ) else {
            return false;
        };
        let good_at = hot.good_at(state);
        !is_never(&good_at) && good_at >= latest.sampled_at && status.run.held.is_none()
    }

    /// The live lane finds active what the store has active: it goes on as that occurrence. One
    /// that was too old for the horn when it was found sounds now: somebody can act on it again.
    pub(super) fn adopts(&mut self, alarm: u32, sight: Sight, effects: &mut Vec<Effect>) -> bool {
        let (covered, key) = (self.is_covered(alarm), (alarm, Lane::Live));
        let (Some(late), Some(live)) = (
            self.late.alarms.get(&alarm).cloned(),
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
        let rest = AlarmStatus {
            run: if late.is_handed_over {
                Run::default()
            } else {
                late.run
            },
            began_at: late.began_at,
            quiet_at: late.quiet_at,
            ..AlarmStatus::default()
        };
        let (run, spans) = (take(&mut live.run), take(&mut live.spans));
        *live = AlarmStatus {
            axes: Axes {
                active: true,
                acknowledged: late.axes.acknowledged && !is_owed,
                latched: false,
                ..live.axes
            },
            run,
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
        self.late.alarms.insert(alarm, rest);
        self.late.forget(alarm);
        self.tell(key, state, sight, Cause::CarriedOn, sounds, effects);
        true
    }

    /// The live lane finds that what the store ended with holds no more, or has it as its own.
    pub(super) fn refuse(&mut self, alarm: u32, sight: Sight, effects: &mut Vec<Effect>) {
        let status = self.late.alarms.get_mut(&alarm);
        if let Some(status) = status.filter(|status| status.is_handed_over) {
            status.run = Run::default();
            self.end((alarm, Lane::Historical), sight, effects);
            self.late.forget(alarm);
        }
    }

    /// Another outage, and the live lane has not decided about the last one: the store goes on,
    /// and its end hands over again.
    pub(super) fn take_back(&mut self, point: u32, alarm: u32) {
        if let Some(status) = self.late.alarms.get_mut(&alarm)
            && take(&mut status.is_handed_over)
        {
            self.settle(point);
        }
    }
}
