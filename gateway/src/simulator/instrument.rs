//! From a value to registers: the instrument's signal, and its number in the unit's memory.
//!
//! The inverse of what the gateway does, written from the standards alone: NAMUR NE 43 for the
//! loop (measuring 3.8–20.5 mA, failure below 3.6 and above 21 mA), Modbus and IEEE 754 for the
//! registers. Invariants: a working loop never leaves 3.8–20.5 mA; a number that does not fit its
//! type takes the nearest end of it.

use davy_core::point::{ByteOrder, Encoding, Point, Scaling};

/// What the wire between sensor and unit is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// Whole.
    Sound,
    /// Broken (断线).
    Broken,
    /// Shorted (短路).
    Shorted,
}

/// The words of one value, as many as its encoding is wide.
pub(super) fn registers(point: &Point, value: f64, wire: Wire) -> Vec<u16> {
    let register = &point.register;
    encode(raw(point, value, wire), register.encoding, register.order)
}

/// The raw number that stands for `value`.
fn raw(point: &Point, value: f64, wire: Wire) -> f64 {
    let share = (value - point.range.low) / point.range.span();
    match (point.register.scaling, wire) {
        (Scaling::Loop(raw), _) => {
            // What acts in reverse sends 20 mA at the range's low end.
            let (at_4, at_20, risen) = if raw.is_reversed() {
                (raw.high, raw.low, 1.0 - share)
            } else {
                (raw.low, raw.high, share)
            };
            let milliamps = match wire {
                Wire::Sound => (4.0 + 16.0 * risen).clamp(3.8, 20.5),
                Wire::Broken => 0.0,
                Wire::Shorted => 22.5,
            };
            at_4 + (milliamps - 4.0) / 16.0 * (at_20 - at_4)
        }
        (_, Wire::Broken) => f64::NEG_INFINITY,
        (_, Wire::Shorted) => f64::INFINITY,
        (Scaling::Linear(raw), Wire::Sound) => raw.low + share * raw.span(),
        (Scaling::None, Wire::Sound) => value,
    }
}

/// The words of a raw number. `as` takes the nearest end of the type, and 0 for NaN.
fn encode(raw: f64, encoding: Encoding, order: ByteOrder) -> Vec<u16> {
    let whole = raw.round();
    let big_endian: Vec<u8> = match encoding {
        Encoding::Bit => u16::from(raw > 0.5).to_be_bytes().to_vec(),
        Encoding::BitOf(bit) => (u16::from(raw > 0.5) << (bit & 15)).to_be_bytes().to_vec(),
        Encoding::U8 => u16::from(whole as u8).to_be_bytes().to_vec(),
        Encoding::I8 => u16::from((whole as i8).cast_unsigned())
            .to_be_bytes()
            .to_vec(),
        Encoding::U16 => (whole as u16).to_be_bytes().to_vec(),
        Encoding::I16 => (whole as i16).to_be_bytes().to_vec(),
        Encoding::U32 => (whole as u32).to_be_bytes().to_vec(),
        Encoding::I32 => (whole as i32).to_be_bytes().to_vec(),
        Encoding::U64 => (whole as u64).to_be_bytes().to_vec(),
        Encoding::I64 => (whole as i64).to_be_bytes().to_vec(),
        Encoding::F16 => half(raw).to_be_bytes().to_vec(),
        Encoding::F32 => (raw as f32).to_be_bytes().to_vec(),
        Encoding::F64 => raw.to_be_bytes().to_vec(),
    };
    let mut words: Vec<u16> = big_endian
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_be_bytes(*pair))
        .collect();
    if encoding == Encoding::Bit {
        return words; // A bit of a bit table has no bytes to swap.
    }
    if matches!(order, ByteOrder::Cdab | ByteOrder::Dcba) {
        words.reverse();
    }
    if matches!(order, ByteOrder::Badc | ByteOrder::Dcba) {
        for word in &mut words {
            *word = word.swap_bytes();
        }
    }
    words
}

/// The nearest IEEE 754 half, ties to even.
fn half(value: f64) -> u16 {
    let sign = u16::from(value.is_sign_negative()) << 15;
    let size = value.abs();
    if size.is_nan() {
        return 0x7E00;
    }
    // 65,504 is the largest half; from 65,520 on the nearest is infinity.
    if size >= 65_520.0 {
        return sign | 0x7C00;
    }
    // Below 2^-14 halves stand 2^-24 apart; a carry out of the fraction runs into the exponent,
    // where it belongs, here and below.
    if size < 2.0_f64.powi(-14) {
        return sign | (size * 2.0_f64.powi(24)).round_ties_even() as u16;
    }
    let exponent = ((size.to_bits() >> 52) & 0x7FF) as i32 - 1023;
    let fraction = ((size / 2.0_f64.powi(exponent) - 1.0) * 1024.0).round_ties_even() as u16;
    sign | ((((exponent + 15) as u16) << 10) + fraction)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use davy_core::point::{Range, RawEnds, Register, Table, Text};
    use davy_core::reading::{PointId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::decode::Decoder;
    use crate::modbus::Values;
    use crate::plan::{Request, Slice};

    const ORDERS: [ByteOrder; 4] = [
        ByteOrder::Abcd,
        ByteOrder::Cdab,
        ByteOrder::Badc,
        ByteOrder::Dcba,
    ];

    /// The words as hexadecimal text in each order.
    fn written(raw: f64, encoding: Encoding) -> Vec<String> {
        ORDERS
            .iter()
            .map(|order| {
                encode(raw, encoding, *order)
                    .iter()
                    .map(|word| format!("{word:04X}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    }

    #[test]
    fn every_encoding_stands_as_its_standard_says() {
        // Bytes worked out by hand: 25.5 is 0x41CC0000 as single, 0x4039800000000000 as double,
        // 0x4E60 as half.
        let table: [(f64, Encoding, [&str; 4]); 13] = [
            (1.0, Encoding::Bit, ["0001"; 4]),
            (1.0, Encoding::BitOf(3), ["0008", "0008", "0800", "0800"]),
            (200.0, Encoding::U8, ["00C8", "00C8", "C800", "C800"]),
            (-2.0, Encoding::I8, ["00FE", "00FE", "FE00", "FE00"]),
            (4660.0, Encoding::U16, ["1234", "1234", "3412", "3412"]),
            (-2.0, Encoding::I16, ["FFFE", "FFFE", "FEFF", "FEFF"]),
            (
                305_419_896.0,
                Encoding::U32,
                ["1234 5678", "5678 1234", "3412 7856", "7856 3412"],
            ),
            (
                -2.0,
                Encoding::I32,
                ["FFFF FFFE", "FFFE FFFF", "FFFF FEFF", "FEFF FFFF"],
            ),
            (
                4_328_719_365.0, // 0x0000000102030405
                Encoding::U64,
                [
                    "0000 0001 0203 0405",
                    "0405 0203 0001 0000",
                    "0000 0100 0302 0504",
                    "0504 0302 0100 0000",
                ],
            ),
            (
                -2.0,
                Encoding::I64,
                [
                    "FFFF FFFF FFFF FFFE",
                    "FFFE FFFF FFFF FFFF",
                    "FFFF FFFF FFFF FEFF",
                    "FEFF FFFF FFFF FFFF",
                ],
            ),
            (25.5, Encoding::F16, ["4E60", "4E60", "604E", "604E"]),
            (
                25.5,
                Encoding::F32,
                ["41CC 0000", "0000 41CC", "CC41 0000", "0000 CC41"],
            ),
            (
                25.5,
                Encoding::F64,
                [
                    "4039 8000 0000 0000",
                    "0000 0000 8000 4039",
                    "3940 0080 0000 0000",
                    "0000 0000 0080 3940",
                ],
            ),
        ];
        for (raw, encoding, words) in table {
            assert_eq!(written(raw, encoding), words, "{encoding:?}");
            assert_eq!(
                encode(raw, encoding, ByteOrder::Abcd).len(),
                usize::from(encoding.width())
            );
        }
    }

    #[test]
    fn halves_are_the_nearest_ones() {
        for (value, bits) in [
            (0.0, 0x0000),
            (-0.0, 0x8000),
            (1.0, 0x3C00),
            (-2.0, 0xC000),
            (65_504.0, 0x7BFF),
            (65_519.9, 0x7BFF),
            (65_520.0, 0x7C00),
            (f64::NEG_INFINITY, 0xFC00),
            (0.000_061_035_156_25, 0x0400),
            (2.0_f64.powi(-24), 0x0001),
            (0.333_251_953_125, 0x3555),
            (1.999_9, 0x4000),
            (1.000_488_281_25, 0x3C00), // a tie goes to the even one
        ] {
            assert_eq!(half(value), bits, "{value}");
        }
        assert_eq!(half(f64::NAN) & 0x7C00, 0x7C00);
    }

    #[test]
    fn a_number_that_does_not_fit_takes_the_end_of_its_type() {
        assert_eq!(encode(-1.0, Encoding::U16, ByteOrder::Abcd), [0]);
        assert_eq!(encode(1e9, Encoding::I16, ByteOrder::Abcd), [0x7FFF]);
    }

    fn point(scaling: Scaling) -> Point {
        Point {
            tag: "X".into(),
            name: Text::default(),
            kind: "cl2".into(),
            position: None,
            unit: "mg/m3".into(),
            range: Range {
                low: 0.0,
                high: 20.0,
            },
            source: None,
            gateway: "g".into(),
            device: "d".into(),
            period: Duration::from_secs(1),
            register: Register {
                table: Table::InputRegisters,
                address: 0,
                encoding: Encoding::U16,
                order: ByteOrder::Abcd,
                scaling,
            },
        }
    }

    #[test]
    fn a_loop_follows_ne_43() {
        // Raw in microamperes, so the words read as currents.
        let rising = point(Scaling::Loop(RawEnds {
            low: 4000.0,
            high: 20_000.0,
        }));
        let falling = point(Scaling::Loop(RawEnds {
            low: 20_000.0,
            high: 4000.0,
        }));
        for (value, wire, microamps, reversed) in [
            (0.0, Wire::Sound, 4000, 20_000),
            (5.0, Wire::Sound, 8000, 16_000),
            (20.0, Wire::Sound, 20_000, 4000),
            (900.0, Wire::Sound, 20_500, 3800),
            (-9.0, Wire::Sound, 3800, 20_500),
            (10.0, Wire::Broken, 0, 0),
            (10.0, Wire::Shorted, 22_500, 22_500),
        ] {
            assert_eq!(registers(&rising, value, wire), [microamps], "{value}");
            assert_eq!(registers(&falling, value, wire), [reversed], "{value}");
        }
    }

    #[test]
    fn a_line_goes_through_its_two_points() {
        for (low, high, words) in [
            (100.0, 2100.0, [100, 600, 2100]),
            (2100.0, 100.0, [2100, 1600, 100]),
        ] {
            let point = point(Scaling::Linear(RawEnds { low, high }));
            for (value, raw) in [0.0, 5.0, 20.0].into_iter().zip(words) {
                assert_eq!(registers(&point, value, Wire::Sound), [raw]);
            }
        }
    }

    proptest! {
        #[test]
        fn the_gateway_reads_what_the_instrument_shows(
            ends in (any::<u16>(), any::<u16>()).prop_filter("two ends", |(low, high)| low != high),
            low in -1_000_000..1_000_000_i32,
            span in 1..1_000_000_i32,
            share in prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0_f64],
            is_loop in any::<bool>(),
        ) {
            let (raw_low, raw_high) = (f64::from(ends.0), f64::from(ends.1));
            let scaling = if is_loop { Scaling::Loop } else { Scaling::Linear };
            let mut point = point(scaling(RawEnds { low: raw_low, high: raw_high }));
            // As people write ranges: two decimals.
            let (low, high) = (f64::from(low) / 100.0, f64::from(low + span) / 100.0);
            point.range = Range { low, high };
            let value = low * (1.0 - share) + high * share;
            let slice = Slice { point: PointId(0), offset: 0 };
            let request = Request {
                table: point.register.table, first: 0, count: 1, points: vec![slice],
            };
            let words = registers(&point, value, Wire::Sound);
            let mut readings = Vec::new();
            Decoder::new(&request, std::slice::from_ref(&point))
                .decode(&Values::Registers(words), Timestamp(0), &mut readings);
            let read = readings[0];
            prop_assert!(read.quality.is_good(), "{read:?}");
            let count = point.range.span() / (raw_high - raw_low).abs();
            prop_assert!((read.value - value).abs() <= count * 1.001, "{read:?}, wanted {value}");
        }
    }
}
