//! The wire: Sparkplug B 3.0 topics and payloads, for both ends.
//!
//! Pure: bytes in, values or a [`WireError`] out, and back. Nothing here keeps state between two
//! messages; what a birth declared is kept by `crate::gateways`.
//!
//! How a Davy gateway uses Sparkplug:
//!
//! - Group = enterprise, edge node = gateway, device = Modbus unit, metric = tag.
//! - Each point has an alias, unique in its gateway and never given to another tag ([`Aliases`]),
//!   so that a message which waited in the outbox over a restart still means what it meant.
//! - `davy/run` and `davy/sequence` number each data message. They travel by name, without an
//!   alias: an alias must be unique in an edge node, and every device carries the two; and they
//!   can be read before any birth has come.
//! - Other hosts may ignore everything that begins with `davy`.
//!
//! Rare messages (births, deaths, commands) go through prost ([`payload`]); data messages are
//! written and walked by hand ([`encode_data`], [`walk`]), strictly and without allocation.

/// Where a message goes: `spBv1.0/…`.
pub mod topic;

/// The messages of the Sparkplug B schema, as prost reads and writes them.
pub mod payload;

/// A cursor over protobuf bytes, and all that can be wrong with them.
mod wire;

/// Aliases that keep their tag for good.
mod alias;

/// Data messages: encoded before they are stored, finished when they are published.
mod data;

/// Data messages, read without allocation.
mod walk;

/// Births: what a gateway and its devices measure.
mod birth;

/// Node commands and node data: rebirth, committed, resend; stored, lost, backlog.
mod node;

/// Deaths and the host's STATE.
mod state;

/// Many stored messages in one byte string, for the backlog.
mod bundle;

#[cfg(test)]
mod tests;

pub use alias::{Aliases, FIRST_ALIAS};
pub use birth::{
    BIRTH_METRICS_MAX, Birth, BirthPoint, BornMetric, NodeBirth, build_device_birth,
    build_node_birth, read_birth,
};
pub use bundle::{BUNDLE_BYTES_MAX, BUNDLE_MESSAGES_MAX, BundleMessage, BundleWriter, read_bundle};
pub use data::{WireType, encode_data, finish};
pub use node::{
    Command, Commands, NodeData, RunRanges, build_commands, build_node_data, read_commands,
    read_node_data,
};
pub use payload::DataType;
pub use state::{HostState, build_device_death, build_node_death, read_node_death};
pub use topic::{DeviceMessage, NodeMessage, Topic, TopicError};
pub use walk::{Metric, Metrics, RawValue, Walk, read_number, walk};
pub use wire::WireError;

/// Largest MQTT packet in either direction, in bytes: what Davy's broker takes, what the centre reads
/// and what a gateway sends. Births are the largest; some 20,000 points of one unit fit in.
pub const PACKET_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Names of the metrics and properties that Davy uses; each is on the wire and never changes.
pub(crate) mod names {
    /// Birth and death sequence (Sparkplug 3.0, 6.4.16): ties a death to its birth.
    pub(crate) const BD_SEQ: &str = "bdSeq";
    /// Asks a node for new births (Sparkplug 3.0, 6.4.16).
    pub(crate) const REBIRTH: &str = "Node Control/Rebirth";
    /// Start of the gateway.
    pub(crate) const RUN: &str = "davy/run";
    /// Message of that run.
    pub(crate) const SEQUENCE: &str = "davy/sequence";
    /// Which outbox speaks: given at its first start, so that two are told apart.
    pub(crate) const INSTANCE: &str = "davy/instance";
    /// What the outbox still keeps, JSON.
    pub(crate) const STORED: &str = "davy/stored";
    /// Messages that the outbox had to give up.
    pub(crate) const LOST: &str = "davy/lost";
    /// What was asked for again and is not kept any more, JSON.
    pub(crate) const GONE: &str = "davy/gone";
    /// A compressed bundle of stored messages.
    pub(crate) const BACKLOG: &str = "davy/backlog";
    /// What the centre has committed, JSON.
    pub(crate) const COMMITTED: &str = "davy/committed";
    /// What the centre asks for again, JSON.
    pub(crate) const RESEND: &str = "davy/resend";
    /// Sparkplug's quality property: 192 good, 500 stale, 0 bad (Sparkplug 3.0, 6.4.13).
    pub(crate) const QUALITY: &str = "Quality";
    /// Davy's quality with its cause: `Quality::code`.
    pub(crate) const DAVY_QUALITY: &str = "davyQuality";
    /// Unit, low and high end of the range: the names that hosts show.
    pub(crate) const UNIT: &str = "engUnit";
    /// Low end of the range.
    pub(crate) const LOW: &str = "engLow";
    /// High end of the range.
    pub(crate) const HIGH: &str = "engHigh";
    /// What is measured.
    pub(crate) const KIND: &str = "kind";
    /// Where it hangs.
    pub(crate) const POSITION: &str = "position";
    /// The major hazard source.
    pub(crate) const SOURCE: &str = "source";
}
