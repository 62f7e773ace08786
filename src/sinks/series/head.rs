//! The head log: unsealed readings as the rows of a log, one row a commit.
//!
//! A row is a checksum and then, for each point in it, its number, how many readings, and the
//! readings as they came (time, value, quality code: 17 bytes each, little-endian). Rows are read
//! once, at the start; they are small and short-lived, so they are not packed.

use sha2::{Digest, Sha256};

use super::chunk::Input;
use super::columns::Columns;

const CHECKSUM_BYTES: usize = 32;

/// Writes one row of the log.
pub(super) fn write<'a>(points: impl Iterator<Item = (u32, &'a Columns)>) -> Vec<u8> {
    let mut bytes = vec![0; CHECKSUM_BYTES];
    for (point, readings) in points {
        bytes.extend(point.to_le_bytes());
        bytes.extend((readings.len() as u32).to_le_bytes());
        for (time, value, code) in readings.iter() {
            bytes.extend(time.to_le_bytes());
            bytes.extend(value.to_le_bytes());
            bytes.push(code);
        }
    }
    let sum = Sha256::digest(&bytes[CHECKSUM_BYTES..]);
    bytes[..CHECKSUM_BYTES].copy_from_slice(&sum);
    bytes
}

/// Reads one row of the log: points in the order in which they were written.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(u32, Columns)>, String> {
    let mut input = Input(bytes);
    let found = input.bytes(CHECKSUM_BYTES)?;
    if found != Sha256::digest(input.0).as_slice() {
        return Err("checksum does not match".into());
    }
    let mut points = Vec::new();
    while !input.0.is_empty() {
        let (point, count) = (input.u32()?, input.u32()?);
        let mut readings = Columns::default();
        for _ in 0..count {
            readings.push(input.i64()?, input.f64()?, input.u8()?);
        }
        points.push((point, readings));
    }
    Ok(points)
}
