//! What follows from a change of an alarm: the colour of its source. What follows for the ledger
//! stands beside it, in `ledger.rs`.

use std::collections::{BTreeMap, HashMap};

use crate::alarm::{self, AlarmDefinition, Condition, Setpoint, Subject, SystemCondition};
use crate::config::Config;
use crate::point::Text;
use crate::reading::Timestamp;
use crate::warning::{ActiveLimit, Facts, Warning};

use super::{Effect, Watch};

/// What follows from a configuration alone: which alarms concern which source.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// By alarm: its sources. An alarm about a unit or gateway may concern several.
    sources_of: Vec<Vec<usize>>,
    /// By source.
    watched: Vec<Watched>,
    /// Name → alarm.
    by_name: HashMap<String, usize>,
}

/// The alarms of one source.
#[derive(Clone, Debug, Default)]
struct Watched {
    /// Limits: alarm, setpoint, point.
    limits: Vec<(usize, Setpoint, usize)>,
    /// Losses of view: alarm, and how many of the source's points it hides.
    sights: Vec<(usize, u32)>,
    points: u32,
}

impl Plan {
    pub(super) fn new(config: &Config) -> Self {
        let mut plan = Self {
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
                plan.watched[source].points += 1;
            }
        }
        let behind = Behind::new(config);
        for (place, alarm) in config.alarms.iter().enumerate() {
            plan.add(place, alarm, &behind, &source_of);
        }
        plan
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
                    Some((last, hidden)) if *last == place => *hidden += 1,
                    _ => watched.sights.push((place, 1)),
                },
                Condition::System(_) => {}
            }
        }
    }

    /// The first source that an alarm concerns.
    pub(super) fn source_of(&self, alarm: usize) -> Option<usize> {
        self.sources_of.get(alarm)?.first().copied()
    }

    /// Name → place in the definitions.
    pub(super) fn find(&self, alarm: &str) -> Option<usize> {
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
        self.plan.find(name)
    }

    /// Ids of the sources that an alarm concerns.
    pub fn sources_of(&self, alarm: usize) -> impl Iterator<Item = &str> {
        let places = self.plan.sources_of.get(alarm);
        places
            .into_iter()
            .flatten()
            .filter_map(|place| self.config.sources.get(*place))
            .map(|source| source.id.as_str())
    }

    /// What is known of a source now, as its warning is judged by.
    pub fn facts(&self, source: usize) -> Facts<'_> {
        let Some(watched) = self.plan.watched.get(source) else {
            return Facts::default();
        };
        let name = |alarm: usize| self.config.alarms[alarm].name.as_str();
        let since = |alarm: usize| {
            let standing = self.engine.standing(alarm)?;
            standing.active_since
        };
        let active = watched
            .limits
            .iter()
            .filter_map(|(alarm, setpoint, point)| {
                Some(ActiveLimit {
                    alarm: name(*alarm),
                    setpoint: *setpoint,
                    kind: &self.config.points[*point].kind,
                    since: since(*alarm)?,
                })
            });
        let unseen = watched.sights.iter().filter_map(|(alarm, hidden)| {
            let one = (name(*alarm), since(*alarm)?);
            Some(std::iter::repeat_n(one, *hidden as usize))
        });
        Facts {
            level: self.config.sources[source].level,
            active: active.collect(),
            points: watched.points,
            unseen: unseen.flatten().collect(),
        }
    }

    /// Follows what the engine said, until nothing more follows.
    pub(super) fn follow(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let told = std::mem::take(&mut self.told);
        for effect in told {
            match effect {
                alarm::Effect::Changed(change) => {
                    let place = self.plan.find(&change.alarm);
                    if let Some(place) = place {
                        self.dirty.extend(&self.plan.sources_of[place]);
                    }
                    // The alarm stands before what it brings about.
                    let at = effects.len();
                    effects.push(Effect::Alarm(change.clone()));
                    self.enter(now, place, &change, effects);
                    debug_assert!(matches!(effects[at], Effect::Alarm(_)));
                }
                alarm::Effect::Refused { command, why } => effects.push(Effect::AlarmRefused {
                    occurrence: command.occurrence(),
                    why,
                }),
            }
        }
        while let Some(source) = self.dirty.pop_first() {
            self.colour(now, source, effects);
        }
    }

    fn colour(&mut self, now: Timestamp, source: usize, effects: &mut Vec<Effect>) {
        let Some(mut warning) = self.warnings.get(source).cloned() else {
            return;
        };
        let facts = self.facts(source);
        let rules = &self.config.warning;
        let id = &self.config.sources[source].id;
        let change = warning.judge(id, now, &facts, rules);
        let next = Warning::next_deadline(&warning, now, &facts, rules);
        drop(facts);
        self.warnings[source] = warning;
        self.colour_deadlines.retain(|(_, other)| *other != source);
        if let Some(next) = next {
            self.colour_deadlines.insert((next, source));
        }
        effects.extend(change.map(Effect::Warning));
    }

    /// What an alarm is about, as a key and in words.
    pub fn subject(&self, alarm: &AlarmDefinition) -> (String, Text) {
        let gateway = |id: &str| self.config.gateways.iter().find(|gateway| gateway.id == id);
        match &alarm.subject {
            Subject::Point(point) => {
                let point = &self.config.points[point.index()];
                (point.tag.clone(), point.name.clone())
            }
            Subject::Unit(id, unit) => {
                let units = gateway(id).into_iter().flat_map(|gateway| &gateway.buses);
                let name = units
                    .flat_map(|bus| &bus.units)
                    .find(|one| one.id == *unit)
                    .map_or_else(Text::default, |unit| unit.name.clone());
                (format!("{id}/{unit}"), name)
            }
            Subject::Gateway(id) => {
                let name = gateway(id).map_or_else(Text::default, |gateway| gateway.name.clone());
                (id.clone(), name)
            }
            Subject::Centre => (
                "centre".into(),
                Text {
                    zh: "监测中心".into(),
                    en: "Centre".into(),
                },
            ),
        }
    }
}
