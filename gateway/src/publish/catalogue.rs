//! Which unit has which points, under which alias; and their births.
//!
//! Aliases are kept beside the outbox and only added to, so that a message which waited over a
//! restart, or over a change of the point table, still means what it meant when it was stored.
//!
//! Invariant: a birth fits into one packet, whatever its points read; a unit with more is refused at
//! the start, since it could say nothing at all.

use std::collections::HashMap;
use std::sync::Arc;

use davy_core::config::Config;
use davy_core::delivery::MessageNumber;
use davy_core::reading::{PointId, Quality, Reading, Timestamp};
use davy_core::sparkplug::{
    Aliases, BirthPoint, DeviceMessage, PACKET_BYTES_MAX, Topic, TopicError, WireType,
    build_device_birth, encode_data,
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
    /// The birth of a unit does not fit into a packet.
    #[error(
        "unit `{unit}`: a birth of {bytes} bytes for {points} points; allowed: {PACKET_BYTES_MAX}; \
         give some of its points to another unit"
    )]
    Birth {
        /// Which unit.
        unit: String,
        /// How many points it has.
        points: usize,
        /// How long the packet would be.
        bytes: usize,
    },
}

/// Most bytes of an MQTT packet beside its topic and its payload: the fixed header with its length,
/// the length of the topic, the packet's number, properties.
const PACKET_HEAD_BYTES: usize = 16;

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
        let catalogue = Self {
            config,
            units,
            by_id,
            points,
        };
        catalogue.check_births()?;
        Ok(catalogue)
    }

    /// The longest that the birth of each unit may become fits into a packet.
    fn check_births(&self) -> Result<(), CatalogueError> {
        let end = Timestamp(i64::MAX);
        let last = MessageNumber {
            run: u64::MAX,
            sequence: u64::MAX,
        };
        for unit in &self.units {
            let longest = |place| Reading::new(PointId(place), f64::MAX, Quality::Good, end);
            let places = unit.points.iter().map(|place| u32::try_from(*place));
            let latest: Vec<_> = places.map(|it| longest(it.unwrap_or(u32::MAX))).collect();
            let payload = self.birth_of(unit, (end, u8::MAX, last), |at| latest.get(at));
            let bytes = payload.len() + unit.birth.len() + PACKET_HEAD_BYTES;
            if bytes > PACKET_BYTES_MAX {
                return Err(CatalogueError::Birth {
                    unit: unit.id.clone(),
                    points: unit.points.len(),
                    bytes,
                });
            }
        }
        Ok(())
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
        let latest = |at: usize| {
            let wired = self.points.get(*unit.points.get(at)?)?;
            wired.as_ref()?.latest.as_ref()
        };
        self.birth_of(unit, (at, seq, last), latest)
    }

    /// The same with these readings, by their place in the unit.
    fn birth_of<'a>(
        &'a self,
        unit: &Unit,
        (at, seq, last): (Timestamp, u8, MessageNumber),
        latest: impl Fn(usize) -> Option<&'a Reading>,
    ) -> Vec<u8> {
        let born = unit.points.iter().enumerate().filter_map(|(index, place)| {
            Some(BirthPoint {
                point: self.config.points.get(*place)?,
                alias: self.points.get(*place)?.as_ref()?.alias,
                reading: latest(index),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The demonstration with so many points in one of its units.
    fn with_points(many: usize) -> Config {
        let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo/site.toml");
        let mut config = crate::config::read_site(&site).expect("the demo has no fault");
        let gas = config.points.iter().position(|it| it.device == "cl2-gas");
        let gas = config.points[gas.expect("a detector")].clone();
        config.points = (0..many)
            .map(|place| davy_core::point::Point {
                tag: format!("{}.{place}", gas.tag),
                ..gas.clone()
            })
            .collect();
        config
    }

    #[test]
    fn a_unit_whose_birth_fits_into_no_packet_is_refused() {
        let make = |many| {
            let config = Arc::new(with_points(many));
            Catalogue::new(config, "tank-farm", &mut Aliases::default())
        };
        let catalogue = make(10_000).expect("it fits");
        let unit = &catalogue.units()[0];
        let last = MessageNumber {
            run: 1,
            sequence: 1,
        };
        let birth = catalogue.birth(unit, Timestamp(1), 0, last);
        assert!(birth.len() < PACKET_BYTES_MAX);
        let error = make(40_000).expect_err("it does not fit");
        let CatalogueError::Birth {
            unit,
            points: 40_000,
            bytes,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(unit, "cl2-gas");
        assert!(bytes > PACKET_BYTES_MAX);
    }

    #[test]
    fn no_birth_is_longer_than_the_one_that_was_checked() {
        let mut catalogue = Catalogue::new(
            Arc::new(with_points(50)),
            "tank-farm",
            &mut Aliases::default(),
        )
        .expect("it fits");
        let unit = |catalogue: &Catalogue| {
            let last = MessageNumber {
                run: 1_800_000_000_000,
                sequence: 1 << 40,
            };
            let at = Timestamp(1_800_000_000_000);
            catalogue.birth(&catalogue.units[0], at, 255, last).len()
        };
        let end = Timestamp(i64::MAX);
        let last = MessageNumber {
            run: u64::MAX,
            sequence: u64::MAX,
        };
        let longest: Vec<_> = (0..50)
            .map(|place| Reading::new(PointId(place), f64::MAX, Quality::Good, end))
            .collect();
        let checked = catalogue
            .birth_of(&catalogue.units[0], (end, 255, last), |at| longest.get(at))
            .len();
        assert!(unit(&catalogue) <= checked, "nothing read yet");
        for (code, value) in [(0, -1.5e300), (1, 0.0), (7, f64::NAN), (16, 1.0), (20, 0.0)] {
            let at = Timestamp(1_800_000_000_000);
            let readings: Vec<_> = (0..50)
                .map(|place| Reading::new(PointId(place), value, Quality::from_code(code), at))
                .collect();
            catalogue.note(&readings);
            assert!(unit(&catalogue) <= checked, "quality {code}");
        }
    }
}
