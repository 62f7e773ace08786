//! The hand coder against prost in both directions, hostile bytes, and golden messages.

use std::time::Duration;

use proptest::prelude::*;
use prost::Message as _;

use super::data::{Packed, packed};
use super::payload::{self, MetricValue, Payload, PropertyContent, PropertySet};
use super::*;
use crate::delivery::{MessageNumber, Ranges, Stored};
use crate::point::{ByteOrder, Encoding, Point, Range, Register, Scaling, Table, Text};
use crate::reading::{BadCause, PointId, Quality, Reading, Timestamp, UncertainCause};

const AT: Timestamp = Timestamp(1_764_000_000_000);
const NUMBER: MessageNumber = MessageNumber {
    run: 7,
    sequence: 41,
};

const WIRES: [WireType; 7] = [
    WireType::Float,
    WireType::Double,
    WireType::Int32,
    WireType::UInt32,
    WireType::Int64,
    WireType::UInt64,
    WireType::Boolean,
];

fn point(tag: &str, encoding: Encoding) -> Point {
    Point {
        tag: tag.to_owned(),
        name: Text::default(),
        kind: "cl2".to_owned(),
        position: Some("T1".to_owned()),
        unit: "mg/m3".to_owned(),
        range: Range {
            low: 0.0,
            high: 20.0,
        },
        source: Some("TF1".to_owned()),
        gateway: "gw".to_owned(),
        device: "d".to_owned(),
        period: Duration::from_secs(1),
        register: Register {
            table: Table::InputRegisters,
            address: 0,
            encoding,
            order: ByteOrder::Abcd,
            scaling: Scaling::None,
        },
    }
}

fn reading(value: f64, quality: Quality, ms: i64) -> Reading {
    Reading::new(PointId(0), value, quality, Timestamp(AT.0 + ms))
}

/// The readings of every golden message and of the mutations.
fn some_readings() -> Vec<(u64, WireType, Reading)> {
    let stale = Quality::Uncertain(UncertainCause::Stale);
    let silent = Quality::Bad(BadCause::NoAnswer);
    vec![
        (1, WireType::Float, reading(0.5, Quality::Good, 3)),
        (200, WireType::Double, reading(50.1, stale, -2)),
        (3, WireType::Int32, reading(-12.0, Quality::Good, 0)),
        (4, WireType::Boolean, reading(1.0, Quality::Good, 1)),
        (5, WireType::Float, reading(f64::NAN, silent, 2)),
        (6, WireType::UInt64, reading(65_536.0, Quality::Good, 5)),
    ]
}

fn encode(readings: &[(u64, WireType, Reading)], seq: u8, historical: bool) -> Vec<u8> {
    let (mut stored, mut out) = (Vec::new(), Vec::new());
    let with_alias = readings.iter().map(|(alias, wire, r)| (*alias, *wire, r));
    encode_data(&mut stored, AT, Some(NUMBER), with_alias);
    finish(&stored, AT, seq, historical, &mut out).expect("own message");
    out
}

fn same(left: f64, right: f64) -> bool {
    left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
}

fn any_quality() -> impl Strategy<Value = Quality> {
    let all: Vec<_> = Quality::all().collect();
    prop_oneof![Just(Quality::Good), prop::sample::select(all)]
}

fn any_reading() -> impl Strategy<Value = (u64, WireType, Reading)> {
    let value = prop_oneof![
        any::<f64>(),
        (-1e6..1e6f64).prop_map(|value| f64::from(value as f32)),
        (-300i64..70_000).prop_map(|value| value as f64),
        Just(1e300),
    ];
    let alias = prop_oneof![0u64..300, any::<u64>()];
    let parts = (
        alias,
        prop::sample::select(&WIRES[..]),
        value,
        any_quality(),
    );
    (parts, -5i64..5)
        .prop_map(|((alias, wire, value, quality), ms)| (alias, wire, reading(value, quality, ms)))
}

/// What must come out of the wire for a reading that went in.
fn expected(wire: WireType, sent: &Reading) -> (f64, Quality) {
    let (value, quality) = packed(wire, sent);
    let value = match value {
        Some(Packed::Float(value)) => f64::from(value) + 0.0,
        Some(_) => sent.value + 0.0,
        None => f64::NAN,
    };
    (value, quality)
}

proptest! {
    #[test]
    fn the_walker_reads_what_the_encoder_wrote(
        readings in prop::collection::vec(any_reading(), 0..20), seq: u8, historical: bool,
    ) {
        let bytes = encode(&readings, seq, historical);
        let walk = walk(&bytes).expect("own message");
        prop_assert_eq!((walk.seq, walk.timestamp), (Some(seq), Some(AT)));
        prop_assert_eq!(walk.number(), Ok(Some(NUMBER)));
        prop_assert_eq!(read_number(&bytes), Ok(Some(NUMBER)));
        prop_assert_eq!(walk.metrics, readings.len() + 2);
        let metrics: Vec<_> = walk.iter().map(|metric| metric.expect("own")).collect();
        prop_assert!(metrics[..2].iter().all(Metric::is_number));
        for (metric, (alias, wire, sent)) in metrics[2..].iter().zip(&readings) {
            prop_assert_eq!(metric.alias, Some(*alias));
            prop_assert_eq!(metric.timestamp, Some(sent.sampled_at));
            prop_assert_eq!(metric.is_historical, historical);
            let (value, quality) = metric.measured(wire.datatype()).expect("measured");
            let (value_sent, quality_sent) = expected(*wire, sent);
            prop_assert_eq!(quality, quality_sent);
            prop_assert!(same(value + 0.0, value_sent), "{} {}", value, value_sent);
            prop_assert!(value.is_finite() || quality.is_bad());
        }
    }

    #[test]
    fn prost_reads_what_the_encoder_wrote(
        readings in prop::collection::vec(any_reading(), 0..20), seq: u8, historical: bool,
    ) {
        let bytes = encode(&readings, seq, historical);
        let payload = Payload::decode(&bytes[..]).expect("a Sparkplug payload");
        prop_assert_eq!(payload.seq, Some(u64::from(seq)));
        prop_assert_eq!(payload.timestamp, Some(AT.0 as u64));
        prop_assert_eq!(payload.metrics.len(), readings.len() + 2);
        for metric in &payload.metrics {
            prop_assert!(metric.timestamp.is_some());
            prop_assert_eq!(metric.is_historical.unwrap_or(false), historical);
        }
        for (metric, (alias, wire, sent)) in payload.metrics[2..].iter().zip(&readings) {
            prop_assert_eq!(metric.alias, Some(*alias));
            let (value, quality) = packed(*wire, sent);
            prop_assert_eq!(metric.is_null, value.is_none().then_some(true));
            let raw = metric.value.clone();
            prop_assert_eq!(raw, value.map(MetricValue::from));
            let properties = metric.properties.as_ref();
            let sparkplug = properties.and_then(|set| set.get("Quality").cloned());
            let number = match quality {
                Quality::Good => None,
                Quality::Uncertain(_) => Some(PropertyContent::Int(500)),
                Quality::Bad(_) => Some(PropertyContent::Int(0)),
            };
            prop_assert_eq!(sparkplug, number);
            let davy = properties.and_then(|set| set.get("davyQuality").cloned());
            let code = PropertyContent::Int(u32::from(quality.code()));
            prop_assert_eq!(davy, (!quality.is_good()).then_some(code));
        }
    }

    #[test]
    fn the_walker_reads_what_prost_wrote_in_any_order_of_fields(
        metrics in prop::collection::vec(any_metric(), 0..12),
        timestamp in prop::option::of(0..i64::MAX as u64),
        seq in prop::option::of(any::<u8>()),
        order in any::<u64>(),
    ) {
        let payload = Payload { timestamp, metrics, seq: seq.map(u64::from) };
        let bytes = shuffled(&payload, order);
        let walk = walk(&bytes).expect("a Sparkplug payload");
        let own = timestamp.map(|ms| Timestamp(ms as i64));
        prop_assert_eq!((walk.timestamp, walk.seq), (own, seq));
        let read: Vec<_> = walk.iter().map(|metric| metric.expect("metric")).collect();
        prop_assert_eq!(read.len(), payload.metrics.len());
        for (read, sent) in read.iter().zip(&payload.metrics) {
            prop_assert_eq!(read.name, sent.name.as_deref());
            prop_assert_eq!(read.alias, sent.alias);
            let at = sent.timestamp.map(|ms| Timestamp(ms as i64)).or(own);
            prop_assert_eq!(read.timestamp, at);
            prop_assert_eq!(read.datatype, sent.datatype.map(DataType::from_number));
            prop_assert_eq!(read.is_null, sent.is_null.unwrap_or(false));
            prop_assert_eq!(read.is_historical, sent.is_historical.unwrap_or(false));
            let value = sent.value.as_ref().map(RawValue::from);
            prop_assert_eq!(format!("{:?}", read.value), format!("{value:?}"));
            let quality = match sent.properties.as_ref().and_then(|set| set.get("Quality")) {
                None | Some(PropertyContent::Int(192)) => Quality::Good,
                Some(PropertyContent::Int(500)) => Quality::Uncertain(UncertainCause::Stale),
                Some(_) => Quality::Bad(BadCause::Unspecified),
            };
            prop_assert_eq!(read.quality, quality);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    #[test]
    fn a_bundle_reads_as_written(
        parts in prop::collection::vec(("[a-z罐]{0,9}", prop::collection::vec(any::<u8>(), 0..99)), 0..9),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut writer = BundleWriter::default();
        for (device, payload) in &parts {
            prop_assert!(writer.push(BundleMessage { device, payload }), "fits");
        }
        prop_assert_eq!(writer.len(), parts.len());
        let bytes = writer.into_bytes();
        let read = read_bundle(&bytes).expect("own bundle");
        let read: Vec<_> = read.iter().map(|m| (m.device.to_owned(), m.payload.to_vec())).collect();
        prop_assert_eq!(&read, &parts);
        // Cut anywhere it is an error or fewer messages, never another message.
        if let Ok(fewer) = read_bundle(&bytes[..cut.index(bytes.len())]) {
            prop_assert!(fewer.len() < parts.len());
            for (message, (device, payload)) in fewer.iter().zip(&parts) {
                prop_assert_eq!((message.device, message.payload), (&device[..], &payload[..]));
            }
        }
    }
}

fn any_metric() -> impl Strategy<Value = payload::Metric> {
    let value = prop_oneof![
        any::<u32>().prop_map(MetricValue::Int),
        any::<u64>().prop_map(MetricValue::Long),
        any::<f32>().prop_map(MetricValue::Float),
        any::<f64>().prop_map(MetricValue::Double),
        any::<bool>().prop_map(MetricValue::Boolean),
        "\\PC{0,9}".prop_map(MetricValue::Text),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(MetricValue::Bytes),
    ];
    let quality = prop::sample::select(vec![192u32, 500, 0]);
    let head = (
        prop::option::of("\\PC{0,9}"),
        prop::option::of(any::<u64>()),
        prop::option::of(0..i64::MAX as u64),
        prop::option::of(0..40u32),
    );
    let tail = (
        prop::option::of(any::<bool>()),
        prop::option::of(any::<bool>()),
        prop::option::of(value),
        prop::option::of(quality),
    );
    (head, tail).prop_map(
        |((name, alias, timestamp, datatype), (h, n, value, quality))| {
            let properties = quality.map(|quality| {
                let mut set = PropertySet::default();
                let unit = PropertyContent::Text("MPa".to_owned());
                set.push("engUnit", DataType::String, unit);
                set.push("Quality", DataType::Int32, PropertyContent::Int(quality));
                set
            });
            payload::Metric {
                name,
                alias,
                timestamp,
                datatype,
                is_historical: h,
                is_null: n,
                properties,
                value,
            }
        },
    )
}

/// Prost's bytes with the fields of the payload, of each metric and of each set of properties in
/// another order (those of one number keep theirs), and unknown fields of every kind between.
fn shuffled(payload: &Payload, mut order: u64) -> Vec<u8> {
    let mut metrics = Vec::new();
    for metric in &payload.metrics {
        let mut bytes = metric.encode_to_vec();
        bytes = rotated(&bytes, &mut order);
        wire::put_varint(&mut metrics, 0x12);
        wire::put_varint(&mut metrics, bytes.len() as u64);
        metrics.extend(bytes);
    }
    let rest = Payload {
        metrics: Vec::new(),
        ..payload.clone()
    };
    let mut bytes = rest.encode_to_vec();
    bytes.extend(metrics);
    rotated_groups(&bytes, &mut order)
}

fn fields(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let (mut cursor, mut fields) = (wire::Cursor::new(bytes), Vec::new());
    while !cursor.is_done() {
        let start = cursor.offset();
        let key = cursor.key().expect("key");
        cursor.skip(key, None).expect("field");
        fields.push((key >> 3, cursor.since(start).to_vec()));
    }
    fields
}

fn unknown_field(order: &mut u64) -> Vec<u8> {
    *order = order
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    match *order >> 61 {
        0 => vec![0xa0, 0x06, 0xff, 0x01],
        1 => vec![0xa1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
        2 => vec![0xa2, 0x06, 2, 0x08, 0xff],
        3 => vec![0xa5, 0x06, 1, 2, 3, 4],
        _ => Vec::new(),
    }
}

fn rotated(bytes: &[u8], order: &mut u64) -> Vec<u8> {
    let mut fields = fields(bytes);
    let turn = (*order >> 33) as usize % fields.len().max(1);
    fields.rotate_left(turn);
    let parts = fields.into_iter().map(|(_, bytes)| bytes);
    parts
        .flat_map(|bytes| [unknown_field(order), bytes].concat())
        .collect()
}

fn rotated_groups(bytes: &[u8], order: &mut u64) -> Vec<u8> {
    let mut fields = fields(bytes);
    let first = 1 + (*order >> 40) % 3;
    fields.sort_by_key(|(field, _)| (field + first) % 3);
    let parts = fields.into_iter().map(|(_, bytes)| bytes);
    parts
        .flat_map(|bytes| [unknown_field(order), bytes].concat())
        .collect()
}

/// Reads bytes in every way there is; only that it returns is asked.
fn read_everything(bytes: &[u8]) -> usize {
    let mut read = usize::from(read_birth(bytes).is_ok());
    read += usize::from(read_commands(bytes).is_ok());
    read += usize::from(read_node_data(bytes).is_ok());
    read += usize::from(read_node_death(bytes).is_ok());
    read += usize::from(read_bundle(bytes).is_ok());
    read += usize::from(HostState::from_json(bytes).is_ok());
    read + walk_all(bytes)
}

/// Walks bytes; what it hands out keeps the rules of a reading.
fn walk_all(bytes: &[u8]) -> usize {
    let mut out = Vec::new();
    let finished = finish(bytes, AT, 1, true, &mut out);
    assert!(finished.is_ok() || out.is_empty());
    let unchecked = read_number(bytes);
    let Ok(walk) = walk(bytes) else { return 0 };
    assert_eq!(unchecked, walk.number());
    let mut read = usize::from(unchecked.is_ok());
    for metric in &walk {
        let Ok(metric) = metric else { return read };
        for number in 0..20 {
            let measured = metric.measured(DataType::from_number(number));
            if let Some((value, quality)) = measured {
                assert!(value.is_finite() || quality.is_bad());
                read += 1;
            }
        }
    }
    read
}

#[test]
fn no_mutation_of_a_message_panics() {
    let messages: Vec<Vec<u8>> = golden().into_iter().map(|(_, bytes)| bytes).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut walked, mut refused) = (0u32, 0u32);
    for round in 0..200_000 {
        let mut bytes = messages[random() as usize % messages.len()].clone();
        for _ in 0..=random() % 3 {
            let at = random() as usize % bytes.len().max(1);
            match random() % 4 {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), random() as u8),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = random() as u8;
                    }
                }
            }
        }
        let read = if round % 16 == 0 {
            read_everything(&bytes)
        } else {
            usize::from(walk(&bytes).is_ok_and(|walk| walk.iter().all(|metric| metric.is_ok())))
        };
        if read > 0 { walked += 1 } else { refused += 1 }
    }
    assert!(walked > 1000 && refused > 1000, "{walked} {refused}");
}

#[test]
fn a_fault_names_its_offset() {
    let cases: [(&[u8], &str); 9] = [
        (
            &[0x12, 5, 0x10],
            "metric at byte 2: length 5; at most 1 bytes are left",
        ),
        (&[0x12, 1, 0x10], "alias at byte 3: the bytes end within it"),
        (
            &[0x12, 3, 0x65, 1, 2],
            "float value at byte 3: the bytes end within it",
        ),
        (
            &[0x12, 2, 0x60, 1],
            "float value at byte 3: wire type 0; allowed: 5 (4 bytes)",
        ),
        (
            &[0x10, 1],
            "metric at byte 1: wire type 0; allowed: 2 (length)",
        ),
        (&[0x12, 3, 0x0a, 1, 0xff], "name at byte 4: not valid UTF-8"),
        (
            &[0x18, 0x80, 0x02],
            "seq at byte 3: 256; at most 255 allowed",
        ),
        (&[0x00, 0x00], "field at byte 1: number 0"),
        (
            &[0x33],
            "unknown field at byte 1: wire type 3; allowed: 0, 1, 2 or 5",
        ),
    ];
    for (bytes, part) in cases {
        let error = walk(bytes)
            .and_then(|walk| walk.iter().collect::<Result<Vec<_>, _>>())
            .expect_err(part)
            .to_string();
        assert!(error.contains(part), "{error} / {part}");
    }
    let lone_key = [0x12, 5, 0x4a, 3, 0x0a, 1, b'Q'];
    let error = walk(&lone_key).expect("frame").iter().next();
    let expected = WireError::Properties {
        offset: 4,
        keys: 1,
        values: 0,
    };
    assert_eq!(error, Some(Err(expected)));
}

#[test]
fn integers_are_read_by_the_bits_of_their_type() {
    let cases = [
        (RawValue::Int(0xff), DataType::Int8, -1.0),
        (RawValue::Int(u32::MAX), DataType::Int8, -1.0),
        (RawValue::Long(u64::MAX), DataType::Int16, -1.0),
        (RawValue::Int(0x8000), DataType::Int16, -32_768.0),
        (RawValue::Int(0xffff_fff4), DataType::Int32, -12.0),
        (
            RawValue::Long(0x8000_0000_0000_0000),
            DataType::Int64,
            i64::MIN as f64,
        ),
        (RawValue::Int(u32::MAX), DataType::UInt32, 4_294_967_295.0),
        (RawValue::Long(9), DataType::UInt32, 9.0),
        (RawValue::Int(2), DataType::Boolean, 1.0),
        (RawValue::Boolean(true), DataType::Boolean, 1.0),
    ];
    for (raw, datatype, value) in cases {
        assert_eq!(raw.as_number(datatype), Some(value), "{raw:?} {datatype:?}");
    }
    assert_eq!(RawValue::Text("1").as_number(DataType::String), None);
}

#[test]
fn a_value_that_its_type_cannot_hold_goes_out_as_bad() {
    let cases = [
        (WireType::Float, 1e300),
        (WireType::Int32, 2_147_483_648.0),
        (WireType::UInt32, -1.0),
        (WireType::UInt32, 0.5),
        (WireType::Int64, 1e19),
        (WireType::Boolean, 2.0),
    ];
    for (wire, value) in cases {
        let bytes = encode(&[(1, wire, reading(value, Quality::Good, 0))], 0, false);
        let walk = walk(&bytes).expect("own message");
        let metric = walk.iter().nth(2).expect("reading").expect("metric");
        let (value, quality) = metric.measured(wire.datatype()).expect("measured");
        assert!(value.is_nan());
        assert_eq!(quality, Quality::Bad(BadCause::NotANumber));
    }
}

#[test]
fn a_single_that_is_no_number_is_bad_whatever_the_sender_says() {
    for value in [f32::NAN, f32::INFINITY] {
        let metric = payload::Metric {
            alias: Some(1),
            value: Some(MetricValue::Float(value)),
            ..payload::Metric::default()
        };
        let payload = Payload {
            metrics: vec![metric],
            ..Payload::default()
        };
        let bytes = payload.encode_to_vec();
        let walk = walk(&bytes).expect("payload");
        let metric = walk.iter().next().expect("one").expect("metric");
        let (_, quality) = metric.measured(DataType::Float).expect("measured");
        assert_eq!(quality, Quality::Bad(BadCause::NotANumber));
        assert_eq!(metric.timestamp, None);
    }
}

#[test]
fn other_senders_qualities_keep_their_class() {
    let cases = [
        (None, Quality::Good),
        (Some(192), Quality::Good),
        (Some(500), Quality::Uncertain(UncertainCause::Stale)),
        (Some(64), Quality::Uncertain(UncertainCause::Unspecified)),
        (Some(0), Quality::Bad(BadCause::Unspecified)),
        (Some(512), Quality::Bad(BadCause::Unspecified)),
    ];
    for (sparkplug, quality) in cases {
        assert_eq!(walk::read_quality(sparkplug, None), quality);
    }
    for quality in Quality::all() {
        let code = Some(u64::from(quality.code()));
        assert_eq!(walk::read_quality(Some(192), code), quality);
    }
}

#[test]
fn a_gateway_birth_says_what_its_outbox_holds() {
    let stored = [Stored {
        run: 7,
        first: 12,
        last: 41,
    }];
    let birth = NodeBirth {
        bd_seq: 3,
        last: NUMBER,
        stored: &stored,
        lost: 5,
        instance: "0f3a",
    };
    let read = read_birth(&build_node_birth(AT, 0, &birth)).expect("own birth");
    assert_eq!(read.bd_seq, Some(3));
    assert_eq!((read.seq, read.timestamp), (Some(0), Some(AT)));
    assert_eq!(read.last, Some(NUMBER));
    assert_eq!(read.stored.as_deref(), Some(&stored[..]));
    assert_eq!(read.lost, Some(5));
    assert_eq!(read.instance.as_deref(), Some("0f3a"));
    assert!(read.can_rebirth);
    assert_eq!(read.metrics, vec![]);
}

#[test]
fn a_device_birth_says_what_it_measures() {
    let bare = Point {
        position: None,
        source: None,
        ..point("P-2", Encoding::U16)
    };
    let gas = point("GT-1", Encoding::F32);
    let sampled = reading(0.25, Quality::Uncertain(UncertainCause::Calibration), -40);
    let points = [
        BirthPoint {
            point: &gas,
            alias: 9,
            reading: Some(&sampled),
        },
        BirthPoint {
            point: &bare,
            alias: 10,
            reading: None,
        },
    ];
    let read = read_birth(&build_device_birth(AT, 1, NUMBER, &points)).expect("own birth");
    assert_eq!(read.last, Some(NUMBER));
    assert_eq!((read.bd_seq, read.stored), (None, None));
    let [gas, bare] = &read.metrics[..] else {
        panic!("two points: {:?}", read.metrics)
    };
    let expected = BornMetric {
        name: "GT-1".to_owned(),
        alias: Some(9),
        datatype: DataType::Float,
        unit: Some("mg/m3".to_owned()),
        low: Some(0.0),
        high: Some(20.0),
        kind: Some("cl2".to_owned()),
        position: Some("T1".to_owned()),
        source: Some("TF1".to_owned()),
        value: 0.25,
        timestamp: Some(sampled.sampled_at),
        quality: sampled.quality,
    };
    assert_eq!(*gas, expected);
    assert_eq!((bare.datatype, bare.alias), (DataType::UInt32, Some(10)));
    assert_eq!((&bare.position, &bare.source), (&None, &None));
    assert!(bare.value.is_nan() && bare.quality.is_bad());
}

#[test]
fn a_birth_without_names_or_with_broken_json_is_refused() {
    let nameless = Payload {
        metrics: vec![payload::Metric::default()],
        ..Payload::default()
    };
    let error = read_birth(&nameless.encode_to_vec()).expect_err("nameless");
    assert!(error.to_string().contains("name of a metric"), "{error}");
    for text in [
        "[{\"run\":1}]",
        "[{\"run\":0,\"first\":1,\"last\":2}]",
        "[{\"run\":1,\"first\":4,\"last\":2}]",
        "[{\"run\":1,\"first\":1,\"last\":18446744073709551615}]",
        "nothing",
    ] {
        assert!(birth::read_stored(text).is_err(), "{text}");
    }
    assert!(birth::read_stored("[{\"run\":1,\"first\":3,\"last\":2}]").is_ok());
}

#[test]
fn commands_read_as_written_and_others_are_counted() {
    let mut ranges = Ranges::default();
    ranges.insert_range(1, 5);
    ranges.insert(9);
    let runs = vec![RunRanges { run: 7, ranges }];
    let commands = vec![
        Command::Rebirth,
        Command::Committed(runs.clone()),
        Command::Resend(runs),
    ];
    let bytes = build_commands(AT, Some("0f3a"), &commands);
    assert_eq!(walk(&bytes).expect("payload").seq, None);
    let read = read_commands(&bytes).expect("own commands");
    assert_eq!((read.known, read.unknown), (commands, 0));
    assert_eq!(read.instance.as_deref(), Some("0f3a"));

    let text = MetricValue::Text("[{\"run\":7,\"ranges\":[[1,5],[9,9]]}]".to_owned());
    let payload = Payload::decode(&bytes[..]).expect("payload");
    assert_eq!(payload.metrics[2].value, Some(text));

    let bytes = Payload {
        metrics: vec![
            payload::Metric {
                name: Some("Node Control/Reboot".to_owned()),
                value: Some(MetricValue::Boolean(true)),
                ..payload::Metric::default()
            },
            payload::Metric {
                name: Some("Node Control/Rebirth".to_owned()),
                value: Some(MetricValue::Boolean(false)),
                ..payload::Metric::default()
            },
        ],
        ..Payload::default()
    }
    .encode_to_vec();
    let read = read_commands(&bytes).expect("others' commands");
    assert_eq!((read.known.len(), read.unknown), (0, 2));
}

#[test]
fn ranges_from_outside_are_put_in_order_or_refused() {
    let with = |text: &str| {
        let metric = payload::Metric {
            name: Some("davy/committed".to_owned()),
            value: Some(MetricValue::Text(text.to_owned())),
            ..payload::Metric::default()
        };
        let payload = Payload {
            metrics: vec![metric],
            ..Payload::default()
        };
        read_commands(&payload.encode_to_vec())
    };
    let read = with("[{\"run\":1,\"ranges\":[[7,9],[1,2],[3,4]]}]").expect("ranges");
    let [Command::Committed(runs)] = &read.known[..] else {
        panic!("one command: {read:?}")
    };
    let ranges: Vec<_> = runs[0].ranges.iter().collect();
    assert_eq!(ranges, vec![(1, 4), (7, 9)]);
    for ranges in ["[[0,1]]", "[[5,4]]", "[[1,9007199254740993]]", "[[1]]"] {
        let text = format!("[{{\"run\":1,\"ranges\":{ranges}}}]");
        assert!(with(&text).is_err(), "{text}");
    }
}

#[test]
fn node_data_reads_as_written() {
    let data = NodeData {
        stored: Some(vec![Stored {
            run: 1,
            first: 2,
            last: 3,
        }]),
        lost: Some(4),
        gone: Some(Vec::new()),
        backlog: Some(vec![1, 2, 3]),
    };
    let bytes = build_node_data(AT, 8, &data);
    assert_eq!(walk(&bytes).expect("payload").seq, Some(8));
    assert_eq!(read_node_data(&bytes), Ok(data));
    let none = NodeData::default();
    assert_eq!(read_node_data(&build_node_data(AT, 8, &none)), Ok(none));
}

#[test]
fn a_bundle_ends_at_its_limits() {
    let mut writer = BundleWriter::default();
    let small = BundleMessage {
        device: "d",
        payload: &[],
    };
    while writer.push(small) {}
    assert_eq!(writer.len(), BUNDLE_MESSAGES_MAX);
    let mut bytes = writer.into_bytes();
    assert!(read_bundle(&bytes).is_ok());
    bytes.extend([1, b'd', 0]);
    assert!(read_bundle(&bytes).is_err());

    let payload = vec![0; BUNDLE_BYTES_MAX / 2];
    let large = BundleMessage {
        device: "d",
        payload: &payload,
    };
    let mut writer = BundleWriter::default();
    assert!(writer.push(large));
    assert!(!writer.push(large));
    assert!(read_bundle(&writer.into_bytes()).is_ok());
}

#[test]
fn a_stored_message_that_is_none_is_not_finished() {
    let mut out = vec![1, 2];
    assert!(finish(&[0x12, 9], AT, 0, true, &mut out).is_err());
    assert_eq!(out, vec![1, 2]);
}

/// One message of each kind, as this version writes it.
fn golden() -> Vec<(&'static str, Vec<u8>)> {
    let stored = [Stored {
        run: 7,
        first: 12,
        last: 41,
    }];
    let node = NodeBirth {
        bd_seq: 3,
        last: NUMBER,
        stored: &stored,
        lost: 5,
        instance: "0f3a",
    };
    let gas = point("TF1.GT-101", Encoding::F32);
    let sampled = reading(0.5, Quality::Good, 3);
    let born = BirthPoint {
        point: &gas,
        alias: 1,
        reading: Some(&sampled),
    };
    let mut ranges = Ranges::default();
    ranges.insert_range(1, 5);
    let committed = Command::Committed(vec![RunRanges { run: 7, ranges }]);
    let host = HostState {
        online: true,
        timestamp: AT,
    };
    vec![
        ("nbirth", build_node_birth(AT, 0, &node)),
        ("dbirth", build_device_birth(AT, 1, NUMBER, &[born])),
        ("ddata", encode(&some_readings(), 2, false)),
        ("ddata_historical", encode(&some_readings(), 3, true)),
        (
            "ncmd",
            build_commands(AT, None, &[Command::Rebirth, committed]),
        ),
        ("ddeath", build_device_death(AT, 4)),
        ("ndeath", build_node_death(AT, 3)),
        ("state", host.to_json().into_bytes()),
    ]
}

/// Messages in the repository, as they were first written: `name hex`, one a line. A change of
/// these lines is a change of the wire, and old gateways speak the old one.
const GOLDEN: &str = include_str!("golden.txt");

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn golden_bytes(name: &str) -> Vec<u8> {
    let line = GOLDEN.lines().find_map(|line| {
        let (known, hex) = line.split_once(' ')?;
        (known == name).then_some(hex)
    });
    let hex = line.expect("a line of that name");
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect()
}

#[test]
fn messages_are_written_as_they_ever_were() {
    let written: Vec<String> = golden()
        .iter()
        .map(|(name, bytes)| format!("{name} {}", hex(bytes)))
        .collect();
    assert_eq!(written, GOLDEN.lines().collect::<Vec<_>>());
}

#[test]
fn messages_of_old_are_still_read() {
    let birth = read_birth(&golden_bytes("nbirth")).expect("nbirth");
    assert_eq!((birth.bd_seq, birth.last), (Some(3), Some(NUMBER)));
    let birth = read_birth(&golden_bytes("dbirth")).expect("dbirth");
    assert_eq!(birth.metrics[0].name, "TF1.GT-101");
    assert_eq!(birth.metrics[0].value.to_bits(), 0.5f64.to_bits());
    for (name, historical) in [("ddata", false), ("ddata_historical", true)] {
        let bytes = golden_bytes(name);
        let walk = walk(&bytes).expect(name);
        assert_eq!(walk.number(), Ok(Some(NUMBER)));
        let metrics: Vec<_> = walk
            .iter()
            .skip(2)
            .map(|metric| metric.expect(name))
            .collect();
        for (metric, (alias, wire, sent)) in metrics.iter().zip(some_readings()) {
            assert_eq!(
                (metric.alias, metric.is_historical),
                (Some(alias), historical)
            );
            let (value, quality) = metric.measured(wire.datatype()).expect(name);
            assert!(same(value, sent.value) && quality == sent.quality);
        }
        assert_eq!(metrics.len(), some_readings().len());
    }
    assert_eq!(
        read_commands(&golden_bytes("ncmd"))
            .expect("ncmd")
            .known
            .len(),
        2
    );
    assert_eq!(walk(&golden_bytes("ddeath")).expect("ddeath").seq, Some(4));
    assert_eq!(read_node_death(&golden_bytes("ndeath")), Ok(3));
    let state = HostState::from_json(&golden_bytes("state")).expect("state");
    assert!(state.online && state.timestamp == AT);
}
