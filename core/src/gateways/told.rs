//! What a message of a gateway said: readings, conditions of the system, things to be told.

use serde::{Deserialize, Serialize};

use crate::alarm::{Subject, SystemCondition, Turn};
use crate::delivery::Missing;
use crate::reading::{Lane, Reading};

/// What a message said. Reused from one message to the next.
#[derive(Debug, Default)]
pub struct Taken {
    /// Readings as measured, in the order of the message.
    pub live: Vec<Reading>,
    /// Readings that come late, in the order of the message.
    pub historical: Vec<Reading>,
    /// How the message follows those before it.
    pub turn: Turn,
    /// Conditions of the system that it begins or ends.
    pub system: Vec<(Subject, SystemCondition, bool)>,
    /// What is to be told.
    pub changes: Vec<LinkChange>,
    /// The gateway whose store has been read to its end.
    pub history_ends: Option<String>,
}

impl Taken {
    /// Empties it for the next message.
    pub fn clear(&mut self) {
        self.live.clear();
        self.historical.clear();
        self.turn = Turn::default();
        self.system.clear();
        self.changes.clear();
        self.history_ends = None;
    }

    /// All readings, those as measured first.
    pub fn lanes(&self) -> [(Lane, &[Reading]); 2] {
        [
            (Lane::Live, &self.live),
            (Lane::Historical, &self.historical),
        ]
    }

    /// How many readings there are.
    pub fn readings(&self) -> usize {
        self.live.len() + self.historical.len()
    }
}

/// Something about a gateway or one of its units has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkChange {
    /// Which gateway.
    pub gateway: String,
    /// Which of its units, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What.
    #[serde(flatten)]
    pub event: LinkEvent,
}

/// What can happen to a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum LinkEvent {
    /// Born, with so many points known and so many unknown.
    Online {
        /// Points of the configuration.
        known: u64,
        /// Names that nobody knows; the first few.
        unknown: Vec<String>,
        /// Points whose unit or range differs from the configuration; the first few.
        differing: Vec<String>,
    },
    /// Dead.
    Offline,
    /// Messages are missing for good.
    Missing {
        /// Which.
        messages: Missing,
    },
    /// The outbox of the gateway had to drop messages.
    OutboxLoss {
        /// How many so far.
        lost: u64,
    },
    /// A message could not be used. Its bytes are the journaled input.
    Unusable {
        /// Why.
        why: String,
    },
    /// Another outbox speaks under this identity: a replacement, or a second gateway.
    AnotherInstance {
        /// Whether the two take turns.
        taking_turns: bool,
    },
    /// Births are needed: something came that only they explain.
    RebirthWanted,
    /// Aliases that the births which were asked for did not explain; the first few. They are
    /// counted, and not asked for again.
    Unexplained {
        /// Which.
        aliases: Vec<u64>,
    },
    /// A node that does not number its messages has skipped some, by Sparkplug's `seq`.
    Skipped {
        /// How many, at least.
        messages: u64,
    },
    /// Messages that have not come for a while are asked for again.
    ResendWanted {
        /// Which.
        messages: Vec<Missing>,
    },
}

impl Taken {
    /// Drops the readings behind so many live and so many historical ones.
    pub(super) fn truncate(&mut self, (live, historical): (usize, usize)) {
        self.live.truncate(live);
        self.historical.truncate(historical);
    }

    /// A condition of the system begins or ends.
    pub(super) fn condition(&mut self, of: Subject, condition: SystemCondition, active: bool) {
        self.system.push((of, condition, active));
    }

    /// Something about a gateway or unit is to be told.
    pub(super) fn tell(&mut self, gateway: &str, unit: Option<&str>, event: LinkEvent) {
        self.changes.push(LinkChange {
            gateway: gateway.to_owned(),
            unit: unit.map(str::to_owned),
            event,
        });
    }
}
