//! All that Davy decides, and nothing that acts.
//!
//! This package has no runtime, file, socket, clock or log. Time is an argument, bad input is a
//! quality or a counted effect, and the same inputs give the same effects bit for bit. Both ends
//! use it: the gateway for its local alarms, the centre for everything.
//!
//! The modules stand in the order in which a reading meets them.

/// One measured value: its point, quality and time.
pub mod reading;

/// What is measured, and the register that it is read from.
pub mod point;

/// From the texts of a configuration to a checked one, or all of its faults.
pub mod config;

/// The wire: Sparkplug B topics and payloads.
pub mod sparkplug;

/// Which messages of a gateway have come: each once, holes known.
pub mod delivery;

/// Gateways as the centre sees them: what their births declared, which messages have come.
pub mod gateways;

/// Limits, conditions and the ISA-18.2 states: the alarm engine.
pub mod alarm;

/// Major hazard sources (重大危险源) and their level.
pub mod source;

/// The colour of a source, worked out from its alarms.
pub mod warning;

/// The hidden-hazard ledger (隐患台账): its entries and their states.
pub mod hazard;

/// Everything that the centre decides, put together: inputs in, effects out.
pub mod watch;
