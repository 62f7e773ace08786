//! Where a condition stands in one lane: the delays, the same for every kind of condition.
//!
//! Invariant: it moves only by a value that counts, so whatever does not count freezes the delay and
//! holds the condition.

use serde::{Deserialize, Serialize};

use super::condition::Memory;
use super::rule::Rule;

/// What a step brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// The condition has held for the on-delay.
    Raised,
    /// It has been gone for the off-delay.
    Returned,
}

/// Where the condition of one alarm stands in one lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The condition holds, after the delays.
    pub(super) active: bool,
    /// The delay that runs (on-delay while inactive, else off-delay): milliseconds counted so far.
    pub(super) held: Option<i64>,
    /// What the condition remembers of the readings before.
    #[serde(default, skip_serializing_if = "Memory::is_nothing")]
    memory: Memory,
}

impl Run {
    /// Judges `value`, which is `elapsed` milliseconds of counted time after the one before.
    pub(super) fn step(&mut self, rule: &Rule, value: f64, elapsed: i64) -> Option<Edge> {
        let condition = rule.condition()?;
        let holds = condition.holds(&mut self.memory, self.active, (value, elapsed));
        if holds == self.active {
            self.held = None;
            return None;
        }
        let held = self.held.map_or(0, |held| held.saturating_add(elapsed));
        let (delay, edge) = if self.active {
            (rule.off_delay, Edge::Returned)
        } else {
            (rule.on_delay, Edge::Raised)
        };
        if held < delay {
            self.held = Some(held);
            return None;
        }
        self.turn(!self.active);
        Some(edge)
    }

    /// The condition is active or not from now on, whatever the delays say.
    pub(super) fn turn(&mut self, active: bool) {
        self.active = active;
        self.held = None;
    }

    /// Neither active nor on its way to.
    pub(super) fn is_quiet(&self) -> bool {
        !self.active && self.held.is_none()
    }
}
