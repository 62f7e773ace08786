//! Why a step was refused: a code with its arguments, for whoever words it in another language, and
//! the same in English.
//!
//! Limit: the texts of a step are bounded before they are quoted, except the name of who takes it.

use serde::{Deserialize, Serialize};

use super::HazardState;
use crate::reading::Timestamp;

/// A step was refused: which guard forbids it, and what would satisfy it. Nothing was changed.
///
/// Moments are milliseconds by the centre's clock. The codes are part of the interface: a new guard
/// gets a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refused {
    /// Every step names who takes it.
    #[error("every step names who takes it; satisfied by: a name in `by`")]
    NoName,
    /// No entry of that number is open.
    #[error("no open entry {hazard}; satisfied by: the number of an entry that is not closed")]
    NoEntry {
        /// The number.
        hazard: u64,
    },
    /// The entry's state does not have the step.
    #[error("the entry is {state:?}; satisfied by: `{step}` is a step from {from:?}")]
    State {
        /// Where the entry stands.
        state: HazardState,
        /// The step.
        step: String,
        /// The state that has it.
        from: HazardState,
    },
    /// A text is too long.
    #[error("`{field}` has {letters} letters; satisfied by: at most {max}")]
    TooLong {
        /// The text, as the step calls it.
        field: String,
        /// Letters found.
        letters: usize,
        /// Letters allowed.
        max: usize,
    },
    /// The comment must say something.
    #[error("{what} is needed; satisfied by: {what} in `comment`")]
    NoComment {
        /// The step, which says what the comment is about.
        step: String,
        /// The same in words.
        what: String,
    },
    /// Another person must be named.
    #[error("`{field}` must name another person; satisfied by: a name other than `{by}`")]
    SamePerson {
        /// `second` or `approved_by`.
        field: String,
        /// Who takes the step.
        by: String,
    },
    /// The trend is not frozen yet.
    #[error("no trend is attached yet; satisfied by: the frozen trend; it is filed within seconds")]
    NoTrend,
    /// It is frozen, and never written again.
    #[error(
        "this half of the evidence is frozen; satisfied by: nothing: it is never written again"
    )]
    AlreadyFiled,
    /// Some of the five items (五落实) are empty.
    #[error("the five items lack: {}; satisfied by: all five", .missing.join(", "))]
    FiveItems {
        /// All that are empty, by their names in the step.
        missing: Vec<String>,
    },
    /// The notice asks for another deadline than it may.
    #[error("deadline {asked_ms} ms is not allowed; satisfied by: a time after now and up to {latest_ms} ms", asked_ms = .asked_ms.0, latest_ms = .latest_ms.0)]
    Deadline {
        /// As asked for.
        asked_ms: Timestamp,
        /// The latest that is allowed.
        latest_ms: Timestamp,
    },
    /// Only a general hazard is fixed on the spot.
    #[error("a major hazard is not fixed on the spot; satisfied by: a notice with the five items")]
    Major,
    /// An extension is asked for before the deadline.
    #[error("the deadline has passed; satisfied by: an extension asked before it expires")]
    DeadlinePassed {
        /// When it passed.
        deadline_ms: Timestamp,
    },
    /// It was extended too often.
    #[error("it was extended {max} times; satisfied by: nothing: it must be put right")]
    Extended {
        /// How often it may be.
        max: u32,
    },
    /// The new deadline is not later, or too late.
    #[error("the new deadline {asked_ms} ms is not later, or too late; satisfied by: a time after {after_ms} ms and up to {latest_ms} ms", asked_ms = .asked_ms.0, after_ms = .after_ms.0, latest_ms = .latest_ms.0)]
    Extension {
        /// As asked for.
        asked_ms: Timestamp,
        /// The present one.
        after_ms: Timestamp,
        /// The latest that is allowed.
        latest_ms: Timestamp,
    },
    /// Finder, rectifier and reviewer are three persons.
    #[error(
        "`{by}` found, verified or rectified it; satisfied by: a re-check by a person who did none of these"
    )]
    HadAHand {
        /// Who takes the step.
        by: String,
    },
    /// It failed too often.
    #[error("it has failed {max} re-checks; satisfied by: a re-check that it passes")]
    Rechecked {
        /// How often it may.
        max: u32,
    },
    /// An alarm of it still holds.
    #[error(
        "its alarm `{alarm}` has not returned to normal; satisfied by: the alarm normal, as a good reading says"
    )]
    AlarmActive {
        /// Which.
        alarm: String,
    },
    /// Nobody has acknowledged an alarm of it.
    #[error(
        "its alarm `{alarm}` is not acknowledged; satisfied by: an acknowledgement in the list of alarms"
    )]
    AlarmOwed {
        /// Which.
        alarm: String,
    },
    /// An alarm of it is latched.
    #[error("its alarm `{alarm}` is latched; satisfied by: a reset in the list of alarms")]
    AlarmLatched {
        /// Which.
        alarm: String,
    },
    /// An alarm of it is no longer configured, and the comment does not say why it may be closed.
    #[error(
        "its alarm `{alarm}` is no longer configured: nobody measures it; satisfied by: in `comment`, the reason why it can be closed all the same"
    )]
    NotMeasured {
        /// Which.
        alarm: String,
    },
    /// It is normal, but not for long enough.
    #[error("it is seen to be normal only since {since_ms} ms; satisfied by: normal without a break until {until_ms} ms", since_ms = .since_ms.0, until_ms = .until_ms.0)]
    NormalTooShort {
        /// Since when.
        since_ms: Timestamp,
        /// Until when it must be.
        until_ms: Timestamp,
    },
    /// It cannot be seen whether it is normal.
    #[error(
        "its point cannot be seen now: whether it is normal is unknown; satisfied by: good readings, normal without a break for {hours} h"
    )]
    Unseen {
        /// How long it must be normal.
        hours: u64,
    },
    /// It is not normal.
    #[error(
        "its alarm has not returned to normal; satisfied by: normal without a break for {hours} h"
    )]
    NotNormal {
        /// How long it must be normal.
        hours: u64,
    },
    /// Only an open major hazard is supervised.
    #[error("only an open major hazard is supervised; satisfied by: class major, not closed")]
    NotSupervisable,
    /// It is supervised, and stays so.
    #[error("it is supervised already; satisfied by: nothing: it stays so until closed")]
    Supervised,
}
