//! Conditions on the values of a point: what a reading must be for an alarm to be active.
//!
//! This is the seam where a kind of condition is added. A kind is one file beside [`limit`] and one
//! arm in [`ValueCondition`]; it answers the questions below and knows nothing of delays, lanes,
//! axes or the operator, who are the same for all kinds:
//!
//! - [`counted`](ValueCondition::counted): does a reading of this quality count, and as what value?
//! - [`holds`](ValueCondition::holds): does the condition hold with this value?
//! - [`band`](ValueCondition::band): at which values can nothing change? A kind that must see every
//!   reading answers [`Band::EMPTY`].
//! - [`holds_still`](ValueCondition::holds_still): does silence let it come about?
//! - [`word`](ValueCondition::word), [`rank`](ValueCondition::rank) and
//!   [`covers`](ValueCondition::covers): which alarm of a point is which, judged first, heard.
//!
//! What a kind remembers of earlier readings is an arm of its own in [`Memory`], which stands in the
//! snapshot. On the outside it needs an arm in [`Condition`] and what the configuration says of it.
//!
//! Invariant: an answer is a function of the arguments alone.

use serde::{Deserialize, Serialize};

use super::band::Band;
use crate::alarm::definition::{Condition, Limit};
use crate::reading::Quality;

mod limit;

/// A condition on the values of a point, compiled for judging.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ValueCondition {
    /// A limit is reached.
    Limit(Limit),
}

/// What a condition remembers of the readings before, in one lane. It begins with nothing, and has
/// nothing again when its time begins anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Memory {
    /// Nothing, which is all that a limit needs.
    #[default]
    Nothing,
}

impl Memory {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

impl ValueCondition {
    /// Compiles the condition of a definition, if it is one on values.
    pub(super) fn new(condition: Condition) -> Option<Self> {
        match condition {
            Condition::Limit(limit) => Some(Self::Limit(limit)),
            Condition::System(_) => None,
        }
    }

    /// The value as the condition is judged by it, or none when the reading does not count: the
    /// delays then stand still and the condition stays as it is.
    pub(super) fn counted(&self, value: f64, quality: Quality) -> Option<f64> {
        match self {
            Self::Limit(limit) => limit.counted(value, quality),
        }
    }

    /// Whether the condition holds with a value that counts, `elapsed` milliseconds of counted time
    /// after the one before; `active` is whether it held. Time may be 0: after a hole, and when the
    /// last value is judged again since the configuration changed.
    pub(super) fn holds(
        &self,
        memory: &mut Memory,
        active: bool,
        (value, _elapsed): (f64, i64),
    ) -> bool {
        match (self, memory) {
            (Self::Limit(limit), _) => limit.holds(active, value),
        }
    }

    /// The good values at which nothing can change while no delay runs: neither what
    /// [`Self::holds`] answers nor what is remembered.
    pub(super) fn band(&self, active: bool) -> Band {
        match self {
            Self::Limit(limit) => limit.band(active),
        }
    }

    /// Whether it goes on holding while nothing comes, so that silence ends its on-delay: a sender
    /// that reports only changes says nothing while the value stays.
    pub(super) fn holds_still(&self) -> bool {
        match self {
            Self::Limit(_) => true,
        }
    }

    /// The word for its kind. An alarm is the same under another configuration while it is.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Limit(limit) => limit.setpoint.word(),
        }
    }

    /// Its place in the order of judgement on its point: after those of lower rank. One that covers
    /// another has no higher rank than it.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Limit(limit) => limit.rank(),
        }
    }

    /// Whether the horn need not sound for `other`, of the same point, while it does for this one.
    /// Never in a circle: of three, the first covers the third when it covers the second and that
    /// one the third.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Limit(limit), Self::Limit(other)) => limit.covers(other),
        }
    }
}
