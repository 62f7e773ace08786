//! Davy at the edge: Modbus in, Sparkplug B out, nothing lost between.
//!
//! The gateway polls the units of its buses, decodes the replies to readings, keeps them in its
//! outbox and publishes them until the centre says that they are committed. It decides with the
//! same core as the centre, so it can annunciate with no network at all.
//!
//! It reads sensors with function codes 01–04 and nothing else. The one thing that it may write is
//! the annunciator, and only where the configuration names one.
//!
//! The modules stand in the order in which a reading meets them.

/// Pure: points of a unit to the fewest requests.
pub mod plan;

/// Pure: registers or bits of a reply to readings with their quality.
pub mod decode;

/// The read-only Modbus client and the links that it runs over.
pub mod modbus;

/// The only file of this package that reads a clock.
pub mod clock;

/// One process a data folder.
pub mod lock;

/// How many files and connections the process may have open.
pub mod files;

/// Pure: how long to wait before the next attempt to connect.
pub mod pause;

/// One task for each bus: asks on the grid, keeps silent units from delaying the others.
pub mod poll;

/// The only thing that the edge may write: siren, beacon, board.
pub mod annunciator;

/// Local alarms: the engine of the centre over this gateway's own points.
pub mod local;

/// Store and forward: every message until the centre says that it is committed.
pub mod outbox;

/// From the outbox to MQTT: births, the live lane, the backlog lane.
pub mod publish;

/// What others may see of a running gateway.
pub mod status;

/// Reading the configuration's files, and the gateway's own.
pub mod config;

/// Everything wired together.
pub mod edge;

/// What an error says to a person, each cause once.
pub mod cause;

/// Plants and faults to try all this on.
pub mod simulator;

pub use edge::{Options, run};

#[cfg(test)]
mod test_log;
