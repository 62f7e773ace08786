//! Pure: registers or bits of a reply to readings with their quality.
//!
//! Third step of a reading's path. For each request of the plan there is one `Decoder`; it knows
//! where each point stands, how its registers make up a number, how that becomes the value, and
//! how long a current loop has been out of its bands. Time is an argument.
//!
//! Invariants: every point of a request gets exactly one reading for every outcome; a reply that
//! is too short or holds no number gives a bad reading, never a number; a good value lies inside
//! its range (of a loop: inside 3.8–20.5 mA).
//!
//! Limits: values are f64. Whole numbers of 64 bits are exact up to 2^53 and rounded to the
//! nearest f64 above it (a relative error of at most 2^-53, about 1.1e-16).

mod calibration;
mod number;

use std::time::Duration;

use davy_core::point::{Point, Range, RawEnds, Register, Scaling};
use davy_core::reading::{BadCause, PointId, Quality, Reading, Timestamp, UncertainCause};

use crate::modbus::Values;
use crate::plan::{Request, Slice};

pub use calibration::Calibration;

/// How long a loop's current must be out of its bands before the loop counts as broken or shorted
/// (NAMUR NE 43: about 4 s). Until then its reading is uncertain without a direction: it freezes what
/// is judged of the point, and a wire that is shorted for a moment is no gas over the range.
pub const LOOP_HOLD: Duration = Duration::from_secs(4);

/// Bands of a 4–20 mA loop in mA (NAMUR NE 43): below `BROKEN` the wire is open, `BROKEN` up to
/// `LOW` is under range, `LOW` to `HIGH` measures, above `HIGH` up to `SHORTED` is over range,
/// above `SHORTED` it is a short circuit. Under and over range change places where the instrument
/// acts in reverse.
const BROKEN: f64 = 3.6;
const LOW: f64 = 3.8;
const HIGH: f64 = 20.5;
const SHORTED: f64 = 21.0;

/// Turns the replies to one request into readings.
#[derive(Clone, Debug)]
pub struct Decoder {
    fields: Vec<Field>,
}

/// One point of the request.
#[derive(Clone, Debug)]
struct Field {
    point: PointId,
    offset: usize,
    register: Register,
    range: Range,
    /// Since when its loop is out of the bands, and how it looks.
    out: Option<(BadCause, Timestamp)>,
}

impl Decoder {
    /// A decoder for the replies to `request`. `points` is the configuration's table, which the
    /// request was planned from.
    pub fn new(request: &Request, points: &[Point]) -> Self {
        let fields = request
            .points
            .iter()
            .filter_map(|slice| {
                let point = points.get(slice.point.index())?;
                Some(Field {
                    point: slice.point,
                    offset: usize::from(slice.offset),
                    register: point.register,
                    range: point.range,
                    out: None,
                })
            })
            .collect();
        Self { fields }
    }

    /// Appends one reading for each point of the request, from a reply that came at `sampled_at`.
    pub fn decode(&mut self, values: &Values, sampled_at: Timestamp, readings: &mut Vec<Reading>) {
        readings.extend(
            self.fields
                .iter_mut()
                .map(|field| field.reading(values, sampled_at)),
        );
    }

    /// Appends one reading without a value for each point of the request.
    ///
    /// A loop that was out of its bands goes on being out of them: no answer heals no wire.
    pub fn fail(&self, cause: BadCause, at: Timestamp, readings: &mut Vec<Reading>) {
        readings.extend(
            self.fields
                .iter()
                .map(|field| Reading::without_value(field.point, cause, at)),
        );
    }

    /// Divides its points, as they follow each other in `request`: two requests that hold no more
    /// than they need, each with its decoder. None when there is one point only.
    pub fn halve(&self, request: &Request) -> Option<[(Request, Self); 2]> {
        let middle = self.fields.len() / 2;
        let (low, high) = self.fields.split_at_checked(middle)?;
        Some([part(request, low)?, part(request, high)?])
    }

    /// How many points it serves.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether it serves none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Some of the points of a request as one of their own; none of no points.
fn part(request: &Request, fields: &[Field]) -> Option<(Request, Decoder)> {
    let start = fields.iter().map(|field| field.offset).min()?;
    let end = fields.iter().map(Field::end).max()?;
    let mut fields = fields.to_vec();
    for field in &mut fields {
        field.offset -= start;
    }
    let points = fields.iter().map(|field| Slice {
        point: field.point,
        offset: field.offset as u16,
    });
    let request = Request {
        table: request.table,
        first: request.first.checked_add(u16::try_from(start).ok()?)?,
        count: u16::try_from(end - start).ok()?,
        points: points.collect(),
    };
    Some((request, Decoder { fields }))
}

impl Field {
    /// One past its last register (or bit) in the reply.
    fn end(&self) -> usize {
        let width = if self.register.table.holds_bits() {
            1
        } else {
            self.register.encoding.width()
        };
        self.offset + usize::from(width)
    }

    fn reading(&mut self, values: &Values, at: Timestamp) -> Reading {
        let Some(raw) = number::raw(self.register, self.offset, values) else {
            return Reading::without_value(self.point, BadCause::Garbled, at);
        };
        let (value, quality) = match self.register.scaling {
            Scaling::None => (raw, self.judge(raw)),
            Scaling::Linear(ends) => {
                let value = self.value(raw, ends);
                (value, self.judge(value))
            }
            Scaling::Loop(ends) => {
                let least = ends.low.min(ends.high);
                let current = 4.0 + 16.0 * (raw - least) / ends.span().abs();
                let quality = self.judge_loop(current, ends.is_reversed(), at);
                (self.value(raw, ends), quality)
            }
        };
        match quality {
            Quality::Bad(cause) => Reading::without_value(self.point, cause, at),
            // Infinite values have a side of the range, but are no number all the same.
            _ if !value.is_finite() => Reading::without_value(self.point, BadCause::NotANumber, at),
            _ => Reading::new(self.point, value, quality, at),
        }
    }

    /// Exact at both ends, so that full scale is not over range by a rounding.
    fn value(&self, raw: f64, ends: RawEnds) -> f64 {
        let share = (raw - ends.low) / ends.span();
        self.range.low * (1.0 - share) + self.range.high * share
    }

    fn judge(&self, value: f64) -> Quality {
        if value > self.range.high {
            Quality::Uncertain(UncertainCause::OverRange)
        } else if value < self.range.low {
            Quality::Uncertain(UncertainCause::UnderRange)
        } else {
            Quality::Good
        }
    }

    /// The bands of NE 43, with the hold before a loop is declared broken or shorted. They are bands
    /// of the current: of an instrument that acts in reverse, little current is a value over range.
    fn judge_loop(&mut self, current: f64, is_reversed: bool, at: Timestamp) -> Quality {
        let cause = if current < BROKEN {
            BadCause::OpenWire
        } else if current > SHORTED {
            BadCause::ShortCircuit
        } else {
            self.out = None;
            if (LOW..=HIGH).contains(&current) {
                return Quality::Good;
            }
            return Quality::Uncertain(if (current > HIGH) == is_reversed {
                UncertainCause::UnderRange
            } else {
                UncertainCause::OverRange
            });
        };
        // The clock may have been set back since: then the hold starts over.
        let since = match self.out {
            Some((before, since)) if before == cause && since <= at => since,
            _ => at,
        };
        self.out = Some((cause, since));
        if since + LOOP_HOLD <= at {
            Quality::Bad(cause)
        } else {
            Quality::Uncertain(UncertainCause::Unspecified)
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the vectors are exact")]
mod tests;
