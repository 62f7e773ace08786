//! What a message of a gateway says, read once for all who need it.

use crate::delivery::MessageNumber;
use crate::sparkplug::{
    Birth, DeviceMessage, NodeData, NodeMessage, Topic, Walk, read_birth, read_node_data,
    read_node_death, walk,
};

/// A message, read as far as it can be without knowing what came before.
pub(super) enum Said<'a> {
    /// NBIRTH.
    NodeBirth(Box<Birth>),
    /// NDEATH, with the `bdSeq` of the birth that it ends.
    NodeDeath(u64),
    /// NDATA in which a Davy gateway speaks of its outbox.
    Outbox(NodeData),
    /// DBIRTH of a unit.
    UnitBirth(&'a str, Box<Birth>),
    /// DDEATH: whatever else it holds, the unit is gone.
    UnitDeath {
        /// The unit.
        unit: &'a str,
        /// Its place among the messages of the node.
        seq: Option<u8>,
        /// Why the rest of it cannot be read, in words.
        unreadable: Option<String>,
    },
    /// Readings: DDATA of a unit, or NDATA of a node that measures itself.
    Data {
        /// The unit; none in NDATA.
        unit: Option<&'a str>,
        /// Its metrics.
        walk: Walk<'a>,
        /// Its number, if its gateway gives any.
        number: Option<MessageNumber>,
    },
    /// A command: those go the other way.
    Nothing,
}

impl<'a> Said<'a> {
    /// Reads a message; in words why it cannot be used.
    pub(super) fn read(topic: &Topic<'a>, payload: &'a [u8]) -> Result<Self, String> {
        match *topic {
            Topic::Node { message, .. } => Self::of_node(message, payload),
            Topic::Device {
                message, device, ..
            } => Self::of_unit(device, message, payload),
            Topic::Host { .. } => Ok(Self::Nothing),
        }
    }

    fn of_node(message: NodeMessage, payload: &'a [u8]) -> Result<Self, String> {
        match message {
            NodeMessage::Birth => {
                let birth = read_birth(payload).map_err(|error| error.to_string())?;
                Ok(Self::NodeBirth(Box::new(birth)))
            }
            NodeMessage::Death => read_node_death(payload)
                .map(Self::NodeDeath)
                .map_err(|error| error.to_string()),
            NodeMessage::Data => {
                let data = read_node_data(payload).map_err(|error| error.to_string())?;
                if data.backlog.is_some() {
                    // A sound one has been unfolded on its way here.
                    return Err("a bundle of stored messages that does not unfold".into());
                }
                if data != NodeData::default() {
                    return Ok(Self::Outbox(data));
                }
                Ok(Self::Data {
                    unit: None,
                    walk: walk(payload).map_err(|error| error.to_string())?,
                    number: None,
                })
            }
            NodeMessage::Command => Ok(Self::Nothing),
        }
    }

    fn of_unit(unit: &'a str, message: DeviceMessage, payload: &'a [u8]) -> Result<Self, String> {
        match message {
            DeviceMessage::Birth => {
                let birth = read_birth(payload).map_err(|error| error.to_string())?;
                Ok(Self::UnitBirth(unit, Box::new(birth)))
            }
            DeviceMessage::Death => {
                let (seq, unreadable) = match walk(payload) {
                    Ok(walk) => (walk.seq, None),
                    Err(error) => (None, Some(error.to_string())),
                };
                Ok(Self::UnitDeath {
                    unit,
                    seq,
                    unreadable,
                })
            }
            DeviceMessage::Data => {
                let walk = walk(payload).map_err(|error| error.to_string())?;
                let number = walk.number().map_err(|error| error.to_string())?;
                Ok(Self::Data {
                    unit: Some(unit),
                    walk,
                    number,
                })
            }
            DeviceMessage::Command => Ok(Self::Nothing),
        }
    }
}
