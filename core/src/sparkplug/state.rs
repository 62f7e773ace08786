//! Deaths and the host's STATE.
//!
//! NDEATH is the last will of a gateway: written when it connects, sent by the broker. Its `bdSeq`
//! ties it to the birth of the same connection, so that a late will of an old connection does not
//! kill a new one. STATE says whether a host is there (Sparkplug 3.0, 6.4.24).

use serde::{Deserialize, Serialize};

use super::birth::{own_metric, pack_payload, unpack_payload, whole};
use super::names;
use super::payload::{DataType, MetricValue};
use super::wire::WireError;
use crate::reading::Timestamp;

/// Longest STATE message that is read.
const STATE_BYTES_MAX: usize = 1024;

/// NDEATH. It has no `seq`.
pub fn build_node_death(at: Timestamp, bd_seq: u8) -> Vec<u8> {
    let value = Some(MetricValue::Long(u64::from(bd_seq)));
    let metric = own_metric(names::BD_SEQ, at, DataType::Int64, value);
    pack_payload(at, None, vec![metric])
}

/// The `bdSeq` of an NDEATH; it must be there.
pub fn read_node_death(bytes: &[u8]) -> Result<u64, WireError> {
    let payload = unpack_payload("node death", bytes)?;
    let found = payload
        .metrics
        .iter()
        .find(|metric| metric.name.as_deref() == Some(names::BD_SEQ));
    found
        .and_then(|metric| whole(metric.value.as_ref()))
        .ok_or(WireError::Missing {
            what: "bdSeq of a node death",
        })
}

/// DDEATH: a unit does not answer any more. Read it with `walk`: it holds a time and a `seq`.
pub fn build_device_death(at: Timestamp, seq: u8) -> Vec<u8> {
    pack_payload(at, Some(seq), Vec::new())
}

/// Whether a host is there: `{"online":true,"timestamp":1700000000000}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// Whether it is there.
    pub online: bool,
    /// Since when: the same in a host's birth and in its last will.
    pub timestamp: Timestamp,
}

impl HostState {
    /// As it is published, retained.
    pub fn to_json(self) -> String {
        format!(
            "{{\"online\":{},\"timestamp\":{}}}",
            self.online, self.timestamp.0
        )
    }

    /// Reads the STATE of any host; members that are not known are passed over.
    pub fn from_json(bytes: &[u8]) -> Result<Self, WireError> {
        let json = |reason: String| WireError::Json {
            what: "STATE",
            reason,
        };
        if bytes.len() > STATE_BYTES_MAX {
            let found = bytes.len();
            return Err(json(format!(
                "{found} bytes; at most {STATE_BYTES_MAX} allowed"
            )));
        }
        serde_json::from_slice(bytes).map_err(|error| json(error.to_string()))
    }
}
