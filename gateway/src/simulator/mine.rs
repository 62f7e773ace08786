//! A longwall face and a heading: methane let go by the coal, diluted by the air that is blown in.
//!
//! Methane in the return is emission over airflow. The shearer cuts 35 minutes of each hour and
//! lets go more; a fan that stops takes the air away, and methane climbs within a minute. The
//! methane lock cuts the power at 1.5 % (T0, T1) or 1.0 % (T2) and gives it back below 1.0 %
//! (煤矿安全规程 2025, table 19). Limits: no airway network; each airway one well-mixed volume.

use std::fmt::Arguments;

use super::noise::{drift, lag, seed_of};

/// Air at the face with the main fan running, m³/min.
const FACE_AIR: f64 = 1200.0;
/// Air at the heading with its local fan running, m³/min.
const HEADING_AIR: f64 = 300.0;
/// A cutting cycle, s, and the part of it in which the machine cuts.
const CYCLE_S: f64 = 3600.0;
const CUTTING_S: f64 = 2100.0;

/// One airway: its air, its methane, and the lock that cuts its power.
#[derive(Clone, Debug)]
struct Airway {
    seed: u64,
    /// Air with the fan running, m³/min.
    air_full: f64,
    /// Methane let go at rest and added by cutting, m³/min.
    emission: (f64, f64),
    /// Where in its cycle it starts, s.
    phase: f64,
    air: f64,
    let_go: f64,
    methane: f64,
    fan_off: bool,
    locked: bool,
}

impl Airway {
    fn new(seed: u64, air_full: f64, emission: (f64, f64), phase: f64) -> Self {
        Self {
            seed,
            air_full,
            emission,
            phase,
            air: air_full,
            let_go: emission.0,
            methane: 100.0 * emission.0 / air_full,
            fan_off: false,
            locked: false,
        }
    }

    fn cutting(&self, t: f64) -> bool {
        !self.locked && (t + self.phase).rem_euclid(CYCLE_S) < CUTTING_S
    }

    /// `worst` over `methane` is the richest place of the airway; the lock looks at that.
    fn step(&mut self, t: f64, dt: f64, worst: f64) {
        let blown = if self.fan_off {
            0.08 * self.air_full
        } else {
            self.air_full * (1.0 + 0.04 * drift(self.seed, t, 90.0))
        };
        self.air = lag(self.air, blown, dt, 25.0);
        let cut = if self.cutting(t) {
            self.emission.1
        } else {
            0.0
        };
        let wander = 1.0 + 0.08 * drift(self.seed ^ 1, t, 240.0);
        self.let_go = lag(self.let_go, (self.emission.0 + cut) * wander, dt, 120.0);
        // The less air, the slower it is exchanged: a volume of two minutes of full air.
        let exchange = 60.0 * (self.air_full / self.air).min(4.0);
        self.methane = lag(self.methane, 100.0 * self.let_go / self.air, dt, exchange);
        if self.methane * worst >= 1.5 {
            self.locked = true;
        } else if self.methane * worst < 1.0 {
            self.locked = false;
        }
    }

    /// m/s through a section of so many m².
    fn air_speed(&self, section: f64) -> f64 {
        self.air / 60.0 / section
    }
}

/// The mine at one time.
#[derive(Clone, Debug)]
pub(super) struct Mine {
    seed: u64,
    t: f64,
    face: Airway,
    heading: Airway,
}

impl Mine {
    /// In steady operation at time 0.
    pub(super) fn new(seed: u64) -> Self {
        let seed = seed_of(seed, "mine");
        Self {
            seed,
            t: 0.0,
            face: Airway::new(seed_of(seed, "face"), FACE_AIR, (3.2, 2.6), 600.0),
            heading: Airway::new(seed_of(seed, "heading"), HEADING_AIR, (0.7, 0.4), 0.0),
        }
    }

    /// Lets `dt` seconds pass.
    pub(super) fn step(&mut self, dt: f64) {
        self.t += dt;
        self.face.step(self.t, dt, 1.35);
        self.heading.step(self.t, dt, 1.0);
    }

    /// Stops or starts `M1501.main_fan1` or `M1501.heading.fan1`; false for any other name.
    pub(super) fn trip(&mut self, fan: &str, off: bool) -> bool {
        match fan {
            "M1501.main_fan1" => self.face.fan_off = off,
            "M1501.heading.fan1" => self.heading.fan_off = off,
            _ => return false,
        }
        true
    }

    /// Every quantity by its tag.
    pub(super) fn report(&self, out: &mut dyn FnMut(Arguments<'_>, f64)) {
        let (face, heading) = (&self.face, &self.heading);
        let busy = |airway: &Airway| f64::from(u8::from(airway.cutting(self.t)));
        // Place, methane and carbon monoxide by their share, warmth over the intake, section.
        let co = 4.0 + 2.0 * busy(face) + drift(self.seed, self.t, 300.0);
        let places = [
            ("T0", face.methane * 1.35, co * 1.2, 5.0, 12.0),
            ("T1", face.methane, co, 4.0, 12.0),
            ("T2", face.methane * 0.92, co * 0.9, 4.5, 11.0),
            ("return", face.methane * 0.7, co * 0.7, 3.5, 7.0),
            ("intake", 0.05, 1.0, 0.0, 10.0),
            ("heading.T1", heading.methane, 3.0 + busy(heading), 3.0, 9.0),
            ("heading.T2", heading.methane * 0.85, 3.0, 3.2, 9.0),
        ];
        let warmth = 21.5 + 0.6 * drift(self.seed, self.t, 1800.0);
        for (place, methane, co, warmer, section) in places {
            let airway = if place.starts_with("heading") {
                heading
            } else {
                face
            };
            out(format_args!("M1501.{place}.ch4"), methane);
            out(format_args!("M1501.{place}.co"), co);
            out(format_args!("M1501.{place}.o2"), 20.8 - methane * 0.2);
            out(format_args!("M1501.{place}.temperature"), warmth + warmer);
            out(
                format_args!("M1501.{place}.air_speed"),
                airway.air_speed(section),
            );
        }
        for (end, warmer) in [("head", 5.0), ("tail", 3.0)] {
            out(format_args!("M1501.belt.{end}.co"), 2.5);
            out(
                format_args!("M1501.belt.{end}.temperature"),
                warmth + warmer,
            );
        }
        self.report_machines(out);
    }

    fn report_machines(&self, out: &mut dyn FnMut(Arguments<'_>, f64)) {
        let state = |on: bool| f64::from(u8::from(on));
        let (face, heading) = (&self.face, &self.heading);
        let shearer = state(face.cutting(self.t));
        out(format_args!("M1501.shearer"), shearer);
        out(format_args!("M1501.conveyor"), shearer);
        out(format_args!("M1501.belt"), state(!face.locked));
        out(
            format_args!("M1501.roadheader"),
            state(heading.cutting(self.t)),
        );
        out(format_args!("M1501.heading.fan1"), state(!heading.fan_off));
        out(format_args!("M1501.heading.fan2"), 0.0);
        for load in [
            "shearer", "conveyor", "crusher", "stage", "face", "return", "winch", "lighting",
        ] {
            out(format_args!("M1501.feed.{load}"), state(!face.locked));
        }
        for load in ["heading", "roadheader"] {
            out(format_args!("M1501.feed.{load}"), state(!heading.locked));
        }
        out(format_args!("M1501.feed.belt"), 1.0);
        out(format_args!("M1501.feed.emulsion"), 1.0);
        out(format_args!("M1501.main_fan1"), state(!face.fan_off));
        for (machine, runs) in [
            ("main_fan2", 0.0),
            ("emulsion_pump1", 1.0),
            ("emulsion_pump2", 0.0),
            ("drain_pump1", 1.0),
            ("drain_pump2", 0.0),
            ("methane_pump1", 1.0),
            ("methane_pump2", 0.0),
        ] {
            out(format_args!("M1501.{machine}"), runs);
        }
        out(
            format_args!("M1501.drainage.flow"),
            860.0 + 60.0 * drift(self.seed ^ 2, self.t, 600.0),
        );
        out(
            format_args!("M1501.drainage.pressure"),
            -0.032 + 0.003 * drift(self.seed ^ 3, self.t, 500.0),
        );
        out(
            format_args!("M1501.water.level"),
            45.0 + 12.0 * drift(self.seed ^ 4, self.t, 5400.0),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(mine: &mut Mine, seconds: u32) {
        (0..seconds * 2).for_each(|_| mine.step(0.5));
    }

    #[test]
    fn methane_is_emission_over_air() {
        let mut mine = Mine::new(9);
        pass(&mut mine, 1400); // 1400 s of cutting before it stops at 1500 s
        let expected = 100.0 * (3.2 + 2.6) / FACE_AIR;
        assert!((mine.face.methane / expected - 1.0).abs() < 0.15);
        pass(&mut mine, 1000); // and well after
        let expected = 100.0 * 3.2 / FACE_AIR;
        assert!((mine.face.methane / expected - 1.0).abs() < 0.25);
    }

    #[test]
    fn a_stopped_fan_brings_methane_and_the_lock_then_all_returns() {
        let mut mine = Mine::new(9);
        pass(&mut mine, 60);
        assert!(mine.trip("M1501.main_fan1", true));
        pass(&mut mine, 240);
        assert!(mine.face.methane > 1.5 && mine.face.locked);
        assert!(mine.face.air_speed(12.0) < 0.25);
        mine.trip("M1501.main_fan1", false);
        pass(&mut mine, 1200);
        assert!(mine.face.methane < 0.7 && !mine.face.locked);
    }
}
