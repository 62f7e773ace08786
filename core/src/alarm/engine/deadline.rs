//! What happens because time passes by the centre's clock: what is due (see [`super::due`]) is
//! done, earliest first, a bounded part at once.

use std::cmp::Reverse;

use super::Engine;
use super::due::{Due, Slot, after};
use super::status::Sight;
use crate::alarm::change::Effect;
use crate::reading::{Lane, Quality, Timestamp, UncertainCause};

/// Deadlines that are met in one call, less the effects that stand in its list already: whoever has
/// one input judged in several calls (each gateway that is lost is one) gives them one list, and
/// all of them have this one budget. A deadline with its alarms and its entry in the ledger is
/// some 5 kB in the journal at the worst, so one input stays below what an entry may hold (64 MiB).
pub(super) const DEADLINES_MAX: usize = 5_000;

impl Engine {
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
        let (Some(rule), Some(status)) = (self.rules.get(place), self.live.get_mut(place)) else {
            return;
        };
        let left = rule.on_delay.saturating_sub(status.run.held.unwrap_or(0));
        status.run.turn(true);
        if let Some(sight) = self.sight_of(point, now, left)
            && !self.adopts(alarm, sight, effects)
        {
            self.raise((alarm, Lane::Live), sight, effects);
        }
    }

    /// The latest reading of a point as it is judged `ms` later without another one.
    fn sight_of(&self, point: u32, now: Timestamp, ms: i64) -> Option<Sight> {
        let hot = self.hot.get(point as usize)?;
        // A point never seen has no moment of its own: the centre's is the only one there is.
        let sampled_at = if hot.ever { hot.sampled_at } else { now };
        Some(Sight {
            now,
            sampled_at: after(sampled_at, ms),
            value: hot.value.is_finite().then_some(hot.value),
            quality: hot.quality,
        })
    }
}
