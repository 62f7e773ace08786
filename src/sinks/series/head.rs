//! Heads, and the head log: unsealed readings as the rows of a log, one row a commit.
//!
//! A row is a checksum, how many readings there are, and the readings as they came. Each begins
//! with a byte of flags that say what is as in the reading before it, and then has what is not:
//! number of the point (4 bytes), time (8), value (4 when a single holds it exactly, else 8),
//! quality code (1), all little-endian. Points that are polled together take 5 bytes a reading
//! like that. Rows are read once, at the start; they are short-lived, so they are not packed
//! further.

use sha2::{Digest, Sha256};

use super::chunk::Input;
use super::columns::Columns;

const CHECKSUM_BYTES: usize = 32;

/// Checksum and number of readings.
const HEADER_BYTES: usize = CHECKSUM_BYTES + 4;

/// Room that is made for a reading in a row; most take less.
const READING_BYTES: usize = 9;

/// Flags of a reading: its point is the one after the point of the reading before it.
const NEXT_POINT: u8 = 1;
/// It has the same time.
const SAME_TIME: u8 = 2;
/// It has the same quality.
const SAME_CODE: u8 = 4;
/// Its value is written as a single.
const SINGLE: u8 = 8;

/// What stands before the first reading of a row.
const NOTHING: Fresh = Fresh {
    point: 0,
    time: 0,
    value: 0.0,
    code: 0,
};

/// One reading of a point that is not sealed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    /// Number of its point.
    pub(super) point: u32,
    /// Milliseconds since 1970.
    pub(super) time: i64,
    /// In the point's unit; NaN when there is none.
    pub(super) value: f64,
    /// As `Quality::code` writes it.
    pub(super) code: u8,
}

/// A reading in a head: 17 bytes, where the types themselves would take 24.
#[derive(Clone, Copy, Debug)]
struct Packed {
    time: [u8; 8],
    value: [u8; 8],
    code: u8,
}

impl From<Fresh> for Packed {
    fn from(reading: Fresh) -> Self {
        Self {
            time: reading.time.to_le_bytes(),
            value: reading.value.to_le_bytes(),
            code: reading.code,
        }
    }
}

/// The unsealed readings of one point in memory, in the order in which they came. One short piece
/// of memory each, and not three columns: each reading that comes goes to another head.
#[derive(Clone, Debug, Default)]
pub(super) struct Head(Vec<Packed>);

impl Head {
    /// How many readings there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a reading after all others.
    pub(super) fn push(&mut self, reading: Fresh) {
        self.0.push(reading.into());
    }

    /// The readings, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, f64, u8)> + '_ {
        self.0.iter().map(|reading| {
            let time = i64::from_le_bytes(reading.time);
            let value = f64::from_le_bytes(reading.value);
            (time, value, reading.code)
        })
    }

    /// The readings side by side, with room for `more`.
    pub(super) fn columns(&self, more: usize) -> Columns {
        let mut columns = Columns::with_capacity(self.len() + more);
        for (time, value, code) in self.iter() {
            columns.push(time, value, code);
        }
        columns
    }

    /// Sorts by time and keeps, of readings with the same time, the one that came last.
    pub(super) fn settle(&mut self, point: u32) {
        let mut columns = self.columns(0);
        columns.settle();
        self.0.clear();
        for (time, value, code) in columns.iter() {
            self.push(Fresh {
                point,
                time,
                value,
                code,
            });
        }
    }
}

/// A row of the log that is being written.
pub(super) struct Writing {
    bytes: Vec<u8>,
    last: Fresh,
    count: u32,
}

impl Writing {
    /// With room for `count` readings.
    pub(super) fn with_capacity(count: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + count * READING_BYTES);
        bytes.resize(HEADER_BYTES, 0);
        Self {
            bytes,
            last: NOTHING,
            count: 0,
        }
    }

    /// Adds a reading after all others.
    pub(super) fn push(&mut self, reading: Fresh) {
        let single = reading.value as f32;
        let is_single = f64::from(single).to_bits() == reading.value.to_bits();
        let last = std::mem::replace(&mut self.last, reading);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(last.point.wrapping_add(1) == reading.point, NEXT_POINT)
            | flag(last.time == reading.time, SAME_TIME)
            | flag(last.code == reading.code, SAME_CODE)
            | flag(is_single, SINGLE);
        self.bytes.push(flags);
        if flags & NEXT_POINT == 0 {
            self.bytes.extend_from_slice(&reading.point.to_le_bytes());
        }
        if flags & SAME_TIME == 0 {
            self.bytes.extend_from_slice(&reading.time.to_le_bytes());
        }
        if flags & SAME_CODE == 0 {
            self.bytes.push(reading.code);
        }
        if is_single {
            self.bytes.extend_from_slice(&single.to_le_bytes());
        } else {
            self.bytes.extend_from_slice(&reading.value.to_le_bytes());
        }
        self.count += 1;
    }

    /// How many readings there are.
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    /// The row, with its checksum.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let (sum, rest) = self.bytes.split_at_mut(CHECKSUM_BYTES);
        if let Some(count) = rest.first_chunk_mut() {
            *count = self.count.to_le_bytes();
        }
        sum.copy_from_slice(&Sha256::digest(rest));
        self.bytes
    }
}

/// Reads one row of the log: readings in the order in which they were written.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Fresh>, String> {
    let mut input = Input(bytes);
    let found = input.bytes(CHECKSUM_BYTES)?;
    if found != Sha256::digest(input.0).as_slice() {
        return Err("checksum does not match".into());
    }
    let count = input.u32()? as usize;
    // What a checksum proves was written by us; a count that is wrong still takes no memory.
    let mut readings = Vec::with_capacity(count.min(input.0.len()));
    let mut last = NOTHING;
    for _ in 0..count {
        last = next(&mut input, last)?;
        readings.push(last);
    }
    Ok(readings)
}

fn next(input: &mut Input<'_>, last: Fresh) -> Result<Fresh, String> {
    let flags = input.u8()?;
    Ok(Fresh {
        point: match flags & NEXT_POINT {
            0 => input.u32()?,
            _ => last.point.wrapping_add(1),
        },
        time: match flags & SAME_TIME {
            0 => input.i64()?,
            _ => last.time,
        },
        code: match flags & SAME_CODE {
            0 => input.u8()?,
            _ => last.code,
        },
        value: match flags & SINGLE {
            0 => input.f64()?,
            _ => f64::from(f32::from_le_bytes(input.array()?)),
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use proptest::prelude::*;

    use super::*;

    fn fresh() -> impl Strategy<Value = Fresh> {
        let value = prop_oneof![
            (0i32..100).prop_map(|n| f64::from(n) / 8.0),
            (0i32..100).prop_map(|n| f64::from(n) / 10.0),
            any::<u64>().prop_map(f64::from_bits),
        ];
        let time = prop_oneof![Just(1_000i64), any::<i64>()];
        let point = prop_oneof![0u32..4, any::<u32>()];
        (point, time, value, 0u8..3).prop_map(|(point, time, value, code)| Fresh {
            point,
            time,
            value,
            code,
        })
    }

    proptest! {
        #[test]
        fn a_row_comes_out_bit_for_bit(readings in prop::collection::vec(fresh(), 0..50)) {
            let mut row = Writing::with_capacity(readings.len());
            for reading in &readings {
                row.push(*reading);
            }
            prop_assert_eq!(row.len(), readings.len());
            let bits = |all: &[Fresh]| -> Vec<_> {
                let bits = |one: &Fresh| (one.point, one.time, one.value.to_bits(), one.code);
                all.iter().map(bits).collect()
            };
            let read = read(&row.finish()).unwrap();
            prop_assert_eq!(bits(&read), bits(&readings));
        }
    }

    #[test]
    fn points_that_are_polled_together_take_five_bytes() {
        let mut row = Writing::with_capacity(100);
        for point in 1..=100 {
            row.push(Fresh {
                point,
                time: 1_000,
                value: 50.5,
                code: 0,
            });
        }
        assert_eq!(row.finish().len(), HEADER_BYTES + 8 + 100 * 5);
    }
}
