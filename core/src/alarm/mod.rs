//! The alarm engine: readings and commands in, alarm changes out.
//!
//! # Contract
//!
//! - [`Engine::apply`] takes one input at `now` (the centre's clock, journaled with the input) and
//!   appends what followed to `effects`. It cannot fail: bad data is a quality, a refused command
//!   is an effect.
//! - [`Engine::next_deadline`] says when it wants a tick next; delays, shelf expiry and staleness
//!   are deadlines, not timers.
//! - The same inputs give the same effects, bit for bit. A snapshot carries running delays,
//!   latches, shelves and acknowledgements.
//!
//! # Invariants
//!
//! - No data is never recovery: bad or uncertain quality freezes the delays and holds the state.
//! - Nothing is ever acknowledged by the system itself, and shelving does not acknowledge. An
//!   occurrence that a newer one of its alarm replaces leaves the list by [`Cause::Replaced`], and
//!   the answer that was owed for it is owed for the newer one.
//! - What is hidden (shelved, suppressed, out of service) goes on being evaluated.

/// What an alarm is, before anything has happened.
pub mod definition;

/// The axes of an alarm and the ISA-18.2 state derived from them.
pub mod state;

/// What the engine is told, and what it answers.
pub mod change;

mod engine;

#[cfg(test)]
mod tests;

pub use change::{AlarmChange, Cause, Command, Effect, Input, Refusal, Turn};
pub use definition::{
    AlarmDefinition, Condition, Guidance, Limit, Priority, Setpoint, Subject, SystemCondition,
};
pub use engine::{AlarmView, Counters, Engine, Listed, Snapshot, Standing, Untimely};
pub use state::{Axes, State};
