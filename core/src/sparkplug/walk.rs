//! Data messages, read without allocation.
//!
//! Path: DDATA, NDATA or a stored message → [`walk`] → [`Metrics`], one [`Metric`] after another.
//! [`walk`] itself passes over the top level once: the payload's timestamp may stand behind the
//! metrics that take it. Any order of fields is read and unknown fields are skipped; everything
//! else that is not the schema is a [`WireError`] with its offset. No bytes panic.

use super::names;
use super::payload::DataType;
use super::wire::{Cursor, EIGHT, FOUR, LENGTH, VARINT, WireError};
use crate::delivery::MessageNumber;
use crate::reading::{BadCause, Quality, Timestamp, UncertainCause};

/// Highest run, sequence or count that is read: 2^53, so that any host holds it exactly. All start
/// near 0 and grow by 1, so none ever comes near; a few thousand of them add up within 64 bits.
pub(super) const NUMBER_MAX: u64 = 1 << 53;

/// A message whose top level has been passed over.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    payload: &'a [u8],
    /// When it was published.
    pub timestamp: Option<Timestamp>,
    /// Its place among the messages of the node, 0–255.
    pub seq: Option<u8>,
    /// How many metrics it has.
    pub metrics: usize,
}

/// The metrics of a message, one after another; after an error there are no more.
#[derive(Clone, Debug)]
pub struct Metrics<'a> {
    cursor: Cursor<'a>,
    timestamp: Option<Timestamp>,
}

/// One metric as it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric<'a> {
    /// Its name, when it came with one.
    pub name: Option<&'a str>,
    /// Its alias, when it came with one.
    pub alias: Option<u64>,
    /// Its own timestamp, else the payload's; none when neither is there.
    pub timestamp: Option<Timestamp>,
    /// Its type, when it came with one; data usually rely on the birth.
    pub datatype: Option<DataType>,
    /// Out of a store.
    pub is_historical: bool,
    /// Said to have no value.
    pub is_null: bool,
    /// `davyQuality`, else from `Quality`, else good.
    pub quality: Quality,
    /// The value.
    pub value: Option<RawValue<'a>>,
}

/// A value as it stands on the wire: its type tells how to read it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawValue<'a> {
    /// Integers to 32 bits.
    Int(u32),
    /// Integers of 64 bits.
    Long(u64),
    /// Single.
    Float(f32),
    /// Double.
    Double(f64),
    /// A state.
    Boolean(bool),
    /// A text.
    Text(&'a str),
    /// Bytes or a file.
    Bytes(&'a [u8]),
    /// A data set, template or extension, which Davy does not read.
    Other,
}

/// Passes over a payload's top level: timestamp, `seq`, and that every metric lies within.
pub fn walk(payload: &[u8]) -> Result<Walk<'_>, WireError> {
    let mut cursor = Cursor::new(payload);
    let mut walk = Walk {
        payload,
        timestamp: None,
        seq: None,
        metrics: 0,
    };
    while !cursor.is_done() {
        match cursor.key()? {
            0x12 => {
                cursor.part("metric")?;
                walk.metrics += 1;
            }
            0x08 => walk.timestamp = Some(timestamp(&mut cursor, "payload timestamp")?),
            0x18 => walk.seq = Some(seq(&mut cursor)?),
            key => cursor.skip(key, payload_field(key >> 3))?,
        }
    }
    Ok(walk)
}

/// The number that Davy's gateway gave a message, without a pass over all of it.
pub fn read_number(payload: &[u8]) -> Result<Option<MessageNumber>, WireError> {
    let unread = Walk {
        payload,
        timestamp: None,
        seq: None,
        metrics: 0,
    };
    unread.number()
}

impl<'a> Walk<'a> {
    /// Its metrics.
    pub fn iter(&self) -> Metrics<'a> {
        Metrics {
            cursor: Cursor::new(self.payload),
            timestamp: self.timestamp,
        }
    }

    /// The number that Davy's gateway gave it; none when it carries none.
    ///
    /// Looks no further than both parts: in Davy's own messages they come first.
    pub fn number(&self) -> Result<Option<MessageNumber>, WireError> {
        let (mut run, mut sequence) = (None, None);
        for metric in self {
            let metric = metric?;
            match (metric.name, metric.value) {
                (Some(names::RUN), Some(RawValue::Long(value))) => run = Some(value),
                (Some(names::SEQUENCE), Some(RawValue::Long(value))) => sequence = Some(value),
                _ => {}
            }
            if let (Some(run), Some(sequence)) = (run, sequence) {
                for (what, found) in [(names::RUN, run), (names::SEQUENCE, sequence)] {
                    if found == 0 || found > NUMBER_MAX {
                        return Err(WireError::Range {
                            offset: 0,
                            what,
                            found,
                            allowed: NUMBER_MAX,
                        });
                    }
                }
                return Ok(Some(MessageNumber { run, sequence }));
            }
        }
        Ok(None)
    }
}

impl<'a> IntoIterator for &Walk<'a> {
    type Item = Result<Metric<'a>, WireError>;
    type IntoIter = Metrics<'a>;

    fn into_iter(self) -> Metrics<'a> {
        self.iter()
    }
}

impl<'a> Iterator for Metrics<'a> {
    type Item = Result<Metric<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while !self.cursor.is_done() {
            let step = self.step();
            match step {
                Ok(None) => {}
                Ok(Some(metric)) => return Some(Ok(metric)),
                Err(error) => {
                    self.cursor.close();
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl<'a> Metrics<'a> {
    /// The next field of the payload, if it is a metric.
    #[inline]
    fn step(&mut self) -> Result<Option<Metric<'a>>, WireError> {
        let key = self.cursor.key()?;
        if key == 0x12 {
            let part = self.cursor.part("metric")?;
            return metric(part, self.timestamp).map(Some);
        }
        self.cursor.skip(key, payload_field(key >> 3))?;
        Ok(None)
    }
}

impl Metric<'_> {
    /// Whether it is one of Davy's two numbering metrics and no reading.
    pub fn is_number(&self) -> bool {
        matches!(self.name, Some(names::RUN | names::SEQUENCE))
    }

    /// Its value and quality as a reading has them, read as the type that its birth declared.
    ///
    /// `None` for what is no measured value: texts, bytes, tables. No value is NaN and bad; a
    /// value that is not finite is bad, whatever quality came with it.
    #[inline]
    pub fn measured(&self, born: DataType) -> Option<(f64, Quality)> {
        let value = match (self.is_null, self.value) {
            (false, Some(value)) => value.as_number(self.datatype.unwrap_or(born))?,
            _ => f64::NAN,
        };
        if value.is_finite() || self.quality.is_bad() {
            return Some((value, self.quality));
        }
        let cause = if self.is_null || self.value.is_none() {
            BadCause::Unspecified
        } else {
            BadCause::NotANumber
        };
        Some((value, Quality::Bad(cause)))
    }
}

impl RawValue<'_> {
    /// As a number of type `datatype`; none when it is not a number.
    ///
    /// Signed integers are two's complement. Senders differ in how far they extend the sign (an
    /// Int8 of −1 comes as 8, 32 or 64 bits of ones): only the type's own bits count.
    /// Integers beyond 2^53 lose their last digits.
    #[inline]
    pub fn as_number(self, datatype: DataType) -> Option<f64> {
        let raw = match self {
            Self::Float(value) => return Some(f64::from(value)),
            Self::Double(value) => return Some(value),
            Self::Boolean(value) => return Some(f64::from(u8::from(value))),
            Self::Int(value) => u64::from(value),
            Self::Long(value) => value,
            Self::Text(_) | Self::Bytes(_) | Self::Other => return None,
        };
        Some(match datatype {
            DataType::Int8 => f64::from(raw as i8),
            DataType::Int16 => f64::from(raw as i16),
            DataType::Int32 => f64::from(raw as i32),
            DataType::Int64 => raw as i64 as f64,
            DataType::UInt8 => f64::from(raw as u8),
            DataType::UInt16 => f64::from(raw as u16),
            DataType::UInt32 => f64::from(raw as u32),
            DataType::Boolean => f64::from(u8::from(raw != 0)),
            _ => raw as f64,
        })
    }
}

/// Reads one metric; `fallback` is the payload's timestamp.
#[inline]
fn metric(mut cursor: Cursor<'_>, fallback: Option<Timestamp>) -> Result<Metric<'_>, WireError> {
    let mut metric = Metric {
        name: None,
        alias: None,
        timestamp: fallback,
        datatype: None,
        is_historical: false,
        is_null: false,
        quality: Quality::Good,
        value: None,
    };
    let mut has_properties = false;
    while !cursor.is_done() {
        match cursor.key()? {
            0x10 => metric.alias = Some(cursor.varint("alias")?),
            0x18 => metric.timestamp = Some(timestamp(&mut cursor, "timestamp")?),
            0x65 => {
                let value = f32::from_le_bytes(cursor.fixed("float value")?);
                metric.value = Some(RawValue::Float(value));
            }
            0x69 => {
                let value = f64::from_le_bytes(cursor.fixed("double value")?);
                metric.value = Some(RawValue::Double(value));
            }
            0x50 => metric.value = Some(RawValue::Int(cursor.varint("int value")? as u32)),
            0x58 => metric.value = Some(RawValue::Long(cursor.varint("long value")?)),
            0x70 => {
                metric.value = Some(RawValue::Boolean(cursor.varint("boolean value")? != 0));
            }
            0x20 => {
                let number = cursor.varint("datatype")?;
                metric.datatype = Some(DataType::from_number(number as u32));
            }
            0x28 => metric.is_historical = cursor.varint("is_historical")? != 0,
            0x38 => metric.is_null = cursor.varint("is_null")? != 0,
            0x0a => metric.name = Some(cursor.text("name")?),
            0x4a => {
                let offset = cursor.offset();
                let part = cursor.part("properties")?;
                if has_properties {
                    return Err(WireError::Twice { offset });
                }
                has_properties = true;
                metric.quality = quality(part)?;
            }
            0x7a => metric.value = Some(RawValue::Text(cursor.text("string value")?)),
            0x82 => metric.value = Some(RawValue::Bytes(cursor.bytes("bytes value")?)),
            key @ (0x8a | 0x92 | 0x9a) => {
                cursor.skip(key, metric_field(key >> 3))?;
                metric.value = Some(RawValue::Other);
            }
            key => cursor.skip(key, metric_field(key >> 3))?,
        }
    }
    Ok(metric)
}

/// A moment; one that the house cannot write is an error.
#[inline]
fn timestamp(cursor: &mut Cursor<'_>, what: &'static str) -> Result<Timestamp, WireError> {
    let ms = cursor.varint(what)?;
    i64::try_from(ms)
        .map(Timestamp)
        .map_err(|_| WireError::Range {
            offset: cursor.offset(),
            what,
            found: ms,
            allowed: i64::MAX as u64,
        })
}

fn seq(cursor: &mut Cursor<'_>) -> Result<u8, WireError> {
    let found = cursor.varint("seq")?;
    u8::try_from(found).map_err(|_| WireError::Range {
        offset: cursor.offset(),
        what: "seq",
        found,
        allowed: 255,
    })
}

/// Fields of a payload: name and wire type.
fn payload_field(field: u64) -> Option<(&'static str, u8)> {
    Some(match field {
        1 => ("payload timestamp", VARINT),
        2 => ("metric", LENGTH),
        3 => ("seq", VARINT),
        4 => ("uuid", LENGTH),
        5 => ("body", LENGTH),
        _ => return None,
    })
}

/// Fields of a metric: name and wire type.
fn metric_field(field: u64) -> Option<(&'static str, u8)> {
    Some(match field {
        1 => ("name", LENGTH),
        2 => ("alias", VARINT),
        3 => ("timestamp", VARINT),
        4 => ("datatype", VARINT),
        5 => ("is_historical", VARINT),
        6 => ("is_transient", VARINT),
        7 => ("is_null", VARINT),
        8 => ("metadata", LENGTH),
        9 => ("properties", LENGTH),
        10 => ("int value", VARINT),
        11 => ("long value", VARINT),
        12 => ("float value", FOUR),
        13 => ("double value", EIGHT),
        14 => ("boolean value", VARINT),
        15 => ("string value", LENGTH),
        16 => ("bytes value", LENGTH),
        17 => ("data set", LENGTH),
        18 => ("template", LENGTH),
        19 => ("extension value", LENGTH),
        _ => return None,
    })
}

/// The quality that a set of properties says. Keys and values stand in two lists, in any mix:
/// first where the keys are, then what the values at those places say.
#[cold]
fn quality(part: Cursor<'_>) -> Result<Quality, WireError> {
    let offset = part.offset();
    let (mut keys, mut values) = (0usize, 0usize);
    let (mut sparkplug_at, mut davy_at) = (None, None);
    let mut cursor = part;
    while !cursor.is_done() {
        match cursor.key()? {
            0x0a => {
                match cursor.text("property key")? {
                    names::QUALITY => sparkplug_at = Some(keys),
                    names::DAVY_QUALITY => davy_at = Some(keys),
                    _ => {}
                }
                keys += 1;
            }
            0x12 => {
                cursor.part("property value")?;
                values += 1;
            }
            key => cursor.skip(
                key,
                match key >> 3 {
                    1 => Some(("property key", LENGTH)),
                    2 => Some(("property value", LENGTH)),
                    _ => None,
                },
            )?,
        }
    }
    if keys != values {
        return Err(WireError::Properties {
            offset,
            keys,
            values,
        });
    }
    let (mut sparkplug, mut davy) = (None, None);
    let (mut cursor, mut at) = (part, 0);
    while !cursor.is_done() {
        let key = cursor.key()?;
        if key != 0x12 {
            cursor.skip(key, None)?;
            continue;
        }
        let value = property_int(cursor.part("property value")?)?;
        if Some(at) == sparkplug_at {
            sparkplug = value;
        } else if Some(at) == davy_at {
            davy = value;
        }
        at += 1;
    }
    Ok(read_quality(sparkplug, davy))
}

/// What a quality property says; none when it is null or no integer.
fn property_int(mut cursor: Cursor<'_>) -> Result<Option<u64>, WireError> {
    let (mut value, mut is_null) = (None, false);
    while !cursor.is_done() {
        match cursor.key()? {
            0x10 => is_null = cursor.varint("is_null")? != 0,
            0x18 => value = Some(u64::from(cursor.varint("int value")? as u32)),
            0x20 => value = Some(cursor.varint("long value")?),
            key => cursor.skip(
                key,
                match key >> 3 {
                    1 => Some(("type", VARINT)),
                    2 => Some(("is_null", VARINT)),
                    3 => Some(("int value", VARINT)),
                    4 => Some(("long value", VARINT)),
                    _ => None,
                },
            )?,
        }
    }
    Ok(value.filter(|_| !is_null))
}

/// The quality of the two properties: Davy's own with its cause, else Sparkplug's three numbers,
/// else the classes of OPC (highest two bits of eight), which many senders use in their place.
pub(super) fn read_quality(sparkplug: Option<u64>, davy: Option<u64>) -> Quality {
    if let Some(code) = davy {
        return u8::try_from(code).map_or(Quality::Bad(BadCause::Unspecified), Quality::from_code);
    }
    match sparkplug {
        None | Some(192..=255) => Quality::Good,
        Some(500) => Quality::Uncertain(UncertainCause::Stale),
        Some(64..=127) => Quality::Uncertain(UncertainCause::Unspecified),
        Some(_) => Quality::Bad(BadCause::Unspecified),
    }
}
