//! A leak and what it brings to a place downwind: a Gaussian plume with the time that it travels.
//!
//! Concentration from a continuous source at the ground, Briggs's urban curves for neutral air
//! (σy = 0.22 x, σz = 0.14 x, the former widened for the meander of a minute), started from a
//! cloud of 2 m by 0.5 m because the jet mixes first. What arrives at distance `x` left the source
//! `x / u` ago, so a detector goes on reading after the leak has stopped.
//!
//! Limits: flat ground, no slumping of the heavy gas, no walls; right to a factor of a few, which
//! is what makes it believable, not a tool for consequence analysis.

use std::f64::consts::PI;

use super::weather::Weather;

/// A place on the ground: metres east and north of the first tank.
pub(super) type Place = (f64, f64);

/// How long a hole takes to open fully and the flow to die, s.
const RAMP_S: f64 = 4.0;

/// One leak, running or over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leak {
    /// Where.
    pub(super) place: Place,
    /// Full rate, g/s.
    pub(super) grams_per_s: f64,
    /// When it began, s.
    pub(super) from: f64,
    /// When it was stopped, s; infinity while it runs.
    pub(super) until: f64,
}

impl Leak {
    /// What leaves the hole at `t`, g/s.
    fn rate(&self, t: f64) -> f64 {
        let opened = ((t - self.from) / RAMP_S).clamp(0.0, 1.0);
        let closed = ((t - self.until) / RAMP_S).clamp(0.0, 1.0);
        self.grams_per_s * opened * (1.0 - closed)
    }

    /// The concentration at `place` at `t`, mg/m³.
    pub(super) fn concentration(&self, place: Place, weather: &Weather, t: f64) -> f64 {
        // The wind's direction says where it comes from: it blows the other way.
        let towards = (weather.wind_direction + 180.0).to_radians();
        let (east, north) = (place.0 - self.place.0, place.1 - self.place.1);
        let along = east * towards.sin() + north * towards.cos();
        let across = east * towards.cos() - north * towards.sin();
        if along <= 0.0 {
            return 0.0;
        }
        let speed = weather.wind_speed.max(0.5);
        let width = 2.0 + 0.22 * along;
        let height = 0.5 + 0.14 * along;
        let milligrams = 1000.0 * self.rate(t - along / speed);
        milligrams / (PI * speed * width * height) * (-0.5 * (across / width).powi(2)).exp()
    }

    /// Whether nothing of it is left within a few hundred metres.
    pub(super) fn is_gone(&self, t: f64) -> bool {
        t > self.until + 300.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wind from the south at 4 m/s.
    const SOUTH: Weather = Weather {
        wind_speed: 4.0,
        wind_direction: 180.0,
        temperature: 15.0,
        humidity: 50.0,
        pressure: 0.1,
    };

    fn leak() -> Leak {
        Leak {
            place: (0.0, 0.0),
            grams_per_s: 1.0,
            from: 100.0,
            until: f64::INFINITY,
        }
    }

    #[test]
    fn gas_goes_with_the_wind_and_takes_its_time() {
        let leak = leak();
        assert!(leak.concentration((0.0, 40.0), &SOUTH, 109.9).abs() < 1e-12);
        assert!(leak.concentration((0.0, 40.0), &SOUTH, 112.0) > 0.1);
        assert!(leak.concentration((0.0, -40.0), &SOUTH, 200.0).abs() < 1e-12);
    }

    #[test]
    fn gas_thins_out_with_distance_and_to_the_sides() {
        let leak = leak();
        let at = |place| leak.concentration(place, &SOUTH, 1000.0);
        assert!(at((0.0, 10.0)) > at((0.0, 20.0)));
        assert!(at((0.0, 20.0)) > at((8.0, 20.0)));
        assert!((at((8.0, 20.0)) - at((-8.0, 20.0))).abs() < 1e-9);
    }

    #[test]
    fn all_that_leaks_passes_through_a_plane_downwind() {
        let leak = leak();
        let (width, step) = (2.0 + 0.22 * 30.0, 0.1);
        let line: f64 = (-500..500)
            .map(|n| leak.concentration((f64::from(n) * step, 30.0), &SOUTH, 1000.0) * step)
            .sum();
        // Times wind and the half-Gaussian of the height gives back 1 g/s.
        let height = 0.5 + 0.14 * 30.0;
        let flux = line * 4.0 * height * (PI / 2.0).sqrt();
        assert!(
            (flux / 1000.0 - 1.0).abs() < 0.01,
            "{flux} of width {width}"
        );
    }

    #[test]
    fn a_stopped_leak_clears() {
        let leak = Leak {
            until: 200.0,
            ..leak()
        };
        assert!(leak.concentration((0.0, 40.0), &SOUTH, 205.0) > 0.1);
        assert!(leak.concentration((0.0, 40.0), &SOUTH, 215.0).abs() < 1e-12);
    }
}
