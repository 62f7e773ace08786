//! From readings to MQTT: stored first, live before backlog, freed only when committed.
//!
//! ```text
//!  batches of readings ─► pipeline (one thread: outbox, local alarms, session) ─► packets ─► link ─► broker
//!                             ▲                                                             │
//!                             └──────────── connected, STATE, commands, acknowledgements ───┘
//! ```
//!
//! - [`session`] decides what is sent next. Pure.
//! - [`pipeline`] owns the outbox and acts: it stores, encodes, and hands packets on.
//! - [`link`] moves packets to the broker and back, and connects again.
//!
//! # Invariants
//!
//! - A message is in the outbox before it is handed on, and stays until the centre has committed
//!   it (or the broker has acknowledged it, where the configuration says so).
//! - The network never holds the pipeline up: where a queue is full the message stays in the
//!   outbox, and the backlog lane takes it later.

/// Which unit has which points, under which alias; and their births.
pub mod catalogue;

/// Stored messages in one compressed byte string.
pub mod bundle;

/// The connection to the broker.
pub mod link;

/// The thread that stores, decides and hands on.
pub mod pipeline;

/// Sets of rows of the outbox.
mod rows;

/// What is sent next.
pub mod session;
