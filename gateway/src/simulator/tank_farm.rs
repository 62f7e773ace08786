//! A tank farm of two areas, chlorine and ammonia: four tanks and twelve gas detectors each.
//!
//! Tanks fill, rest, unload and rest; their temperature follows the air, their pressure the vapour
//! pressure at that temperature. A leak drifts over the detectors; the scrubber starts when two
//! read level 2. Limits: the leak takes nothing noticeable out of a tank, tanks do not mix.

use std::fmt::Arguments;

use super::noise::{drift, jitter, lag, seed_of};
use super::plume::{Leak, Place};
use super::weather::Weather;

/// Normal operation stays between these levels, % (limits of the demo: 10 and 85).
const LEVEL_MIN: f64 = 28.0;
const LEVEL_MAX: f64 = 74.0;
/// How long a tank rests between filling and unloading, s.
const REST_S: f64 = 1500.0;
/// Level per second while overfilling, %: full within minutes, so that a trial needs no patience.
const OVERFILL_PER_S: f64 = 0.1;
/// Electrochemical cell: T90 of about 18 s.
const DETECTOR_TAU_S: f64 = 8.0;
/// Most leaks remembered in one area.
const LEAKS_MAX: usize = 8;

/// Where the detectors of an area hang; tanks stand at (0, 0), (12, 0), (24, 0), (36, 0).
const DETECTORS: [Place; 12] = [
    (-2.0, 12.0),
    (5.0, 12.0),
    (12.0, 12.0),
    (19.0, 12.0),
    (27.0, 12.0),
    (35.0, 12.0),
    (0.0, -8.0),
    (12.0, -8.0),
    (24.0, -8.0),
    (36.0, -8.0),
    (0.0, 26.0),
    (12.0, 26.0),
];

/// What a tank is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Filling,
    Unloading,
    /// Until the time, then the other way than before.
    Resting {
        until: f64,
        then_fill: bool,
    },
}

#[derive(Clone, Debug)]
struct Tank {
    seed: u64,
    level: f64,
    temperature: f64,
    work: Work,
    overfill: bool,
}

impl Tank {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            level: 50.0 + 18.0 * jitter(seed, 1),
            temperature: 16.0 + jitter(seed, 2),
            work: if jitter(seed, 3) > 0.0 {
                Work::Filling
            } else {
                Work::Unloading
            },
            overfill: false,
        }
    }

    /// m³/h in and out; the volume is 100 m³, so 18 m³/h are 18 % an hour.
    fn flows(&self, t: f64) -> (f64, f64) {
        let wobble = 1.0 + 0.05 * drift(self.seed, t, 40.0);
        match self.work {
            _ if self.overfill => (36.0 * wobble, 0.0),
            Work::Filling => (18.0 * wobble, 0.0),
            Work::Unloading => (0.0, 22.0 * wobble),
            Work::Resting { .. } => (0.0, 0.0),
        }
    }

    fn step(&mut self, t: f64, dt: f64, air: f64) {
        let (inward, outward) = self.flows(t);
        self.level += (inward - outward) * dt / 3600.0;
        if self.overfill {
            self.level = (self.level + OVERFILL_PER_S * dt).min(99.5);
        }
        self.work = match self.work {
            Work::Filling if self.level >= LEVEL_MAX => Work::Resting {
                until: t + REST_S,
                then_fill: false,
            },
            Work::Unloading if self.level <= LEVEL_MIN => Work::Resting {
                until: t + REST_S,
                then_fill: true,
            },
            Work::Resting { until, then_fill } if t >= until => {
                if then_fill {
                    Work::Filling
                } else {
                    Work::Unloading
                }
            }
            same => same,
        };
        // Hours of thermal mass, less of it when the tank is low.
        self.temperature = lag(self.temperature, air + 2.0, dt, 7200.0 + 200.0 * self.level);
    }
}

#[derive(Clone, Debug)]
struct Area {
    name: &'static str,
    /// Normal boiling point, K, and heat of vaporisation, J/mol.
    boiling: (f64, f64),
    /// Level 2 of its gas, mg/m³.
    level2: f64,
    tanks: Vec<Tank>,
    leaks: Vec<Leak>,
    detectors: [f64; 12],
    scrubbing_until: f64,
}

impl Area {
    fn new(seed: u64, name: &'static str, boiling: (f64, f64), level2: f64) -> Self {
        let seed = seed_of(seed, name);
        Self {
            name,
            boiling,
            level2,
            tanks: (1..=4)
                .map(|n| Tank::new(seed_of(seed, &format!("T{n}"))))
                .collect(),
            leaks: Vec::new(),
            detectors: [0.0; 12],
            scrubbing_until: f64::NEG_INFINITY,
        }
    }

    fn step(&mut self, t: f64, dt: f64, weather: &Weather) {
        for tank in &mut self.tanks {
            tank.step(t, dt, weather.temperature);
        }
        self.leaks.retain(|leak| !leak.is_gone(t));
        for (reading, place) in self.detectors.iter_mut().zip(DETECTORS) {
            let gas: f64 = self
                .leaks
                .iter()
                .map(|leak| leak.concentration(place, weather, t))
                .sum();
            *reading = lag(*reading, gas, dt, DETECTOR_TAU_S);
        }
        let over = self.detectors.iter().filter(|r| **r >= self.level2).count();
        if over >= 2 {
            self.scrubbing_until = t + 300.0;
        }
    }

    /// Gauge pressure over the liquid, `MPa`: Clausius and Clapeyron from the normal boiling point.
    fn pressure(&self, celsius: f64) -> f64 {
        let (boiling, heat) = self.boiling;
        let atmospheres = (heat / 8.314 * (1.0 / boiling - 1.0 / (celsius + 273.15))).exp();
        (atmospheres - 1.0) * 0.101_325
    }

    fn report(&self, t: f64, out: &mut dyn FnMut(Arguments<'_>, f64)) {
        let a = self.name;
        let state = |on: bool| f64::from(u8::from(on));
        for (n, tank) in (1..).zip(&self.tanks) {
            let (inward, outward) = tank.flows(t);
            let pressure = self.pressure(tank.temperature);
            out(format_args!("TF.{a}-T{n}.level"), tank.level);
            out(format_args!("TF.{a}-T{n}.level_b"), tank.level + 0.2);
            out(format_args!("TF.{a}-T{n}.temperature"), tank.temperature);
            out(
                format_args!("TF.{a}-T{n}.temperature_b"),
                tank.temperature - 0.8,
            );
            out(format_args!("TF.{a}-T{n}.pressure"), pressure);
            out(format_args!("TF.{a}-T{n}.pressure_b"), pressure + 0.002);
            out(format_args!("TF.{a}-T{n}.in_flow"), inward);
            out(format_args!("TF.{a}-T{n}.out_flow"), outward);
            out(format_args!("TF.{a}-T{n}.in_valve"), state(inward > 0.0));
            out(format_args!("TF.{a}-T{n}.out_valve"), state(outward > 0.0));
            out(format_args!("TF.{a}-T{n}.esd_valve"), 1.0);
            out(format_args!("TF.{a}-T{n}.pump"), state(outward > 0.0));
        }
        for (n, reading) in (1..).zip(&self.detectors) {
            out(format_args!("TF.{a}-GD{n:02}"), *reading);
            if a == "NH3" {
                // Its lower explosive limit is 15 % by volume, about 105 g/m³.
                out(format_args!("TF.{a}-CD{n:02}"), *reading / 1050.0);
            }
        }
        let scrubbing = state(t < self.scrubbing_until);
        out(format_args!("TF.{a}-SCR.fan"), scrubbing);
        out(format_args!("TF.{a}-SCR.pump"), scrubbing);
        out(format_args!("TF.{a}-EXH.fan1"), 1.0);
        out(format_args!("TF.{a}-EXH.fan2"), scrubbing);
    }
}

/// Both areas under one sky.
#[derive(Clone, Debug)]
pub(super) struct TankFarm {
    seed: u64,
    t: f64,
    weather: Weather,
    areas: [Area; 2],
}

impl TankFarm {
    /// At rest at time 0.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            t: 0.0,
            weather: Weather::at(seed, 0.0),
            areas: [
                // Boiling points and heats: CRC Handbook.
                Area::new(seed, "CL2", (239.11, 20_410.0), 2.0),
                Area::new(seed, "NH3", (239.82, 23_350.0), 40.0),
            ],
        }
    }

    /// Lets `dt` seconds pass.
    pub(super) fn step(&mut self, dt: f64) {
        self.t += dt;
        self.weather = Weather::at(self.seed, self.t);
        for area in &mut self.areas {
            area.step(self.t, dt, &self.weather);
        }
    }

    /// Every quantity by its tag.
    pub(super) fn report(&self, out: &mut dyn FnMut(Arguments<'_>, f64)) {
        self.weather.report(out);
        for area in &self.areas {
            area.report(self.t, out);
        }
    }

    /// Opens a hole in the tank called `TF.CL2-T2`; false when there is none.
    pub(super) fn leak(&mut self, tank: &str, grams_per_s: f64) -> bool {
        let t = self.t;
        let Some((area, n)) = self.tank(tank) else {
            return false;
        };
        if area.leaks.len() >= LEAKS_MAX {
            area.leaks.remove(0);
        }
        area.leaks.push(Leak {
            place: (12.0 * n as f64, 0.0),
            grams_per_s,
            from: t,
            until: f64::INFINITY,
        });
        true
    }

    /// Begins or ends overfilling a tank; false when there is none of that name.
    pub(super) fn overfill(&mut self, tank: &str, on: bool) -> bool {
        let Some((area, n)) = self.tank(tank) else {
            return false;
        };
        if let Some(tank) = area.tanks.get_mut(n) {
            tank.overfill = on;
            if !on && tank.level > LEVEL_MAX {
                tank.work = Work::Unloading;
            }
        }
        true
    }

    /// Closes every hole in a tank.
    pub(super) fn stop_leak(&mut self, tank: &str) {
        let t = self.t;
        if let Some((area, n)) = self.tank(tank) {
            let east = 12.0 * n as f64;
            for leak in &mut area.leaks {
                if (leak.place.0 - east).abs() < 1.0 && leak.until > t {
                    leak.until = t;
                }
            }
        }
    }

    /// The area of a tank, and the tank's place in it.
    fn tank(&mut self, name: &str) -> Option<(&mut Area, usize)> {
        let (area, number) = name.strip_prefix("TF.")?.split_once("-T")?;
        let number: usize = number.parse().ok()?;
        let area = self.areas.iter_mut().find(|a| a.name == area)?;
        let index = number.checked_sub(1)?;
        (index < area.tanks.len()).then_some((area, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_the_vapour_pressure_of_the_handbook() {
        let farm = TankFarm::new(1);
        // At 20 °C: chlorine 0.68 MPa, ammonia 0.857 MPa, absolute.
        let absolute = |n: usize| farm.areas[n].pressure(20.0) + 0.1013;
        assert!((absolute(0) - 0.68).abs() < 0.02, "{}", absolute(0));
        assert!((absolute(1) - 0.857).abs() < 0.02, "{}", absolute(1));
    }

    #[test]
    fn a_leak_needs_a_tank() {
        let mut farm = TankFarm::new(1);
        assert!(farm.leak("TF.CL2-T4", 1.0));
        for name in ["TF.CL2-T5", "TF.CL2-T0", "TF.X-T1", "R101", ""] {
            assert!(!farm.leak(name, 1.0), "{name}");
        }
    }

    #[test]
    fn an_overfilled_tank_passes_its_limits_and_comes_back() {
        let mut farm = TankFarm::new(1);
        farm.overfill("TF.NH3-T1", true);
        for _ in 0..1000 {
            farm.step(1.0);
        }
        assert!(farm.areas[1].tanks[0].level > 90.0);
        farm.overfill("TF.NH3-T1", false);
        for _ in 0..7200 {
            farm.step(1.0);
        }
        assert!(farm.areas[1].tanks[0].level < 75.0);
    }
}
