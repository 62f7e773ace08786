//! Gateways as the centre sees them: births, aliases, deaths, and the order of their messages.
//!
//! Its place in the path: MQTT message → readings. A message that cannot be used is counted, told
//! and alarmed, and disturbs nothing else.
//!
//! Invariants: a numbered message is taken once; what a gateway can no longer send is said to be
//! missing, once; a reading is taken only from the gateway that the configuration names for its
//! point.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::{Subject, SystemCondition};
use crate::config::Config;
use crate::delivery::{Ranges, Received, Stored};
use crate::reading::{BadCause, Lane, Reading, Timestamp};
use crate::sparkplug::{
    Birth, DataType, DeviceMessage, NodeMessage, Topic, Walk, read_birth, read_node_data,
    read_node_death, read_number, walk,
};

mod alias;
mod lost;
mod told;

use self::alias::Aliases;
pub use self::alias::Directory;
pub use self::told::{LinkChange, LinkEvent, Taken};

/// How long a fault that is only seen when it happens (a gap, an unusable message) is held, so
/// that a stream of them is one alarm and not thousands.
const FAULT_HOLD: Duration = Duration::from_mins(1);

/// How long two gateways under one identity are told after they last took turns.
const DUPLICATE_HOLD: Duration = Duration::from_mins(10);

/// Births are asked for again at most so often.
const REBIRTH_PAUSE: Duration = Duration::from_secs(10);

/// A gateway's clock may differ by so much, transport included (AQ and site practice: 1 s).
const CLOCK_OFFSET_MAX_MS: i64 = 1_000;

/// Former outboxes of one gateway that are remembered.
const FORMER_MAX: usize = 4;

/// Aliases of one gateway that are remembered. A birth that goes beyond makes all others forgotten:
/// births are asked for again when data needs them.
pub const ALIASES_MAX: usize = 1 << 18;

/// All gateways of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Links {
    links: BTreeMap<String, Link>,
}

/// One gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Born and not dead.
    pub online: bool,
    /// Since when, by the centre's clock.
    pub since: Timestamp,
    /// Units that are born and not dead.
    pub units: BTreeMap<String, bool>,
    /// What it says it still keeps.
    pub stored: Vec<Stored>,
    /// When anything of it last came, by the centre's clock; none before the first.
    pub heard_at: Option<Timestamp>,
    /// Numbered messages of it that were taken, each once.
    pub committed: u64,
    /// Readings of it that were taken, each once.
    pub readings: u64,
    /// Messages that it says its outbox had to drop.
    pub lost: u64,
    /// Messages that are missing for good.
    pub missing: u64,
    /// Messages that could not be used.
    pub unusable: u64,
    /// Metrics whose names or aliases nobody knows.
    pub unknown: u64,
    /// Centre's clock minus the gateway's at its last live message, in ms.
    pub clock_offset_ms: i64,
    bd_seq: Option<u64>,
    instance: String,
    received: Received,
    former: Vec<(String, Received)>,
    born: BTreeMap<u64, Born>,
    held: BTreeMap<SystemCondition, Timestamp>,
    rebirth_asked: Option<Timestamp>,
    history_open: bool,
    #[serde(skip)]
    aliases: Aliases,
}

/// What a birth said of an alias.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Born {
    tag: String,
    datatype: u32,
}

/// Names of a birth that are listed; more are only counted.
const LISTED_MAX: usize = 10;

impl Links {
    /// Takes over the gateways of a configuration, and works out every alias again.
    pub fn configure(&mut self, now: Timestamp, config: &Config, directory: &Directory) {
        self.links
            .retain(|id, _| config.gateways.iter().any(|gateway| gateway.id == *id));
        for gateway in &config.gateways {
            let link = self
                .links
                .entry(gateway.id.clone())
                .or_insert_with(|| Link {
                    since: now,
                    ..Link::default()
                });
            let units = gateway.buses.iter().flat_map(|bus| &bus.units);
            let known = std::mem::take(&mut link.units);
            link.units = units
                .map(|unit| {
                    (
                        unit.id.clone(),
                        known.get(&unit.id).copied().unwrap_or(false),
                    )
                })
                .collect();
            link.resolve(&gateway.id, config, directory);
        }
    }

    /// One gateway.
    pub fn get(&self, gateway: &str) -> Option<&Link> {
        self.links.get(gateway)
    }

    /// Whether a message has been taken before. Messages without a number never have.
    pub fn has_seen(&self, topic: &str, payload: &[u8]) -> bool {
        let Ok(Topic::Device { node, .. }) = Topic::parse(topic) else {
            return false;
        };
        let number = read_number(payload);
        let (Some(link), Ok(Some(number))) = (self.links.get(node), number) else {
            return false;
        };
        link.received.has(number)
    }

    /// What has come of each run of a gateway, for it to free.
    pub fn received(&self, gateway: &str) -> impl Iterator<Item = (u64, &Ranges)> {
        let link = self.links.get(gateway);
        link.into_iter().flat_map(|link| link.received.runs())
    }

    /// Takes a message of MQTT; what it said is appended to `taken`.
    pub fn take(
        &mut self,
        now: Timestamp,
        topic: &str,
        payload: &[u8],
        config: &Config,
        directory: &Directory,
        taken: &mut Taken,
    ) {
        let parsed = Topic::parse(topic);
        let Ok(Topic::Node { group, node, .. } | Topic::Device { group, node, .. }) = parsed else {
            return;
        };
        if group != config.group {
            return;
        }
        let Some(link) = self.links.get_mut(node) else {
            return;
        };
        link.heard_at = Some(now);
        let site = Site { config, directory };
        let done = match parsed {
            Ok(Topic::Node { message, .. }) => {
                link.node_message(now, node, message, payload, &site, taken)
            }
            Ok(Topic::Device {
                message, device, ..
            }) => link.device_message(now, node, device, message, payload, &site, taken),
            _ => Ok(()),
        };
        if let Err(why) = done {
            link.unusable += 1;
            link.fault(now, node, SystemCondition::Unusable, FAULT_HOLD, taken);
            taken.tell(node, None, LinkEvent::Unusable { why });
        }
    }

    /// Takes a message out of the journal.
    ///
    /// It was new when it was journaled, so its number is not looked at again: who follows the
    /// journal need not remember which messages have come, only what births said.
    pub fn take_again(
        &mut self,
        now: Timestamp,
        topic: &str,
        payload: &[u8],
        config: &Config,
        directory: &Directory,
        taken: &mut Taken,
    ) {
        if let Ok(Topic::Node { node, .. } | Topic::Device { node, .. }) = Topic::parse(topic)
            && let Some(link) = self.links.get_mut(node)
        {
            link.received = Received::default();
        }
        self.take(now, topic, payload, config, directory, taken);
    }

    /// The centre has started, or has its broker back: who was there before may have gone meanwhile
    /// without a word, so each gateway is unseen until it is born again. Those that live are asked
    /// for births at once.
    pub fn restart(&mut self, now: Timestamp, taken: &mut Taken) {
        for (id, link) in &mut self.links {
            if link.online {
                link.online = false;
                link.since = now;
                for born in link.units.values_mut() {
                    *born = false;
                }
                let gateway = Subject::Gateway(id.clone());
                taken
                    .system
                    .push((gateway, SystemCondition::LossOfView, true));
            }
        }
    }

    /// Ends what was held long enough.
    pub fn tick(&mut self, now: Timestamp, taken: &mut Taken) {
        for (id, link) in &mut self.links {
            link.held.retain(|condition, until| {
                let held = now < *until;
                if !held {
                    let subject = Subject::Gateway(id.clone());
                    taken.system.push((subject, *condition, false));
                }
                held
            });
        }
    }

    /// The next moment at which something is no longer held.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let held = self.links.values().flat_map(|link| link.held.values());
        held.min().copied()
    }
}

/// What the configuration says.
struct Site<'a> {
    config: &'a Config,
    directory: &'a Directory,
}

impl Link {
    fn node_message(
        &mut self,
        now: Timestamp,
        id: &str,
        message: NodeMessage,
        payload: &[u8],
        site: &Site<'_>,
        taken: &mut Taken,
    ) -> Result<(), String> {
        match message {
            NodeMessage::Birth => {
                let birth = read_birth(payload).map_err(|error| error.to_string())?;
                self.node_born(now, id, &birth, site, taken);
            }
            NodeMessage::Death => {
                let death = read_node_death(payload).map_err(|error| error.to_string())?;
                if self.online && self.bd_seq == Some(death) {
                    self.online = false;
                    self.since = now;
                    for born in self.units.values_mut() {
                        *born = false;
                    }
                    let gateway = Subject::Gateway(id.to_owned());
                    taken
                        .system
                        .push((gateway, SystemCondition::LossOfView, true));
                    taken.tell(id, None, LinkEvent::Offline);
                }
            }
            NodeMessage::Data => {
                let data = read_node_data(payload).map_err(|error| error.to_string())?;
                if data.backlog.is_some() {
                    // A sound one has been unfolded on its way here.
                    return Err("a bundle of stored messages that does not unfold".into());
                }
                let own = data.lost.is_some() || data.stored.is_some();
                if let Some(lost) = data.lost {
                    self.set_lost(now, id, lost, taken);
                }
                if let Some(stored) = data.stored {
                    self.settle(now, id, stored, taken);
                }
                if !own {
                    let walk = walk(payload).map_err(|error| error.to_string())?;
                    self.readings(now, id, &walk, site, taken)?;
                }
            }
            NodeMessage::Command => {}
        }
        Ok(())
    }

    fn node_born(
        &mut self,
        now: Timestamp,
        id: &str,
        birth: &Birth,
        site: &Site<'_>,
        taken: &mut Taken,
    ) {
        if let Some(instance) = &birth.instance {
            self.meet(now, id, instance, taken);
        }
        self.online = true;
        self.since = now;
        self.bd_seq = birth.bd_seq;
        let gateway = Subject::Gateway(id.to_owned());
        taken
            .system
            .push((gateway, SystemCondition::LossOfView, false));
        self.register(id, None, birth, site, taken);
        if let Some(lost) = birth.lost {
            self.set_lost(now, id, lost, taken);
        }
        if let Some(stored) = &birth.stored {
            self.settle(now, id, stored.clone(), taken);
        }
    }

    /// Which outbox speaks: the one as before, its replacement, or one of two taking turns.
    fn meet(&mut self, now: Timestamp, id: &str, instance: &str, taken: &mut Taken) {
        if self.instance == instance {
            return;
        }
        let before = std::mem::replace(&mut self.instance, instance.to_owned());
        if before.is_empty() {
            return;
        }
        let received = std::mem::take(&mut self.received);
        self.former.push((before, received));
        let known = self.former.iter().position(|(name, _)| name == instance);
        if let Some(place) = known {
            self.received = self.former.remove(place).1;
            let duplicate = SystemCondition::DuplicateIdentity;
            self.fault(now, id, duplicate, DUPLICATE_HOLD, taken);
        }
        if self.former.len() > FORMER_MAX {
            self.former.remove(0);
        }
        let taking_turns = known.is_some();
        taken.tell(id, None, LinkEvent::AnotherInstance { taking_turns });
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    fn device_message(
        &mut self,
        now: Timestamp,
        id: &str,
        device: &str,
        message: DeviceMessage,
        payload: &[u8],
        site: &Site<'_>,
        taken: &mut Taken,
    ) -> Result<(), String> {
        let unit = || Subject::Unit(id.to_owned(), device.to_owned());
        match message {
            DeviceMessage::Birth => {
                let birth = read_birth(payload).map_err(|error| error.to_string())?;
                // A unit that is silent is born all the same, so that what is stored of it can be
                // read; it is in sight only when something of it is.
                if birth.metrics.iter().any(|metric| !metric.quality.is_bad()) {
                    self.in_sight(id, device, taken);
                }
                self.register(id, Some(device), &birth, site, taken);
            }
            DeviceMessage::Death => {
                if let Some(born) = self.units.get_mut(device) {
                    *born = false;
                    taken
                        .system
                        .push((unit(), SystemCondition::LossOfView, true));
                }
                taken.tell(id, Some(device), LinkEvent::Offline);
            }
            DeviceMessage::Data => {
                let walk = walk(payload).map_err(|error| error.to_string())?;
                let number = walk.number().map_err(|error| error.to_string())?;
                if let Some(number) = number {
                    if !self.received.take(number) {
                        return Ok(());
                    }
                    self.committed += 1;
                }
                while let Some(messages) = number.and_then(|n| self.received.give_up(n.run)) {
                    self.miss(now, id, messages, taken);
                }
                if !self.online {
                    self.want_rebirth(now, id, taken);
                }
                self.readings(now, id, &walk, site, taken)?;
                let seen = taken.lane == Some(Lane::Live)
                    && taken
                        .readings
                        .iter()
                        .any(|reading| !reading.quality.is_bad());
                if seen {
                    self.in_sight(id, device, taken);
                }
                self.history(id, taken);
            }
            DeviceMessage::Command => {}
        }
        Ok(())
    }

    /// A unit is seen; its loss of view ends.
    fn in_sight(&mut self, id: &str, device: &str, taken: &mut Taken) {
        if let Some(born) = self.units.get_mut(device)
            && !*born
        {
            *born = true;
            let unit = Subject::Unit(id.to_owned(), device.to_owned());
            taken
                .system
                .push((unit, SystemCondition::LossOfView, false));
        }
    }

    /// Reads the metrics of a data message. Nothing of it is taken when any of it does not decode.
    fn readings(
        &mut self,
        now: Timestamp,
        id: &str,
        walk: &Walk<'_>,
        site: &Site<'_>,
        taken: &mut Taken,
    ) -> Result<(), String> {
        let first = taken.readings.len();
        let (mut unknown, mut historical) = (0, false);
        for metric in walk {
            let metric = metric.map_err(|error| {
                taken.readings.truncate(first);
                error.to_string()
            })?;
            let found = match (metric.alias, metric.name) {
                (Some(alias), _) => self.aliases.get(alias),
                (None, Some(name)) if name.starts_with("davy/") => continue,
                (None, Some(name)) => site
                    .directory
                    .find(name)
                    .filter(|point| site.config.points[point.index()].gateway == id)
                    .zip(metric.datatype),
                (None, None) => None,
            };
            let Some((point, datatype)) = found else {
                unknown += 1;
                continue;
            };
            historical |= metric.is_historical;
            let sampled_at = metric.timestamp.unwrap_or(now);
            taken.readings.push(match metric.measured(datatype) {
                Some((value, quality)) => Reading::new(point, value, quality, sampled_at),
                None => Reading::without_value(point, BadCause::NotANumber, sampled_at),
            });
        }
        self.readings += (taken.readings.len() - first) as u64;
        if unknown > 0 {
            self.unknown += unknown;
            self.want_rebirth(now, id, taken);
            self.fault(now, id, SystemCondition::Unusable, FAULT_HOLD, taken);
        }
        taken.lane = Some(if historical {
            Lane::Historical
        } else {
            Lane::Live
        });
        if let (false, Some(published_at)) = (historical, walk.timestamp) {
            self.clock(now, id, published_at, taken);
        }
        Ok(())
    }

    /// Whether the gateway's clock is near enough to the centre's.
    fn clock(&mut self, now: Timestamp, id: &str, published_at: Timestamp, taken: &mut Taken) {
        let before = self.clock_offset_ms.abs() > CLOCK_OFFSET_MAX_MS;
        self.clock_offset_ms = now.ms_since(published_at);
        let after = self.clock_offset_ms.abs() > CLOCK_OFFSET_MAX_MS;
        if before != after {
            let gateway = Subject::Gateway(id.to_owned());
            taken
                .system
                .push((gateway, SystemCondition::ClockOffset, after));
        }
    }

    /// Remembers what a birth says of its metrics.
    fn register(
        &mut self,
        id: &str,
        unit: Option<&str>,
        birth: &Birth,
        site: &Site<'_>,
        taken: &mut Taken,
    ) {
        if self.born.len() + birth.metrics.len() > ALIASES_MAX {
            self.born.clear();
            self.aliases = Aliases::default();
        }
        let (mut known, mut unknown, mut differing) = (0, Vec::new(), Vec::new());
        for metric in &birth.metrics {
            let point = site.directory.find(&metric.name);
            let point = point.filter(|point| site.config.points[point.index()].gateway == id);
            let Some(point) = point else {
                if unknown.len() < LISTED_MAX {
                    unknown.push(metric.name.clone());
                }
                if let Some(alias) = metric.alias {
                    // It may have stood for a point before: nothing of it may go there now.
                    self.aliases.unset(alias);
                    self.born.remove(&alias);
                }
                continue;
            };
            known += 1;
            let expected = &site.config.points[point.index()];
            let unit_differs = metric.unit.as_ref().is_some_and(|u| *u != expected.unit);
            if unit_differs && differing.len() < LISTED_MAX {
                differing.push(metric.name.clone());
            }
            if let Some(alias) = metric.alias {
                self.aliases.set(alias, (point, metric.datatype));
                let born = Born {
                    tag: metric.name.clone(),
                    datatype: metric.datatype.number(),
                };
                self.born.insert(alias, born);
            }
            if birth.last.is_none()
                && let Some(sampled_at) = metric.timestamp.or(birth.timestamp)
            {
                // A host that reports only on change has said its values here.
                let reading = Reading::new(point, metric.value, metric.quality, sampled_at);
                taken.readings.push(reading);
                taken.lane = Some(Lane::Live);
            }
        }
        let event = LinkEvent::Online {
            known,
            unknown,
            differing,
        };
        taken.tell(id, unit, event);
    }

    fn resolve(&mut self, id: &str, config: &Config, directory: &Directory) {
        self.aliases = Aliases::default();
        for (alias, born) in &self.born {
            let point = directory.find(&born.tag);
            if let Some(point) = point.filter(|point| config.points[point.index()].gateway == id) {
                let datatype = DataType::from_number(born.datatype);
                self.aliases.set(*alias, (point, datatype));
            }
        }
    }

    fn settle(&mut self, now: Timestamp, id: &str, stored: Vec<Stored>, taken: &mut Taken) {
        for messages in self.received.settle(&stored) {
            self.miss(now, id, messages, taken);
        }
        self.stored = stored;
        self.history_open = self.has_holes();
        self.history(id, taken);
    }

    /// Whether stored messages of it are still to come: behind newer ones, or the last of a run.
    fn has_holes(&self) -> bool {
        let holes = |ranges: &Ranges| ranges.holes().next().is_some();
        self.received.runs().any(|(run, ranges)| {
            let kept = self.stored.iter().find(|kept| kept.run == run);
            holes(ranges) || kept.is_some_and(|kept| kept.last > ranges.highest())
        })
    }

    fn history(&mut self, id: &str, taken: &mut Taken) {
        let open = self.has_holes();
        if self.history_open && !open {
            taken.history_ends = Some(id.to_owned());
        }
        self.history_open = open;
    }

    fn set_lost(&mut self, now: Timestamp, id: &str, lost: u64, taken: &mut Taken) {
        if lost > self.lost {
            self.fault(now, id, SystemCondition::OutboxLoss, FAULT_HOLD, taken);
            taken.tell(id, None, LinkEvent::OutboxLoss { lost });
        }
        self.lost = lost;
    }

    fn want_rebirth(&mut self, now: Timestamp, id: &str, taken: &mut Taken) {
        let again = self
            .rebirth_asked
            .is_none_or(|asked| now >= asked + REBIRTH_PAUSE);
        if again {
            self.rebirth_asked = Some(now);
            taken.tell(id, None, LinkEvent::RebirthWanted);
        }
    }

    /// Begins a fault that is only seen when it happens, or holds it longer.
    fn fault(
        &mut self,
        now: Timestamp,
        id: &str,
        condition: SystemCondition,
        hold: Duration,
        taken: &mut Taken,
    ) {
        if self.held.insert(condition, now + hold).is_none() {
            let gateway = Subject::Gateway(id.to_owned());
            taken.system.push((gateway, condition, true));
        }
    }
}
