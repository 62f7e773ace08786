//! The centre: takes what gateways send, decides, keeps, and tells.
//!
//! The modules stand in the order in which a reading meets them. What is decided is in
//! `davy_core`; what is here acts.

/// The only file that reads a clock.
pub mod clock;

/// Words that nobody can guess.
pub mod secret;

/// Where connections are taken, so many at once.
pub mod door;

/// The embedded MQTT broker.
pub mod broker;

/// MQTT in and out: messages to the loop, its answers back to gateways.
pub mod ingest;

/// The loop: gather, decide, commit, release.
pub mod centre;

/// Messages that crashed the process, known at the next start.
pub mod quarantine;

/// Inputs and effects as the bytes that the journal keeps.
pub mod entry;

/// What came in and what followed, append-only and hash-chained.
pub mod journal;

/// What follows the journal by cursor, each at its own pace.
pub mod sinks;

/// Freezes the evidence of an entry of the ledger.
pub mod evidence;

/// How long readings are kept.
pub mod retention;

/// HTTP: what is asked of the centre, and what it is told.
pub mod api;

/// The centre's own file.
pub mod config;

/// Everything of the centre wired together.
pub mod serve;

/// Everything in one process, with simulated plants.
pub mod demo;

/// Proof that what followed follows.
pub mod replay;
