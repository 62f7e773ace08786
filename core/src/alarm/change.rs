//! What the engine is told, and what it answers.
//!
//! Everything here that is serialised stands in the journal and in the live stream for good:
//! names may be added, never changed in meaning.

use serde::{Deserialize, Serialize};

use super::definition::{Priority, Subject, SystemCondition};
use super::state::{Axes, State};
use crate::reading::{Lane, Quality, Reading, Timestamp};

/// What the engine is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input<'a> {
    /// Readings of one message, in the order in which they were sent.
    Readings {
        /// As measured, or out of a store.
        lane: Lane,
        /// How the message follows those before it.
        turn: Turn,
        /// In the order in which they were sent.
        readings: &'a [Reading],
    },
    /// The store of a gateway has been read to its end: what the historical lane knows is over.
    HistoryEnds {
        /// The gateway whose store it was.
        gateway: &'a str,
    },
    /// Something about the system itself began or ended.
    System {
        /// What it is about. A unit or gateway in loss of view makes its points bad.
        subject: &'a Subject,
        /// What is or is no longer out of order.
        condition: SystemCondition,
        /// Whether it holds now.
        active: bool,
    },
    /// Nobody was there to see anything from `since` until now: that time is no silence of a point,
    /// and no health of one either.
    Blind {
        /// From when.
        since: Timestamp,
    },
    /// An operator's command.
    Command(&'a Command),
    /// Time has passed.
    Tick,
}

/// How a message follows those of its gateway, in the same lane, that came before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// Numbered above all of them: what it holds was measured later, whatever its clock says.
    Next,
    /// Numbered below one of them: it closes a gap.
    Gap,
    /// Nobody numbers them: their time alone says it.
    #[default]
    Unnumbered,
}

/// An operator's command on one alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// The operator has seen this occurrence and answers for it.
    Acknowledge {
        /// The occurrence, as shown. A newer one of the same alarm is not acknowledged by it.
        occurrence: u64,
        /// Who.
        by: String,
        /// Why, in words, if the operator gave any.
        comment: Option<String>,
    },
    /// The operator releases a latched alarm that has returned and was acknowledged.
    Reset {
        /// The occurrence, as shown.
        occurrence: u64,
        /// Who.
        by: String,
        /// Why, in words, if the operator gave any.
        comment: Option<String>,
    },
}

impl Command {
    /// The occurrence that it is about.
    pub fn occurrence(&self) -> u64 {
        match self {
            Self::Acknowledge { occurrence, .. } | Self::Reset { occurrence, .. } => *occurrence,
        }
    }
}

/// Why a command was refused. Nothing was changed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No occurrence of that number is in the list.
    UnknownOccurrence,
    /// It has been acknowledged already.
    AlreadyAcknowledged,
    /// The condition still holds: a reset would hide it.
    StillActive,
    /// It must be acknowledged before it can be reset.
    NotAcknowledged,
    /// It is not latched, so there is nothing to reset.
    NotLatched,
    /// The point cannot be seen now: a reset would say that all is well, which nobody knows.
    Unseen,
}

/// One alarm has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmChange {
    /// Which occurrence of which alarm; numbers grow and are never used again.
    pub occurrence: u64,
    /// Name of the definition.
    pub alarm: String,
    /// Shown state before.
    pub from: State,
    /// Shown state after.
    pub to: State,
    /// All axes after.
    pub axes: Axes,
    /// What brought the change about.
    pub cause: Cause,
    /// Its priority, so that the horn needs no second lookup.
    pub priority: Priority,
    /// The value that was judged; none for an alarm about the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Quality of the last reading.
    pub quality: Quality,
    /// By the gateway's clock, the moment at which this occurrence was raised.
    pub raised_at: Timestamp,
    /// By the gateway's clock, the moment at which the condition changed.
    pub sampled_at: Timestamp,
    /// Whether it was found in readings that came late.
    pub lane: Lane,
    /// Whether the horn is to sound: newly unacknowledged, not hidden, not older than 5 minutes.
    pub sounds: bool,
}

/// What brought a change of an alarm about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// The condition held for the on-delay.
    Raised,
    /// The condition was gone for the off-delay.
    Returned,
    /// An operator acknowledged.
    Acknowledged {
        /// Who.
        by: String,
        /// Why, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// An operator reset a latched alarm.
    Reset {
        /// Who.
        by: String,
        /// Why, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// The quality of the reading changed while the alarm is in the list: it is now, or is no
    /// longer, unknown whether the condition still holds.
    QualityChanged,
    /// It was found in a store and is seen live now: the live lane goes on with the same
    /// occurrence.
    CarriedOn,
    /// A newer occurrence of the same alarm takes its place in the list; what is owed is owed for
    /// the newer one. That nothing is owed for this one any more, as its axes say, is no answer.
    Replaced {
        /// The occurrence that takes its place.
        newer: u64,
        /// Nobody had answered for this one.
        unanswered: bool,
    },
    /// The alarm is no longer in the configuration. Nothing is owed for it any more; that is no
    /// answer.
    Removed {
        /// Nobody had answered for this occurrence.
        unanswered: bool,
    },
}

/// What followed from an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// An alarm has changed.
    Changed(AlarmChange),
    /// A command was refused; nothing was changed by it.
    Refused {
        /// The command, as given.
        command: Command,
        /// Why.
        why: Refusal,
    },
}
