//! Many stored messages in one byte string, for the backlog.
//!
//! Path: outbox → [`BundleWriter`] → zstd (in the shell) → `davy/backlog` in NDATA → zstd →
//! [`read_bundle`] → each message as if it had come by itself, historical. One zstd frame over
//! many messages is much smaller than one over each.
//!
//! Form: version byte 1, then for each message the device's name and the stored payload, each with
//! its length before it as a varint. Limits: [`BUNDLE_MESSAGES_MAX`] messages and
//! [`BUNDLE_BYTES_MAX`] bytes; whoever unpacks the frame must stop at so many bytes.

use super::wire::{Cursor, WireError, put_varint};

/// Most bytes of a bundle before compression.
pub const BUNDLE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most messages in a bundle.
pub const BUNDLE_MESSAGES_MAX: usize = 4096;

/// First byte; another form gets another.
const VERSION: u8 = 1;

/// One stored message in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleMessage<'a> {
    /// The device: last level of its topic.
    pub device: &'a str,
    /// The stored payload, for `walk`.
    pub payload: &'a [u8],
}

/// Puts messages together, oldest first.
#[derive(Clone, Debug)]
pub struct BundleWriter {
    bytes: Vec<u8>,
    messages: usize,
}

impl Default for BundleWriter {
    fn default() -> Self {
        Self {
            bytes: vec![VERSION],
            messages: 0,
        }
    }
}

impl BundleWriter {
    /// Adds a message; `false`, and nothing is added, when it does not fit any more.
    #[must_use]
    pub fn push(&mut self, message: BundleMessage<'_>) -> bool {
        /// Two lengths at their longest.
        const LENGTHS: usize = 20;
        let size = self.bytes.len() + message.device.len() + message.payload.len() + LENGTHS;
        if size > BUNDLE_BYTES_MAX || self.messages >= BUNDLE_MESSAGES_MAX {
            return false;
        }
        for part in [message.device.as_bytes(), message.payload] {
            put_varint(&mut self.bytes, part.len() as u64);
            self.bytes.extend_from_slice(part);
        }
        self.messages += 1;
        true
    }

    /// How many messages are in it.
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The bytes to compress.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a bundle: all of its messages, or why it is none. Their payloads are not looked into.
pub fn read_bundle(bytes: &[u8]) -> Result<Vec<BundleMessage<'_>>, WireError> {
    let too_many = |what, found: usize, allowed: usize| WireError::Range {
        offset: 0,
        what,
        found: found as u64,
        allowed: allowed as u64,
    };
    if bytes.len() > BUNDLE_BYTES_MAX {
        return Err(too_many("bytes of a bundle", bytes.len(), BUNDLE_BYTES_MAX));
    }
    let mut cursor = Cursor::new(bytes);
    let [version] = cursor.fixed("bundle version")?;
    if version != VERSION {
        let (found, allowed) = (usize::from(version), usize::from(VERSION));
        return Err(too_many("bundle version", found, allowed));
    }
    let mut messages = Vec::new();
    while !cursor.is_done() {
        if messages.len() >= BUNDLE_MESSAGES_MAX {
            let found = messages.len() + 1;
            return Err(too_many("messages of a bundle", found, BUNDLE_MESSAGES_MAX));
        }
        messages.push(BundleMessage {
            device: cursor.text("device name")?,
            payload: cursor.bytes("stored payload")?,
        });
    }
    Ok(messages)
}
