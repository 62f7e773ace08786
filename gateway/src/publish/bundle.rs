//! Stored messages in one compressed byte string, as the backlog lane sends them.

use davy_core::sparkplug::{BundleMessage, BundleWriter};

use crate::outbox::StoredMessage;

/// Level of zstd: beyond 3 it takes several times as long for some per cent.
const ZSTD_LEVEL: i32 = 3;

/// Packs messages, all or none.
pub fn bundle(messages: &[StoredMessage]) -> std::io::Result<Vec<u8>> {
    let mut writer = BundleWriter::default();
    for message in messages {
        let fits = writer.push(BundleMessage {
            device: &message.device,
            payload: &message.payload,
        });
        if !fits {
            return Err(std::io::Error::other("too many messages for one bundle"));
        }
    }
    zstd::bulk::compress(&writer.into_bytes(), ZSTD_LEVEL)
}
