//! Bytes of one reading in the compressed backlog, as it is sent after an outage.
//!
//! A unit with 100 float32 points, polled once a second for an hour in two requests of 50, each
//! with a time of its own that is off the grid by up to 3 ms. The mix, a third each:
//!
//! - gas: near 0, in steps of 0.1 (what a detector's display shows), moving now and then;
//! - temperature: in steps of 0.1, a slow walk around 20 to 80;
//! - pressure: a noisy float32, all of its bits in use for a range of 0 to 1.6 and noise of 0.1 %.
//!
//! What is counted is the whole payload of each NDATA: messages are encoded, bundled and
//! compressed by the gateway's own code, in bundles of the size that it sends.

#![allow(clippy::print_stdout, reason = "a bench says its figure")]

use davy_core::delivery::MessageNumber;
use davy_core::reading::{PointId, Quality, Reading, Timestamp};
use davy_core::sparkplug::{NodeData, WireType, build_node_data, encode_data};
use davy_gateway::outbox::StoredMessage;
use davy_gateway::publish::bundle::bundle;
use davy_gateway::publish::pipeline::BUNDLE_RAW_BYTES;
use davy_gateway::publish::session::BUNDLE_MESSAGES;

const POINTS: u32 = 100;
const SECONDS: u64 = 3_600;
const GOAL: f64 = 8.0;

/// Repeatable chance, xorshift64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// About normal, deviation 1.
    fn noise(&mut self) -> f64 {
        let sum: u64 = (0..12).map(|_| self.below(1_000_000)).sum();
        sum as f64 / 1e6 - 6.0
    }
}

/// The values of all points, second by second.
struct Plant {
    tenths: Vec<i64>,
    chance: Chance,
}

impl Plant {
    fn value(&mut self, point: u32) -> f64 {
        let chance = self.chance.below(100);
        let step = if self.chance.below(2) == 0 { 1 } else { -1 };
        let tenths = &mut self.tenths[point as usize];
        let value = match point % 3 {
            0 => {
                if chance < 5 {
                    *tenths = (*tenths + step).clamp(0, 6);
                }
                *tenths as f64 / 10.0
            }
            1 => {
                if chance < 20 {
                    *tenths = (*tenths + step).clamp(200, 800);
                }
                *tenths as f64 / 10.0
            }
            _ => 0.8 + f64::from(point) / 200.0 + 0.0016 * self.chance.noise(),
        };
        // A float32 register holds no more than a float32.
        f64::from(value as f32)
    }
}

fn main() {
    let mut plant = Plant {
        tenths: (0..POINTS)
            .map(|point| {
                if point % 3 == 1 {
                    200 + 6 * i64::from(point)
                } else {
                    0
                }
            })
            .collect(),
        chance: Chance(0x9e37_79b9_7f4a_7c15),
    };
    let (mut sent, mut readings) = (0, 0);
    let (mut waiting, mut raw) = (Vec::new(), 0);
    for second in 0..SECONDS {
        let message = message(&mut plant, second);
        raw += message.payload.len();
        waiting.push(message);
        if raw >= BUNDLE_RAW_BYTES || waiting.len() == BUNDLE_MESSAGES || second + 1 == SECONDS {
            let data = NodeData {
                backlog: bundle(&waiting).ok(),
                ..NodeData::default()
            };
            sent += build_node_data(Timestamp(1_763_000_000_000), 7, &data).len();
            readings += waiting.len() * POINTS as usize;
            waiting.clear();
            raw = 0;
        }
    }
    let figure = sent as f64 / readings as f64;
    println!("wire_bytes_backlog: {figure:.2} bytes (goal <= {GOAL})");
}

fn message(plant: &mut Plant, second: u64) -> StoredMessage {
    let grid = 1_763_000_000_000 + second.cast_signed() * 1_000;
    let mut replies = [0; 2].map(|_: i64| grid + plant.chance.below(7).cast_signed());
    replies.sort_unstable();
    let readings: Vec<_> = (0..POINTS)
        .map(|point| {
            let at = Timestamp(replies[usize::from(point >= POINTS / 2)]);
            Reading::new(PointId(point), plant.value(point), Quality::Good, at)
        })
        .collect();
    let number = MessageNumber {
        run: 1_790_000_000_000, // numbered by the clock at its start
        sequence: second + 1,
    };
    let mut payload = Vec::new();
    let coded = readings
        .iter()
        .map(|reading| (u64::from(reading.point.0) + 1, WireType::Float, reading));
    encode_data(&mut payload, Timestamp(replies[1] + 1), Some(number), coded);
    StoredMessage {
        row: second.cast_signed() + 1,
        number,
        device: "unit-1".into(),
        payload,
    }
}
