//! A gateway and a centre over a queue, with a clock that the test moves.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use davy_core::alarm::{Condition, Subject};
use davy_core::config::Config;
use davy_core::delivery::{MessageNumber, Ranges, Received, Stored};
use davy_core::reading::{BadCause, PointId, Quality, Reading};
use davy_core::sparkplug::{
    BUNDLE_BYTES_MAX, Command, DeviceMessage, NodeMessage, Topic, build_commands, finish,
    read_birth, read_bundle, read_node_data, read_node_death, walk,
};
use proptest::prelude::*;

use super::*;
use crate::outbox::Limits;
use crate::poll::UnitState;
use crate::publish::session::ANSWER_WAIT;
use crate::test_log::Lines;

const GATEWAY: &str = "tank-farm";
const HOST: &str = "spBv1.0/STATE/davy";

fn demo() -> Arc<Config> {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo/site.toml");
    Arc::new(crate::config::read_site(&site).expect("the demo has no fault"))
}

/// One gateway, its clock, and the queue to the broker.
struct Edge {
    config: Arc<Config>,
    folder: PathBuf,
    limits: Limits,
    acknowledge: Acknowledge,
    host_id: Option<&'static str>,
    instance: &'static str,
    pipeline: Option<Pipeline>,
    packets: mpsc::Receiver<Packet>,
    sound: watch::Receiver<Option<bool>>,
    status: Arc<Status>,
    now: Timestamp,
    elapsed: Duration,
    connections: u64,
}

impl Edge {
    fn new(config: Arc<Config>, folder: &Path, bytes_max: u64) -> Self {
        let (_, packets) = mpsc::channel(1);
        let (_, sound) = watch::channel(None);
        let mut edge = Self {
            config,
            folder: folder.to_owned(),
            limits: Limits {
                bytes_max,
                age_max: Duration::from_hours(72),
            },
            acknowledge: Acknowledge::Centre,
            host_id: Some("davy"),
            instance: "first",
            pipeline: None,
            packets,
            sound,
            status: Arc::new(Status::default()),
            now: Timestamp(1_763_000_000_000),
            elapsed: Duration::ZERO,
            connections: 0,
        };
        edge.restart();
        edge
    }

    /// The power was gone: nothing was said.
    fn restart(&mut self) {
        self.pipeline = None;
        let (packets, packets_out) = mpsc::channel(64);
        let (sound, sounds) = watch::channel(None);
        (self.packets, self.sound) = (packets_out, sounds);
        let outbox =
            Outbox::open(&self.folder, self.limits, self.instance, Timestamp(0)).expect("outbox");
        let parts = Parts {
            config: Arc::clone(&self.config),
            gateway: GATEWAY.into(),
            host_id: self.host_id.map(str::to_owned),
            settings: Settings {
                acknowledge: self.acknowledge,
                waits_for_host: self.host_id.is_some(),
                backlog_rate: 50,
            },
            outbox,
            packets,
            sound,
            status: Arc::clone(&self.status),
        };
        self.pipeline = Some(Pipeline::new(parts).expect("pipeline"));
    }

    fn pipeline(&mut self) -> &mut Pipeline {
        self.pipeline.as_mut().expect("running")
    }

    fn connect(&mut self) {
        self.connections += 1;
        self.call();
        let connection = self.connections;
        self.pipeline().hear(News::Connected { connection });
        self.host(true);
    }

    /// A connection is attempted; the `bdSeq` of its last will.
    fn call(&mut self) -> u8 {
        let (ask, mut answer) = oneshot::channel();
        self.pipeline().hear(News::Calls(ask));
        answer.try_recv().expect("answered at once")
    }

    fn host(&mut self, online: bool) {
        let timestamp = self.now;
        let state = HostState { online, timestamp };
        self.pipeline().hear(News::Arrived {
            topic: HOST.into(),
            payload: state.to_json().into_bytes(),
        });
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.elapsed += time;
    }

    fn poll(&mut self, unit: &str, state: UnitState) {
        let batch = batch(&self.config, unit, state, self.now);
        let (now, elapsed) = (self.now, self.elapsed);
        self.pipeline().take(now, elapsed, &[batch]);
    }

    fn second(&mut self) {
        let (now, elapsed) = (self.now, self.elapsed);
        self.pipeline().second(now, elapsed);
    }

    /// What goes out now. The broker acknowledges each packet.
    fn flow(&mut self) -> Vec<Packet> {
        let mut sent = Vec::new();
        loop {
            let (now, elapsed) = (self.now, self.elapsed);
            self.pipeline().flow(now, elapsed);
            let before = sent.len();
            while let Ok(packet) = self.packets.try_recv() {
                sent.push(packet);
            }
            if sent.len() == before {
                return sent;
            }
            for packet in sent.iter().skip(before) {
                self.pipeline().hear(News::Acked(packet.ticket));
            }
        }
    }

    fn tell(&mut self, commands: &[Command]) {
        let payload = build_commands(self.now, Some("first"), commands);
        let topic = format!("spBv1.0/{}/NCMD/{GATEWAY}", self.config.group);
        self.pipeline().hear(News::Arrived { topic, payload });
    }
}

fn batch(config: &Config, unit: &str, unit_state: UnitState, at: Timestamp) -> Batch {
    let readings = (0..)
        .map(PointId)
        .zip(&config.points)
        .filter(|(_, point)| point.gateway == GATEWAY && point.device == unit)
        .map(|(id, point)| match unit_state {
            UnitState::Alive => Reading::new(id, point.range.low, Quality::Good, at),
            UnitState::Silent => Reading::without_value(id, BadCause::NoAnswer, at),
        });
    Batch {
        unit: unit.into(),
        sampled_at: at,
        readings: readings.collect(),
        unit_state,
    }
}

/// A host that takes each message once, and checks all that it is told.
#[derive(Default)]
struct Centre {
    received: Received,
    messages: BTreeSet<MessageNumber>,
    aliases: HashMap<u64, String>,
    born: HashSet<String>,
    seq: Option<u8>,
    missing: u64,
    lost: u64,
    log: Vec<String>,
}

impl Centre {
    fn take(&mut self, packet: &Packet) {
        let bytes = &packet.payload;
        let topic = packet.topic.to_string();
        let walked = walk(bytes).expect("a payload");
        match Topic::parse(&topic).expect("a topic") {
            Topic::Node { message, .. } => match message {
                NodeMessage::Birth => {
                    let birth = read_birth(bytes).expect("NBIRTH");
                    self.seq = None;
                    self.born.clear();
                    self.lost = birth.lost.expect("lost");
                    self.settle(&birth.stored.expect("stored"));
                    self.log.push("NBIRTH".into());
                }
                NodeMessage::Data => {
                    let data = read_node_data(bytes).expect("NDATA");
                    self.lost = data.lost.unwrap_or(self.lost);
                    if let Some(stored) = data.stored {
                        self.settle(&stored);
                        self.log.push("report".into());
                    }
                    if let Some(backlog) = data.backlog {
                        self.unfold(&backlog);
                    }
                }
                NodeMessage::Death => {
                    read_node_death(bytes).expect("NDEATH");
                    self.log.push("NDEATH".into());
                }
                NodeMessage::Command => panic!("a gateway sends no command"),
            },
            Topic::Device {
                message, device, ..
            } => match message {
                DeviceMessage::Birth => {
                    for metric in read_birth(bytes).expect("DBIRTH").metrics {
                        let alias = metric.alias.expect("alias");
                        let before = self.aliases.insert(alias, metric.name.clone());
                        assert!(before.is_none_or(|name| name == metric.name), "for good");
                    }
                    self.born.insert(device.to_owned());
                    self.log.push(format!("DBIRTH {device}"));
                }
                DeviceMessage::Death => {
                    self.born.remove(device);
                    self.log.push(format!("DDEATH {device}"));
                }
                DeviceMessage::Data => {
                    assert!(self.born.contains(device), "data of {device} before birth");
                    self.data(device, bytes);
                }
                DeviceMessage::Command => panic!("a gateway sends no command"),
            },
            Topic::Host { .. } => panic!("a gateway sends no STATE"),
        }
        let expected = self.seq.map_or(0, |seq| seq.wrapping_add(1));
        if !packet.is_last {
            assert_eq!(walked.seq, Some(expected), "{topic}");
            self.seq = Some(expected);
        }
    }

    fn settle(&mut self, stored: &[Stored]) {
        let missing = self.received.settle(stored);
        let counts = missing.iter().map(|gap| gap.last - gap.first + 1);
        self.missing += counts.sum::<u64>();
    }

    fn unfold(&mut self, backlog: &[u8]) {
        let bytes = zstd::bulk::decompress(backlog, BUNDLE_BYTES_MAX).expect("zstd");
        for message in read_bundle(&bytes).expect("bundle") {
            let mut payload = Vec::new();
            finish(message.payload, Timestamp(1), 0, true, &mut payload).expect("message");
            self.data(message.device, &payload);
        }
    }

    fn data(&mut self, device: &str, bytes: &[u8]) {
        let walked = walk(bytes).expect("data");
        let number = walked.number().expect("number").expect("numbered");
        let mut is_historical = false;
        for metric in &walked {
            let metric = metric.expect("metric");
            is_historical |= metric.is_historical;
            if let Some(alias) = metric.alias {
                assert!(self.aliases.contains_key(&alias), "alias {alias}");
            }
        }
        let is_new = self.received.take(number);
        let lane = if is_historical { "old" } else { "live" };
        let MessageNumber { run, sequence } = number;
        self.log.push(format!("{lane} {device} {run}.{sequence}"));
        if is_new {
            assert!(self.messages.insert(number), "each once");
        }
    }

    fn committed(&self) -> Command {
        let runs = self.received.runs().map(|(run, ranges)| RunRanges {
            run,
            ranges: ranges.clone(),
        });
        Command::Committed(runs.collect())
    }

    fn told(&mut self, packets: &[Packet]) -> Vec<String> {
        for packet in packets {
            self.take(packet);
        }
        std::mem::take(&mut self.log)
    }
}

const UNITS: [&str; 5] = ["cl2-tanks", "nh3-tanks", "cl2-gas", "nh3-gas", "weather"];

fn poll_all(edge: &mut Edge) {
    for unit in UNITS {
        edge.poll(unit, UnitState::Alive);
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("folder")
}

#[test]
fn an_outage_is_stored_and_told_behind_live_data() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    let mut centre = Centre::default();
    poll_all(&mut edge);
    assert!(edge.flow().is_empty(), "nobody is there");
    edge.connect();
    edge.poll("weather", UnitState::Alive);
    let told = centre.told(&edge.flow());
    assert_eq!(told[0], "NBIRTH");
    assert!(told[1..=5].iter().all(|one| one.starts_with("DBIRTH")));
    assert_eq!(told[6], "live weather 1.6", "live first");
    let old: Vec<_> = (1..=5)
        .zip(UNITS)
        .map(|(n, unit)| format!("old {unit} 1.{n}"))
        .collect();
    assert_eq!(told[7..], old);
    assert_eq!(edge.status.account().stored, 6, "PUBACK frees nothing");
    edge.tell(&[centre.committed()]);
    edge.flow();
    assert_eq!(edge.status.account().committed, 6);
    assert!(edge.status.account().balances());
}

#[test]
fn a_restart_keeps_aliases_and_what_is_stored() {
    let folder = folder();
    let mut config = (*demo()).clone();
    let mut edge = Edge::new(Arc::new(config.clone()), folder.path(), 1 << 30);
    let mut centre = Centre::default();
    edge.connect();
    poll_all(&mut edge);
    let told = centre.told(&edge.flow());
    assert_eq!(told.iter().filter(|one| one.starts_with("live")).count(), 5);
    // Another order of points, and one less: no alias may change its tag.
    config.points.reverse();
    config.points.pop();
    edge.config = Arc::new(config);
    edge.restart();
    edge.connect();
    poll_all(&mut edge);
    let told = centre.told(&edge.flow());
    let old = told.iter().filter(|one| one.starts_with("old")).count();
    assert_eq!(old, 5, "{told:?}");
    assert!(told.contains(&"live weather 2.5".to_owned()), "{told:?}");
    edge.tell(&[centre.committed()]);
    edge.flow();
    assert_eq!(edge.status.account().stored, 0);
}

/// The broker has the last will of every attempt, and may send it whenever it likes.
#[test]
fn no_attempt_has_the_last_will_of_another() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    assert_eq!([edge.call(), edge.call()], [1, 2]);
    // The power goes before the broker has answered.
    edge.restart();
    assert_eq!(edge.call(), 3);
    for _ in 3..255 {
        edge.call();
    }
    edge.restart();
    assert_eq!([edge.call(), edge.call()], [0, 1], "and round");
}

#[test]
fn what_the_outbox_loses_is_counted_and_told() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 20_000);
    let mut centre = Centre::default();
    edge.connect();
    poll_all(&mut edge);
    centre.told(&edge.flow());
    edge.pipeline().hear(News::Lost);
    for _ in 0..100 {
        edge.pass(Duration::from_secs(1));
        edge.poll("cl2-tanks", UnitState::Alive);
        edge.second();
        edge.flow();
        assert!(edge.status.account().balances());
    }
    let lost = edge.status.account().lost;
    assert!(lost > 0);
    edge.connect();
    let told = centre.told(&edge.flow());
    assert_eq!(centre.lost, lost);
    // The first five had come before they were lost here.
    assert_eq!(centre.missing, lost - 5);
    let old = told.iter().filter(|one| one.starts_with("old")).count();
    assert_eq!(old as u64, edge.status.account().stored);
}

#[test]
fn the_host_asks_again() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    let mut centre = Centre::default();
    edge.connect();
    poll_all(&mut edge);
    centre.told(&edge.flow());
    let mut ranges = Ranges::default();
    ranges.insert_range(2, 3);
    edge.tell(&[Command::Resend(vec![RunRanges { run: 1, ranges }])]);
    let told = centre.told(&edge.flow());
    assert_eq!(told, ["old nh3-tanks 1.2", "old cl2-gas 1.3"]);
    edge.tell(&[Command::Rebirth]);
    let told = centre.told(&edge.flow());
    assert_eq!((told.len(), told[0].as_str()), (6, "NBIRTH"));
    edge.host(false);
    assert_eq!(centre.told(&edge.flow()), ["NDEATH"]);
    poll_all(&mut edge);
    assert!(edge.flow().is_empty());
}

fn ranges(first: u64, last: u64) -> Ranges {
    let mut ranges = Ranges::default();
    ranges.insert_range(first, last);
    ranges
}

#[test]
fn what_is_asked_for_and_not_kept_is_said_to_be_gone() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    edge.connect();
    poll_all(&mut edge);
    edge.flow();
    let run = |run, ranges| RunRanges { run, ranges };
    edge.tell(&[Command::Committed(vec![run(1, ranges(2, 3))])]);
    // 9 is still to be produced; run 7 was never there.
    edge.tell(&[Command::Resend(vec![
        run(1, ranges(1, 9)),
        run(7, ranges(4, 5)),
    ])]);
    let data: Vec<_> = edge
        .flow()
        .iter()
        .filter(|packet| packet.topic.contains("/NDATA/"))
        .map(|packet| read_node_data(&packet.payload).expect("node data"))
        .collect();
    let gone: Vec<_> = data.iter().filter_map(|data| data.gone.clone()).collect();
    assert_eq!(gone, [[run(1, ranges(2, 3)), run(7, ranges(4, 5))]]);
    assert!(
        data.iter().any(|data| data.backlog.is_some()),
        "the rest comes"
    );
}

#[test]
fn a_host_that_speaks_of_another_outbox_frees_nothing() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    edge.connect();
    poll_all(&mut edge);
    edge.flow();
    let stored = edge.status.account().stored;
    let ranges = ranges(1, 5);
    let committed = [Command::Committed(vec![RunRanges { run: 1, ranges }])];
    let topic = format!("spBv1.0/{}/NCMD/{GATEWAY}", edge.config.group);
    for instance in [Some("second"), None] {
        let payload = build_commands(edge.now, instance, &committed);
        let topic = topic.clone();
        edge.pipeline().hear(News::Arrived { topic, payload });
    }
    edge.flow();
    assert_eq!(edge.status.account().stored, stored);
    assert_eq!(edge.status.not_ours.load(Relaxed), 2);
    edge.tell(&committed);
    edge.flow();
    assert_eq!(edge.status.account().stored, stored - 5);
}

#[test]
fn another_host_gets_plain_data_and_the_broker_frees_it() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    edge.acknowledge = Acknowledge::Broker;
    edge.restart();
    let mut centre = Centre::default();
    poll_all(&mut edge);
    edge.poll("weather", UnitState::Silent);
    edge.connect();
    let mut told = Vec::new();
    for _ in 0..10 {
        told.extend(centre.told(&edge.flow()));
        edge.pass(Duration::from_millis(20));
    }
    let old = told.iter().filter(|one| one.starts_with("old")).count();
    assert_eq!(old, 4, "of the living");
    assert_eq!(edge.status.account().stored, 2);
    edge.poll("weather", UnitState::Alive);
    told.clear();
    for _ in 0..10 {
        told.extend(centre.told(&edge.flow()));
        edge.pass(Duration::from_millis(20));
    }
    let expected = [
        "DBIRTH weather",
        "live weather 2.7",
        "old weather 2.5",
        "old weather 2.6",
    ];
    assert_eq!(told, expected);
    assert_eq!(edge.status.account().stored, 0);
    assert!(edge.status.account().balances());
}

/// A gateway, and a chlorine detector of its.
struct Gas {
    edge: Edge,
    point: PointId,
    silent: Option<&'static str>,
}

/// A poll whose values are far from every limit.
fn calm(config: &Config, unit: &str, state: UnitState, at: Timestamp) -> Batch {
    let mut batch = batch(config, unit, state, at);
    for reading in &mut batch.readings {
        let range = config.points[reading.point.index()].range;
        let (mut low, mut high) = (range.low, range.high);
        for alarm in &config.alarms {
            if let Condition::Limit(limit) = alarm.condition
                && alarm.subject == Subject::Point(reading.point)
            {
                if limit.setpoint.is_high() {
                    high = high.min(limit.reset);
                } else {
                    low = low.max(limit.reset);
                }
            }
        }
        if state == UnitState::Alive {
            reading.value = f64::midpoint(low, high);
        }
    }
    batch
}

impl Gas {
    fn new(folder: &Path) -> Self {
        let config = demo();
        let place = config
            .points
            .iter()
            .position(|point| point.gateway == GATEWAY && point.kind == "cl2");
        Self {
            point: PointId(u32::try_from(place.expect("a detector")).expect("few")),
            edge: Edge::new(config, folder, 1 << 30),
            silent: None,
        }
    }

    /// A second in which the detector reads nothing, or all that it can.
    fn second(&mut self, alarm: bool) {
        let edge = &mut self.edge;
        edge.pass(Duration::from_secs(1));
        let point = &edge.config.points[self.point.index()];
        let value = if alarm { point.range.high } else { 0.0 };
        let batches: Vec<_> = UNITS
            .into_iter()
            .map(|unit| {
                let state = if self.silent == Some(unit) {
                    UnitState::Silent
                } else {
                    UnitState::Alive
                };
                let mut batch = calm(&edge.config, unit, state, edge.now);
                let mut readings = batch.readings.iter_mut();
                if let Some(reading) = readings.find(|reading| reading.point == self.point) {
                    reading.value = value;
                }
                batch
            })
            .collect();
        let (now, elapsed) = (edge.now, edge.elapsed);
        edge.pipeline().take(now, elapsed, &batches);
        edge.second();
    }

    /// So many seconds over which the centre commits all that it gets.
    fn seconds(&mut self, count: u32, alarm: bool, centre: &mut Centre) {
        for _ in 0..count {
            self.second(alarm);
            centre.told(&self.edge.flow());
            let committed = centre.committed();
            self.edge.tell(&[committed]);
            assert!(self.edge.status.account().balances());
        }
        centre.told(&self.edge.flow());
    }

    fn sounds(&self) -> bool {
        *self.edge.sound.borrow() == Some(true)
    }
}

#[test]
fn it_annunciates_alone_only_while_the_centre_is_away() {
    let folder = folder();
    let mut gas = Gas::new(folder.path());
    let mut centre = Centre::default();
    for alarm in [false, true] {
        for _ in 0..120 {
            gas.second(alarm);
        }
        gas.edge.flow();
        assert_eq!(gas.sounds(), alarm, "away");
    }
    gas.edge.connect();
    gas.seconds(1, true, &mut centre);
    assert!(!gas.sounds(), "the centre decides now");
    gas.edge.host(false);
    gas.edge.flow();
    assert!(gas.sounds(), "the centre says that it is gone");
    gas.edge.connect();
    gas.seconds(1, true, &mut centre);
    assert!(!gas.sounds());
    gas.edge.pipeline().hear(News::Lost);
    gas.edge.flow();
    assert!(gas.sounds());
    for _ in 0..120 {
        gas.second(false);
    }
    gas.edge.flow();
    assert!(!gas.sounds(), "returned");
}

#[test]
fn going_blind_sounds_while_the_centre_is_away() {
    let folder = folder();
    let mut gas = Gas::new(folder.path());
    let mut centre = Centre::default();
    for _ in 0..60 {
        gas.second(false);
        gas.edge.flow();
        assert!(!gas.sounds(), "all is seen");
    }
    gas.silent = Some("nh3-gas");
    for second in 0..42 {
        gas.second(false);
        gas.edge.flow();
        assert_eq!(gas.sounds(), second >= 30, "{second} s");
    }
    gas.edge.connect();
    gas.seconds(61, false, &mut centre);
    assert!(!gas.sounds(), "the centre sees to it");
    gas.edge.pipeline().hear(News::Lost);
    gas.edge.flow();
    assert!(!gas.sounds(), "the centre knows of it");
    // Another one is news.
    gas.silent = Some("cl2-gas");
    for _ in 0..32 {
        gas.second(false);
        gas.edge.flow();
    }
    assert!(gas.sounds());
}

#[test]
fn a_restart_goes_on_sounding_and_switches_nothing_off_unseen() {
    let folder = folder();
    let mut gas = Gas::new(folder.path());
    gas.edge.flow();
    assert_eq!(*gas.edge.sound.borrow(), None, "nothing is known");
    for _ in 0..60 {
        gas.second(true);
        gas.edge.flow();
    }
    assert!(gas.sounds());
    gas.silent = Some("cl2-gas");
    for _ in 0..3 {
        gas.edge.restart();
        for second in 0..20 {
            gas.edge.flow();
            assert!(gas.sounds(), "{second} s after the start");
            gas.second(false);
        }
    }
    // What was kept is of no use: the siren stays as it is until all is seen.
    gas.edge.pipeline = None;
    let database = rusqlite::Connection::open(folder.path().join("outbox.sqlite")).expect("file");
    let spoilt = "UPDATE note SET value = '{' WHERE name = 'local_alarms'";
    assert_eq!(database.execute(spoilt, []).expect("spoilt"), 1);
    drop(database);
    gas.edge.restart();
    gas.silent = None;
    gas.edge.flow();
    assert_eq!(*gas.edge.sound.borrow(), None);
    for _ in 0..10 {
        gas.second(false);
        gas.edge.flow();
    }
    assert_eq!(*gas.edge.sound.borrow(), Some(false));
}

#[test]
fn a_centre_that_commits_nothing_is_away() {
    let folder = folder();
    let mut gas = Gas::new(folder.path());
    let mut centre = Centre::default();
    gas.edge.connect();
    gas.seconds(120, true, &mut centre);
    assert!(!gas.sounds(), "the centre commits, and decides");
    let wait = u32::try_from(ANSWER_WAIT.as_secs()).expect("small");
    for second in 0..=wait {
        assert!(!gas.sounds(), "{second} s");
        gas.second(true);
        centre.told(&gas.edge.flow());
    }
    assert!(gas.sounds(), "connected, and nothing was committed");
    assert!(gas.edge.status.alone.load(Relaxed));
    // Not even a new connection, or a message that is sent again, says that it commits.
    for _ in 0..60 {
        gas.second(true);
        centre.told(&gas.edge.flow());
        assert!(gas.sounds());
    }
    gas.edge.pipeline().hear(News::Lost);
    gas.edge.flow();
    gas.edge.connect();
    centre.told(&gas.edge.flow());
    assert!(gas.sounds());
    gas.seconds(1, true, &mut centre);
    assert!(!gas.sounds(), "it commits again");
}

#[test]
fn a_broker_without_a_host_silences_nothing() {
    for (acknowledge, host_id, sounds) in [
        (Acknowledge::Broker, None, true),
        // Somebody says that he is there, or commits.
        (Acknowledge::Broker, Some("scada"), false),
        (Acknowledge::Centre, None, false),
    ] {
        let folder = folder();
        let mut gas = Gas::new(folder.path());
        (gas.edge.acknowledge, gas.edge.host_id) = (acknowledge, host_id);
        gas.edge.restart();
        gas.edge.connect();
        if let Some(host) = host_id {
            let (timestamp, online) = (gas.edge.now, true);
            let state = HostState { online, timestamp };
            gas.edge.pipeline().hear(News::Arrived {
                topic: format!("spBv1.0/STATE/{host}"),
                payload: state.to_json().into_bytes(),
            });
        }
        gas.seconds(120, true, &mut Centre::default());
        assert_eq!(gas.sounds(), sounds, "{acknowledge:?} {host_id:?}");
        assert_eq!(gas.edge.status.account().stored, 0, "all was freed");
    }
}

#[test]
fn a_full_disk_is_annunciated_told_and_ends_by_itself() {
    let folder = folder();
    let mut gas = Gas::new(folder.path());
    let mut centre = Centre::default();
    gas.edge.connect();
    gas.seconds(120, true, &mut centre);
    assert!(!gas.sounds());
    gas.edge.pipeline().outbox.limit(0);
    let mut seconds = 0;
    while gas.edge.status.unstored.load(Relaxed) == 0 {
        // Room that is left in pages already there.
        gas.second(true);
        centre.told(&gas.edge.flow());
        seconds += 1;
        assert!(seconds < 1000, "the disk has no end");
    }
    assert!(gas.sounds(), "the centre is there, and does not see this");
    assert!(gas.edge.status.storing_fails.load(Relaxed));
    let before = centre.lost;
    for _ in 0..11 {
        gas.second(true);
        centre.told(&gas.edge.flow());
        assert!(gas.edge.status.account().balances());
    }
    let lost = gas.edge.status.account().lost;
    assert!(lost >= 12, "{lost}");
    assert!(centre.lost > before, "the centre is told of the loss");

    gas.edge.pipeline().outbox.limit(1 << 20);
    gas.seconds(12, true, &mut centre);
    let account = gas.edge.status.account();
    assert_eq!((account.lost, account.stored), (lost, 0));
    assert_eq!(centre.lost, lost);
    assert!(!gas.sounds(), "the centre sees it again");
    assert!(!gas.edge.status.storing_fails.load(Relaxed));
    gas.edge.restart();
    assert_eq!(gas.edge.status.account(), account, "kept");
}

#[test]
fn a_disk_that_is_full_every_other_second_is_told_once_and_sounds_each_time() {
    let folder = folder();
    let mut gas = Gas::new(folder.path());
    let mut centre = Centre::default();
    gas.edge.connect();
    gas.seconds(120, true, &mut centre);
    let (lines, _log) = Lines::listen();
    let mut flips = 0;
    for second in 0..300 {
        let fails = second % 2 == 0;
        let before = gas.edge.status.storing_fails.load(Relaxed);
        gas.edge.pipeline().outbox.refuse(fails);
        gas.seconds(1, true, &mut centre);
        assert_eq!(gas.edge.status.storing_fails.load(Relaxed), fails);
        assert_eq!(gas.sounds(), fails, "the annunciator is exact");
        flips += u32::from(fails != before);
    }
    assert_eq!(flips, 300);
    let told = lines.take();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told[0].contains("readings cannot be stored and are lost"));
    assert!(told[1].contains("the edge annunciates by itself"));
    assert!(told[2].contains("alarms are active: annunciate"));
    gas.seconds(70, true, &mut centre);
    let told = lines.take();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(
        told[0].contains("the outbox takes messages again left_out=149"),
        "{told:#?}"
    );
}

#[test]
fn a_step_of_the_clock_loses_nothing() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    let year = Duration::from_hours(365 * 24);
    for step in [year.as_millis(), 0] {
        edge.now = Timestamp(i64::try_from(step).expect("small"));
        poll_all(&mut edge);
        edge.second();
        assert_eq!(edge.status.account().lost, 0);
    }
    edge.pass(Duration::from_hours(73));
    edge.second();
    edge.flow();
    assert_eq!(edge.status.account().lost, 10, "they are old now");
}

#[test]
fn a_birth_that_the_outbox_did_not_give_is_tried_again() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    let mut centre = Centre::default();
    edge.pipeline()
        .outbox
        .tamper("ALTER TABLE run RENAME TO away");
    edge.connect();
    poll_all(&mut edge);
    assert!(edge.flow().is_empty(), "nothing goes before the birth");
    edge.pipeline()
        .outbox
        .tamper("ALTER TABLE away RENAME TO run");
    assert!(edge.flow().is_empty(), "in a while");
    edge.pass(Duration::from_secs(1));
    assert_eq!(centre.told(&edge.flow())[0], "NBIRTH");
}

#[test]
fn the_end_says_goodbye() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    edge.connect();
    poll_all(&mut edge);
    let mut centre = Centre::default();
    centre.told(&edge.flow());
    let now = edge.now;
    edge.pipeline().end(now);
    let last = edge.packets.try_recv().expect("a last packet");
    assert!(last.is_last);
    assert_eq!(centre.told(&[last]), ["NDEATH"]);
}

#[derive(Clone, Debug)]
enum Event {
    Poll(usize, bool),
    Pass(u64),
    Connect,
    Lose,
    /// The last so many packets never arrive, and the connection is lost.
    Drop(usize),
    /// The broker acknowledges data and forgets it, and the connection stays.
    Swallow(usize, bool),
    Commit,
    Restart,
    Rebirth,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..5_usize, prop::bool::weighted(0.8)).prop_map(|(unit, alive)| Event::Poll(unit, alive)),
        4 => (1..40_000_u64).prop_map(Event::Pass),
        3 => Just(Event::Connect),
        1 => Just(Event::Lose),
        1 => (0..20_usize).prop_map(Event::Drop),
        2 => (0..5_usize, any::<bool>()).prop_map(|(unit, alive)| Event::Swallow(unit, alive)),
        3 => Just(Event::Commit),
        1 => Just(Event::Restart),
        1 => Just(Event::Rebirth),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens: each message comes once, nothing is freed that has not come, births go
    /// before data, no number of the session is left out, and in the end everything has come.
    #[test]
    fn nothing_is_lost_and_nothing_twice(events in prop::collection::vec(event(), 1..80)) {
        let folder = folder();
        let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
        let mut centre = Centre::default();
        let mut connected = false;
        for event in events {
            match event {
                Event::Poll(unit, alive) => {
                    let state = if alive { UnitState::Alive } else { UnitState::Silent };
                    edge.poll(UNITS[unit], state);
                }
                Event::Pass(ms) => {
                    edge.pass(Duration::from_millis(ms));
                    edge.second();
                }
                Event::Connect if !connected => {
                    edge.connect();
                    connected = true;
                }
                Event::Drop(last) if connected => {
                    let sent = edge.flow();
                    let arrived = sent.len().saturating_sub(last);
                    centre.told(&sent[..arrived]);
                    edge.pipeline().hear(News::Lost);
                    connected = false;
                }
                Event::Swallow(unit, alive) if connected => {
                    let state = if alive { UnitState::Alive } else { UnitState::Silent };
                    edge.poll(UNITS[unit], state);
                    for packet in edge.flow() {
                        if packet.topic.contains("DATA") {
                            centre.seq = walk(&packet.payload).expect("payload").seq;
                        } else {
                            centre.take(&packet);
                        }
                    }
                }
                Event::Lose if connected => {
                    edge.pipeline().hear(News::Lost);
                    connected = false;
                }
                Event::Commit if connected => {
                    let committed = centre.committed();
                    edge.tell(&[committed]);
                }
                Event::Restart => {
                    edge.restart();
                    connected = false;
                }
                Event::Rebirth if connected => edge.tell(&[Command::Rebirth]),
                _ => {}
            }
            centre.told(&edge.flow());
            let account = edge.status.account();
            prop_assert!(account.balances());
            prop_assert!(account.committed <= centre.messages.len() as u64);
        }
        if !connected {
            edge.connect();
        }
        poll_all(&mut edge);
        for _ in 0..80 {
            edge.pass(Duration::from_secs(1));
            centre.told(&edge.flow());
            let committed = centre.committed();
            edge.tell(&[committed]);
        }
        edge.flow();
        let account = edge.status.account();
        prop_assert_eq!(account.stored, 0);
        prop_assert_eq!(account.produced, centre.messages.len() as u64);
        prop_assert_eq!((centre.missing, account.lost), (0, 0));
    }
}

/// The centre's own view of gateways, fed with what the outbox sends.
struct Core {
    config: Arc<Config>,
    directory: davy_core::gateways::Directory,
    gateways: davy_core::gateways::Gateways,
    taken: davy_core::gateways::Taken,
    /// Readings of data messages that were taken.
    readings: usize,
    /// What was stored has come to its end, the last time that was told.
    history_ended: bool,
}

impl Core {
    fn new(config: &Arc<Config>, now: Timestamp) -> Self {
        let directory = davy_core::gateways::Directory::new(config);
        let mut gateways = davy_core::gateways::Gateways::default();
        gateways.configure(now, config, &directory);
        Self {
            config: Arc::clone(config),
            directory,
            gateways,
            taken: davy_core::gateways::Taken::default(),
            readings: 0,
            history_ended: false,
        }
    }

    fn hear(&mut self, now: Timestamp, packets: &[Packet]) {
        for packet in packets {
            let data = read_node_data(&packet.payload).expect("payload");
            let Some(backlog) = data.backlog else {
                self.take(now, &packet.topic, &packet.payload);
                continue;
            };
            let bytes = zstd::bulk::decompress(&backlog, BUNDLE_BYTES_MAX).expect("zstd");
            for message in read_bundle(&bytes).expect("bundle") {
                let mut payload = Vec::new();
                if finish(message.payload, now, 0, true, &mut payload).is_err() {
                    // As the centre does.
                    payload = message.payload.to_vec();
                }
                let topic = Topic::Device {
                    group: &self.config.group.clone(),
                    message: DeviceMessage::Data,
                    node: GATEWAY,
                    device: message.device,
                };
                self.take(now, &topic.to_string(), &payload);
            }
        }
    }

    fn take(&mut self, now: Timestamp, topic: &str, payload: &[u8]) {
        self.taken.clear();
        let (config, directory) = (&self.config, &self.directory);
        let taken = &mut self.taken;
        (self.gateways).take(now, topic, payload, config, directory, taken);
        self.readings += self.taken.readings();
        self.history_ended |= self.taken.history_ends.is_some();
    }

    fn committed(&self) -> Command {
        let runs = self.gateways.received(GATEWAY);
        let runs = runs.map(|(run, ranges)| RunRanges {
            run,
            ranges: ranges.clone(),
        });
        Command::Committed(runs.collect())
    }

    /// What is asked for again by now.
    fn asks(&mut self, now: Timestamp) -> Vec<RunRanges> {
        self.taken.clear();
        self.gateways.tick(now, &mut self.taken);
        let asked = self.taken.changes.iter().flat_map(|change| {
            let davy_core::gateways::LinkEvent::ResendWanted { messages } = &change.event else {
                return Vec::new();
            };
            let runs = messages.iter().map(|gap| RunRanges {
                run: gap.run,
                ranges: ranges(gap.first, gap.last),
            });
            runs.collect()
        });
        asked.collect()
    }

    fn came(&self) -> Vec<(u64, u64)> {
        let runs = self.gateways.received(GATEWAY);
        runs.flat_map(|(_, ranges)| ranges.iter()).collect()
    }
}

#[test]
fn a_message_dropped_on_its_way_is_asked_for_again_and_comes_once() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    let mut core = Core::new(&edge.config, edge.now);
    edge.connect();
    poll_all(&mut edge);
    let mut packets = edge.flow();
    let all = packets.len();
    let second = packets
        .iter()
        .rposition(|packet| packet.topic.contains("nh3-tanks"));
    packets.remove(second.expect("data of the second unit"));
    core.hear(edge.now, &packets);
    assert_eq!(
        (packets.len(), core.came()),
        (all - 1, vec![(1, 1), (3, 5)])
    );
    let before = core.readings;
    assert_eq!(core.asks(edge.now), [], "it may still be on its way");
    // The birth spoke of all five: the gap is another one at the first look, and stands at the next.
    let mut asked = Vec::new();
    for _ in 0..2 {
        assert_eq!(asked, []);
        let look = core.gateways.next_deadline().expect("a gap is looked at");
        edge.pass(Duration::from_millis((look.0 - edge.now.0).cast_unsigned()));
        asked = core.asks(edge.now);
    }
    assert_eq!(
        asked,
        [RunRanges {
            run: 1,
            ranges: ranges(2, 2)
        }]
    );
    // Twice, by an impatient host: it is taken once.
    for _ in 0..2 {
        edge.tell(&[Command::Resend(asked.clone())]);
        let again = edge.flow();
        core.hear(edge.now, &again);
    }
    assert_eq!(core.came(), [(1, 5)]);
    let of_unit = edge.config.points.iter();
    let of_unit = of_unit.filter(|point| point.device == "nh3-tanks").count();
    assert_eq!(core.readings, before + of_unit);
    edge.pass(Duration::from_mins(1));
    assert_eq!(core.asks(edge.now), []);
}

#[test]
fn rows_that_are_no_messages_are_lost_and_hold_nothing_open() {
    let folder = folder();
    let mut edge = Edge::new(demo(), folder.path(), 1 << 30);
    let mut core = Core::new(&edge.config, edge.now);
    poll_all(&mut edge);
    poll_all(&mut edge);
    edge.pipeline().outbox.tamper(
        "UPDATE message SET payload = x'ffff' WHERE row = 3;
         UPDATE message SET payload = (SELECT payload FROM message WHERE row = 6) WHERE row = 5;
         UPDATE message SET device = 'a/b' WHERE row = 7;
         UPDATE message SET device = CAST(x'ff' AS TEXT) WHERE row = 8;
         UPDATE message SET payload = substr(payload, 1, 30) WHERE row = 10",
    );
    edge.connect();
    poll_all(&mut edge);
    for _ in 0..30 {
        core.hear(edge.now, &edge.flow());
        let committed = core.committed();
        edge.tell(&[committed]);
        edge.pass(Duration::from_secs(1));
        edge.second();
    }
    let account = edge.status.account();
    assert!(account.balances());
    assert_eq!((account.stored, account.lost), (0, 5));
    assert_eq!(core.came(), [(1, 15)]);
    let gateway = core.gateways.get(GATEWAY).expect("known");
    assert_eq!((gateway.unusable, gateway.missing()), (0, 5));
    assert_eq!((gateway.committed, gateway.lost), (10, 5));
    assert!(core.history_ended);
}

#[test]
fn a_fresh_outbox_under_a_known_name_loses_nothing() {
    let (first, second) = (folder(), folder());
    let mut edge = Edge::new(demo(), first.path(), 1 << 30);
    let mut core = Core::new(&edge.config, edge.now);
    edge.connect();
    poll_all(&mut edge);
    poll_all(&mut edge);
    core.hear(edge.now, &edge.flow());
    assert_eq!(core.came(), [(1, 10)]);
    let before = core.readings;
    // The disk was replaced: run 1 begins again.
    second.path().clone_into(&mut edge.folder);
    edge.instance = "second";
    edge.restart();
    edge.pass(Duration::from_mins(1));
    edge.connect();
    poll_all(&mut edge);
    core.hear(edge.now, &edge.flow());
    assert_eq!(core.came(), [(1, 5)]);
    assert_eq!(
        core.readings,
        before + before / 2,
        "none is taken for an old one"
    );
}
