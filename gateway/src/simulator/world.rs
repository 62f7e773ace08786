//! All plants of a configuration, their faults and their units' memories, at one time.
//!
//! Pure: time is an argument, and equal seed, story, commands and times give equal bytes. Steps
//! are of half a second; one call catches up on ten minutes at most, so that a clock that jumps
//! costs a bounded time. A point that no model knows shows a quiet value of its kind.

use std::collections::{BTreeMap, HashMap};

use davy_core::config::Config;
use davy_core::point::Point;

use super::SimulatorError;
use super::fault::{Fault, Target};
use super::image::Image;
use super::instrument::{Wire, registers};
use super::noise::{drift, jitter, seed_of};
use super::plant::{Plant, split_prefix};
use super::story::{Action, Story};

/// Length of a step, s: short against every time constant of the models.
const STEP_S: f64 = 0.5;
/// Most steps in one call: ten minutes.
const STEPS_MAX: u64 = 1200;
/// Most faults at a time.
const FAULTS_MAX: usize = 256;
/// Noise of an instrument, as a share of its span.
const NOISE_SHARE: f64 = 0.001;
/// Test gas flows from here to here after the start of a calibration, s, through a cell with this
/// time constant.
const TEST_GAS_S: (f64, f64) = (5.0, 45.0);
const TEST_GAS_TAU_S: f64 = 6.0;
/// Kinds that read nothing in clean air.
const GASES: [&str; 6] = ["cl2", "nh3", "h2s", "combustible", "co", "ch4"];

#[derive(Debug)]
struct Active {
    target: Target,
    fault: Fault,
    since: f64,
    /// What the point read when the fault began.
    value: f64,
}

#[derive(Debug)]
struct Instrument {
    point: Point,
    seed: u64,
    plant: u32,
    /// Its place among the plant's values, if a model knows it.
    quantity: Option<usize>,
}

#[derive(Debug)]
struct UnitMemory {
    gateway: String,
    device: String,
    /// Places in `instruments`.
    instruments: Vec<usize>,
    image: Image,
    /// The step and the count of commands that the image shows.
    built_at: Option<(u64, u64)>,
}

/// The plants behind a configuration.
#[derive(Debug)]
pub(super) struct World {
    plants: BTreeMap<u32, Plant>,
    instruments: Vec<Instrument>,
    by_tag: HashMap<String, usize>,
    units: Vec<UnitMemory>,
    active: Vec<Active>,
    story: Story,
    steps: u64,
    /// How many faults have begun or ended.
    commands: u64,
}

impl World {
    /// Every plant at time 0.
    pub(super) fn new(config: &Config, seed: u64, story: Story) -> Self {
        let mut plants = BTreeMap::new();
        let quantities = Plant::new(seed).quantities();
        let mut instruments = Vec::with_capacity(config.points.len());
        let mut by_tag = HashMap::new();
        for point in &config.points {
            let (plant, tag) = split_prefix(&point.tag);
            plants
                .entry(plant)
                .or_insert_with(|| Plant::new(seed_of(seed, &format!("P{plant}"))));
            by_tag.insert(point.tag.clone(), instruments.len());
            instruments.push(Instrument {
                seed: seed_of(seed, &point.tag),
                plant,
                quantity: quantities.get(tag).copied(),
                point: point.clone(),
            });
        }
        let units = units_of(config);
        let mut world = Self {
            plants,
            instruments,
            by_tag,
            units,
            active: Vec::new(),
            story,
            steps: 0,
            commands: 0,
        };
        world.tell(-STEP_S, 0.0);
        world
    }

    /// The time that the plants have reached, s.
    pub(super) fn time(&self) -> f64 {
        self.steps as f64 * STEP_S
    }

    /// Lets time pass until `t`, telling the story on the way.
    pub(super) fn advance_to(&mut self, t: f64) {
        let wanted = (t.max(0.0) / STEP_S) as u64;
        let until = wanted.min(self.steps + STEPS_MAX);
        if until <= self.steps {
            return;
        }
        while self.steps < until {
            let before = self.time();
            self.steps += 1;
            for plant in self.plants.values_mut() {
                plant.step(STEP_S);
            }
            self.tell(before, self.time());
        }
        for plant in self.plants.values_mut() {
            plant.refresh();
        }
    }

    /// Does what the story says of the time after `after` and up to `until`.
    fn tell(&mut self, after: f64, until: f64) {
        for action in self.story.between(after, until) {
            match action {
                Action::Inject(target, fault) => {
                    // A story written for another site names what is not here: nothing happens.
                    let _unknown_here = self.inject(&target, &fault).err();
                }
                Action::Clear(target) => self.clear(&target),
            }
        }
    }

    /// A fault begins. One of the same sort on the same target gives way to it.
    pub(super) fn inject(&mut self, target: &Target, fault: &Fault) -> Result<(), SimulatorError> {
        if !fault.suits(target) {
            return Err(SimulatorError::FaultDoesNotSuit {
                fault: fault.clone(),
                target: target.clone(),
            });
        }
        let unknown = || SimulatorError::UnknownTarget {
            target: target.clone(),
        };
        if let Some(place) = self.active.iter().position(|active| {
            active.target == *target
                && std::mem::discriminant(&active.fault) == std::mem::discriminant(fault)
        }) {
            let old = self.active.remove(place);
            self.end(&old);
        }
        if self.active.len() >= FAULTS_MAX {
            return Err(SimulatorError::TooManyFaults {
                allowed: FAULTS_MAX,
            });
        }
        let mut value = f64::NAN;
        match target {
            Target::Unit { gateway, device } => {
                self.unit(gateway, device).ok_or_else(unknown)?;
            }
            Target::Point(tag) => {
                let place = *self.by_tag.get(tag).ok_or_else(unknown)?;
                for plant in self.plants.values_mut() {
                    plant.refresh();
                }
                value = self.instruments.get(place).map_or(value, |i| self.value(i));
            }
            Target::Equipment(name) => {
                let (number, name) = split_prefix(name);
                let plant = self.plants.get_mut(&number).ok_or_else(unknown)?;
                if !plant.set(name, fault, true) {
                    return Err(unknown());
                }
            }
        }
        self.commands += 1;
        self.active.push(Active {
            target: target.clone(),
            fault: fault.clone(),
            since: self.time(),
            value,
        });
        Ok(())
    }

    /// Every fault of the target ends.
    pub(super) fn clear(&mut self, target: &Target) {
        let (ended, kept) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|active| active.target == *target);
        self.active = kept;
        for active in &ended {
            self.end(active);
        }
    }

    fn end(&mut self, active: &Active) {
        self.commands += 1;
        if let Target::Equipment(name) = &active.target {
            let (number, name) = split_prefix(name);
            if let Some(plant) = self.plants.get_mut(&number) {
                plant.set(name, &active.fault, false);
            }
        }
    }

    /// What goes wrong with a unit now; the fault that began last decides.
    pub(super) fn unit_fault(&self, gateway: &str, device: &str) -> Option<&Fault> {
        let is_it = |target: &Target| match target {
            Target::Unit {
                gateway: g,
                device: d,
            } => g == gateway && d == device,
            _ => false,
        };
        let active = self.active.iter().rev().find(|a| is_it(&a.target))?;
        Some(&active.fault)
    }

    /// Whether anything is wrong with a target now.
    #[cfg(test)]
    pub(super) fn has_fault(&self, target: &Target) -> bool {
        self.active.iter().any(|active| active.target == *target)
    }

    fn point_faults(&self, tag: &str) -> impl Iterator<Item = &Active> {
        self.active
            .iter()
            .filter(move |active| matches!(&active.target, Target::Point(t) if t == tag))
    }

    /// What a point reads now, in its unit, before its wire.
    pub(super) fn reading(&self, tag: &str) -> Option<f64> {
        let instrument = self.instruments.get(*self.by_tag.get(tag)?)?;
        Some(self.value(instrument))
    }

    /// What an instrument reads now.
    fn value(&self, instrument: &Instrument) -> f64 {
        let point = &instrument.point;
        if let Some(tag) = point.tag.strip_suffix(".cal") {
            let calibrating = self
                .point_faults(tag)
                .any(|active| matches!(active.fault, Fault::CalibrationGas { .. }));
            return f64::from(u8::from(calibrating));
        }
        let mut value = self
            .plants
            .get(&instrument.plant)
            .zip(instrument.quantity)
            .and_then(|(plant, place)| plant.value(place))
            .unwrap_or_else(|| quiet_value(instrument, self.time()));
        for active in self.point_faults(&point.tag) {
            match active.fault {
                Fault::StuckValue => return active.value,
                Fault::CalibrationGas { peak } => {
                    value = test_gas(peak, self.time() - active.since);
                }
                _ => {}
            }
        }
        if point.unit == "state" {
            return value;
        }
        let noise = jitter(instrument.seed, self.time() as u64);
        // No instrument here reads below its range: a clean cell shows zero, not less.
        (value + noise * NOISE_SHARE * point.range.span()).max(point.range.low)
    }

    /// The place of a unit.
    pub(super) fn unit(&self, gateway: &str, device: &str) -> Option<usize> {
        self.units
            .iter()
            .position(|unit| unit.gateway == gateway && unit.device == device)
    }

    /// The memory of a unit now.
    pub(super) fn image(&mut self, unit: usize) -> Option<&Image> {
        let now = (self.steps, self.commands);
        let memory = self.units.get(unit)?;
        if memory.built_at != Some(now) {
            let mut image = Image::default();
            for instrument in memory.instruments.iter().map(|i| self.instruments.get(*i)) {
                let Some(instrument) = instrument else {
                    continue;
                };
                let point = &instrument.point;
                let words = registers(point, self.value(instrument), self.wire(&point.tag));
                image.put(point.register.table, point.register.address, &words);
            }
            let memory = self.units.get_mut(unit)?;
            memory.image = image;
            memory.built_at = Some(now);
        }
        self.units.get(unit).map(|memory| &memory.image)
    }

    fn wire(&self, tag: &str) -> Wire {
        self.point_faults(tag)
            .fold(Wire::Sound, |wire, active| match active.fault {
                Fault::BrokenWire => Wire::Broken,
                Fault::ShortCircuit => Wire::Shorted,
                _ => wire,
            })
    }
}

/// Every unit of every bus, with its points.
fn units_of(config: &Config) -> Vec<UnitMemory> {
    let mut units = Vec::new();
    let mut places = HashMap::new();
    for gateway in &config.gateways {
        for unit in gateway.buses.iter().flat_map(|bus| &bus.units) {
            places.insert((gateway.id.as_str(), unit.id.as_str()), units.len());
            units.push(UnitMemory {
                gateway: gateway.id.clone(),
                device: unit.id.clone(),
                instruments: Vec::new(),
                image: Image::default(),
                built_at: None,
            });
        }
    }
    for (n, point) in config.points.iter().enumerate() {
        let place = places.get(&(point.gateway.as_str(), point.device.as_str()));
        if let Some(unit) = place.and_then(|place| units.get_mut(*place)) {
            unit.instruments.push(n);
        }
    }
    units
}

/// A value that alarms nobody, for a point that no model knows.
fn quiet_value(instrument: &Instrument, t: f64) -> f64 {
    let Point {
        kind, unit, range, ..
    } = &instrument.point;
    if unit == "state" || GASES.contains(&kind.as_str()) {
        return range.low;
    }
    if kind == "o2" {
        return 20.9;
    }
    let wander = drift(instrument.seed, t, 600.0);
    range.low + range.span() * (0.3 + 0.02 * wander)
}

/// What a detector under test gas reads `since` seconds after the start.
fn test_gas(peak: f64, since: f64) -> f64 {
    let (begins, ends) = TEST_GAS_S;
    let rise = |s: f64| 1.0 - (-s.max(0.0) / TEST_GAS_TAU_S).exp();
    let filled = peak * rise(since.min(ends) - begins);
    filled * (1.0 - rise(since - ends))
}
