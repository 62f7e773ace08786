//! What the shell tells of units, gateways and the centre, and what points tell of their unit.

use serde::{Deserialize, Serialize};

use crate::reading::Timestamp;

/// What is known about one condition of one subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Whether it holds, by what the shell said last.
    pub(super) active: bool,
    /// Whether it holds, by what the points of the unit are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) by_points: bool,
    /// Centre's clock: since when it holds by either, or by none.
    pub(super) since: Timestamp,
    /// Centre's clock: since when it holds, or did last, but for short breaks.
    pub(super) began_at: Timestamp,
}

impl Told {
    pub(super) fn holds(self) -> bool {
        self.active || self.by_points
    }
}
