//! What is kept of an alarm in one lane, and the changes that it goes through.
//!
//! This is the only file that moves axes and writes [`AlarmChange`]s, so list, numbers and
//! effects cannot part. Invariants: an occurrence stands in `listed` exactly as long as its
//! process state is not normal; a number is given once; only a command acknowledges. What is owed
//! for an occurrence that is replaced is owed for the newer one.

use serde::{Deserialize, Serialize};

use super::Engine;
use super::late::Pending;
use super::rule::{Edge, Rule, Run};
use crate::alarm::change::{AlarmChange, Cause, Command, Effect, Refusal};
use crate::alarm::state::{Axes, State};
use crate::reading::{Lane, Quality, Timestamp};

/// A late alarm older than this does not sound the horn: nobody can act on it any more
/// (Davy's own figure).
const SOUNDS_MS_MAX: i64 = 5 * 60 * 1000;

/// Excursions of the live lane that are remembered of an alarm, to know them again in a store.
/// Of more than that between an outage and its backlog, the oldest may be told a second time.
const SPANS_MAX: usize = 8;

/// From when to when the live lane saw a condition hold, by the gateway's clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_field_names, reason = "all three are moments")]
pub(super) struct Span {
    /// The last good reading before it.
    pub(super) quiet_at: Timestamp,
    /// Its first reading.
    pub(super) began_at: Timestamp,
    /// The reading that ended it; none while it holds.
    pub(super) ended_at: Option<Timestamp>,
}

/// One alarm in one lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// What is kept of it for the operator.
    pub(super) axes: Axes,
    /// Where its condition stands. In the live lane `run.active` is `axes.active`; in the
    /// historical one it can be active without an occurrence, when the live lane has that one.
    pub(super) run: Run,
    /// Its latest occurrence; 0 for none yet.
    pub(super) occurrence: u64,
    /// Gateway's clock: when the latest occurrence was raised.
    pub(super) raised_at: Timestamp,
    /// Centre's clock: when the latest occurrence was raised.
    pub(super) raised_now: Timestamp,
    /// Gateway's clock: when the condition last changed.
    pub(super) condition_at: Timestamp,
    /// Centre's clock: when anything last changed.
    pub(super) changed_at: Timestamp,
    /// The value by which the condition last changed.
    pub(super) value: Option<f64>,
    /// The quality when anything last changed.
    pub(super) quality: Quality,
    /// Who acknowledged the latest occurrence; none while nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acknowledged_by: Option<Box<str>>,
    /// Whether the horn was to sound when the latest occurrence was raised or carried on.
    #[serde(default)]
    pub(super) sounds: bool,
    /// Historical lane: too old to sound when it was raised, whatever else would have kept the
    /// horn silent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_too_old: bool,
    /// Gateway's clock: the first reading of the condition that holds, or is on its way to.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub(super) began_at: Timestamp,
    /// Gateway's clock: the last good reading before that one.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub(super) quiet_at: Timestamp,
    /// Live lane: the latest excursions, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) spans: Vec<Span>,
    /// Historical lane: raised, but not told yet, since it may be one that the live lane has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Box<Pending>>,
    /// Historical lane: the store ended with it active and the live lane did not know better, so
    /// the next live reading that counts decides.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_handed_over: bool,
}

pub(super) fn never() -> Timestamp {
    Timestamp::MIN
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
pub(super) fn is_never(at: &Timestamp) -> bool {
    *at == never()
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            axes: Axes::NORMAL,
            run: Run::default(),
            occurrence: 0,
            raised_at: Timestamp(0),
            raised_now: Timestamp(0),
            condition_at: Timestamp(0),
            changed_at: Timestamp(0),
            value: None,
            quality: Quality::Good,
            acknowledged_by: None,
            sounds: false,
            is_too_old: false,
            began_at: Timestamp::MIN,
            quiet_at: Timestamp::MIN,
            spans: Vec::new(),
            pending: None,
            is_handed_over: false,
        }
    }
}

impl Entry {
    /// Whether nothing has to be kept of it.
    pub(super) fn is_idle(&self) -> bool {
        self.axes == Axes::NORMAL && self.run == Run::default() && self.occurrence == 0
    }

    /// Whether an operator still owes something, or the condition holds.
    pub(super) fn is_listed(&self) -> bool {
        self.axes.process_state() != State::Normal
    }

    /// Judges a value; notes where the condition began, `before` being the last good reading.
    pub(super) fn step(
        &mut self,
        rule: &Rule,
        value: f64,
        elapsed: i64,
        (before, at): (Timestamp, Timestamp),
    ) -> Option<Edge> {
        let was_quiet = !self.run.active && self.run.held.is_none();
        let edge = self.run.step(rule, value, elapsed);
        let is_quiet = !self.run.active && self.run.held.is_none();
        if was_quiet && !is_quiet {
            (self.quiet_at, self.began_at) = (before, at);
        }
        edge
    }

    /// The live lane has it active from now on. What is no excursion of readings is none here.
    pub(super) fn open_span(&mut self) {
        if is_never(&self.began_at) {
            return;
        }
        if self.spans.len() >= SPANS_MAX {
            self.spans.remove(0);
        }
        self.spans.push(Span {
            quiet_at: self.quiet_at,
            began_at: self.began_at,
            ended_at: None,
        });
    }

    /// Whether an overlay hides it.
    pub(super) fn is_hidden(&self) -> bool {
        self.axes.state() != self.axes.process_state()
    }
}

/// The moment and the reading by which something was judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sight {
    /// Centre's clock.
    pub(super) now: Timestamp,
    /// Gateway's clock.
    pub(super) sampled_at: Timestamp,
    /// The value, if there is one.
    pub(super) value: Option<f64>,
    /// Quality of the last reading.
    pub(super) quality: Quality,
}

impl Engine {
    /// The entry of an alarm in a lane, overlays as they are now.
    fn entry_mut(&mut self, alarm: u32, lane: Lane) -> Option<&mut Entry> {
        let live = self.live.get_mut(alarm as usize)?;
        match lane {
            Lane::Live => Some(live),
            Lane::Historical => {
                let entry = self.late.entries.entry(alarm).or_default();
                // Overlays are of the alarm, not of a lane.
                entry.axes = Axes {
                    active: entry.axes.active,
                    acknowledged: entry.axes.acknowledged,
                    latched: entry.axes.latched,
                    ..live.axes
                };
                Some(entry)
            }
        }
    }

    /// Whether the horn speaks already for the same thing: HH of the same point, active and shown.
    /// What does not sound itself covers nothing.
    pub(super) fn is_covered(&self, alarm: u32) -> bool {
        let stronger = self
            .rules
            .get(alarm as usize)
            .and_then(|rule| rule.stronger);
        let speaks = |entry: &Entry| entry.axes.active && !entry.is_hidden() && entry.sounds;
        stronger.is_some_and(|stronger| {
            self.live.get(stronger as usize).is_some_and(speaks)
                || self.late.entries.get(&stronger).is_some_and(speaks)
        })
    }

    /// The occurrence of an alarm that stands in the list leaves it for a newer one, and says so.
    /// Answers whether it was still owed an answer, which the newer one owes now.
    pub(super) fn displace(
        &mut self,
        key: (u32, Lane),
        newer: u64,
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(entry) = self.entry_mut(key.0, key.1).filter(|e| e.is_listed()) else {
            return false;
        };
        let from = entry.axes.state();
        let was_owed = !entry.axes.acknowledged;
        entry.axes.active = false;
        entry.axes.acknowledged = true;
        entry.axes.latched = false;
        let older = entry.occurrence;
        self.listed.remove(&older);
        self.say(key, from, sight, Cause::Replaced { newer }, false, effects);
        was_owed
    }

    /// A new occurrence. One that still stands in the list is replaced by it.
    pub(super) fn raise(
        &mut self,
        (alarm, lane): (u32, Lane),
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) {
        let covered = self.is_covered(alarm);
        let occurrence = self.occurrences + 1;
        self.displace((alarm, lane), occurrence, sight, effects);
        let Some(entry) = self.entry_mut(alarm, lane) else {
            return;
        };
        let from = entry.axes.state();
        entry.axes.active = true;
        entry.axes.acknowledged = false;
        entry.axes.latched = false;
        entry.run = Run {
            active: true,
            held: None,
        };
        entry.occurrence = occurrence;
        entry.raised_at = sight.sampled_at;
        entry.raised_now = sight.now;
        entry.acknowledged_by = None;
        entry.sounds = false;
        entry.condition_at = sight.sampled_at;
        entry.value = sight.value;
        if lane == Lane::Live {
            entry.open_span();
        }
        entry.is_too_old =
            lane == Lane::Historical && sight.now.ms_since(sight.sampled_at) > SOUNDS_MS_MAX;
        let sounds = !entry.is_too_old && !covered && !entry.is_hidden();
        self.occurrences = occurrence;
        self.listed.insert(occurrence, (alarm, lane));
        self.tell((alarm, lane), from, sight, Cause::Raised, sounds, effects);
    }

    /// The condition has ended.
    pub(super) fn end(
        &mut self,
        (alarm, lane): (u32, Lane),
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) {
        let latch = self
            .rules
            .get(alarm as usize)
            .is_some_and(|rule| rule.latch);
        let Some(entry) = self.entry_mut(alarm, lane) else {
            return;
        };
        let from = entry.axes.state();
        if let Some(span) = entry.spans.last_mut() {
            span.ended_at = Some(sight.sampled_at);
        }
        entry.is_handed_over = false;
        entry.axes.active = false;
        entry.axes.latched = latch;
        entry.condition_at = sight.sampled_at;
        entry.value = sight.value;
        self.tell((alarm, lane), from, sight, Cause::Returned, false, effects);
    }

    /// It is now, or is no longer, unknown whether the listed alarms of a point still hold.
    pub(super) fn quality_changed(&mut self, point: u32, sight: Sight, effects: &mut Vec<Effect>) {
        for place in self.alarms_of(point) {
            let alarm = self.alarm_at(place);
            let is_limit = self
                .rules
                .get(alarm as usize)
                .is_some_and(|rule| rule.setpoint().is_some());
            let Some(entry) = self.live.get(alarm as usize) else {
                continue;
            };
            if is_limit && entry.is_listed() {
                let from = entry.axes.state();
                let key = (alarm, Lane::Live);
                self.tell(key, from, sight, Cause::QualityChanged, false, effects);
            }
        }
    }

    /// An operator's command.
    pub(super) fn command(&mut self, now: Timestamp, command: &Command, effects: &mut Vec<Effect>) {
        if let Err(why) = self.obey(now, command, effects) {
            effects.push(Effect::Refused {
                command: command.clone(),
                why,
            });
        }
    }

    fn obey(
        &mut self,
        now: Timestamp,
        command: &Command,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let key = self.listed.get(&command.occurrence());
        let key = *key.ok_or(Refusal::UnknownOccurrence)?;
        let quality = self.quality_of(key);
        // The point as it is now, also for what was found in a store.
        let is_unseen = !self.quality_of((key.0, Lane::Live)).is_good();
        let entry = self.entry_mut(key.0, key.1);
        let entry = entry.ok_or(Refusal::UnknownOccurrence)?;
        let from = entry.axes.state();
        let cause = match command {
            Command::Acknowledge { .. } if entry.axes.acknowledged => {
                return Err(Refusal::AlreadyAcknowledged);
            }
            Command::Acknowledge { by, comment, .. } => {
                entry.axes.acknowledged = true;
                entry.acknowledged_by = Some(by.as_str().into());
                Cause::Acknowledged {
                    by: by.clone(),
                    comment: comment.clone(),
                }
            }
            Command::Reset { .. } if entry.axes.active => return Err(Refusal::StillActive),
            Command::Reset { .. } if !entry.axes.latched => return Err(Refusal::NotLatched),
            Command::Reset { .. } if !entry.axes.acknowledged => {
                return Err(Refusal::NotAcknowledged);
            }
            Command::Reset { .. } if is_unseen => return Err(Refusal::Unseen),
            Command::Reset { by, comment, .. } => {
                entry.axes.latched = false;
                Cause::Reset {
                    by: by.clone(),
                    comment: comment.clone(),
                }
            }
        };
        let sight = Sight {
            now,
            sampled_at: entry.condition_at,
            value: entry.value,
            quality,
        };
        self.tell(key, from, sight, cause, false, effects);
        Ok(())
    }

    /// Writes down what the entry has become, and takes it off the list when nothing is owed.
    pub(super) fn tell(
        &mut self,
        key: (u32, Lane),
        from: State,
        sight: Sight,
        cause: Cause,
        sounds: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.entry_mut(key.0, key.1) else {
            return;
        };
        entry.changed_at = sight.now;
        entry.quality = sight.quality;
        if matches!(cause, Cause::Raised | Cause::CarriedOn) {
            entry.sounds |= sounds;
        }
        let (occurrence, listed) = (entry.occurrence, entry.is_listed());
        let settled = !listed && entry.run == Run::default();
        if !listed {
            self.listed.remove(&occurrence);
        }
        self.say(key, from, sight, cause, sounds, effects);
        if settled && key.1 == Lane::Historical {
            self.late.entries.remove(&key.0);
        }
    }

    /// Appends the change to the effects.
    fn say(
        &self,
        key: (u32, Lane),
        from: State,
        sight: Sight,
        cause: Cause,
        sounds: bool,
        effects: &mut Vec<Effect>,
    ) {
        let rule = self.rules.get(key.0 as usize);
        let (Some(entry), Some(rule)) = (self.entry(key.0, key.1), rule) else {
            return;
        };
        effects.push(Effect::Changed(AlarmChange {
            occurrence: entry.occurrence,
            alarm: rule.name.to_string(),
            from,
            to: entry.axes.state(),
            axes: entry.axes,
            cause,
            priority: rule.priority,
            value: sight.value,
            quality: sight.quality,
            raised_at: entry.raised_at,
            sampled_at: sight.sampled_at,
            lane: key.1,
            sounds,
        }));
    }

    /// The alarm leaves with the configuration that defined it.
    pub(super) fn remove(&mut self, now: Timestamp, key: (u32, Lane), effects: &mut Vec<Effect>) {
        let quality = self.quality_of(key);
        if key.1 == Lane::Historical && !self.late.entries.contains_key(&key.0) {
            return;
        }
        let Some(entry) = self.entry_mut(key.0, key.1) else {
            return;
        };
        let from = entry.axes.state();
        let told = match key.1 {
            Lane::Live => from != State::Normal,
            Lane::Historical => entry.is_listed(),
        };
        let sight = Sight {
            now,
            sampled_at: entry.condition_at,
            value: entry.value,
            quality,
        };
        entry.axes = Axes::NORMAL;
        entry.run = Run::default();
        if told {
            self.tell(key, from, sight, Cause::Removed, false, effects);
        }
    }
}
