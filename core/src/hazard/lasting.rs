//! What lasts: an occurrence that becomes an entry after a while, or is one and makes it a candidate
//! for a major hazard.
//!
//! Invariant: what a person has judged stays as it was judged; only the story says what came.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ledger::{DUE_MAX, told};
use super::{Class, HazardChange, HazardState, Judged, Ledger};
use crate::reading::Timestamp;

/// What is known of an occurrence when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting {
    /// It is one of the live lane.
    pub is_live: bool,
    /// An entry of it is a candidate for a major hazard, whatever was known when it was raised.
    pub is_major: bool,
}

/// An occurrence that becomes an entry once it has lasted, or is one and then makes it worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) due: Timestamp,
    pub(super) judged: Judged,
    /// It is an entry already.
    pub(super) entered: bool,
}

impl Waiting {
    /// How long the occurrence must last for what comes next.
    fn after(&self) -> Duration {
        match &self.judged.worsens {
            Some(worsens) if self.entered => worsens.after,
            _ => self.judged.figures.after,
        }
    }
}

impl Ledger {
    /// Does what is due of occurrences that last.
    pub(super) fn meet_due(
        &mut self,
        now: Timestamp,
        recurs_within: Duration,
        lasting: &impl Fn(u64) -> Option<Lasting>,
        changes: &mut Vec<HazardChange>,
    ) {
        while changes.len() < DUE_MAX
            && let Some((at, occurrence)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            let (Some(mut waiting), Some(lasting)) =
                (self.kept.waiting.remove(&occurrence), lasting(occurrence))
            else {
                continue;
            };
            if !lasting.is_live {
                // How long one in a store lasted, the store will say. The live lane may go on with
                // it: so it is asked again.
                waiting.due = now + waiting.after().max(Duration::from_millis(1));
                self.wait(occurrence, waiting);
            } else if waiting.entered {
                self.worsen(now, &waiting.judged, changes);
            } else {
                let raised = before(at, waiting.after());
                let mut judged = waiting.judged;
                if lasting.is_major {
                    judged.class = Class::Major;
                }
                self.enter(now, occurrence, &judged, recurs_within, changes);
                self.wait_to_worsen(raised, occurrence, judged);
            }
        }
    }

    /// What lasts since `raised` and is an entry may make that worse.
    pub(super) fn wait_to_worsen(&mut self, raised: Timestamp, occurrence: u64, judged: Judged) {
        if let Some(worsens) = &judged.worsens {
            let (due, entered) = (raised + worsens.after, true);
            self.wait(
                occurrence,
                Waiting {
                    due,
                    judged,
                    entered,
                },
            );
        }
    }

    /// An occurrence has gone on for so long that its entry is a candidate for a major hazard.
    pub(super) fn worsen(
        &mut self,
        now: Timestamp,
        judged: &Judged,
        changes: &mut Vec<HazardChange>,
    ) {
        let key = (judged.origin.subject.clone(), judged.rule);
        if let Some(id) = self.newest.get(&key).copied() {
            let deadline = judged.worsens.as_ref().and_then(|worsens| worsens.deadline);
            self.become_candidate(now, id, deadline, changes);
        }
    }

    /// Class and deadline follow as long as nobody has judged the entry; its story says it anyway.
    pub(super) fn become_candidate(
        &mut self,
        now: Timestamp,
        id: u64,
        deadline: Option<Duration>,
        changes: &mut Vec<HazardChange>,
    ) {
        let Some(mut hazard) = self.kept.hazards.get(&id).cloned() else {
            return;
        };
        let is_known = hazard.class == Class::Major && deadline.is_none();
        if !hazard.state.is_open() || is_known {
            return;
        }
        self.unindex(&hazard);
        if hazard.state == HazardState::Found {
            hazard.class = Class::Major;
            if let Some(deadline) = deadline {
                hazard.deadline = hazard.deadline.min(now + deadline);
            }
        }
        let from = Some(hazard.state);
        changes.push(told(
            &mut hazard,
            now,
            "system",
            "major_candidate",
            "",
            from,
        ));
        self.index(&hazard);
        self.kept.hazards.insert(id, hazard);
    }

    pub(super) fn wait(&mut self, occurrence: u64, waiting: Waiting) {
        self.due.insert((waiting.due, occurrence));
        self.kept.waiting.insert(occurrence, waiting);
    }
}

/// So long before a moment.
fn before(moment: Timestamp, by: Duration) -> Timestamp {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp(moment.0.saturating_sub(by))
}
