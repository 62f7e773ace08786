//! A limit is reached: a high one from below, a low one from above.
//!
//! It begins at the limit and ends when the reset has been passed. Only good values count, with one
//! exception on the safe side: an instrument driven beyond its range has reached every limit on
//! that side, so a saturated one cannot stay silent.

use super::super::band::Band;
use crate::alarm::definition::{Limit, Setpoint};
use crate::reading::{Quality, UncertainCause};

/// Limits of one scale differ by how far out they are; those of two have nothing to do with each
/// other.
#[derive(PartialEq)]
enum Scale {
    High,
    Low,
    Gas,
    Mine,
}

impl Limit {
    pub(super) fn counted(&self, value: f64, quality: Quality) -> Option<f64> {
        let is_high = self.setpoint.is_high();
        match quality {
            Quality::Good => Some(value),
            Quality::Uncertain(UncertainCause::OverRange) if is_high => Some(f64::INFINITY),
            Quality::Uncertain(UncertainCause::UnderRange) if !is_high => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }

    pub(super) fn holds(&self, active: bool, value: f64) -> bool {
        let is_high = self.setpoint.is_high();
        if active {
            let has_passed_reset = if is_high {
                value < self.reset
            } else {
                value > self.reset
            };
            !has_passed_reset
        } else if is_high {
            value >= self.limit
        } else {
            value <= self.limit
        }
    }

    pub(super) fn band(&self, active: bool) -> Band {
        match (self.setpoint.is_high(), active) {
            (true, false) => Band::below(self.limit),
            (true, true) => Band::not_below(self.reset),
            (false, false) => Band::above(self.limit),
            (false, true) => Band::not_above(self.reset),
        }
    }

    /// 0 for the outermost setpoints.
    pub(super) fn rank(&self) -> u8 {
        self.place().1
    }

    /// One further out on the same scale covers those further in. By the setpoint first: a mine's
    /// limits for alarm and power cut may be equal. Of one setpoint a point may have several.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let ((scale, rank), (other_scale, other_rank)) = (self.place(), other.place());
        let is_further_out = if self.setpoint.is_high() {
            self.limit > other.limit
        } else {
            self.limit < other.limit
        };
        scale == other_scale && (rank < other_rank || rank == other_rank && is_further_out)
    }

    fn place(&self) -> (Scale, u8) {
        match self.setpoint {
            Setpoint::Hh => (Scale::High, 0),
            Setpoint::H => (Scale::High, 1),
            Setpoint::Ll => (Scale::Low, 0),
            Setpoint::L => (Scale::Low, 1),
            Setpoint::Gas2 => (Scale::Gas, 0),
            Setpoint::Gas1 => (Scale::Gas, 1),
            Setpoint::MineCut => (Scale::Mine, 0),
            Setpoint::MineAlarm => (Scale::Mine, 1),
        }
    }
}
