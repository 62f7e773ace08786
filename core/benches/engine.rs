//! How fast the engine takes live readings, and how near that is to what memory allows.
//!
//! Budgets: `engine_apply` >= 50 M readings/s on one core with 4 limits a
//! point, deadband, delays and quality, state in cache; `engine_apply_ratio` >= 0.7 of a bare loop
//! that does only the four comparisons, 1 M points of 64 bytes in random order.
//!
//! One reading in a thousand is not ordinary: it leaves the band or has another quality.

#![allow(
    clippy::disallowed_methods,
    clippy::needless_bitwise_bool,
    clippy::print_stdout,
    reason = "a bench reads the clock and prints; it decides nothing"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use davy_core::alarm::{
    AlarmDefinition, Condition, Engine, Guidance, Input, Limit, Priority, Setpoint, Subject, Turn,
};
use davy_core::point::{ByteOrder, Encoding, Point, Range, Register, Scaling, Table, Text};
use davy_core::reading::{Lane, PointId, Quality, Reading, Timestamp, UncertainCause};

/// Readings in a batch: a message or a few.
const BATCH: usize = 500;
/// One reading in so many is not ordinary.
const ODD_EVERY: u64 = 1000;
/// Readings in one timed run.
const READINGS: usize = 1_000_000;
/// Timed runs; the median counts.
const RUNS: usize = 15;
/// As many lines as the bare loop loads ahead, the same as the engine.
const GATHER: usize = 32;

fn main() {
    let in_cache = engine_rate(1_000, ODD_EVERY);
    println!(
        "1,000 points, all ordinary: {:.1} M readings/s",
        engine_rate(1_000, u64::MAX)
    );
    println!("1,000 points, 1 in {ODD_EVERY} not ordinary: {in_cache:.1} M readings/s");
    let (engine, bare) = side_by_side(1_000_000);
    println!("1,000,000 points in random order: {engine:.1} M readings/s");
    println!("1,000,000 points, bare loop: {bare:.1} M readings/s");
    println!("engine_apply: {in_cache:.1} M readings/s per core (goal >= 50)");
    println!("engine_apply_ratio: {:.2} (goal >= 0.7)", engine / bare);
}

/// Millions a second, for the engine alone.
fn engine_rate(points: u32, odd_every: u64) -> f64 {
    let mut engine = engine(points);
    let mut stream = Stream::new(points, odd_every);
    // Runs go over a stream that itself fits the cache, several times.
    let part = READINGS / 20;
    stream.readings.truncate(part);
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let mut spent = Duration::ZERO;
        for _ in 0..READINGS / part {
            let now = stream.next();
            spent += timed(|| feed(&mut engine, now, &stream.readings));
        }
        times.push(spent);
    }
    rate(times)
}

/// Millions a second, engine and bare loop by turns over the same readings.
fn side_by_side(points: u32) -> (f64, f64) {
    let mut engine = engine(points);
    let bare = vec![
        Bare {
            limits: [5.0, 10.0, 80.0, 90.0]
        };
        points as usize
    ];
    let mut stream = Stream::new(points, ODD_EVERY);
    let (mut engine_times, mut bare_times) = (Vec::new(), Vec::new());
    // Every point is seen before the first timed run.
    let all: Vec<_> = (0..points)
        .map(|point| Reading::new(PointId(point), 50.0, Quality::Good, stream.now))
        .collect();
    feed(&mut engine, stream.now, &all);
    for _ in 0..RUNS {
        let now = stream.next();
        engine_times.push(timed(|| feed(&mut engine, now, &stream.readings)));
        bare_times.push(timed(|| {
            black_box(bare_loop(&bare, &stream.readings));
        }));
    }
    (rate(engine_times), rate(bare_times))
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn rate(mut times: Vec<Duration>) -> f64 {
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    READINGS as f64 / median.as_secs_f64() / 1e6
}

fn feed(engine: &mut Engine, now: Timestamp, readings: &[Reading]) {
    let mut effects = Vec::new();
    for readings in readings.chunks(BATCH) {
        let lane = Lane::Live;
        engine.apply(
            now,
            Input::Readings {
                lane,
                turn: Turn::Next,
                readings,
            },
            &mut effects,
        );
        black_box(&effects);
        effects.clear();
    }
}

/// A point as the bare loop knows it: its limits, in one cache line.
#[derive(Clone)]
#[repr(align(64))]
struct Bare {
    limits: [f64; 4],
}

/// Only the four comparisons, with the same trick against the wait for memory.
fn bare_loop(lines: &[Bare], readings: &[Reading]) -> u64 {
    let mut crossed = 0;
    for group in readings.chunks(GATHER) {
        let mut touched = 0;
        for reading in group {
            if let Some(line) = lines.get(reading.point.index()) {
                touched ^= line.limits[0].to_bits();
            }
        }
        black_box(touched);
        for reading in group {
            if let Some(line) = lines.get(reading.point.index()) {
                let [ll, l, h, hh] = line.limits;
                let value = reading.value;
                let any = (value <= ll) | (value <= l) | (value >= h) | (value >= hh);
                crossed += u64::from(any);
            }
        }
    }
    crossed
}

/// Readings in random order of points; each turn is a second later than the one before.
struct Stream {
    readings: Vec<Reading>,
    odd_every: u64,
    random: u64,
    now: Timestamp,
}

impl Stream {
    fn new(points: u32, odd_every: u64) -> Self {
        let now = Timestamp(1_000_000);
        let mut random = 0x9E37_79B9_7F4A_7C15;
        let readings = (0..READINGS)
            .map(|_| {
                let point = PointId((step(&mut random) % u64::from(points)) as u32);
                Reading::new(point, 50.0, Quality::Good, now)
            })
            .collect();
        Self {
            readings,
            odd_every,
            random,
            now,
        }
    }

    /// New values and times. Within a turn each reading is later than the ones before it.
    fn next(&mut self) -> Timestamp {
        // More than a turn has readings, so that a turn never reaches into the one before.
        self.now = self.now + Duration::from_secs(2_000);
        let start = self.now.0 - self.readings.len() as i64;
        for (at, reading) in (start..).zip(&mut self.readings) {
            let random = step(&mut self.random);
            reading.sampled_at = Timestamp(at);
            reading.value = 20.0 + (random % 50) as f64;
            reading.quality = Quality::Good;
            if random.is_multiple_of(self.odd_every) {
                let frozen = Quality::Uncertain(UncertainCause::Frozen);
                let is_value = random.is_multiple_of(2);
                reading.value = if is_value { 95.0 } else { reading.value };
                reading.quality = if is_value { Quality::Good } else { frozen };
            }
        }
        self.now
    }
}

/// xorshift64: the same readings on every machine.
fn step(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random >> 8
}

fn engine(points: u32) -> Engine {
    let setpoints = [
        (Setpoint::Ll, 5.0, 6.0),
        (Setpoint::L, 10.0, 12.0),
        (Setpoint::H, 80.0, 78.0),
        (Setpoint::Hh, 90.0, 88.0),
    ];
    let mut alarms = Vec::new();
    for point in 0..points {
        for (setpoint, limit, reset) in setpoints {
            alarms.push(alarm(
                point,
                Limit {
                    setpoint,
                    limit,
                    reset,
                },
            ));
        }
    }
    let points: Vec<_> = (0..points).map(point).collect();
    Engine::new(&points, &alarms)
}

fn alarm(point: u32, limit: Limit) -> AlarmDefinition {
    let none = Text::default;
    AlarmDefinition {
        name: format!("P{point}.{}", limit.setpoint.word()),
        subject: Subject::Point(PointId(point)),
        condition: Condition::Limit(limit),
        on_delay: Duration::from_secs(3),
        off_delay: Duration::from_secs(5),
        latch: false,
        calibration_max: Duration::ZERO,
        priority: Priority::LOWEST,
        shelvable: true,
        guidance: Arc::new(Guidance {
            cause: none(),
            consequence: none(),
            action: none(),
            time_to_respond: Duration::from_mins(10),
        }),
        figure_source: Arc::default(),
    }
}

fn point(place: u32) -> Point {
    Point {
        tag: format!("P{place}"),
        name: Text::default(),
        kind: "level".to_owned(),
        position: None,
        unit: "%".to_owned(),
        range: Range {
            low: 0.0,
            high: 100.0,
        },
        source: None,
        gateway: format!("G{}", place / 250),
        device: format!("U{}", place / 50),
        // Longer than a turn of the bench, so that time itself brings nothing.
        period: Duration::from_hours(1),
        register: Register {
            table: Table::HoldingRegisters,
            address: 0,
            encoding: Encoding::F32,
            order: ByteOrder::Abcd,
            scaling: Scaling::None,
        },
    }
}
