//! Which alarms concern which source: what follows from a configuration alone.
//!
//! The alarm of a unit or gateway concerns every source that has a point behind it. Worked out once
//! for each configuration, so that a change of an alarm finds its sources without a search.

use std::collections::{BTreeMap, HashMap};

use super::Watch;
use crate::alarm::{AlarmDefinition, Condition, Setpoint, Subject, SystemCondition};
use crate::config::Config;

/// The alarms of each source, and the sources of each alarm.
#[derive(Clone, Debug, Default)]
pub struct Concerns {
    /// By alarm: its sources. An alarm about a unit or gateway may concern several.
    pub(super) sources_of: Vec<Vec<usize>>,
    /// By source.
    pub(super) watched: Vec<Watched>,
    /// Name → alarm.
    by_name: HashMap<String, usize>,
}

/// The alarms of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    /// Limits: alarm, setpoint, point.
    pub(super) limits: Vec<(usize, Setpoint, usize)>,
    /// Losses of view: alarm, and the points of the source that it hides.
    pub(super) sights: Vec<(usize, Vec<usize>)>,
    /// How many points the source has.
    pub(super) points: u32,
}

impl Concerns {
    pub(super) fn new(config: &Config) -> Self {
        let mut concerns = Self {
            sources_of: vec![Vec::new(); config.alarms.len()],
            watched: vec![Watched::default(); config.sources.len()],
            by_name: (config.alarms.iter().enumerate())
                .map(|(place, alarm)| (alarm.name.clone(), place))
                .collect(),
        };
        let places: HashMap<&str, usize> = (config.sources.iter().enumerate())
            .map(|(place, source)| (source.id.as_str(), place))
            .collect();
        let source_of = |point: usize| {
            let source = config.points.get(point)?.source.as_deref()?;
            places.get(source).copied()
        };
        for point in 0..config.points.len() {
            if let Some(source) = source_of(point) {
                concerns.watched[source].points += 1;
            }
        }
        let behind = Behind::new(config);
        for (place, alarm) in config.alarms.iter().enumerate() {
            concerns.add(place, alarm, &behind, &source_of);
        }
        concerns
    }

    fn add<'c>(
        &mut self,
        place: usize,
        alarm: &'c AlarmDefinition,
        behind: &Behind<'c>,
        source_of: &impl Fn(usize) -> Option<usize>,
    ) {
        let own;
        let concerned: &[usize] = match &alarm.subject {
            Subject::Point(id) => {
                own = [id.index()];
                &own
            }
            Subject::Unit(gateway, unit) => behind.unit(gateway, unit),
            Subject::Gateway(gateway) => behind.gateway(gateway),
            Subject::Centre => &[],
        };
        for point in concerned {
            let Some(source) = source_of(*point) else {
                continue;
            };
            if !self.sources_of[place].contains(&source) {
                self.sources_of[place].push(source);
            }
            let watched = &mut self.watched[source];
            match alarm.condition {
                Condition::Limit(limit) => watched.limits.push((place, limit.setpoint, *point)),
                Condition::System(SystemCondition::LossOfView) => match watched.sights.last_mut() {
                    Some((last, hidden)) if *last == place => hidden.push(*point),
                    _ => watched.sights.push((place, vec![*point])),
                },
                Condition::System(_) => {}
            }
        }
    }

    /// Places of the sources that an alarm concerns.
    pub fn sources_of(&self, alarm: usize) -> &[usize] {
        self.sources_of.get(alarm).map_or(&[], Vec::as_slice)
    }

    /// The first source that an alarm concerns.
    pub(super) fn source_of(&self, alarm: usize) -> Option<usize> {
        self.sources_of(alarm).first().copied()
    }

    /// Place of an alarm in the definitions, by name.
    pub fn find(&self, alarm: &str) -> Option<usize> {
        self.by_name.get(alarm).copied()
    }
}

/// The points behind each unit and gateway.
struct Behind<'c> {
    units: BTreeMap<(&'c str, &'c str), Vec<usize>>,
    gateways: BTreeMap<&'c str, Vec<usize>>,
}

impl<'c> Behind<'c> {
    fn new(config: &'c Config) -> Self {
        let mut behind = Self {
            units: BTreeMap::new(),
            gateways: BTreeMap::new(),
        };
        for (place, point) in config.points.iter().enumerate() {
            let (gateway, unit) = (point.gateway.as_str(), point.device.as_str());
            behind.units.entry((gateway, unit)).or_default().push(place);
            behind.gateways.entry(gateway).or_default().push(place);
        }
        behind
    }

    fn unit(&self, gateway: &'c str, unit: &'c str) -> &[usize] {
        self.units.get(&(gateway, unit)).map_or(&[], Vec::as_slice)
    }

    fn gateway(&self, gateway: &'c str) -> &[usize] {
        self.gateways.get(gateway).map_or(&[], Vec::as_slice)
    }
}

impl Watch {
    /// Place of an alarm in the definitions, by name.
    pub fn find_alarm(&self, name: &str) -> Option<usize> {
        self.concerns.find(name)
    }

    /// Ids of the sources that an alarm concerns.
    pub fn sources_of(&self, alarm: usize) -> impl Iterator<Item = &str> {
        let places = self.concerns.sources_of(alarm).iter();
        places
            .filter_map(|place| self.config.sources.get(*place))
            .map(|source| source.id.as_str())
    }
}
