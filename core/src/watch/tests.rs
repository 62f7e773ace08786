//! From a message on the wire to a colour and an entry of the ledger, and the same again.
//!
//! Every story runs on simulated time. At each step of each story a twin, restored from the
//! snapshot before the step, is given the same input: it must answer the same and end in the same
//! state. When a story is over, its inputs are judged again from the first on.

mod blind;
mod bounds;
mod clocks;
mod faults;
mod foreign;
mod ledger;
mod major;
mod random;
mod stories;

use crate::alarm::{Cause, State};
use crate::delivery::{MessageNumber, Stored};
use crate::gateways::LinkEvent;
use crate::hazard::HazardState;
use crate::point::Point;
use crate::reading::{Quality, Reading};
use crate::sparkplug::{
    BirthPoint, DeviceMessage, NodeBirth, NodeData, NodeMessage, Topic, WireType,
    build_device_birth, build_device_death, build_node_birth, build_node_data, build_node_death,
    encode_data, finish,
};
use crate::warning::Colour;

use super::*;

/// Centre's clock at the start of each story, in ms.
const START: i64 = 1_700_000_000_000;

const SITE: &str = include_str!("testdata/site.toml");
const POINTS: &str = include_str!("testdata/points.csv");
const STANDARDS: &str = include_str!("../config/testdata/good/standards.toml");

fn files(site: &str, points: &str) -> Vec<SourceFile> {
    [
        ("site.toml", site),
        ("points.csv", points),
        ("standards.toml", STANDARDS),
    ]
    .map(|(name, text)| SourceFile {
        name: name.into(),
        text: text.into(),
    })
    .into()
}

fn config_input(files: Vec<SourceFile>) -> Input {
    Input::Config {
        files,
        by: "start".into(),
    }
}

/// A story: the watch, its twin at each step, and all that it was given.
struct Story {
    watch: Watch,
    /// Seconds since the start.
    now: f64,
    given: Vec<(Timestamp, Input)>,
    effects: Vec<Vec<Effect>>,
}

impl Story {
    /// With the site in force, at second 0.
    fn new() -> Self {
        let mut story = Self {
            watch: Watch::new(),
            now: 0.0,
            given: Vec::new(),
            effects: Vec::new(),
        };
        story.give(config_input(files(SITE, POINTS)));
        story
    }

    /// A moment of the story on the gateway's clock, which goes as the centre's.
    fn moment(seconds: f64) -> Timestamp {
        Timestamp(START + (seconds * 1000.0).round() as i64)
    }

    fn clock(&self) -> Timestamp {
        Self::moment(self.now)
    }

    /// Gives one input to the watch and to its twin.
    fn give(&mut self, input: Input) -> Vec<Effect> {
        let now = self.clock();
        let mut twin = Watch::restore(&self.watch.snapshot()).unwrap();
        let (mut effects, mut of_twin) = (Vec::new(), Vec::new());
        self.watch.apply(now, &input, &mut effects);
        twin.apply(now, &input, &mut of_twin);
        assert_eq!(effects, of_twin, "a restored watch answers as the other");
        let (own, other) = (self.watch.snapshot(), twin.snapshot());
        assert!(own == other, "and ends in the same state");
        self.given.push((now, input));
        self.effects.push(effects.clone());
        effects
    }

    /// Lets time pass up to a second of the story; answers what followed.
    fn until(&mut self, seconds: f64) -> Vec<Effect> {
        let end = Self::moment(seconds);
        let (mut followed, mut ticks) = (Vec::new(), 0);
        while let Some(next) = self.watch.next_deadline()
            && next <= end
        {
            assert!(next > self.watch.now(), "each tick does what was due");
            self.now = (next.0 - START) as f64 / 1000.0;
            followed.extend(self.give(Input::Tick));
            ticks += 1;
            assert!(ticks < 10_000, "time passes");
        }
        self.now = seconds;
        followed
    }

    fn message(&mut self, topic: Topic<'_>, payload: Vec<u8>) -> Vec<Effect> {
        let topic = topic.to_string();
        self.give(Input::Message { topic, payload })
    }

    fn node(&mut self, node: &str, message: NodeMessage, payload: Vec<u8>) -> Vec<Effect> {
        let group = "works";
        self.message(
            Topic::Node {
                group,
                message,
                node,
            },
            payload,
        )
    }

    fn device(
        &mut self,
        (node, device): (&str, &str),
        message: DeviceMessage,
        payload: Vec<u8>,
    ) -> Vec<Effect> {
        let group = "works";
        self.message(
            Topic::Device {
                group,
                message,
                node,
                device,
            },
            payload,
        )
    }

    /// NBIRTH of an outbox of one run that keeps `stored`.
    fn node_born(&mut self, node: &str, instance: &str, stored: Stored) -> Vec<Effect> {
        let last = MessageNumber {
            run: stored.run,
            sequence: stored.last,
        };
        let birth = NodeBirth {
            bd_seq: stored.run as u8,
            last,
            stored: &[stored],
            lost: 0,
            instance,
        };
        let payload = build_node_birth(self.clock(), 0, &birth);
        self.node(node, NodeMessage::Birth, payload)
    }

    fn node_dead(&mut self, node: &str, bd_seq: u8) -> Vec<Effect> {
        let payload = build_node_death(self.clock(), bd_seq);
        self.node(node, NodeMessage::Death, payload)
    }

    /// DBIRTH with every point of the unit, without values.
    fn unit_born(&mut self, node: &str, unit: &str) -> Vec<Effect> {
        let config = Arc::clone(self.watch.config());
        let points = config.points.iter().enumerate();
        let born: Vec<BirthPoint<'_>> = points
            .filter(|(_, point)| point.gateway == node && point.device == unit)
            .map(|(place, point)| BirthPoint {
                point,
                alias: place as u64 + 1,
                reading: None,
            })
            .collect();
        let last = MessageNumber {
            run: 1,
            sequence: 1,
        };
        let payload = build_device_birth(self.clock(), 1, last, &born);
        self.device((node, unit), DeviceMessage::Birth, payload)
    }

    fn unit_dead(&mut self, node: &str, unit: &str) -> Vec<Effect> {
        let payload = build_device_death(self.clock(), 1);
        self.device((node, unit), DeviceMessage::Death, payload)
    }

    /// Both gateways born, with all of their units.
    fn all_born(&mut self) {
        for (node, units) in [("gw", &["gas", "far"][..]), ("other", &["gas"])] {
            self.node_born(node, "first", nothing_stored(1, 0));
            for unit in units {
                self.unit_born(node, unit);
            }
        }
    }

    /// DDATA with a number and readings of this moment.
    fn data(
        &mut self,
        at: (&str, &str),
        number: (u64, u64),
        values: &[(&str, f64)],
    ) -> Vec<Effect> {
        let readings: Vec<(&str, f64, f64)> = values
            .iter()
            .map(|(tag, value)| (*tag, *value, self.now))
            .collect();
        self.sampled(at, number, &readings, false)
    }

    /// DDATA with readings sampled at moments of the story.
    fn sampled(
        &mut self,
        at: (&str, &str),
        (run, sequence): (u64, u64),
        values: &[(&str, f64, f64)],
        historical: bool,
    ) -> Vec<Effect> {
        let payload = self.payload(MessageNumber { run, sequence }, values, historical);
        self.device(at, DeviceMessage::Data, payload)
    }

    fn payload(
        &self,
        number: MessageNumber,
        values: &[(&str, f64, f64)],
        historical: bool,
    ) -> Vec<u8> {
        let readings: Vec<Reading> = values
            .iter()
            .map(|(tag, value, at)| {
                let point = self.watch.directory().find(tag).unwrap();
                Reading::new(point, *value, Quality::Good, Self::moment(*at))
            })
            .collect();
        let mut stored = Vec::new();
        let rows = readings
            .iter()
            .map(|reading| (u64::from(reading.point.0) + 1, WireType::Float, reading));
        encode_data(&mut stored, self.clock(), Some(number), rows);
        let mut payload = Vec::new();
        finish(&stored, self.clock(), 0, historical, &mut payload).unwrap();
        payload
    }

    /// NDATA with what the outbox keeps.
    fn stored(&mut self, node: &str, stored: &[Stored]) -> Vec<Effect> {
        let data = NodeData {
            stored: Some(stored.to_vec()),
            ..NodeData::default()
        };
        let payload = build_node_data(self.clock(), 0, &data);
        self.node(node, NodeMessage::Data, payload)
    }

    fn alarm_state(&self, name: &str) -> State {
        let alarms = self.watch.engine().alarms();
        let live = alarms.filter(|view| view.lane == crate::reading::Lane::Live);
        let mut found = live.filter(|view| view.name == name);
        found.next().map_or(State::Normal, |view| view.state)
    }

    fn quality(&self, tag: &str) -> Quality {
        let point = self.watch.directory().find(tag).unwrap();
        self.watch.engine().quality(point)
    }

    fn colour(&self) -> Colour {
        self.watch.warnings()[0].colour
    }

    /// Judges everything again from the first input on.
    fn replay(&self) {
        let mut again = Watch::new();
        for ((now, input), expected) in self.given.iter().zip(&self.effects) {
            let mut effects = Vec::new();
            again.apply(*now, input, &mut effects);
            assert_eq!(effects, *expected, "the same inputs give the same effects");
        }
        assert!(again.snapshot() == self.watch.snapshot());
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.replay();
        }
    }
}

/// An outbox at message `last` of run `run` that keeps nothing.
fn nothing_stored(run: u64, last: u64) -> Stored {
    Stored {
        run,
        first: last + 1,
        last,
    }
}

/// Names of the alarms that were raised.
fn raised(effects: &[Effect]) -> Vec<&str> {
    let changes = effects.iter().filter_map(|effect| match effect {
        Effect::Alarm(change) if change.cause == Cause::Raised => Some(change.alarm.as_str()),
        _ => None,
    });
    changes.collect()
}

/// Names of the alarms whose condition ended.
fn returned(effects: &[Effect]) -> Vec<&str> {
    let changes = effects.iter().filter_map(|effect| match effect {
        Effect::Alarm(change) if change.cause == Cause::Returned => Some(change.alarm.as_str()),
        _ => None,
    });
    changes.collect()
}

fn link_events(effects: &[Effect]) -> Vec<&LinkEvent> {
    let changes = effects.iter().filter_map(|effect| match effect {
        Effect::Link(change) => Some(&change.event),
        _ => None,
    });
    changes.collect()
}

/// The words of what happened to entries of the ledger, each with its number.
fn ledger_events(effects: &[Effect]) -> Vec<(&str, u64)> {
    let changes = effects.iter().filter_map(|effect| match effect {
        Effect::Hazard(change) => Some((change.event.as_str(), change.hazard.id)),
        _ => None,
    });
    changes.collect()
}

fn colours(effects: &[Effect]) -> Vec<Colour> {
    let changes = effects.iter().filter_map(|effect| match effect {
        Effect::Warning(change) => Some(change.to),
        _ => None,
    });
    changes.collect()
}

fn wants_rebirth(effects: &[Effect]) -> bool {
    link_events(effects).contains(&&LinkEvent::RebirthWanted)
}
