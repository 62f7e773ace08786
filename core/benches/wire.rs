//! What one reading costs on the wire: bytes, and nanoseconds to write and to read.
//!
//! Defends `wire_bytes`: a float32 reading in batches of 100, live, with all that the message
//! carries (run, sequence, payload timestamp, `seq`), at most 18 bytes. Aliases are those of a
//! gateway with 10,000 points (two bytes for nearly all of them); readings come each second, a
//! few milliseconds early or late. The nanoseconds are printed beside prost's for comparison.
//!
//! `cargo bench -p davy-core --bench wire`
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a bench speaks to the person who runs it"
)]

use std::hint::black_box;
use std::time::Duration;

use davy_core::delivery::MessageNumber;
use davy_core::reading::{PointId, Quality, Reading, Timestamp};
use davy_core::sparkplug::payload::{self, MetricValue, Payload};
use davy_core::sparkplug::{DataType, WireType, encode_data, finish, walk};
use prost::Message as _;

/// Readings in one message.
const BATCH: usize = 100;

/// Points of the gateway.
const POINTS: usize = 10_000;

/// Seconds of operation that are encoded for the size.
const SECONDS: i64 = 10;

/// A moment of 2026: its timestamps take six bytes until the year 2109.
const START_MS: i64 = 1_790_000_000_000;

/// A gateway numbers its runs by the clock at their start.
const RUN: u64 = START_MS.cast_unsigned();

fn main() {
    let bytes = bytes_per_reading();
    let readings = readings(0);
    let batch = readings.get(..BATCH).unwrap_or_default();
    let encoded = message(batch, 0, 1);
    print_ns("encode by hand", encode_by_hand(batch));
    print_ns("encode by prost", encode_by_prost(batch));
    print_ns("decode by hand", decode_by_hand(&encoded));
    print_ns("decode by prost", decode_by_prost(&encoded));
    println!("wire_bytes: {bytes:.1} bytes (goal <= 18)");
}

/// One reading of each point in second `second`: a value in the middle of its range that moves,
/// with the digits that a single has.
fn readings(second: i64) -> Vec<(u64, Reading)> {
    let read = |index: usize| {
        let wave = ((index as f64) * 0.37 + second as f64 * 0.11).sin();
        let value = f64::from((12.5 + 7.25 * wave) as f32);
        let jitter = ((index as i64) * 31 + second * 17) % 7 - 3;
        let at = Timestamp(START_MS + second * 1000 + jitter);
        let point = PointId(index as u32);
        (
            index as u64 + 1,
            Reading::new(point, value, Quality::Good, at),
        )
    };
    (0..POINTS).map(read).collect()
}

/// A message as it is published.
fn message(batch: &[(u64, Reading)], second: i64, sequence: u64) -> Vec<u8> {
    let at = Timestamp(START_MS + second * 1000 + 4);
    let number = MessageNumber { run: RUN, sequence };
    let (mut stored, mut out) = (Vec::new(), Vec::new());
    let metrics = batch.iter().map(|(alias, r)| (*alias, WireType::Float, r));
    encode_data(&mut stored, at, Some(number), metrics);
    finish(&stored, at, sequence as u8, false, &mut out).expect("own message");
    out
}

fn bytes_per_reading() -> f64 {
    // A gateway that has run for a day: sequences of four bytes.
    let (mut bytes, mut count, mut sequence) = (0, 0, 8_640_000);
    for second in 0..SECONDS {
        for batch in readings(second).chunks(BATCH) {
            bytes += message(batch, second, sequence).len();
            count += batch.len();
            sequence += 1;
        }
    }
    bytes as f64 / count as f64
}

fn encode_by_hand(batch: &[(u64, Reading)]) -> Duration {
    let mut out = Vec::with_capacity(4096);
    let at = Timestamp(START_MS);
    let number = MessageNumber {
        run: RUN,
        sequence: 8_640_000,
    };
    per_metric(|| {
        out.clear();
        let metrics = black_box(batch).iter();
        let metrics = metrics.map(|(alias, r)| (*alias, WireType::Float, r));
        encode_data(&mut out, at, Some(number), metrics);
        black_box(&out);
    })
}

fn encode_by_prost(batch: &[(u64, Reading)]) -> Duration {
    let mut out = Vec::with_capacity(4096);
    per_metric(|| {
        out.clear();
        let metrics = black_box(batch)
            .iter()
            .map(|(alias, reading)| payload::Metric {
                alias: Some(*alias),
                timestamp: Some(reading.sampled_at.0 as u64),
                value: Some(MetricValue::Float(reading.value as f32)),
                ..payload::Metric::default()
            });
        let payload = Payload {
            timestamp: Some(START_MS as u64),
            metrics: metrics.collect(),
            seq: Some(1),
        };
        payload.encode(&mut out).expect("a vector takes all");
        black_box(&out);
    })
}

fn decode_by_hand(bytes: &[u8]) -> Duration {
    per_metric(|| {
        let walk = walk(black_box(bytes)).expect("own message");
        let number = walk.number().expect("own message");
        let (mut sum, mut last) = (0.0, 0);
        for metric in &walk {
            let metric = metric.expect("own message");
            if let Some((value, quality)) = metric.measured(DataType::Float) {
                sum += value + f64::from(u8::from(quality.is_good()));
                last = metric.alias.unwrap_or(0) + metric.timestamp.map_or(0, |at| at.0 as u64);
            }
        }
        black_box((number, sum, last));
    })
}

fn decode_by_prost(bytes: &[u8]) -> Duration {
    per_metric(|| {
        let payload = Payload::decode(black_box(bytes)).expect("own message");
        black_box(payload.metrics.len());
    })
}

/// The best of many runs, each over `BATCH` metrics, for one of them: other work on the machine
/// only ever adds time.
fn per_metric(mut run: impl FnMut()) -> Duration {
    const ROUNDS: u32 = 200;
    const RUNS: u32 = 200;
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        #[allow(clippy::disallowed_methods, reason = "a bench measures time")]
        let start = std::time::Instant::now();
        for _ in 0..RUNS {
            run();
        }
        best = best.min(start.elapsed());
    }
    // In picoseconds first: one metric takes a few nanoseconds.
    best * 1000 / (RUNS * BATCH as u32)
}

fn print_ns(what: &str, thousandfold: Duration) {
    let ns = thousandfold.as_nanos() as f64 / 1000.0;
    println!("{what}: {ns:.1} ns a metric");
}
