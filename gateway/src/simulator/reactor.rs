//! A stirred reactor with an exothermic reaction, held at 72 °C by cooling water in its jacket.
//!
//! The reaction's heat grows with temperature, the jacket takes heat off in proportion to the
//! difference; without cooling it runs away, until the interlock at 105 °C stops the feed. Limits:
//! one well-mixed temperature, chemistry in one exponential.

use std::fmt::Arguments;

use super::noise::{drift, lag, seed_of};

/// Set point, °C (limits of the demo: 85 and 95).
const SET_POINT: f64 = 72.0;
/// Heating by the reaction at full feed and set point, °C/s.
const HEATING: f64 = 0.06;
/// The interlock stops the feed here, °C, and lets it in again below the set point plus 3.
const INTERLOCK: f64 = 105.0;
/// Cooling water, °C.
const WATER: f64 = 28.0;

/// The reactor at one time.
#[derive(Clone, Debug)]
pub(super) struct Reactor {
    seed: u64,
    t: f64,
    temperature: f64,
    /// Share of the full flow of cooling water, 0–3.
    cooling: f64,
    jacket_out: f64,
    cooling_lost: bool,
    stirring_lost: bool,
    tripped: bool,
}

impl Reactor {
    /// In steady operation at time 0.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed: seed_of(seed, "reactor"),
            t: 0.0,
            temperature: SET_POINT,
            cooling: 1.0,
            jacket_out: 38.0,
            cooling_lost: false,
            stirring_lost: false,
            tripped: false,
        }
    }

    /// Share of the full feed, 0–1.1.
    fn feed(&self) -> f64 {
        if self.tripped {
            0.0
        } else {
            1.0 + 0.08 * drift(self.seed, self.t, 400.0)
        }
    }

    /// Lets `dt` seconds pass.
    pub(super) fn step(&mut self, dt: f64) {
        self.t += dt;
        let wanted = if self.cooling_lost {
            0.0
        } else {
            (1.0 + 0.15 * (self.temperature - SET_POINT)).clamp(0.1, 3.0)
        };
        self.cooling = lag(self.cooling, wanted, dt, 8.0);
        // Without the agitator the wall carries a fifth of the heat.
        let transfer = if self.stirring_lost { 0.2 } else { 1.0 };
        let heat = HEATING * self.feed() * ((self.temperature - SET_POINT) / 25.0).exp();
        let full = HEATING / (SET_POINT - WATER);
        let taken = full * (self.cooling * transfer + 0.05) * (self.temperature - WATER);
        self.temperature += (heat - taken) * dt;
        self.jacket_out = lag(
            self.jacket_out,
            WATER + 10.0 * (self.temperature - WATER) / (SET_POINT - WATER),
            dt,
            60.0,
        );
        if self.temperature >= INTERLOCK {
            self.tripped = true;
        } else if self.temperature < SET_POINT + 3.0 {
            self.tripped = false;
        }
    }

    /// Begins or ends the loss of cooling (`R101.P-03`) or of the agitator (`R101.M-01`).
    pub(super) fn trip(&mut self, machine: &str, off: bool) -> bool {
        match machine {
            "R101.P-03" => self.cooling_lost = off,
            "R101.M-01" => self.stirring_lost = off,
            _ => return false,
        }
        true
    }

    /// Every quantity by its tag.
    pub(super) fn report(&self, out: &mut dyn FnMut(Arguments<'_>, f64)) {
        let state = |on: bool| f64::from(u8::from(on));
        let offsets = [1.2, 0.0, 0.3, -0.9, -6.0, -2.5];
        for (n, offset) in (1..).zip(offsets) {
            out(format_args!("R101.TI-{n:02}"), self.temperature + offset);
        }
        out(format_args!("R101.TI-07"), WATER);
        out(format_args!("R101.TI-08"), self.jacket_out);
        out(
            format_args!("R101.TI-09"),
            30.0 + 0.1 * (self.temperature - SET_POINT),
        );
        let pressure = 0.25 + 0.004 * (self.temperature - SET_POINT);
        out(format_args!("R101.PI-01"), pressure);
        out(format_args!("R101.PI-02"), pressure + 0.001);
        let level = 56.0 + 3.0 * drift(self.seed, self.t, 1300.0);
        out(format_args!("R101.LI-01"), level);
        out(format_args!("R101.LI-02"), level - 0.3);
        out(format_args!("R101.FI-01"), 8.0 * self.feed());
        out(format_args!("R101.FI-02"), 5.0 * self.feed());
        out(format_args!("R101.FI-03"), 30.0 * self.cooling);
        for (v, phase) in [(101, 0.0), (102, 5000.0)] {
            let level = 55.0 + 20.0 * drift(self.seed, self.t + phase, 9000.0);
            out(format_args!("R101.V-{v}.level"), level);
            out(format_args!("R101.V-{v}.temperature"), 24.0);
            out(format_args!("R101.V-{v}.pressure"), 0.15);
        }
        let feeding = state(!self.tripped);
        let valves = [feeding, feeding, 1.0, feeding, 0.0, 0.0];
        for (n, open) in (1..).zip(valves) {
            out(format_args!("R101.XV-{n:02}"), open);
        }
        let pumps = [feeding, feeding, state(!self.cooling_lost), 0.0];
        for (n, runs) in (1..).zip(pumps) {
            out(format_args!("R101.P-{n:02}"), runs);
        }
        out(format_args!("R101.M-01"), state(!self.stirring_lost));
        for (name, count, clean) in [
            ("HD", 4, 0.0),
            ("CD", 6, 0.0),
            ("OD", 2, 20.9),
            ("MD", 2, 1.5),
        ] {
            for n in 1..=count {
                out(format_args!("R101.{name}-{n:02}"), clean);
            }
        }
        out(format_args!("R101.EXH.fan1"), 1.0);
        out(format_args!("R101.EXH.fan2"), 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(reactor: &mut Reactor, seconds: u32) -> f64 {
        (0..seconds * 2).for_each(|_| reactor.step(0.5));
        reactor.temperature
    }

    #[test]
    fn it_holds_its_set_point() {
        let mut reactor = Reactor::new(5);
        assert!((after(&mut reactor, 3600) - SET_POINT).abs() < 3.0);
    }

    #[test]
    fn without_cooling_it_runs_away_and_with_it_comes_back() {
        let mut reactor = Reactor::new(5);
        assert!(reactor.trip("R101.P-03", true));
        assert!(after(&mut reactor, 420) > 95.0);
        assert!(after(&mut reactor, 420) < 120.0, "the interlock holds it");
        reactor.trip("R101.P-03", false);
        assert!(after(&mut reactor, 3600) < 80.0);
        assert!(!reactor.tripped);
    }
}
