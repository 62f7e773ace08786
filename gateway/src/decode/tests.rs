//! Vectors made by hand for every encoding and order, and the bands of a loop as a story.

use davy_core::point::{ByteOrder, Encoding, Table, Text};
use proptest::prelude::*;

use super::*;
use crate::plan::Slice;
use crate::poll::UnitState;

const PERCENT: Range = Range {
    low: 0.0,
    high: 100.0,
};

/// Wide enough for every raw number.
const ANY: Range = Range {
    low: -f64::MAX,
    high: f64::MAX,
};

fn point(encoding: Encoding, order: ByteOrder, scaling: Scaling, range: Range) -> Point {
    Point {
        tag: "T-1".into(),
        name: Text::default(),
        kind: "level".into(),
        position: None,
        unit: "%".into(),
        range,
        source: None,
        gateway: "g".into(),
        device: "u".into(),
        period: Duration::from_secs(1),
        register: Register {
            table: Table::HoldingRegisters,
            address: 0,
            encoding,
            order,
            scaling,
        },
    }
}

fn decoder(point: &Point, offset: u16) -> Decoder {
    let request = Request {
        table: point.register.table,
        first: 0,
        count: offset + point.register.encoding.width(),
        points: vec![Slice {
            point: PointId(0),
            offset,
        }],
    };
    Decoder::new(&request, std::slice::from_ref(point))
}

fn only(decoder: &mut Decoder, values: &Values, at_ms: i64) -> Reading {
    let mut readings = Vec::new();
    decoder.decode(values, Timestamp(at_ms), &mut readings);
    assert_eq!(readings.len(), 1);
    readings[0]
}

fn decoded(encoding: Encoding, order: ByteOrder, words: &[u16]) -> Reading {
    let point = point(encoding, order, Scaling::None, ANY);
    only(
        &mut decoder(&point, 0),
        &Values::Registers(words.to_vec()),
        0,
    )
}

const ORDERS: [ByteOrder; 4] = [
    ByteOrder::Abcd,
    ByteOrder::Cdab,
    ByteOrder::Badc,
    ByteOrder::Dcba,
];

/// The same value in all four orders, each written out by hand.
fn check(encoding: Encoding, value: f64, wire: [&[u16]; 4]) {
    for (order, words) in ORDERS.into_iter().zip(wire) {
        let reading = decoded(encoding, order, words);
        assert_eq!(reading.value, value, "{encoding:?} {order:?}");
        assert_eq!(reading.quality, Quality::Good, "{encoding:?} {order:?}");
    }
}

#[test]
fn one_register_in_every_order() {
    let (plain, swapped): (&[u16], &[u16]) = (&[0x81fe], &[0xfe81]);
    let wire = [plain, plain, swapped, swapped];
    check(Encoding::U16, 33_278.0, wire);
    check(Encoding::I16, -32_258.0, wire);
    check(Encoding::U8, 254.0, wire);
    check(Encoding::I8, -2.0, wire);
    check(Encoding::BitOf(0), 0.0, wire);
    check(Encoding::BitOf(1), 1.0, wire);
    check(Encoding::BitOf(9), 0.0, wire);
    check(Encoding::BitOf(15), 1.0, wire);
    // 0x3555: sign +, exponent 13 - 15 = -2, fraction 0x155: 2^-2 * (1 + 341/1024).
    let (plain, swapped): (&[u16], &[u16]) = (&[0x3555], &[0x5535]);
    check(
        Encoding::F16,
        0.333_251_953_125,
        [plain, plain, swapped, swapped],
    );
}

#[test]
fn two_registers_in_every_order() {
    let wire: [&[u16]; 4] = [
        &[0x8001_u16, 0x02fe],
        &[0x02fe, 0x8001],
        &[0x0180, 0xfe02],
        &[0xfe02, 0x0180],
    ];
    check(Encoding::U32, 2_147_549_950.0, wire);
    check(Encoding::I32, -2_147_417_346.0, wire);
    // 0x42f6e979 is 123.456 rounded to single: 16181625 * 2^-17.
    let wire: [&[u16]; 4] = [
        &[0x42f6, 0xe979],
        &[0xe979, 0x42f6],
        &[0xf642, 0x79e9],
        &[0x79e9, 0xf642],
    ];
    check(Encoding::F32, 16_181_625.0 / 131_072.0, wire);
}

#[test]
fn four_registers_in_every_order() {
    let wire: [&[u16]; 4] = [
        &[0x0001, 0x0203, 0x0405, 0x0607],
        &[0x0607, 0x0405, 0x0203, 0x0001],
        &[0x0100, 0x0302, 0x0504, 0x0706],
        &[0x0706, 0x0504, 0x0302, 0x0100],
    ];
    check(Encoding::U64, 283_686_952_306_183.0, wire);
    check(Encoding::I64, 283_686_952_306_183.0, wire);
    let wire: [&[u16]; 4] = [
        &[0xffff, 0xffff, 0xffff, 0xfffe],
        &[0xfffe, 0xffff, 0xffff, 0xffff],
        &[0xffff, 0xffff, 0xffff, 0xfeff],
        &[0xfeff, 0xffff, 0xffff, 0xffff],
    ];
    check(Encoding::I64, -2.0, wire);
    // 0xc005bf0a8b145769 is -e rounded to double.
    let wire: [&[u16]; 4] = [
        &[0xc005, 0xbf0a, 0x8b14, 0x5769],
        &[0x5769, 0x8b14, 0xbf0a, 0xc005],
        &[0x05c0, 0x0abf, 0x148b, 0x6957],
        &[0x6957, 0x148b, 0x0abf, 0x05c0],
    ];
    check(Encoding::F64, -std::f64::consts::E, wire);
}

#[test]
fn whole_numbers_above_2_to_53_are_rounded() {
    // 2^53 + 1 has no f64; the even neighbour is taken.
    let words = [0x0020, 0x0000, 0x0000, 0x0001];
    let reading = decoded(Encoding::U64, ByteOrder::Abcd, &words);
    assert_eq!(reading.value, 9_007_199_254_740_992.0);
}

#[test]
fn halves_at_the_edges() {
    for (bits, value) in [
        (0x0000, 0.0),
        (0x0001, 5.960_464_477_539_063e-8),
        (0x0400, 6.103_515_625e-5),
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65_504.0),
    ] {
        assert_eq!(
            decoded(Encoding::F16, ByteOrder::Abcd, &[bits]).value,
            value
        );
    }
}

#[test]
fn what_is_no_number_is_bad() {
    let cases: [(Encoding, &[u16]); 7] = [
        (Encoding::F16, &[0x7e00]),
        (Encoding::F16, &[0xfc00]),
        (Encoding::F32, &[0x7fc0, 0]),
        (Encoding::F32, &[0x7f80, 0]),
        (Encoding::F32, &[0xff80, 0]),
        (Encoding::F64, &[0x7ff8, 0, 0, 0]),
        (Encoding::F64, &[0xfff0, 0, 0, 0]),
    ];
    for (encoding, words) in cases {
        let reading = decoded(encoding, ByteOrder::Abcd, words);
        assert_eq!(reading.quality, Quality::Bad(BadCause::NotANumber));
        assert!(reading.value.is_nan());
    }
    // Not a number in register order, but a good one in the order that is configured.
    let swapped = decoded(Encoding::F32, ByteOrder::Cdab, &[0x7fc0, 0x42f6]);
    assert_eq!(swapped.quality, Quality::Good);
}

#[test]
fn a_short_reply_is_bad_and_never_zero() {
    for (encoding, words) in [
        (Encoding::F32, &[0x42f6_u16][..]),
        (Encoding::U16, &[]),
        (Encoding::F64, &[0, 0, 0]),
    ] {
        let reading = decoded(encoding, ByteOrder::Abcd, words);
        assert_eq!(reading.quality, Quality::Bad(BadCause::Garbled));
        assert!(reading.value.is_nan());
    }
}

#[test]
fn bits_come_from_bit_tables_only() {
    let mut point = point(Encoding::Bit, ByteOrder::Abcd, Scaling::None, PERCENT);
    point.register.table = Table::Coils;
    let bits = Values::Bits(vec![false, true]);
    assert_eq!(only(&mut decoder(&point, 0), &bits, 0).value, 0.0);
    assert_eq!(only(&mut decoder(&point, 1), &bits, 0).value, 1.0);
    let words = Values::Registers(vec![1, 1]);
    assert!(only(&mut decoder(&point, 0), &words, 0).quality.is_bad());
    point.register.encoding = Encoding::U16;
    assert!(only(&mut decoder(&point, 0), &bits, 0).quality.is_bad());
}

#[test]
fn a_line_runs_through_both_ends_of_the_range() {
    let range = Range {
        low: -50.0,
        high: 150.0,
    };
    // Rising, falling, and what follows: the raw numbers are mirrored at 2000.
    for (rising, falling, value, quality) in [
        (1000, 3000, -50.0, Quality::Good),
        (2000, 2000, 50.0, Quality::Good),
        (3000, 1000, 150.0, Quality::Good),
        (3010, 990, 151.0, OVER),
        (990, 3010, -51.0, UNDER),
    ] {
        for (low, high, raw) in [(1000.0, 3000.0, rising), (3000.0, 1000.0, falling)] {
            let scaling = Scaling::Linear(RawEnds { low, high });
            let point = point(Encoding::U16, ByteOrder::Abcd, scaling, range);
            let reading = only(&mut decoder(&point, 0), &Values::Registers(vec![raw]), 0);
            assert_eq!(reading.quality, quality, "{raw} of {low} to {high}");
            assert!((reading.value - value).abs() < 1e-9, "{raw}");
        }
    }
}

/// A loop in µA (raw 4000 is 4 mA): time in ms, µA, the quality that follows. The same loop of an
/// instrument that acts in reverse has the same faults, and its value on the other side.
fn check_loop(story: &[(i64, u16, Quality)]) {
    for is_reversed in [false, true] {
        let (low, high) = if is_reversed {
            (20_000.0, 4000.0)
        } else {
            (4000.0, 20_000.0)
        };
        let scaling = Scaling::Loop(RawEnds { low, high });
        let point = point(Encoding::U16, ByteOrder::Abcd, scaling, PERCENT);
        let mut decoder = decoder(&point, 0);
        for (at, microamps, quality) in story {
            let expected = match *quality {
                UNDER if is_reversed => OVER,
                OVER if is_reversed => UNDER,
                other => other,
            };
            let reading = only(&mut decoder, &Values::Registers(vec![*microamps]), *at);
            assert_eq!(reading.quality, expected, "{at} ms, {microamps} µA");
            assert_eq!(reading.value.is_nan(), quality.is_bad());
            if !quality.is_bad() {
                let risen = (f64::from(*microamps) - 4000.0) / 160.0;
                let value = if is_reversed { 100.0 - risen } else { risen };
                assert!((reading.value - value).abs() < 1e-9);
            }
        }
    }
}

const UNDER: Quality = Quality::Uncertain(UncertainCause::UnderRange);
const OVER: Quality = Quality::Uncertain(UncertainCause::OverRange);
const HELD: Quality = Quality::Uncertain(UncertainCause::Unspecified);
const OPEN: Quality = Quality::Bad(BadCause::OpenWire);
const SHORT: Quality = Quality::Bad(BadCause::ShortCircuit);

#[test]
fn a_loop_follows_the_bands() {
    check_loop(&[
        (0, 4000, Quality::Good),
        (1, 12_000, Quality::Good),
        (2, 3800, Quality::Good),
        (3, 3799, UNDER),
        (4, 3600, UNDER),
        (5, 20_500, Quality::Good),
        (6, 20_501, OVER),
        (7, 21_000, OVER),
    ]);
}

#[test]
fn a_broken_wire_is_declared_after_the_hold() {
    check_loop(&[
        (0, 3599, HELD),
        (3999, 0, HELD),
        (4000, 0, OPEN),
        (5000, 3599, OPEN),
        (6000, 3600, UNDER),
        (7000, 3599, HELD),
        (11_000, 3599, OPEN),
    ]);
}

#[test]
fn each_fault_of_a_loop_has_its_own_hold() {
    check_loop(&[
        (0, 3599, HELD),
        (3000, 21_001, HELD),
        (6999, 21_001, HELD),
        (7000, 21_001, SHORT),
        (8000, 0, HELD),
        (12_000, 0, OPEN),
        // The clock was set back: the hold starts over and ends all the same.
        (1000, 0, HELD),
        (5000, 0, OPEN),
    ]);
}

/// Gas level 2 sounds for a detector that is driven over its range, and not for a wire that is
/// shorted for a moment.
#[test]
fn a_shorted_loop_is_no_gas() {
    let site = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo/site.toml");
    let config = crate::config::read_site(&site).expect("the demo has no fault");
    let place = config.points.iter().position(|point| {
        matches!(point.register.scaling, Scaling::Loop(_)) && point.kind == "cl2"
    });
    let place = place.expect("a chlorine detector on a loop");
    let Scaling::Loop(span) = config.points[place].register.scaling else {
        unreachable!("as looked for")
    };
    let raw = |milliamps: f64| (span.low + (milliamps - 4.0) / 16.0 * span.span()) as u16;
    let raised = |milliamps: f64| {
        let mut field = decoder(&config.points[place], 0);
        let mut alarms = crate::local::LocalAlarms::new(&config, &config.points[place].gateway);
        for at in 0..120 {
            let mut reading = only(
                &mut field,
                &Values::Registers(vec![raw(milliamps)]),
                at * 1000,
            );
            reading.point = PointId(u32::try_from(place).expect("few"));
            let unit = &config.points[place].device;
            alarms.judge(reading.sampled_at, unit, UnitState::Alive, &[reading]);
        }
        // That a broken loop is not seen is another alarm.
        let sounding: Vec<_> = alarms.sounding().collect();
        sounding.iter().any(|name| name.contains(".gas"))
    };
    assert!(raised(20.8), "saturated: over range");
    assert!(!raised(21.5), "a fault, no gas");
}

fn plain_readings(values: &[f64]) -> Vec<Reading> {
    (0..)
        .map(PointId)
        .zip(values)
        .map(|(id, value)| Reading::new(id, *value, Quality::Good, Timestamp(0)))
        .collect()
}

#[test]
fn calibration_marks_its_own_instrument_until_it_ends() {
    let mut points = vec![point(Encoding::U16, ByteOrder::Abcd, Scaling::None, PERCENT); 3];
    points[1].tag = "T-1.cal".into();
    points[1].kind = "calibration".into();
    points[2].tag = "T-2".into();
    let points: Vec<_> = (0..).map(PointId).zip(&points).collect();
    let mut calibration = Calibration::new(&points);
    let marked = Quality::Uncertain(UncertainCause::Calibration);

    let mut readings = plain_readings(&[5.0, 1.0, 5.0]);
    calibration.apply(&mut readings);
    let qualities = |readings: &[Reading]| readings.iter().map(|r| r.quality).collect::<Vec<_>>();
    assert_eq!(qualities(&readings), [marked, Quality::Good, Quality::Good]);

    // The switch has a longer period: it stands as it was read.
    let mut readings = plain_readings(&[5.0]);
    calibration.apply(&mut readings);
    assert_eq!(qualities(&readings), [marked]);

    // Bad stays bad; no cause is covered up.
    let mut readings = [Reading::without_value(
        PointId(0),
        BadCause::OpenWire,
        Timestamp(0),
    )];
    calibration.apply(&mut readings);
    assert_eq!(readings[0].quality, OPEN);

    // A switch that cannot be read hides nothing.
    let mut readings = plain_readings(&[5.0, 1.0]);
    readings[1] = Reading::without_value(PointId(1), BadCause::NoAnswer, Timestamp(0));
    calibration.apply(&mut readings);
    assert_eq!(readings[0].quality, Quality::Good);
}

proptest! {
    #[test]
    fn no_registers_make_a_good_reading_outside_its_range(
        words in prop::collection::vec(any::<u16>(), 0..5),
        encoding in prop_oneof![
            Just(Encoding::I8), Just(Encoding::U16), Just(Encoding::F16), Just(Encoding::F32),
            Just(Encoding::F64), Just(Encoding::I64), (0_u8..=255).prop_map(Encoding::BitOf),
        ],
        order in prop::sample::select(ORDERS.to_vec()),
        offset in 0_u16..3,
    ) {
        let point = point(encoding, order, Scaling::None, PERCENT);
        let reading = only(&mut decoder(&point, offset), &Values::Registers(words), 0);
        prop_assert!(reading.quality.is_bad() == reading.value.is_nan());
        prop_assert!(!reading.quality.is_good() || PERCENT.contains(reading.value));
    }
}
