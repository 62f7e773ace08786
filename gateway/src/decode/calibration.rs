//! Marks readings that were taken under calibration gas (标校).
//!
//! A point `<tag>.cal` of kind `calibration` is the switch of the point `<tag>`. While the switch
//! reads 1, good and uncertain readings of `<tag>` become `Uncertain(Calibration)`: recorded and
//! sent, never alarmed.
//!
//! Invariant: only a good reading of 1 switches on. A switch that cannot be read, or is doubtful,
//! is off: calibration hides alarms, so in doubt nothing is hidden.
//!
//! Limit: one of these belongs to one bus; switch and instrument must be read over the same one.

use std::collections::HashMap;

use davy_core::point::Point;
use davy_core::reading::{PointId, Quality, Reading, UncertainCause};

/// Which instruments of a bus are being calibrated.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    /// By switch: the place in `on` of its instrument.
    switches: HashMap<PointId, usize>,
    /// By instrument: its place in `on`.
    instruments: HashMap<PointId, usize>,
    on: Vec<bool>,
}

impl Calibration {
    /// Finds the switches among the points of one bus.
    pub fn new(points: &[(PointId, &Point)]) -> Self {
        let by_tag: HashMap<&str, PointId> = points
            .iter()
            .map(|(id, point)| (point.tag.as_str(), *id))
            .collect();
        let mut found = Self::default();
        for (id, point) in points {
            if point.kind != "calibration" {
                continue;
            }
            let instrument = point
                .tag
                .strip_suffix(".cal")
                .and_then(|tag| by_tag.get(tag));
            if let Some(instrument) = instrument {
                found.switches.insert(*id, found.on.len());
                found.instruments.insert(*instrument, found.on.len());
                found.on.push(false);
            }
        }
        found
    }

    /// Takes in the switches among `readings`, then marks the instruments among them.
    ///
    /// Switches that are not among them stand as they were last read, so instrument and switch may
    /// have different periods.
    pub fn apply(&mut self, readings: &mut [Reading]) {
        if self.switches.is_empty() {
            return;
        }
        for reading in readings.iter() {
            if let Some(on) = self
                .switches
                .get(&reading.point)
                .and_then(|place| self.on.get_mut(*place))
            {
                *on = reading.quality.is_good() && reading.value.to_bits() == 1_f64.to_bits();
            }
        }
        for reading in readings.iter_mut() {
            let on = self
                .instruments
                .get(&reading.point)
                .and_then(|place| self.on.get(*place));
            if on == Some(&true) && !reading.quality.is_bad() {
                reading.quality = Quality::Uncertain(UncertainCause::Calibration);
            }
        }
    }
}
