//! What the historical lane remembers: only of points and alarms of which there is something.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::order::Latest;
use super::point::{is_never, never};
use super::run::Run;
use super::status::AlarmStatus;
use crate::reading::{Quality, Timestamp};

/// The latest stored reading of a point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LatePoint {
    /// By the gateway's clock.
    pub(super) sampled_at: Timestamp,
    /// Its quality.
    pub(super) quality: Quality,
    /// The latest good one, while this one is not.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub(super) good_at: Timestamp,
    /// It was from the future when it came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_ahead: bool,
}

impl LatePoint {
    /// The latest good one.
    pub(super) fn good_at(self) -> Timestamp {
        if self.quality.is_good() {
            self.sampled_at
        } else {
            self.good_at
        }
    }

    /// As the one that the next reading is ordered behind.
    pub(super) fn latest(self) -> Latest {
        Latest {
            sampled_at: self.sampled_at,
            yields: self.is_ahead,
        }
    }
}

/// The historical lane: only what has something to remember.
#[derive(Clone, Debug, Default)]
pub(super) struct LateLane {
    /// By point: the latest reading of the store.
    pub(super) points: BTreeMap<u32, LatePoint>,
    /// By point: the latest reading that came in a gap behind it.
    pub(super) gaps: BTreeMap<u32, LatePoint>,
    pub(super) alarms: BTreeMap<u32, AlarmStatus>,
}

impl LateLane {
    /// Whether an occurrence out of a store is active.
    pub(super) fn is_active(&self, alarm: u32) -> bool {
        let late = self.alarms.get(&alarm);
        late.is_some_and(|late| late.axes.active)
    }

    /// Whether the next live reading of the alarm decides about one out of the store.
    pub(super) fn is_handed_over(&self, alarm: u32) -> bool {
        let late = self.alarms.get(&alarm);
        late.is_some_and(|late| late.is_handed_over)
    }

    /// Drops the late status if there is nothing to remember of it.
    pub(super) fn forget(&mut self, alarm: u32) {
        let settled = |status: &AlarmStatus| !status.is_listed() && status.run == Run::default();
        if self.alarms.get(&alarm).is_some_and(settled) {
            self.alarms.remove(&alarm);
        }
    }
}
