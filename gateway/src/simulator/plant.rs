//! One plant: a tank farm, a reactor and a mine, each quantity known by its tag.
//!
//! Time goes in fixed steps, so what a plant does depends on its seed and what was done to it,
//! never on how often it was looked at.

use std::collections::HashMap;
use std::fmt::Arguments;

use super::fault::Fault;
use super::mine::Mine;
use super::reactor::Reactor;
use super::tank_farm::TankFarm;

/// The three models of a plant, and the values of the last step.
#[derive(Clone, Debug)]
pub(super) struct Plant {
    tank_farm: TankFarm,
    reactor: Reactor,
    mine: Mine,
    values: Vec<f64>,
}

impl Plant {
    /// A plant in steady operation at time 0.
    pub(super) fn new(seed: u64) -> Self {
        let mut plant = Self {
            tank_farm: TankFarm::new(seed),
            reactor: Reactor::new(seed),
            mine: Mine::new(seed),
            values: Vec::new(),
        };
        plant.refresh();
        plant
    }

    /// Lets `dt` seconds pass. [`Self::refresh`] makes the new values visible.
    pub(super) fn step(&mut self, dt: f64) {
        self.tank_farm.step(dt);
        self.reactor.step(dt);
        self.mine.step(dt);
    }

    /// Takes the values of all quantities over from the models.
    pub(super) fn refresh(&mut self) {
        let mut values = std::mem::take(&mut self.values);
        values.clear();
        self.report(&mut |_, value| values.push(value));
        self.values = values;
    }

    /// Every quantity's tag with its place among the values; the same for all plants.
    pub(super) fn quantities(&self) -> HashMap<String, usize> {
        let mut places = HashMap::new();
        self.report(&mut |tag, _| {
            places.insert(tag.to_string(), places.len());
        });
        places
    }

    /// The value of the quantity at a place.
    pub(super) fn value(&self, place: usize) -> Option<f64> {
        self.values.get(place).copied()
    }

    fn report(&self, out: &mut dyn FnMut(Arguments<'_>, f64)) {
        self.tank_farm.report(out);
        self.reactor.report(out);
        self.mine.report(out);
    }

    /// Begins or ends a fault of a piece of equipment; false when it has no such thing.
    pub(super) fn set(&mut self, equipment: &str, fault: &Fault, on: bool) -> bool {
        match fault {
            Fault::Leak { grams_per_s } if on => self.tank_farm.leak(equipment, *grams_per_s),
            Fault::Leak { .. } => {
                self.tank_farm.stop_leak(equipment);
                true
            }
            Fault::Overfill => self.tank_farm.overfill(equipment, on),
            Fault::Trip => self.reactor.trip(equipment, on) || self.mine.trip(equipment, on),
            _ => false,
        }
    }
}

/// The number of a tag's plant and the tag inside it: `P2.TF.CL2-GD03` is (2, `TF.CL2-GD03`), a
/// tag without such a prefix belongs to plant 1.
pub(super) fn split_prefix(tag: &str) -> (u32, &str) {
    let prefixed = || {
        let (number, rest) = tag.strip_prefix('P')?.split_once('.')?;
        Some((number.parse().ok()?, rest))
    };
    prefixed().unwrap_or((1, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_names_the_plant() {
        assert_eq!(split_prefix("P2.TF.CL2-GD03"), (2, "TF.CL2-GD03"));
        assert_eq!(split_prefix("TF.CL2-GD03"), (1, "TF.CL2-GD03"));
        assert_eq!(split_prefix("PX.a"), (1, "PX.a"));
    }

    #[test]
    fn each_quantity_has_a_place_of_its_own() {
        let plant = Plant::new(1);
        let places = plant.quantities();
        assert_eq!(places.len(), plant.values.len());
        assert!(places.len() > 250);
    }
}
