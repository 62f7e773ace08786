//! The axes of an alarm, and the ISA-18.2 state derived from them.
//!
//! The axes are what is kept; the state is what is shown. Several overlays can hold at once, and
//! leaving one shows the truth of the moment.

use serde::{Deserialize, Serialize};

use crate::reading::Timestamp;

/// What is kept of an alarm.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an axis of its own; the state is derived from all of them"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Axes {
    /// The condition holds (after the delays).
    pub active: bool,
    /// An operator has acknowledged this occurrence, or none is owed.
    pub acknowledged: bool,
    /// Returned, but held until an operator resets it.
    pub latched: bool,
    /// Hidden by an operator until then, by the centre's clock.
    pub shelved_until: Option<Timestamp>,
    /// Hidden by a rule.
    pub suppressed_by_design: bool,
    /// Hidden by maintenance.
    pub out_of_service: bool,
}

/// The ISA-18.2 states. The mnemonics of the standard are for screens only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A `NORM`: nothing is owed.
    Normal,
    /// B `UNACK`: active, an answer is owed.
    Unacked,
    /// C `ACKED`: active, answered.
    Acked,
    /// D `RTNUN`: returned to normal before anyone answered.
    RtnUnacked,
    /// E: returned, latched, an answer is owed.
    LatchedUnacked,
    /// F: returned, answered, waits for a reset.
    LatchedAcked,
    /// G `SHLVD`.
    Shelved,
    /// H `DSUPR`.
    SuppressedByDesign,
    /// I `OOSRV`.
    OutOfService,
}

impl State {
    /// An acknowledgement is owed and shown to be: active or returned, and not hidden.
    pub fn is_owed(self) -> bool {
        matches!(
            self,
            Self::Unacked | Self::RtnUnacked | Self::LatchedUnacked
        )
    }
}

impl Axes {
    /// An alarm to which nothing has happened.
    pub const NORMAL: Self = Self {
        active: false,
        acknowledged: true,
        latched: false,
        shelved_until: None,
        suppressed_by_design: false,
        out_of_service: false,
    };

    /// The state that is shown. Total: every combination of axes has one. Out of service hides
    /// suppressed, which hides shelved, which hides the state of the process.
    pub fn state(self) -> State {
        if self.out_of_service {
            State::OutOfService
        } else if self.suppressed_by_design {
            State::SuppressedByDesign
        } else if self.shelved_until.is_some() {
            State::Shelved
        } else {
            self.process_state()
        }
    }

    /// The state without overlays: what a hidden alarm would be.
    pub fn process_state(self) -> State {
        match (self.active, self.latched, self.acknowledged) {
            (true, _, false) => State::Unacked,
            (true, _, true) => State::Acked,
            (false, true, false) => State::LatchedUnacked,
            (false, true, true) => State::LatchedAcked,
            (false, false, false) => State::RtnUnacked,
            (false, false, true) => State::Normal,
        }
    }
}
