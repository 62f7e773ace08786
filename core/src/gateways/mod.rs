//! Gateways as the centre sees them.
//!
//! Its place in the path: MQTT message → readings. Each question has its file:
//!
//! - `said`: what does this message say?
//! - `declared`: what did the births of a gateway declare, and how is its data read by them?
//! - `arrivals`: which of its messages have come, and which never will?
//! - `gateway`: is it there, and what is wrong with it?
//! - `told`: what comes of it.
//!
//! Invariants: a numbered message is taken once; what a gateway can no longer send is said to be
//! missing, once; a reading is taken only from the gateway that the configuration names for its
//! point. A message that cannot be used is counted, told and alarmed, and disturbs nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::Untimely;
use crate::config::Config;
use crate::delivery::{MessageNumber, Ranges};
use crate::reading::Timestamp;
use crate::sparkplug::{Topic, read_number};

mod alias;
mod arrivals;
mod declared;
mod gateway;
mod said;
mod told;

pub use self::alias::Directory;
pub use self::declared::{ALIASES_MAX, Reader};
pub use self::gateway::Gateway;
pub use self::told::{LinkChange, LinkEvent, Taken};

use self::said::Said;

/// All gateways of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gateways {
    gateways: BTreeMap<String, Gateway>,
}

/// What a message of a gateway is read against.
#[derive(Clone, Copy)]
struct Site<'a> {
    /// The gateway.
    id: &'a str,
    config: &'a Config,
    directory: &'a Directory,
}

/// Group and gateway of a topic that is about a gateway.
fn sender<'a>(topic: &Topic<'a>) -> Option<(&'a str, &'a str)> {
    match *topic {
        Topic::Node { group, node, .. } | Topic::Device { group, node, .. } => Some((group, node)),
        Topic::Host { .. } => None,
    }
}

impl Gateways {
    /// Takes over the gateways of a configuration, and works out every alias again.
    pub fn configure(&mut self, now: Timestamp, config: &Config, directory: &Directory) {
        self.gateways
            .retain(|id, _| config.gateways.iter().any(|gateway| gateway.id == *id));
        for configured in &config.gateways {
            let id = &configured.id;
            let gateway = self.gateways.entry(id.clone());
            let gateway = gateway.or_insert_with(|| Gateway::new(now));
            let units = configured.buses.iter().flat_map(|bus| &bus.units);
            gateway.configure(units.map(|unit| unit.id.as_str()));
            gateway.declared.reconsider();
        }
        self.resolve(config, directory);
    }

    /// Works out every alias again, and nothing else: for a restart from a snapshot.
    pub fn resolve(&mut self, config: &Config, directory: &Directory) {
        for (id, gateway) in &mut self.gateways {
            gateway.declared.resolve(Site {
                id,
                config,
                directory,
            });
        }
    }

    /// Reads on in the journal from what births have declared so far.
    pub fn reader(&self) -> Reader {
        let gateways = self.gateways.iter();
        Reader::after(gateways.map(|(id, gateway)| (id, &gateway.declared)))
    }

    /// One gateway.
    pub fn get(&self, gateway: &str) -> Option<&Gateway> {
        self.gateways.get(gateway)
    }

    /// Whether a message has been taken before. Messages without a number never have.
    pub fn has_seen(&self, topic: &str, payload: &[u8]) -> bool {
        let Ok(Topic::Device { node, .. }) = Topic::parse(topic) else {
            return false;
        };
        let number = read_number(payload);
        let (Some(gateway), Ok(Some(number))) = (self.gateways.get(node), number) else {
            return false;
        };
        gateway.arrivals.has(number)
    }

    /// What has come of each run of a gateway, for it to free.
    pub fn received(&self, gateway: &str) -> impl Iterator<Item = (u64, &Ranges)> {
        let gateway = self.gateways.get(gateway);
        gateway
            .into_iter()
            .flat_map(|gateway| gateway.arrivals.runs())
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
        let Ok(topic) = Topic::parse(topic) else {
            return;
        };
        let Some((_, id)) = sender(&topic).filter(|(group, _)| *group == config.group) else {
            return;
        };
        let Some(gateway) = self.gateways.get_mut(id) else {
            return;
        };
        let site = Site {
            id,
            config,
            directory,
        };
        let done =
            Said::read(&topic, payload).and_then(|said| gateway.take(now, &said, site, taken));
        if let Err(why) = done {
            gateway.unusable(now, id, why, taken);
        }
    }

    /// The engine has judged a message of this topic, and found this of its readings untimely.
    pub fn count_untimely(&mut self, topic: &str, found: Untimely) {
        let topic = Topic::parse(topic).ok();
        let gateway = topic.as_ref().and_then(sender).map(|(_, id)| id);
        if let Some(gateway) = gateway.and_then(|id| self.gateways.get_mut(id)) {
            gateway.untimely += found;
        }
    }

    /// Counts, tells and alarms a message that is not to be judged. Its number is taken, so that
    /// its gateway may free it.
    pub fn set_aside(
        &mut self,
        now: Timestamp,
        topic: &str,
        number: Option<MessageNumber>,
        own_group: &str,
        taken: &mut Taken,
    ) {
        let Ok(topic) = Topic::parse(topic) else {
            return;
        };
        let Some((_, id)) = sender(&topic).filter(|(group, _)| *group == own_group) else {
            return;
        };
        let Some(gateway) = self.gateways.get_mut(id) else {
            return;
        };
        if let Some(number) = number {
            gateway.arrivals.take(number);
        }
        let why = "it crashed the process before, and is judged by nobody".to_owned();
        gateway.unusable(now, id, why, taken);
    }

    /// The centre starts, or has lost its broker: a node that does not number its messages may be
    /// born anew meanwhile, with other aliases, so that its old ones mean nothing from here on.
    pub fn lose_sight(&mut self) {
        for gateway in self.gateways.values_mut() {
            gateway.declared.lose_sight();
        }
    }

    /// Nobody watched for so long until `now`.
    pub fn pass_over(&mut self, now: Timestamp, blind: Duration) {
        for gateway in self.gateways.values_mut() {
            gateway.pass_over(now, blind);
        }
    }

    /// The centre has started, or has its broker back: who was there before may have gone meanwhile
    /// without a word, so each gateway is unseen until it is born again. Those that live are asked
    /// for births at once.
    pub fn unsee(&mut self, now: Timestamp, taken: &mut Taken) {
        for (id, gateway) in &mut self.gateways {
            gateway.unsee(now, id, taken);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Timestamp, taken: &mut Taken) {
        for (id, gateway) in &mut self.gateways {
            gateway.tick(now, id, taken);
        }
    }

    /// The next moment at which something is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let due = self.gateways.values().filter_map(Gateway::next_deadline);
        due.min()
    }
}
