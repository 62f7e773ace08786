//! Data messages: encoded before they are stored, finished when they are published.
//!
//! Path: readings of one device → [`encode_data`] → outbox → [`finish`] → DDATA. What is stored
//! holds the metrics only. The payload's timestamp and `seq` belong to the moment of publishing,
//! and `is_historical` to the way the message goes: all three are added then.
//!
//! Invariants: every metric has its own timestamp (Sparkplug 3.0 demands it, and a stored one must
//! not take a later time); a value that its type cannot hold goes out as null and bad, never as
//! another number; quality is left out when good.

use serde::{Deserialize, Serialize};

use super::names;
use super::payload::DataType;
use super::wire::{Cursor, LENGTH, WireError, put_varint, wire_ms};
use crate::delivery::MessageNumber;
use crate::point::{Encoding, Point, Scaling};
use crate::reading::{BadCause, Quality, Reading, Timestamp};

/// Longest metric that [`encode_data`] writes: 34 bytes of value, time and alias, 42 of quality.
const METRIC_BYTES_MAX: usize = 96;

/// Field 5, varint, 1: this metric is historical.
const HISTORICAL: [u8; 2] = [0x28, 0x01];

/// As what a point's value travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireType {
    /// Single: what the instrument itself sends as one.
    Float,
    /// Double: what was scaled, so that both ends judge the same number.
    Double,
    /// Signed, to 32 bits.
    Int32,
    /// Unsigned, to 32 bits.
    UInt32,
    /// Signed, 64 bits.
    Int64,
    /// Unsigned, 64 bits.
    UInt64,
    /// A state.
    Boolean,
}

impl WireType {
    /// The smallest type that holds every value of a point exactly.
    pub fn of(point: &Point) -> Self {
        if point.register.scaling != Scaling::None {
            return Self::Double;
        }
        match point.register.encoding {
            Encoding::Bit | Encoding::BitOf(_) => Self::Boolean,
            Encoding::U8 | Encoding::U16 | Encoding::U32 => Self::UInt32,
            Encoding::I8 | Encoding::I16 | Encoding::I32 => Self::Int32,
            Encoding::U64 => Self::UInt64,
            Encoding::I64 => Self::Int64,
            Encoding::F16 | Encoding::F32 => Self::Float,
            Encoding::F64 => Self::Double,
        }
    }

    /// The type that a birth declares.
    pub fn datatype(self) -> DataType {
        match self {
            Self::Float => DataType::Float,
            Self::Double => DataType::Double,
            Self::Int32 => DataType::Int32,
            Self::UInt32 => DataType::UInt32,
            Self::Int64 => DataType::Int64,
            Self::UInt64 => DataType::UInt64,
            Self::Boolean => DataType::Boolean,
        }
    }
}

/// A value as it goes on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Packed {
    Int(u32),
    Long(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
}

/// The value as its type holds it; none when it cannot. A single is rounded to the nearest, which
/// is the value itself when the instrument sent a single.
#[inline]
pub(super) fn pack(wire: WireType, value: f64) -> Option<Packed> {
    /// 2^63, the first value beyond a signed integer of 64 bits.
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    if !value.is_finite() {
        return None;
    }
    let whole = |low: f64, end: f64| value.fract() == 0.0 && value >= low && value < end;
    match wire {
        WireType::Float => Some(value as f32)
            .filter(|single| single.is_finite())
            .map(Packed::Float),
        WireType::Double => Some(Packed::Double(value)),
        WireType::Int32 => {
            whole(-2_147_483_648.0, 2_147_483_648.0).then_some(Packed::Int(value as i32 as u32))
        }
        WireType::UInt32 => whole(0.0, 4_294_967_296.0).then_some(Packed::Int(value as u32)),
        WireType::Int64 => whole(-TWO_63, TWO_63).then_some(Packed::Long(value as i64 as u64)),
        WireType::UInt64 => whole(0.0, 2.0 * TWO_63).then_some(Packed::Long(value as u64)),
        WireType::Boolean => whole(0.0, 2.0).then_some(Packed::Boolean(value > 0.5)),
    }
}

/// What a reading says on the wire: its value, if its type can hold it, and its quality.
#[inline]
pub(super) fn packed(wire: WireType, reading: &Reading) -> (Option<Packed>, Quality) {
    match (pack(wire, reading.value), reading.quality) {
        (None, quality) if !quality.is_bad() => (None, Quality::Bad(BadCause::NotANumber)),
        (value, quality) => (value, quality),
    }
}

/// Sparkplug's number of a quality: 192 good, 500 stale, 0 bad; no other is allowed.
pub(super) fn sparkplug_quality(quality: Quality) -> u32 {
    match quality {
        Quality::Good => 192,
        Quality::Uncertain(_) => 500,
        Quality::Bad(_) => 0,
    }
}

/// One metric under way. Always short enough for a length of one byte.
struct Draft {
    bytes: [u8; METRIC_BYTES_MAX],
    length: usize,
}

impl Draft {
    #[inline]
    fn byte(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = byte;
            self.length += 1;
        }
    }

    #[inline]
    fn slice(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(slots) = self.bytes.get_mut(self.length..end) {
            slots.copy_from_slice(bytes);
            self.length = end;
        }
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// Appends key 2 (a metric), the length, and the metric; and begins anew.
    #[inline]
    fn flush(&mut self, out: &mut Vec<u8>) {
        debug_assert!(self.length < 0x80, "a length of one byte");
        self.bytes[0] = 0x12;
        self.bytes[1] = (self.length - 2) as u8;
        out.extend_from_slice(self.bytes.get(..self.length).unwrap_or_default());
        self.length = 2;
    }

    #[inline]
    fn value(&mut self, value: Option<Packed>) {
        match value {
            Some(Packed::Float(value)) => {
                self.byte(0x65);
                self.slice(&value.to_le_bytes());
            }
            Some(Packed::Double(value)) => {
                self.byte(0x69);
                self.slice(&value.to_le_bytes());
            }
            Some(Packed::Int(value)) => {
                self.byte(0x50);
                self.varint(u64::from(value));
            }
            Some(Packed::Long(value)) => {
                self.byte(0x58);
                self.varint(value);
            }
            Some(Packed::Boolean(value)) => self.slice(&[0x70, u8::from(value)]),
            None => self.slice(&[0x38, 0x01]),
        }
    }

    /// Properties `Quality` and `davyQuality`, both Int32.
    #[cold]
    fn quality(&mut self, quality: Quality) {
        let start = self.length;
        self.slice(&[0x4a, 0]);
        for key in [names::QUALITY, names::DAVY_QUALITY] {
            self.slice(&[0x0a, key.len() as u8]);
            self.slice(key.as_bytes());
        }
        for value in [sparkplug_quality(quality), u32::from(quality.code())] {
            let length = if value < 0x80 { 4 } else { 5 };
            self.slice(&[0x12, length, 0x08, DataType::Int32.number() as u8, 0x18]);
            self.varint(u64::from(value));
        }
        let length = (self.length - start - 2) as u8;
        if let Some(slot) = self.bytes.get_mut(start + 1) {
            *slot = length;
        }
    }
}

/// Appends the metrics of one data message, as it is stored: no payload timestamp, no `seq`.
///
/// `made_at` is the time of the two numbering metrics; readings keep their own. Without `number`
/// none are written. Each reading comes with its alias and type from the birth.
pub fn encode_data<'r>(
    out: &mut Vec<u8>,
    made_at: Timestamp,
    number: Option<MessageNumber>,
    readings: impl IntoIterator<Item = (u64, WireType, &'r Reading)>,
) {
    let mut draft = Draft {
        bytes: [0; METRIC_BYTES_MAX],
        length: 2,
    };
    if let Some(number) = number {
        for (name, value) in [(names::RUN, number.run), (names::SEQUENCE, number.sequence)] {
            draft.slice(&[0x0a, name.len() as u8]);
            draft.slice(name.as_bytes());
            draft.byte(0x18);
            draft.varint(wire_ms(made_at));
            draft.byte(0x58);
            draft.varint(value);
            draft.flush(out);
        }
    }
    for (alias, wire, reading) in readings {
        let (value, quality) = packed(wire, reading);
        draft.byte(0x10);
        draft.varint(alias);
        draft.byte(0x18);
        draft.varint(wire_ms(reading.sampled_at));
        if !quality.is_good() {
            draft.quality(quality);
        }
        draft.value(value);
        draft.flush(out);
    }
}

/// Appends the payload to publish: a stored message with its timestamp and `seq`; when
/// `historical`, every metric in it is marked so.
///
/// Fails only when the stored bytes are not a message; `out` is then as it was before.
pub fn finish(
    stored: &[u8],
    published_at: Timestamp,
    seq: u8,
    historical: bool,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let start = out.len();
    out.push(0x08);
    put_varint(out, wire_ms(published_at));
    if historical {
        if let Err(error) = mark_historical(stored, out) {
            out.truncate(start);
            return Err(error);
        }
    } else {
        out.extend_from_slice(stored);
    }
    out.push(0x18);
    put_varint(out, u64::from(seq));
    Ok(())
}

/// Copies a message field by field, with the mark added to each metric.
fn mark_historical(stored: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
    let mut cursor = Cursor::new(stored);
    while !cursor.is_done() {
        let start = cursor.offset();
        let key = cursor.key()?;
        if key == 0x12 {
            let metric = cursor.bytes("metric")?;
            out.push(0x12);
            put_varint(out, (metric.len() + HISTORICAL.len()) as u64);
            // Last: of a field that stands twice, the last one counts.
            out.extend_from_slice(metric);
            out.extend_from_slice(&HISTORICAL);
        } else {
            cursor.skip(key, (key >> 3 == 2).then_some(("metric", LENGTH)))?;
            out.extend_from_slice(cursor.since(start));
        }
    }
    Ok(())
}
