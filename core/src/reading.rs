//! One measured value: its point, quality and time.
//!
//! Invariants: a reading of good or uncertain quality carries a finite value; one of bad quality
//! may carry none (NaN), and its value is never used to judge a condition. A value that is not a
//! number never leaves this module as anything but bad quality.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::point::Range;

/// Readings of one message; one with more cannot be used, and a gateway divides what it polled.
/// What follows from a message is one entry of the journal: a reading that swings across all six
/// limits that a point may have, each alarm with its entry in the ledger, is 11 kB there
/// (measured), so that the worst message is 45 MB, below what an entry may hold (64 MiB). With the
/// longest names, or long stories of those entries, it can be more: then the centre sets it aside.
pub const READINGS_MAX: usize = 4_000;

/// A moment, in milliseconds since 1970-01-01T00:00Z, as gateways and the centre write it.
///
/// Two clocks write these and they are never mixed: `sampled_at` is the gateway's clock when the
/// reply came, `now` the centre's clock when it judged the input.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before any moment that a gateway or a centre writes.
    pub const MIN: Self = Self(i64::MIN);

    /// Milliseconds from `earlier` to `self`; negative when `earlier` is the later one.
    pub fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        let ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(ms))
    }
}

/// Names a point in the checked configuration: its place in `Config::points`.
///
/// It holds for one configuration only; what is kept or sent carries the tag instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PointId(pub u32);

impl PointId {
    /// The place in `Config::points`.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One value of one point at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// What was measured.
    pub point: PointId,
    /// In the point's unit; 0 or 1 for a state; NaN when there is none (bad quality only).
    pub value: f64,
    /// Whether the value can be believed, and why not.
    pub quality: Quality,
    /// The gateway's clock when the reply came.
    pub sampled_at: Timestamp,
}

impl Reading {
    /// A reading that keeps the invariant of this module: a value that is not finite becomes bad.
    pub fn new(point: PointId, value: f64, quality: Quality, sampled_at: Timestamp) -> Self {
        let quality = if value.is_finite() || quality.is_bad() {
            quality
        } else {
            Quality::Bad(BadCause::NotANumber)
        };
        Self {
            point,
            value,
            quality,
            sampled_at,
        }
    }

    /// The same reading, with the invariant of this module made sure of.
    #[must_use]
    pub fn checked(self) -> Self {
        Self::new(self.point, self.value, self.quality, self.sampled_at)
    }

    /// The same reading; a good one whose value lies outside `trusted` is over or under range.
    #[must_use]
    pub fn within(self, trusted: Range) -> Self {
        let beyond = if self.value > trusted.high {
            UncertainCause::OverRange
        } else if self.value < trusted.low {
            UncertainCause::UnderRange
        } else {
            return self;
        };
        let quality = match self.quality {
            Quality::Good => Quality::Uncertain(beyond),
            told => told,
        };
        Self { quality, ..self }
    }

    /// A reading without a value, and why there is none.
    pub fn without_value(point: PointId, cause: BadCause, sampled_at: Timestamp) -> Self {
        Self {
            point,
            value: f64::NAN,
            quality: Quality::Bad(cause),
            sampled_at,
        }
    }
}

/// Whether readings come as they are measured, or out of a gateway's store after an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// As measured. Goes first, and is never delayed by the other.
    Live,
    /// From the store, oldest first (断点续传). Judged in its own order; what it raises is late.
    Historical,
}

/// Whether a value can be believed.
///
/// The causes follow the table of quality codes in use at mines and plants: NAMUR NE 43 bands for
/// 4–20 mA loops, NE 107 classes for instruments, and the states of deployed mine software.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Fresh and inside the measuring range.
    #[default]
    Good,
    /// There is a value, but it may not be the truth.
    Uncertain(UncertainCause),
    /// There is no value to believe.
    Bad(BadCause),
}

/// Why a value may not be the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UncertainCause {
    /// Above the measuring range (溢出): 20.5–21 mA, or over the engineering range.
    OverRange,
    /// Below the measuring range (负漂): 3.6–3.8 mA, or under the engineering range.
    UnderRange,
    /// Too old: no good reading in time.
    Stale,
    /// Does not move although the instrument should.
    Frozen,
    /// Calibration gas, not the plant's (标校): recorded and sent, never judged by a limit; too long
    /// of it is a loss of view.
    Calibration,
    /// Entered by a person in place of the instrument. Not allowed on mine points (规程 525).
    Substituted,
    /// The sender says uncertain and gives no cause that Davy knows; or a loop is past its bands and
    /// the hold before it counts as broken or shorted still runs.
    Unspecified,
}

/// Why there is no value to believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadCause {
    /// Loop broken (断线): below 3.6 mA for longer than the hold.
    OpenWire,
    /// Loop shorted (短路): above 21 mA for longer than the hold.
    ShortCircuit,
    /// The instrument reports its own fault.
    SensorFault,
    /// The instrument heats up and does not measure yet.
    WarmUp,
    /// The unit did not answer in time.
    NoAnswer,
    /// The unit answered with a Modbus exception.
    Exception,
    /// The unit's answer was not a valid reply to the request.
    Garbled,
    /// The gateway, or the way to it, is gone.
    LinkDown,
    /// Taken out of service for maintenance (检修).
    OutOfService,
    /// The register holds a value that is not a number.
    NotANumber,
    /// The sender says bad and gives no cause that Davy knows.
    Unspecified,
}

/// Every quality with its code: one byte on the wire and in stored blocks. Codes are never reused.
const CODES: [(Quality, u8); 19] = [
    (Quality::Good, 0),
    (Quality::Uncertain(UncertainCause::OverRange), 1),
    (Quality::Uncertain(UncertainCause::UnderRange), 2),
    (Quality::Uncertain(UncertainCause::Stale), 3),
    (Quality::Uncertain(UncertainCause::Frozen), 4),
    (Quality::Uncertain(UncertainCause::Calibration), 5),
    (Quality::Uncertain(UncertainCause::Substituted), 6),
    (Quality::Uncertain(UncertainCause::Unspecified), 7),
    (Quality::Bad(BadCause::OpenWire), 16),
    (Quality::Bad(BadCause::ShortCircuit), 17),
    (Quality::Bad(BadCause::SensorFault), 18),
    (Quality::Bad(BadCause::WarmUp), 19),
    (Quality::Bad(BadCause::NoAnswer), 20),
    (Quality::Bad(BadCause::Exception), 21),
    (Quality::Bad(BadCause::Garbled), 22),
    (Quality::Bad(BadCause::LinkDown), 23),
    (Quality::Bad(BadCause::OutOfService), 24),
    (Quality::Bad(BadCause::NotANumber), 25),
    (Quality::Bad(BadCause::Unspecified), 26),
];

impl Quality {
    /// Every quality there is.
    pub fn all() -> impl Iterator<Item = Self> {
        CODES.iter().map(|(quality, _)| *quality)
    }

    /// Whether the value can be believed as it stands.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Good)
    }

    /// Whether there is no value to believe.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Bad(_))
    }

    /// One byte for the wire and for stored blocks: 0 good, 1–15 uncertain, 16–31 bad.
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            other => CODES
                .iter()
                .find(|(quality, _)| *quality == other)
                .map_or(26, |(_, code)| *code),
        }
    }

    /// The quality of a code; one that is not known keeps its class and loses its cause.
    pub fn from_code(code: u8) -> Self {
        let known = CODES.iter().find(|(_, known)| *known == code);
        match (known, code) {
            (Some((quality, _)), _) => *quality,
            (None, 1..=15) => Self::Uncertain(UncertainCause::Unspecified),
            (None, _) => Self::Bad(BadCause::Unspecified),
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("good"),
            Self::Uncertain(cause) => write!(f, "uncertain ({cause:?})"),
            Self::Bad(cause) => write!(f, "bad ({cause:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quality_survives_its_code() {
        for quality in Quality::all() {
            assert_eq!(Quality::from_code(quality.code()), quality);
        }
    }

    #[test]
    fn an_unknown_code_keeps_its_class() {
        assert_eq!(
            Quality::from_code(15),
            Quality::Uncertain(UncertainCause::Unspecified)
        );
        assert_eq!(Quality::from_code(255), Quality::Bad(BadCause::Unspecified));
    }

    #[test]
    fn a_value_that_is_no_number_is_bad() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let reading = Reading::new(PointId(0), value, Quality::Good, Timestamp(0));
            assert_eq!(reading.quality, Quality::Bad(BadCause::NotANumber));
        }
    }

    #[test]
    fn a_good_value_outside_of_what_is_trusted_is_uncertain() {
        let (over, under) = (UncertainCause::OverRange, UncertainCause::UnderRange);
        let trusted = Range {
            low: -1.0,
            high: 5.0,
        };
        let found = |value, quality| {
            let reading = Reading::new(PointId(0), value, quality, Timestamp(0));
            reading.within(trusted).quality
        };
        for value in [-1.0, 0.0, 5.0] {
            assert_eq!(found(value, Quality::Good), Quality::Good);
        }
        assert_eq!(found(5.1, Quality::Good), Quality::Uncertain(over));
        assert_eq!(found(-1e30, Quality::Good), Quality::Uncertain(under));
        // Who gave another cause knows more.
        let calibration = Quality::Uncertain(UncertainCause::Calibration);
        assert_eq!(found(50.0, calibration), calibration);
        let open = Quality::Bad(BadCause::OpenWire);
        assert_eq!(found(f64::NAN, open), open);
    }
}
