//! Inputs and effects as the bytes that the journal keeps.
//!
//! A message is kept as received: the length of its topic (two bytes, big-endian), the topic, the
//! payload. Everything else is JSON, which is still readable in ten years. Effects are a JSON
//! array; no bytes when nothing followed.

use davy_core::watch::{Effect, Input};
use thiserror::Error;

use crate::journal::Kind;

/// Why bytes of the journal are no input.
#[derive(Debug, Error)]
pub enum EntryError {
    /// A message without a topic.
    #[error("message of {found} bytes: its topic does not end within")]
    Topic {
        /// Bytes of the entry.
        found: usize,
    },
    /// Not the JSON of an input.
    #[error("input of the journal: {0}")]
    Json(#[from] serde_json::Error),
}

/// Kind and bytes of an input.
pub fn encode(input: &Input) -> (Kind, Vec<u8>) {
    let kind = match input {
        Input::Started { .. } => Kind::Started,
        Input::Config { .. } => Kind::Config,
        Input::Alarm(_) | Input::Hazard(_) | Input::Centre { .. } => Kind::Command,
        Input::Tick => Kind::Tick,
        Input::Quarantined { .. } => Kind::Quarantined,
        Input::StoodStill { .. } | Input::Broker { .. } | Input::ReplayAccepted { .. } => {
            Kind::Centre
        }
        Input::Message { topic, payload } => {
            return (Kind::Message, encode_message(topic, payload));
        }
    };
    (kind, serde_json::to_vec(input).unwrap_or_default())
}

/// The bytes of a message.
pub fn encode_message(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + topic.len() + payload.len());
    // MQTT gives a topic's length in two bytes as well.
    let length = u16::try_from(topic.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&topic.as_bytes()[..usize::from(length)]);
    bytes.extend_from_slice(payload);
    bytes
}

/// The input of an entry.
pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Input, EntryError> {
    if kind != Kind::Message {
        return Ok(serde_json::from_slice(bytes)?);
    }
    let (topic, payload) = message(bytes)?;
    Ok(Input::Message {
        topic: topic.to_owned(),
        payload: payload.to_vec(),
    })
}

/// Topic and payload of a message's entry.
pub fn message(bytes: &[u8]) -> Result<(&str, &[u8]), EntryError> {
    let failed = || EntryError::Topic { found: bytes.len() };
    let (length, rest) = bytes.split_first_chunk::<2>().ok_or_else(failed)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (topic, payload) = rest.split_at_checked(length).ok_or_else(failed)?;
    Ok((std::str::from_utf8(topic).map_err(|_| failed())?, payload))
}

/// The bytes of effects: none for none.
pub fn encode_effects(effects: &[Effect]) -> Vec<u8> {
    if effects.is_empty() {
        return Vec::new();
    }
    serde_json::to_vec(effects).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_survive_the_journal() -> Result<(), EntryError> {
        let message = Input::Message {
            topic: "spBv1.0/g/DDATA/a/u".into(),
            payload: vec![0, 1, 255],
        };
        let started = Input::Started {
            version: "1".into(),
        };
        let quarantined = Input::Quarantined {
            topic: "spBv1.0/g/DDATA/a/u".into(),
            payload: vec![0, 1, 255],
            number: Some(davy_core::delivery::MessageNumber {
                run: u64::MAX - 2,
                sequence: 1,
            }),
        };
        let stood_still = Input::StoodStill {
            since: davy_core::reading::Timestamp(5),
        };
        let broker = Input::Broker { connected: true };
        for input in [
            message,
            started,
            quarantined,
            stood_still,
            broker,
            Input::Tick,
        ] {
            let (kind, bytes) = encode(&input);
            assert_eq!(decode(kind, &bytes)?, input);
        }
        Ok(())
    }

    #[test]
    fn a_torn_message_is_an_error() {
        for bytes in [&[][..], &[0], &[0, 5, b'a']] {
            assert!(decode(Kind::Message, bytes).is_err());
        }
    }
}
