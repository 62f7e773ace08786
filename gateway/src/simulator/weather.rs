//! Weather over a plant: wind, temperature, humidity. A function of time and seed, nothing else.
//!
//! Wind stays in one sector (south-south-east, 148°–172°, 2.2–4.6 m/s), so that a leak drifts over
//! the row of detectors north of the tanks whenever it happens. Limits: no seasons, no rain
//! fronts, no calm; the day's swing is a sine.

use std::f64::consts::TAU;
use std::fmt::Arguments;

use super::noise::{drift, seed_of};

/// Seconds in a day.
const DAY_S: f64 = 86_400.0;

/// The weather at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weather {
    /// m/s.
    pub(super) wind_speed: f64,
    /// Where the wind comes from, degrees clockwise from north, 0–360.
    pub(super) wind_direction: f64,
    /// Air, °C.
    pub(super) temperature: f64,
    /// Relative, %.
    pub(super) humidity: f64,
    /// Air, absolute, in `MPa`.
    pub(super) pressure: f64,
}

impl Weather {
    /// The weather `t` seconds after the start, which is at nine in the morning.
    pub(super) fn at(seed: u64, t: f64) -> Self {
        let wander = |name: &str, period| drift(seed_of(seed, name), t, period);
        let day = ((t / DAY_S) * TAU).sin();
        Self {
            wind_speed: 3.4 + 0.8 * wander("speed", 900.0) + 0.4 * wander("gust", 20.0),
            wind_direction: 160.0 + 8.0 * wander("sector", 1800.0) + 4.0 * wander("veer", 45.0),
            temperature: 15.0 + 6.0 * day + wander("air", 3600.0),
            humidity: 58.0 - 15.0 * day + 4.0 * wander("humidity", 3600.0),
            pressure: 0.0905 + 0.0006 * wander("pressure", 20_000.0),
        }
    }

    /// Every quantity of the weather station by its tag.
    pub(super) fn report(&self, out: &mut dyn FnMut(Arguments<'_>, f64)) {
        out(format_args!("TF.WX.wind_speed"), self.wind_speed);
        out(format_args!("TF.WX.wind_speed_b"), self.wind_speed * 0.98);
        out(format_args!("TF.WX.wind_direction"), self.wind_direction);
        out(
            format_args!("TF.WX.wind_direction_b"),
            self.wind_direction + 1.5,
        );
        out(format_args!("TF.WX.temperature"), self.temperature);
        out(format_args!("TF.WX.humidity"), self.humidity);
        out(format_args!("TF.WX.pressure"), self.pressure);
        out(format_args!("TF.WX.rain"), 0.0);
    }
}
