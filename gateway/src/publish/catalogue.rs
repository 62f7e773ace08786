//! Which unit has which points, under which alias; and their births.
//!
//! Aliases are kept beside the outbox and only added to, so that a message which waited over a
//! restart, or over a change of the point table, still means what it meant when it was stored.

use std::collections::HashMap;
use std::sync::Arc;

use davy_core::config::Config;
use davy_core::delivery::MessageNumber;
use davy_core::reading::{Reading, Timestamp};
use davy_core::sparkplug::{
    Aliases, BirthPoint, DeviceMessage, Topic, TopicError, WireType, build_device_birth,
    encode_data,
};

/// The units of one gateway that have points.
#[derive(Debug)]
pub struct Catalogue {
    config: Arc<Config>,
    units: Vec<Unit>,
    by_id: HashMap<String, usize>,
    /// By place in `Config::points`; none for points of other gateways.
    points: Vec<Option<Wired>>,
}

/// A unit, with its topics.
#[derive(Debug)]
pub struct Unit {
    /// Its id: the Sparkplug device.
    pub id: String,
    /// Where its birth goes.
    pub birth: Arc<str>,
    /// Where its data goes.
    pub data: Arc<str>,
    /// Where its death goes.
    pub death: Arc<str>,
    /// Its points, by place in `Config::points`.
    points: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Wired {
    alias: u64,
    wire: WireType,
    latest: Option<Reading>,
}

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The configuration has no such gateway.
    #[error("gateway `{id}`: the configuration has none of that id; it has {known}")]
    UnknownGateway {
        /// As asked for.
        id: String,
        /// Those that it has.
        known: String,
    },
    /// A name cannot stand in a topic.
    #[error(transparent)]
    Name(#[from] TopicError),
    /// More points than aliases, former ones included.
    #[error(
        "point `{tag}`: no alias is left; begin with an empty outbox once the present one is sent"
    )]
    Aliases {
        /// The point that found none.
        tag: String,
    },
}

impl Catalogue {
    /// The catalogue of the gateway `id`. Aliases that are missing are added to `aliases`.
    pub fn new(
        config: Arc<Config>,
        id: &str,
        aliases: &mut Aliases,
    ) -> Result<Self, CatalogueError> {
        let gateway = config.gateways.iter().find(|gateway| gateway.id == id);
        let gateway = gateway.ok_or_else(|| CatalogueError::UnknownGateway {
            id: id.to_owned(),
            known: known_ids(&config),
        })?;
        let mut points = vec![None; config.points.len()];
        let mut by_unit: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, point) in config.points.iter().enumerate() {
            if point.gateway != id {
                continue;
            }
            let wire = WireType::of(point);
            let alias = aliases.assign(&point.tag, wire);
            let alias = alias.ok_or_else(|| CatalogueError::Aliases {
                tag: point.tag.clone(),
            })?;
            if let Some(slot) = points.get_mut(place) {
                *slot = Some(Wired {
                    alias,
                    wire,
                    latest: None,
                });
            }
            by_unit.entry(&point.device).or_default().push(place);
        }
        let mut units = Vec::new();
        for unit in gateway.buses.iter().flat_map(|bus| &bus.units) {
            // A unit without points is never polled and has nothing to say.
            let Some(points) = by_unit.remove(unit.id.as_str()) else {
                continue;
            };
            let topic = |message| -> Result<Arc<str>, TopicError> {
                let topic = Topic::Device {
                    group: &config.group,
                    message,
                    node: id,
                    device: &unit.id,
                };
                topic.check()?;
                Ok(topic.to_string().into())
            };
            units.push(Unit {
                id: unit.id.clone(),
                birth: topic(DeviceMessage::Birth)?,
                data: topic(DeviceMessage::Data)?,
                death: topic(DeviceMessage::Death)?,
                points,
            });
        }
        let by_id = units.iter().map(|unit| unit.id.clone()).zip(0..).collect();
        Ok(Self {
            config,
            units,
            by_id,
            points,
        })
    }

    /// The units that have points.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The place of a unit.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Remembers the latest reading of each point, for its birth.
    pub fn note(&mut self, readings: &[Reading]) {
        for reading in readings {
            let slot = self.points.get_mut(reading.point.index());
            if let Some(Some(wired)) = slot {
                wired.latest = Some(*reading);
            }
        }
    }

    /// Appends the readings of one poll as a message to be stored.
    pub fn encode(&self, at: Timestamp, number: MessageNumber, of: &[Reading], out: &mut Vec<u8>) {
        let readings = of.iter().filter_map(|reading| {
            let wired = self.points.get(reading.point.index()).copied().flatten()?;
            Some((wired.alias, wired.wire, reading))
        });
        encode_data(out, at, Some(number), readings);
    }

    /// DBIRTH of a unit.
    pub fn birth(&self, unit: &Unit, at: Timestamp, seq: u8, last: MessageNumber) -> Vec<u8> {
        let born = unit.points.iter().filter_map(|place| {
            let wired = self.points.get(*place)?.as_ref()?;
            Some(BirthPoint {
                point: self.config.points.get(*place)?,
                alias: wired.alias,
                reading: wired.latest.as_ref(),
            })
        });
        build_device_birth(at, seq, last, &born.collect::<Vec<_>>())
    }
}

fn known_ids(config: &Config) -> String {
    let ids: Vec<_> = config
        .gateways
        .iter()
        .map(|gateway| format!("`{}`", gateway.id))
        .collect();
    ids.join(", ")
}
