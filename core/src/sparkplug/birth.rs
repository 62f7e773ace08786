//! Births: what a gateway and its devices measure.
//!
//! Path: gateway → NBIRTH, then one DBIRTH a device → `crate::gateways`, which reads all later data
//! by them. A birth says the name, alias, type, unit, range, kind, position and source of each
//! point and its latest reading, so that a centre that has just started knows the plant at once.
//!
//! Limits: [`BIRTH_METRICS_MAX`] metrics and 16 MiB, checked before anything
//! is allocated.

use prost::Message as _;

use super::data::{Packed, WireType, packed, sparkplug_quality};
use super::names;
use super::payload::{DataType, Metric, MetricValue, Payload, PropertyContent, PropertySet};
use super::walk::{NUMBER_MAX, read_quality, walk};
use super::wire::{WireError, wire_ms};
use crate::delivery::{MessageNumber, RUNS_MAX, Stored};
use crate::point::Point;
use crate::reading::{Quality, Reading, Timestamp};

/// Most metrics of one birth that are read.
pub const BIRTH_METRICS_MAX: usize = 65_536;

/// Longest rare message (birth, death, command) that is read.
const BIRTH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a gateway says of itself when it is born.
#[derive(Clone, Copy, Debug)]
pub struct NodeBirth<'a> {
    /// Birth and death sequence, 0–255: the last will of this connection carries the same.
    pub bd_seq: u8,
    /// The last number that was given; sequence 0 before the first message of a run.
    pub last: MessageNumber,
    /// What the outbox still keeps.
    pub stored: &'a [Stored],
    /// Messages that the outbox had to give up, in all.
    pub lost: u64,
    /// Which outbox speaks.
    pub instance: &'a str,
}

/// One point in the birth of its device.
#[derive(Clone, Copy, Debug)]
pub struct BirthPoint<'a> {
    /// What it is; its type on the wire follows from it (`WireType::of`).
    pub point: &'a Point,
    /// Its alias, unique in the gateway.
    pub alias: u64,
    /// Its latest reading; none before the first poll.
    pub reading: Option<&'a Reading>,
}

/// A birth that was read, of a gateway or a device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Birth {
    /// When it was published.
    pub timestamp: Option<Timestamp>,
    /// Its place among the messages of the node, 0–255.
    pub seq: Option<u8>,
    /// Ties it to its death; a gateway's birth has it.
    pub bd_seq: Option<u64>,
    /// The last number that was given, when the sender numbers its messages. A birth itself is
    /// not numbered.
    pub last: Option<MessageNumber>,
    /// What the outbox still keeps, when the sender has one.
    pub stored: Option<Vec<Stored>>,
    /// Messages that the outbox had to give up, in all.
    pub lost: Option<u64>,
    /// Which outbox speaks; none but from a Davy gateway.
    pub instance: Option<String>,
    /// Whether it takes the command for a rebirth.
    pub can_rebirth: bool,
    /// What it measures: every metric that is not about Sparkplug or Davy itself.
    pub metrics: Vec<BornMetric>,
}

/// One metric of a birth.
#[derive(Clone, Debug, PartialEq)]
pub struct BornMetric {
    /// Its name: the tag.
    pub name: String,
    /// Stands for the name in data, when there is one.
    pub alias: Option<u64>,
    /// How its values are read. Texts and tables are declared too; see
    /// [`DataType::is_measurable`].
    pub datatype: DataType,
    /// Unit of its values.
    pub unit: Option<String>,
    /// Low end of its range.
    pub low: Option<f64>,
    /// High end of its range.
    pub high: Option<f64>,
    /// What is measured.
    pub kind: Option<String>,
    /// Where it hangs.
    pub position: Option<String>,
    /// The major hazard source that it belongs to.
    pub source: Option<String>,
    /// Its latest value; NaN when there is none.
    pub value: f64,
    /// When that was measured; none when the sender does not say.
    pub timestamp: Option<Timestamp>,
    /// Whether that can be believed.
    pub quality: Quality,
}

/// NBIRTH of a Davy gateway.
pub fn build_node_birth(at: Timestamp, seq: u8, birth: &NodeBirth<'_>) -> Vec<u8> {
    let stored = serde_json::to_string(birth.stored).unwrap_or_default();
    let metrics = vec![
        own_metric(
            names::BD_SEQ,
            at,
            DataType::Int64,
            Some(MetricValue::Long(u64::from(birth.bd_seq))),
        ),
        own_metric(
            names::REBIRTH,
            at,
            DataType::Boolean,
            Some(MetricValue::Boolean(false)),
        ),
        number_metric(names::RUN, at, birth.last.run),
        number_metric(names::SEQUENCE, at, birth.last.sequence),
        own_metric(
            names::STORED,
            at,
            DataType::String,
            Some(MetricValue::Text(stored)),
        ),
        number_metric(names::LOST, at, birth.lost),
        own_metric(
            names::INSTANCE,
            at,
            DataType::String,
            Some(MetricValue::Text(birth.instance.to_owned())),
        ),
        own_metric(names::BACKLOG, at, DataType::Bytes, None),
    ];
    pack_payload(at, Some(seq), metrics)
}

/// DBIRTH of a Modbus unit: its points, and the two numbering metrics of its data.
pub fn build_device_birth(
    at: Timestamp,
    seq: u8,
    last: MessageNumber,
    points: &[BirthPoint<'_>],
) -> Vec<u8> {
    let mut metrics = vec![
        number_metric(names::RUN, at, last.run),
        number_metric(names::SEQUENCE, at, last.sequence),
    ];
    metrics.extend(points.iter().map(|point| point_metric(at, point)));
    pack_payload(at, Some(seq), metrics)
}

fn point_metric(at: Timestamp, born: &BirthPoint<'_>) -> Metric {
    let point = born.point;
    let wire = WireType::of(point);
    let none = Quality::Bad(crate::reading::BadCause::Unspecified);
    let (value, quality) = born
        .reading
        .map_or((None, none), |reading| packed(wire, reading));
    let mut properties = PropertySet::default();
    let mut text = |key: &str, text: &str| {
        let text = PropertyContent::Text(text.to_owned());
        properties.push(key, DataType::String, text);
    };
    text(names::UNIT, &point.unit);
    text(names::KIND, &point.kind);
    if let Some(position) = &point.position {
        text(names::POSITION, position);
    }
    if let Some(source) = &point.source {
        text(names::SOURCE, source);
    }
    for (key, end) in [
        (names::LOW, point.range.low),
        (names::HIGH, point.range.high),
    ] {
        properties.push(key, DataType::Double, PropertyContent::Double(end));
    }
    for (key, number) in [
        (names::QUALITY, sparkplug_quality(quality)),
        (names::DAVY_QUALITY, u32::from(quality.code())),
    ] {
        properties.push(key, DataType::Int32, PropertyContent::Int(number));
    }
    let sampled_at = born.reading.map_or(at, |reading| reading.sampled_at);
    Metric {
        name: Some(point.tag.clone()),
        alias: Some(born.alias),
        timestamp: Some(wire_ms(sampled_at)),
        datatype: Some(wire.datatype().number()),
        is_null: value.is_none().then_some(true),
        properties: Some(properties),
        value: value.map(MetricValue::from),
        ..Metric::default()
    }
}

impl From<Packed> for MetricValue {
    fn from(value: Packed) -> Self {
        match value {
            Packed::Int(value) => Self::Int(value),
            Packed::Long(value) => Self::Long(value),
            Packed::Float(value) => Self::Float(value),
            Packed::Double(value) => Self::Double(value),
            Packed::Boolean(value) => Self::Boolean(value),
        }
    }
}

/// A metric about the gateway itself, by name; without a value it is null.
pub(super) fn own_metric(
    name: &str,
    at: Timestamp,
    datatype: DataType,
    value: Option<MetricValue>,
) -> Metric {
    Metric {
        name: Some(name.to_owned()),
        timestamp: Some(wire_ms(at)),
        datatype: Some(datatype.number()),
        is_null: value.is_none().then_some(true),
        value,
        ..Metric::default()
    }
}

/// A count about the gateway itself.
pub(super) fn number_metric(name: &str, at: Timestamp, number: u64) -> Metric {
    own_metric(name, at, DataType::UInt64, Some(MetricValue::Long(number)))
}

/// The bytes of a rare message.
pub(super) fn pack_payload(at: Timestamp, seq: Option<u8>, metrics: Vec<Metric>) -> Vec<u8> {
    Payload {
        timestamp: Some(wire_ms(at)),
        metrics,
        seq: seq.map(u64::from),
    }
    .encode_to_vec()
}

/// A rare message from its bytes: size and count are checked before prost allocates, and every
/// metric is walked, so that what is wrong is named with its offset.
pub(super) fn unpack_payload(what: &'static str, bytes: &[u8]) -> Result<Payload, WireError> {
    if bytes.len() > BIRTH_BYTES_MAX {
        return Err(WireError::Range {
            offset: 0,
            what,
            found: bytes.len() as u64,
            allowed: BIRTH_BYTES_MAX as u64,
        });
    }
    let walk = walk(bytes)?;
    if walk.metrics > BIRTH_METRICS_MAX {
        return Err(WireError::Range {
            offset: bytes.len(),
            what: "metrics",
            found: walk.metrics as u64,
            allowed: BIRTH_METRICS_MAX as u64,
        });
    }
    for metric in &walk {
        metric?;
    }
    Payload::decode(bytes).map_err(|error| WireError::Message {
        what,
        reason: error.to_string(),
    })
}

/// The latest messages that an outbox keeps, from their JSON.
pub(super) fn read_stored(text: &str) -> Result<Vec<Stored>, WireError> {
    let json = |reason: String| WireError::Json {
        what: names::STORED,
        reason,
    };
    let stored: Vec<Stored> =
        serde_json::from_str(text).map_err(|error| json(error.to_string()))?;
    if stored.len() > RUNS_MAX {
        let found = stored.len();
        return Err(json(format!("{found} runs; at most {RUNS_MAX} allowed")));
    }
    for kept in &stored {
        // An outbox that keeps nothing of its present run says `first` = `last` + 1.
        if kept.run == 0 || kept.first == 0 || kept.run > NUMBER_MAX || kept.last > NUMBER_MAX {
            let Stored { run, first, last } = kept;
            return Err(json(format!(
                "run {run}, {first} to {last}; allowed are 1 to {NUMBER_MAX}"
            )));
        }
        if kept.first > kept.last + 1 {
            let Stored { run, first, last } = kept;
            return Err(json(format!(
                "run {run} stores {first} to {last}; first may be at most last + 1"
            )));
        }
    }
    Ok(stored)
}

/// Reads a birth of a gateway or a device, of Davy's or of any Sparkplug node.
pub fn read_birth(bytes: &[u8]) -> Result<Birth, WireError> {
    let payload = unpack_payload("birth", bytes)?;
    let mut birth = Birth {
        timestamp: payload.timestamp.map(moment),
        seq: payload.seq.and_then(|seq| u8::try_from(seq).ok()),
        ..Birth::default()
    };
    let (mut run, mut sequence) = (None, None);
    for metric in payload.metrics {
        let Some(name) = metric.name.as_deref() else {
            return Err(WireError::Missing {
                what: "name of a metric in a birth",
            });
        };
        match name {
            names::BD_SEQ => birth.bd_seq = whole(metric.value.as_ref()),
            names::REBIRTH => birth.can_rebirth = true,
            names::RUN => run = count(names::RUN, metric.value.as_ref())?,
            names::SEQUENCE => sequence = count(names::SEQUENCE, metric.value.as_ref())?,
            names::LOST => birth.lost = count(names::LOST, metric.value.as_ref())?,
            names::INSTANCE => {
                if let Some(MetricValue::Text(text)) = &metric.value {
                    birth.instance = Some(text.clone());
                }
            }
            names::STORED => {
                if let Some(MetricValue::Text(text)) = &metric.value {
                    birth.stored = Some(read_stored(text)?);
                }
            }
            // Later versions of Davy and other controls of a node are no measurements either.
            _ if name.starts_with("davy/") || name.starts_with("Node Control/") => {}
            _ => birth.metrics.push(born(metric, birth.timestamp)),
        }
    }
    birth.last = match (run, sequence) {
        (Some(run), Some(sequence)) => Some(MessageNumber { run, sequence }),
        _ => None,
    };
    Ok(birth)
}

fn born(metric: Metric, fallback: Option<Timestamp>) -> BornMetric {
    let datatype = DataType::from_number(metric.datatype.unwrap_or(0));
    let properties = metric.properties.unwrap_or_default();
    let text = |key| {
        let text = properties.get(key).and_then(PropertyContent::text);
        text.map(str::to_owned)
    };
    let number = |key| properties.get(key).and_then(PropertyContent::number);
    let int = |key| match properties.get(key) {
        Some(PropertyContent::Int(int)) => Some(u64::from(*int)),
        Some(PropertyContent::Long(long)) => Some(*long),
        _ => None,
    };
    let quality = read_quality(int(names::QUALITY), int(names::DAVY_QUALITY));
    let raw = super::walk::Metric {
        name: None,
        alias: None,
        timestamp: None,
        datatype: None,
        is_historical: false,
        is_null: metric.is_null.unwrap_or(false),
        quality,
        value: metric.value.as_ref().map(super::walk::RawValue::from),
    };
    let none = (f64::NAN, Quality::Bad(crate::reading::BadCause::NotANumber));
    let (value, quality) = raw.measured(datatype).unwrap_or(none);
    BornMetric {
        name: metric.name.unwrap_or_default(),
        alias: metric.alias,
        datatype,
        unit: text(names::UNIT),
        low: number(names::LOW),
        high: number(names::HIGH),
        kind: text(names::KIND),
        position: text(names::POSITION),
        source: text(names::SOURCE),
        value,
        timestamp: metric.timestamp.map(moment).or(fallback),
        quality,
    }
}

/// A moment from the wire. The walk before has refused what does not fit.
fn moment(ms: u64) -> Timestamp {
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// A whole number; senders differ in the width that they use.
pub(super) fn whole(value: Option<&MetricValue>) -> Option<u64> {
    match value {
        Some(MetricValue::Long(long)) => Some(*long),
        Some(MetricValue::Int(int)) => Some(u64::from(*int)),
        _ => None,
    }
}

/// A count of messages, runs or losses: none so high that sums of it could overflow.
pub(super) fn count(
    what: &'static str,
    value: Option<&MetricValue>,
) -> Result<Option<u64>, WireError> {
    match whole(value) {
        Some(found) if found > NUMBER_MAX => Err(WireError::Range {
            offset: 0,
            what,
            found,
            allowed: NUMBER_MAX,
        }),
        found => Ok(found),
    }
}

impl<'a> From<&'a MetricValue> for super::walk::RawValue<'a> {
    fn from(value: &'a MetricValue) -> Self {
        match value {
            MetricValue::Int(value) => Self::Int(*value),
            MetricValue::Long(value) => Self::Long(*value),
            MetricValue::Float(value) => Self::Float(*value),
            MetricValue::Double(value) => Self::Double(*value),
            MetricValue::Boolean(value) => Self::Boolean(*value),
            MetricValue::Text(value) => Self::Text(value),
            MetricValue::Bytes(value) => Self::Bytes(value),
        }
    }
}
