//! What the loop does with an input: has it decided by the core, and puts the entry to be with the
//! group that waits for its commit.
//!
//! Invariants: a message that came before is not decided again; one that crashes the core is noted
//! before the loop ends with it, and set aside at the next start; a loop that stood still says so
//! before anything is judged by the new time.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use davy_core::alarm::SystemCondition;
use davy_core::delivery::Ranges;
use davy_core::gateways::{LinkChange, LinkEvent};
use davy_core::reading::Timestamp;
use davy_core::sparkplug::{RunRanges, Topic};
use davy_core::watch::{Effect, Input, STOOD_STILL_MIN_MS};
use tokio::sync::oneshot;

use super::Loop;
use crate::centre::Answer;
use crate::entry;
use crate::journal::{ENTRY_BYTES_MAX, Kind, Pruned};
use crate::quarantine::number_of;

/// The alarm about the host's clock, as the configuration names it.
pub(super) const CLOCK_ALARM: &str = "centre.host_clock";

/// Milliseconds by which the host's clock must differ from the site's time to be told; of less the
/// gateways say that their clocks differ from the centre's. Davy's own figure.
const CLOCK_OFF_MIN_MS: i64 = 60_000;

/// Whether the host's clock is wrong, or the site's time.
pub(in crate::centre) fn is_off(off_ms: i64) -> bool {
    off_ms.unsigned_abs() >= CLOCK_OFF_MIN_MS.unsigned_abs()
}

/// What was gathered and decided, waiting for its commit.
#[derive(Default)]
pub(in crate::centre) struct Group {
    pub(super) entries: Vec<Decided>,
    pub(super) answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    pub(super) prunes: Vec<(Timestamp, u64, oneshot::Sender<Option<Pruned>>)>,
    pub(super) gateways: BTreeSet<String>,
    pub(super) rebirths: BTreeSet<String>,
    pub(super) resends: Vec<(String, Vec<RunRanges>)>,
    pub(super) bytes: usize,
    pub(super) stop: bool,
}

impl Group {
    /// What a gateway is to be asked for after the commit.
    pub(super) fn ask(&mut self, gateway: &str, event: &LinkEvent) {
        match event {
            LinkEvent::RebirthWanted => {
                self.rebirths.insert(gateway.to_owned());
            }
            LinkEvent::ResendWanted { messages } => {
                let runs = messages.iter().map(|gap| {
                    let mut ranges = Ranges::default();
                    ranges.insert_range(gap.first, gap.last);
                    let run = gap.run;
                    RunRanges { run, ranges }
                });
                self.resends.push((gateway.to_owned(), runs.collect()));
            }
            _ => {}
        }
    }
}

/// An entry to be: an input and what followed.
pub(super) struct Decided {
    pub(super) now: Timestamp,
    pub(super) kind: Kind,
    pub(super) input: Vec<u8>,
    pub(super) told: Vec<u8>,
    pub(super) effects: Vec<Effect>,
}

impl Loop {
    pub(super) fn message(&mut self, topic: String, payload: Vec<u8>) {
        self.health.messages.fetch_add(1, Ordering::Relaxed);
        let Some(gateway) = self.sender(&topic) else {
            // It says nothing of this site; in the journal anybody could fill the disk with it.
            self.health.foreign.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if !self.group.gateways.contains(gateway) {
            self.group.gateways.insert(gateway.to_owned());
        }
        if !self.quarantine.is_empty() && self.set_aside(&topic, &payload) {
            return;
        }
        // What a panic leaves behind cannot be trusted: it is noted which message it was, and the
        // loop ends with it.
        let input = Input::Message { topic, payload };
        let judged = catch_unwind(AssertUnwindSafe(|| self.judge(&input)));
        if let Err(panic) = judged {
            let Input::Message { topic, payload } = &input else {
                resume_unwind(panic);
            };
            match self.quarantine.add(topic, payload) {
                Ok(()) => tracing::error!("a message crashed the loop; it will be set aside"),
                Err(error) => tracing::error!(%error, "a message crashed the loop, unnoted"),
            }
            resume_unwind(panic);
        }
    }

    /// Decides a message, unless it has come before.
    fn judge(&mut self, input: &Input) {
        let Input::Message { topic, payload } = input else {
            return;
        };
        #[cfg(test)]
        crate::centre::tests::crash(&self.health, payload);
        if self.watch.has_seen(topic, payload) {
            self.health.duplicates.fetch_add(1, Ordering::Relaxed);
        } else {
            let place = self.decide(input);
            self.note_too_large(place, topic, payload);
        }
    }

    /// Notes a message from which more follows than the journal takes. The commit says so and ends
    /// the loop: what the core has made of it cannot be taken back.
    fn note_too_large(&mut self, place: usize, topic: &str, payload: &[u8]) {
        let decided = &self.group.entries[place];
        let found = decided.told.len();
        if found <= ENTRY_BYTES_MAX {
            return;
        }
        match self.quarantine.add(topic, payload) {
            Ok(()) => tracing::error!(
                found,
                "too much follows from a message; it will be set aside"
            ),
            Err(error) => {
                tracing::error!(found, %error, "too much follows from a message, unnoted");
            }
        }
    }

    /// Journals a message that crashed the process before, once in a run. `false` when it is none.
    fn set_aside(&mut self, topic: &str, payload: &[u8]) -> bool {
        match self.quarantine.look(topic, payload) {
            None => return false,
            Some(false) => {
                self.health.duplicates.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Some(true) => {}
        }
        self.decide(&Input::Quarantined {
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            number: number_of(payload),
        });
        true
    }

    /// The gateway of this site that a topic is of.
    fn sender<'a>(&self, topic: &'a str) -> Option<&'a str> {
        let (Topic::Node { group, node, .. } | Topic::Device { group, node, .. }) =
            Topic::parse(topic).ok()?
        else {
            return None;
        };
        let is_ours =
            group == self.watch.config().group && self.watch.gateways().get(node).is_some();
        is_ours.then_some(node)
    }

    /// Lets time pass, if something waits for it.
    pub(super) fn tick(&mut self) {
        let now = self.look();
        self.tell_clock();
        if self.watch.next_deadline().is_some_and(|at| at <= now) {
            self.decide(&Input::Tick);
        }
    }

    /// Decides one input; its place in the group.
    pub(super) fn decide(&mut self, input: &Input) -> usize {
        let now = self.look();
        self.decide_at(now, input)
    }

    /// The time. A loop that has not looked for long (a full disk, a paused machine) stood still,
    /// and that is an entry of its own before anything is judged by the new time.
    fn look(&mut self) -> Timestamp {
        let now = self.clock.now();
        let since = std::mem::replace(&mut self.looked_at, now);
        if now.ms_since(since) >= STOOD_STILL_MIN_MS {
            let (from_ms, to_ms) = (since.0, now.0);
            tracing::error!(from_ms, to_ms, "the centre stood still; nobody watched");
            self.decide_at(now, &Input::StoodStill { since });
        }
        now
    }

    /// Raises or ends the alarm about the host's clock, by the last look at it.
    fn tell_clock(&mut self) {
        let off_ms = self.clock.off_ms();
        let active = is_off(off_ms);
        if std::mem::replace(&mut self.clock_told, active) == active {
            return;
        }
        let side = if off_ms < 0 { "behind" } else { "past" };
        let off = Duration::from_millis(off_ms.unsigned_abs());
        let why = format!("the host's clock lies {off:?} {side} the site's time");
        tracing::error!(why, active, "the host's clock");
        self.decide(&Input::Centre {
            condition: SystemCondition::HostClock,
            active,
            why,
        });
    }

    fn decide_at(&mut self, now: Timestamp, input: &Input) -> usize {
        let mut effects = Vec::new();
        self.watch.apply(now, input, &mut effects);
        let (kind, bytes) = entry::encode(input);
        let told = entry::encode_effects(&effects);
        self.group.bytes += bytes.len() + told.len();
        for effect in &effects {
            if let Effect::Link(LinkChange { gateway, event, .. }) = effect {
                self.group.ask(gateway, event);
            }
        }
        self.group.entries.push(Decided {
            now,
            kind,
            input: bytes,
            told,
            effects,
        });
        self.group.entries.len() - 1
    }

    pub(super) fn answer(&self, place: usize) -> Answer {
        let refused = self.group.entries[place]
            .effects
            .iter()
            .find_map(|effect| match effect {
                Effect::AlarmRefused { why, .. } => Some(Answer::RefusedAlarm(*why)),
                Effect::HazardRefused { refused, .. } => {
                    Some(Answer::RefusedHazard(refused.clone()))
                }
                Effect::ConfigRefused { faults } => Some(Answer::RefusedConfig(faults.clone())),
                _ => None,
            });
        refused.unwrap_or_else(|| Answer::Done(self.watch.number()))
    }
}
