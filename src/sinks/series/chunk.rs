//! A chunk: some [`CHUNK_READINGS`] settled readings of one point as bytes, and back.
//!
//! What goes in comes out bit for bit. Each column takes the first of these that holds exactly:
//! - times: deviation from the grid of the usual period (jitter of a poll costs its entropy and
//!   no more), else plain milliseconds;
//! - values: whole multiples of a decimal step (as computed in f64, or in f32 when the sensor sent
//!   a float), each as what is left after the level of those before ([`level`]); else f32 bits, else f64 bits. A reading without a value takes the value before it
//!   here and is marked in the codes;
//! - quality codes: runs.
//!
//! Layout, little-endian: checksum (8 bytes of SHA-256 over the rest), first and last time, count,
//! bad, min, max, sum, then the columns, each with its kind and length. The checksum is proved
//! before anything else is read, so damaged bytes never reach the decompressor.

use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};
use sha2::{Digest, Sha256};

use super::columns::Columns;
use super::{Quantities, Seen, level};

/// Readings in a chunk, about. 4,096 at 1 s are 68 minutes: large enough that the compressor's
/// tables cost little, small enough that the last hour needs two of them at most.
pub(super) const CHUNK_READINGS: usize = 4096;

/// Most readings in a chunk.
const CHUNK_READINGS_MAX: usize = 2 * CHUNK_READINGS;

/// Fewer numbers than this lie in a chunk that is merged into a larger one soon: they are packed in
/// the quickest way, which costs a third of the best one.
const QUICK_BELOW: usize = 1024;

/// Most decimals that a step is looked for with: 0.000001.
const DECIMALS_MAX: u8 = 6;

/// Mark in a code: there is no value (the NaN that Rust calls `f64::NAN`).
const WITHOUT_VALUE: u8 = 0x80;

const TIMES_PLAIN: u8 = 0;
const TIMES_GRID: u8 = 1;
const TIMES_GRID_WITH_STEPS: u8 = 2;

const VALUES_STEP_F64: u8 = 0;
const VALUES_STEP_F32: u8 = 1;
const VALUES_F32: u8 = 2;
const VALUES_F64: u8 = 3;

/// A chunk that is proved whole: what is known of it without its columns.
pub(super) struct Chunk<'a> {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) quantities: Quantities,
    columns: &'a [u8],
}

/// Settled readings as bytes; at most [`CHUNK_READINGS_MAX`] of them, at least one.
pub(super) fn encode(readings: &Columns) -> Result<Vec<u8>, String> {
    let (Some((first, last)), 1..=CHUNK_READINGS_MAX) = (readings.span(), readings.len()) else {
        return Err(format!(
            "a chunk of {} readings; 1 to {CHUNK_READINGS_MAX} are allowed",
            readings.len()
        ));
    };
    let quantities = readings.quantities();
    let mut bytes = vec![0; 8];
    bytes.extend(first.to_le_bytes());
    bytes.extend(last.to_le_bytes());
    bytes.extend(quantities.count.to_le_bytes());
    bytes.extend(quantities.bad.to_le_bytes());
    bytes.extend(quantities.seen.0.to_le_bytes());
    for figure in [quantities.min, quantities.max, quantities.sum] {
        bytes.extend(figure.to_le_bytes());
    }
    encode_times(&readings.times, first, &mut bytes)?;
    encode_codes(readings, &mut bytes);
    encode_values(&readings.values, &mut bytes)?;
    let sum = checksum(&bytes[8..]);
    bytes[..8].copy_from_slice(&sum);
    Ok(bytes)
}

/// Proves that a chunk is whole.
pub(super) fn open(bytes: &[u8]) -> Result<Chunk<'_>, String> {
    let mut input = Input(bytes);
    let found: [u8; 8] = input.array()?;
    if found != checksum(input.0) {
        return Err("checksum does not match".into());
    }
    let (first, last) = (input.i64()?, input.i64()?);
    let (count, bad) = (input.u64()?, input.u64()?);
    let seen = Seen(input.u32()?);
    let (min, max, sum) = (input.f64()?, input.f64()?, input.f64()?);
    Ok(Chunk {
        first,
        last,
        quantities: Quantities {
            count,
            bad,
            min,
            max,
            sum,
            seen,
        },
        columns: input.0,
    })
}

impl Chunk<'_> {
    /// The readings as they went in.
    pub(super) fn decode(&self) -> Result<Columns, String> {
        let mut input = Input(self.columns);
        let times = decode_times(&mut input, self.first)?;
        let marks = decode_codes(&mut input, times.len())?;
        let mut values = decode_values(&mut input)?;
        if values.len() != times.len() {
            return Err(format!("{} values for {} times", values.len(), times.len()));
        }
        let mut codes = marks;
        for (value, code) in values.iter_mut().zip(&mut codes) {
            if *code & WITHOUT_VALUE != 0 {
                *value = f64::NAN;
                *code &= !WITHOUT_VALUE;
            }
        }
        Ok(Columns {
            times,
            values,
            codes,
        })
    }
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let digest = Sha256::digest(bytes);
    let mut short = [0; 8];
    for (to, from) in short.iter_mut().zip(digest.as_slice()) {
        *to = *from;
    }
    short
}

fn put<T: Number>(numbers: &[T], bytes: &mut Vec<u8>) -> Result<(), String> {
    let mut effort = ChunkConfig::default();
    if numbers.len() < QUICK_BELOW {
        effort = effort
            .with_compression_level(2)
            .with_mode_spec(ModeSpec::Classic)
            .with_delta_spec(DeltaSpec::TryConsecutive(1));
    }
    put_as(numbers, &effort, bytes)
}

fn put_as<T: Number>(numbers: &[T], how: &ChunkConfig, bytes: &mut Vec<u8>) -> Result<(), String> {
    let packed = simple_compress(numbers, how).map_err(|error| format!("compressing: {error}"))?;
    bytes.extend((packed.len() as u32).to_le_bytes());
    bytes.extend(packed);
    Ok(())
}

fn encode_times(times: &[i64], first: i64, bytes: &mut Vec<u8>) -> Result<(), String> {
    if let Some(grid) = Grid::of(times, first) {
        let even = grid.steps.iter().all(|step| *step == 1);
        bytes.push(if even {
            TIMES_GRID
        } else {
            TIMES_GRID_WITH_STEPS
        });
        bytes.extend(grid.period.to_le_bytes());
        put(&grid.deviations, bytes)?;
        if !even {
            put(&grid.steps, bytes)?;
        }
        return Ok(());
    }
    bytes.push(TIMES_PLAIN);
    let offsets: Vec<i64> = times.iter().map(|time| time.wrapping_sub(first)).collect();
    put(&offsets, bytes)
}

fn decode_times(input: &mut Input<'_>, first: i64) -> Result<Vec<i64>, String> {
    let kind = input.u8()?;
    if kind == TIMES_PLAIN {
        let mut times: Vec<i64> = input.numbers()?;
        for time in &mut times {
            *time = time.wrapping_add(first);
        }
        return Ok(times);
    }
    let period = input.i64()?;
    let deviations: Vec<i32> = input.numbers()?;
    let mut slot = first;
    let at = |slot: i64, deviation: &i32| slot.wrapping_add(i64::from(*deviation));
    let mut times = Vec::with_capacity(deviations.len());
    if kind == TIMES_GRID {
        for deviation in &deviations {
            times.push(at(slot, deviation));
            slot = slot.wrapping_add(period);
        }
        return Ok(times);
    }
    let steps: Vec<u32> = input.numbers()?;
    times.extend(deviations.first().map(|deviation| at(slot, deviation)));
    for (deviation, step) in deviations.iter().skip(1).zip(&steps) {
        slot = slot.wrapping_add(period.wrapping_mul(i64::from(*step)));
        times.push(at(slot, deviation));
    }
    Ok(times)
}

/// Times as slots of a grid that starts at the first, and how far each lies off its slot.
struct Grid {
    /// Usual milliseconds between two readings.
    period: i64,
    deviations: Vec<i32>,
    /// Slots from one reading to the next, one fewer than readings.
    steps: Vec<u32>,
}

impl Grid {
    /// `None` when a quarter of the readings or more do not come at a usual period.
    fn of(times: &[i64], first: i64) -> Option<Self> {
        let mut gaps: Vec<i64> = times
            .windows(2)
            .map(|pair| pair[1].wrapping_sub(pair[0]))
            .collect();
        if gaps.is_empty() {
            return None;
        }
        let middle = gaps.len() / 2;
        let period = *gaps.select_nth_unstable(middle).1;
        if period <= 0 {
            return None;
        }
        let (mut deviations, mut steps) = (Vec::with_capacity(times.len()), Vec::new());
        steps.reserve(gaps.len());
        let mut slot_before = 0;
        for (place, time) in times.iter().enumerate() {
            let since = time.checked_sub(first)?;
            let slot = since.checked_add(period / 2)? / period;
            deviations.push(i32::try_from(since.checked_sub(slot.checked_mul(period)?)?).ok()?);
            if place > 0 {
                steps.push(u32::try_from(slot - slot_before).ok()?);
            }
            slot_before = slot;
        }
        let usual = steps.iter().filter(|step| **step == 1).count();
        (usual * 4 > steps.len() * 3).then_some(Self {
            period,
            deviations,
            steps,
        })
    }
}

fn is_without_value(value: f64) -> bool {
    value.to_bits() == f64::NAN.to_bits()
}

fn encode_codes(readings: &Columns, bytes: &mut Vec<u8>) {
    let mut runs: Vec<(u8, u16)> = Vec::new();
    for (value, code) in readings.values.iter().zip(&readings.codes) {
        let mark = if is_without_value(*value) {
            code | WITHOUT_VALUE
        } else {
            *code
        };
        match runs.last_mut() {
            Some((same, length)) if *same == mark => *length += 1,
            _ => runs.push((mark, 1)),
        }
    }
    bytes.extend((runs.len() as u16).to_le_bytes());
    for (mark, length) in runs {
        bytes.push(mark);
        bytes.extend(length.to_le_bytes());
    }
}

fn decode_codes(input: &mut Input<'_>, count: usize) -> Result<Vec<u8>, String> {
    let mut codes = Vec::with_capacity(count);
    for _ in 0..input.u16()? {
        let (mark, length) = (input.u8()?, input.u16()?);
        codes.resize(codes.len() + usize::from(length), mark);
    }
    if codes.len() == count {
        Ok(codes)
    } else {
        Err(format!("{} codes for {count} times", codes.len()))
    }
}

fn encode_values(values: &[f64], bytes: &mut Vec<u8>) -> Result<(), String> {
    let values = filled(values);
    for decimals in 0..=DECIMALS_MAX {
        for kind in [VALUES_STEP_F64, VALUES_STEP_F32] {
            if let Some(quanta) = quanta(&values, kind, decimals) {
                let (speed, rests) = level::rests(&quanta);
                bytes.extend([kind, decimals, speed]);
                let how = ChunkConfig::default().with_delta_spec(DeltaSpec::NoOp);
                return put_as(&rests, &how, bytes);
            }
        }
    }
    let singles: Option<Vec<f32>> = values
        .iter()
        .map(|value| {
            let single = *value as f32;
            (f64::from(single).to_bits() == value.to_bits()).then_some(single)
        })
        .collect();
    if let Some(singles) = singles {
        bytes.extend([VALUES_F32, 0]);
        return put(&singles, bytes);
    }
    bytes.extend([VALUES_F64, 0]);
    put(&values, bytes)
}

fn decode_values(input: &mut Input<'_>) -> Result<Vec<f64>, String> {
    let (kind, decimals) = (input.u8()?, input.u8()?);
    match kind {
        VALUES_STEP_F64 | VALUES_STEP_F32 => {
            let divisor = 10f64.powi(i32::from(decimals));
            let speed = input.u8()?;
            let quanta = level::values(&input.numbers::<i32>()?, speed);
            let value = |quantum: &i32| value_of(*quantum, kind, divisor);
            Ok(quanta.iter().map(value).collect())
        }
        VALUES_F32 => {
            let singles: Vec<f32> = input.numbers()?;
            Ok(singles.into_iter().map(f64::from).collect())
        }
        VALUES_F64 => input.numbers(),
        other => Err(format!("kind of values {other}; 0 to 3 are known")),
    }
}

/// The values with each missing one taken from its neighbour, so that it costs next to nothing.
fn filled(values: &[f64]) -> Vec<f64> {
    let first = values.iter().find(|value| !is_without_value(**value));
    let mut before = first.copied().unwrap_or_default();
    values
        .iter()
        .map(|value| {
            if !is_without_value(*value) {
                before = *value;
            }
            before
        })
        .collect()
}

/// All values as whole multiples of a step, or `None` if one of them would not come back exactly.
fn quanta(values: &[f64], kind: u8, decimals: u8) -> Option<Vec<i32>> {
    let divisor = 10f64.powi(i32::from(decimals));
    values
        .iter()
        .map(|value| {
            let quantum = (value * divisor).round() as i32; // saturates, and then does not match
            (value_of(quantum, kind, divisor).to_bits() == value.to_bits()).then_some(quantum)
        })
        .collect()
}

fn value_of(quantum: i32, kind: u8, divisor: f64) -> f64 {
    let value = f64::from(quantum) / divisor;
    if kind == VALUES_STEP_F32 {
        f64::from(value as f32)
    } else {
        value
    }
}

/// Bytes still to be read. Too few are an error, never a panic.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| format!("{} bytes left of {count}", self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.bytes(N)?;
        taken.try_into().map_err(|_| format!("{N} bytes expected"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn f64(&mut self) -> Result<f64, String> {
        self.array().map(f64::from_le_bytes)
    }

    fn numbers<T: Number>(&mut self) -> Result<Vec<T>, String> {
        let length = self.u32()? as usize;
        let packed = self.bytes(length)?;
        simple_decompress(packed).map_err(|error| format!("decompressing: {error}"))
    }
}
