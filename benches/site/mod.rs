//! A site made up for the benches of the whole path: its files, and gateways that speak for it.
//!
//! Every unit is a source of its own with the same number of points, each with four limits. Limits
//! have no delays, so that what is measured is Davy and not the plant. The rules of the system, of
//! warnings and of the ledger are those that Davy ships.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "shared by four benches, each of which uses a part of it"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use davy::broker::Accounts;
use davy::clock::Clock;
use davy::serve::{self, Mqtt, Serving};
use davy_core::config::{Config, SourceFile, check};
use davy_core::delivery::{MessageNumber, Stored};
use davy_core::reading::{PointId, Quality, Reading, Timestamp};
use davy_core::sparkplug::{
    Aliases, Command, NodeBirth, NodeMessage, Topic, build_node_birth, finish, read_commands,
};
use davy_gateway::publish::catalogue::Catalogue;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub const GROUP: &str = "bench";
pub const HOST_ID: &str = "davy";
pub const PASSWORD: &str = "bench";

/// An ordinary value, and one above both high limits.
pub const ORDINARY: f64 = 50.0;
pub const TOO_HIGH: f64 = 95.0;

/// How large the site is.
#[derive(Clone, Copy)]
pub struct Shape {
    pub gateways: usize,
    /// Units of a gateway, each on a bus of its own.
    pub units: usize,
    /// Points of a unit.
    pub points: usize,
    pub period: &'static str,
}

pub fn gateway_id(gateway: usize) -> String {
    format!("g{gateway}")
}

impl Shape {
    pub fn files(&self) -> Vec<SourceFile> {
        let shipped = [
            (
                "system.toml",
                include_str!("../../config/standards/system.toml"),
            ),
            (
                "warning.toml",
                include_str!("../../config/standards/warning.toml"),
            ),
            (
                "ledger.toml",
                include_str!("../../config/standards/ledger.toml"),
            ),
        ];
        let mut files = vec![
            ("site.toml".to_owned(), self.site()),
            ("points.csv".to_owned(), self.table()),
            ("presets.toml".to_owned(), presets()),
        ];
        files.extend(shipped.map(|(name, text)| (name.to_owned(), text.to_owned())));
        files
            .into_iter()
            .map(|(name, text)| SourceFile { name, text })
            .collect()
    }

    fn site(&self) -> String {
        let mut text = format!(
            "group = \"{GROUP}\"\nname = {{ zh = \"试\", en = \"Bench\" }}\npoints = [\"points.csv\"]\n\
             standards = [\"presets.toml\", \"system.toml\", \"warning.toml\", \"ledger.toml\"]\n"
        );
        for gateway in 0..self.gateways {
            writeln!(
                text,
                "[[gateway]]\nid = \"{}\"\nname = {{ zh = \"网关\", en = \"Gateway\" }}",
                gateway_id(gateway)
            )
            .expect("a string takes all that is written");
            for unit in 0..self.units {
                writeln!(
                    text,
                    "[[gateway.bus]]\nname = \"b{unit}\"\naddress = \"127.0.0.1:1\"\n\
                     timeout = \"300ms\"\nregisters_max = 125\nbits_max = 2000\ngap_max = 8\n\
                     [[gateway.bus.unit]]\nid = \"u{unit}\"\nnumber = 1\n\
                     name = {{ zh = \"设备\", en = \"Unit\" }}"
                )
                .expect("a string takes all that is written");
            }
        }
        for gateway in 0..self.gateways {
            for unit in 0..self.units {
                writeln!(
                    text,
                    "[[source]]\nid = \"s{gateway}-{unit}\"\nname = {{ zh = \"罐区\", en = \"Tanks\" }}\n\
                     industry = \"chemical\"\nlevel = 3\n\
                     owners = {{ main = \"甲\", technical = \"乙\", operation = \"丙\" }}"
                ).expect("a string takes all that is written");
            }
        }
        text
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "tag,name_zh,name_en,kind,position,unit,low,high,source,gateway,device,period,table,\
             address,type,order,signal,raw_low,raw_high\n",
        );
        for gateway in 0..self.gateways {
            for unit in 0..self.units {
                for point in 0..self.points {
                    writeln!(
                        text,
                        "G{gateway}.U{unit}.P{point},液位,Level,level,,%,0,100,s{gateway}-{unit},\
                         g{gateway},u{unit},{},holding_registers,{},f32,ABCD,none,,",
                        self.period,
                        point * 2
                    )
                    .expect("a string takes all that is written");
                }
            }
        }
        text
    }
}

fn presets() -> String {
    let mut text = String::from("[[preset]]\nkind = \"level\"\nunit = \"%\"\n");
    for (setpoint, limit, priority) in [("hh", 90, 1), ("h", 80, 3), ("l", 20, 3), ("ll", 10, 1)] {
        writeln!(
            text,
            "[[preset.limit]]\nsetpoint = \"{setpoint}\"\nfixed = false\nlimit = {limit}.0\ndeadband = 1.0\n\
             on_delay = \"0s\"\noff_delay = \"0s\"\nlatch = false\npriority = {priority}\n\
             shelvable = true\nguidance = \"level\"\nfigure_source = {{ zh = \"虚构\", en = \"made up\" }}"
        )
        .expect("a string takes all that is written");
    }
    text.push_str(
        "[guidance.level]\ncause = { zh = \"液位\", en = \"level\" }\n\
         consequence = { zh = \"满罐\", en = \"spill\" }\n\
         action = { zh = \"停泵\", en = \"stop the pump\" }\ntime_to_respond = \"10min\"\n",
    );
    text
}

/// What everything in a bench runs on.
pub fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The site of a shape, and the centre with everything, as `davy serve` runs it, on free ports of
/// loopback.
pub async fn open(shape: Shape, folder: &Path) -> (Arc<Config>, Serving) {
    let files = shape.files();
    let config = Arc::new(check(&files).expect("a site without faults"));
    let gateways: BTreeMap<_, _> = (config.gateways.iter())
        .map(|gateway| (gateway.id.clone(), PASSWORD.to_owned()))
        .collect();
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = serve::Options {
        retention: davy::retention::Retention::default(),
        data: folder.to_path_buf(),
        files,
        mqtt: Mqtt::Embedded {
            listen: free,
            accounts: Accounts {
                group: GROUP.into(),
                gateways,
                centre: ("centre".into(), PASSWORD.into()),
            },
        },
        host_id: HOST_ID.into(),
        http: free,
        influxdb: None,
        accepted: davy::centre::Accepted::default(),
    };
    let serving = serve::start(options, |_| {}).await.expect("the centre");
    (config, serving)
}

/// What one gateway of the load has to say.
pub struct Script {
    pub id: String,
    pub run: u64,
    births: Vec<(String, Vec<u8>)>,
    /// Place of the unit, payload.
    data: Vec<(usize, Vec<u8>)>,
    topics: Vec<Arc<str>>,
}

impl Script {
    /// `cycles` messages of each unit, all points in each, a millisecond apart and ending `now`.
    pub fn new(
        config: &Arc<Config>,
        gateway: usize,
        (run, cycles): (u64, usize),
        now: Timestamp,
        value: f64,
    ) -> Self {
        let id = gateway_id(gateway);
        let catalogue = Catalogue::new(Arc::clone(config), &id, &mut Aliases::default());
        let catalogue = catalogue.expect("a catalogue");
        let none = MessageNumber { run, sequence: 0 };
        let stored = [Stored {
            run,
            first: 1,
            last: 0,
        }];
        let birth = NodeBirth {
            bd_seq: 0,
            last: none,
            stored: &stored,
            lost: 0,
            instance: &id,
        };
        let birth = build_node_birth(now, 0, &birth);
        let topic = Topic::Node {
            group: GROUP,
            message: NodeMessage::Birth,
            node: &id,
        };
        let mut births = vec![(topic.to_string(), birth)];
        for unit in catalogue.units() {
            let birth = catalogue.birth(unit, now, 1, none);
            births.push((unit.birth.to_string(), birth));
        }
        let topics = catalogue.units().iter().map(|unit| Arc::clone(&unit.data));
        let mut of_unit: BTreeMap<&str, Vec<PointId>> = BTreeMap::new();
        for (place, point) in (0..).map(PointId).zip(&config.points) {
            if point.gateway == id {
                of_unit.entry(&point.device).or_default().push(place);
            }
        }
        let mut data = Vec::with_capacity(cycles * catalogue.units().len());
        let (mut number, mut stored) = (none, Vec::new());
        for cycle in 0..cycles {
            let at = Timestamp(now.0 - (cycles - cycle) as i64);
            for (place, unit) in catalogue.units().iter().enumerate() {
                number.sequence += 1;
                let value = value + (cycle % 7) as f64 / 8.0;
                let points = of_unit.get(unit.id.as_str()).into_iter().flatten();
                let readings: Vec<_> = points
                    .map(|point| Reading::new(*point, value, Quality::Good, at))
                    .collect();
                stored.clear();
                catalogue.encode(at, number, &readings, &mut stored);
                let mut payload = Vec::with_capacity(stored.len() + 16);
                finish(&stored, now, number.sequence as u8, false, &mut payload).expect("data");
                data.push((place, payload));
            }
        }
        Self {
            topics: topics.collect(),
            id,
            run,
            births,
            data,
        }
    }

    pub fn messages(&self) -> usize {
        self.data.len()
    }

    /// Connects, is born, says so on `ready`, waits for `go`, sends everything at once, and returns
    /// when the centre has said that all of it is committed.
    pub async fn play(self, port: u16, ready: mpsc::Sender<()>, mut go: watch::Receiver<bool>) {
        let mut options = MqttOptions::new(&self.id, "127.0.0.1", port);
        options.set_credentials(&self.id, PASSWORD);
        options.set_keep_alive(Duration::from_mins(1));
        options.set_max_packet_size(4 << 20, 4 << 20);
        options.set_inflight(1_000);
        let (client, mut events) = AsyncClient::new(options, 256);
        let command = Topic::Node {
            group: GROUP,
            message: NodeMessage::Command,
            node: &self.id,
        };
        let command = command.to_string();
        client
            .subscribe(command, QoS::AtLeastOnce)
            .await
            .expect("subscribe");
        until(&mut events, |packet| matches!(packet, Packet::SubAck(_))).await;
        let births = self.births.len();
        let sender = client.clone();
        tokio::spawn(async move {
            for (topic, payload) in self.births {
                let sent = sender.publish(topic, QoS::AtLeastOnce, false, payload);
                sent.await.expect("a birth");
            }
        });
        let mut acknowledged = 0;
        until(&mut events, |packet| {
            acknowledged += usize::from(matches!(packet, Packet::PubAck(_)));
            acknowledged == births
        })
        .await;
        ready.send(()).await.expect("the bench waits");
        go.wait_for(|go| *go).await.expect("the bench says go");
        let last = self.data.len() as u64;
        tokio::spawn(async move {
            for (unit, payload) in self.data {
                let topic = self.topics.get(unit).expect("a unit").as_ref();
                let sent = client.publish(topic, QoS::AtLeastOnce, false, payload);
                sent.await.expect("a message");
            }
        });
        until(&mut events, |packet| {
            let Packet::Publish(publish) = packet else {
                return false;
            };
            let commands = read_commands(&publish.payload).expect("a command");
            commands.known.iter().any(|command| {
                let Command::Committed(runs) = command else {
                    return false;
                };
                let own = runs.iter().find(|of| of.run == self.run);
                own.is_some_and(|of| of.ranges.iter().eq([(1, last)]))
            })
        })
        .await;
    }
}

/// One message of each unit of a site, with the same value for every point; when the first was
/// handed over. Returns when all are committed.
pub async fn send(config: &Arc<Config>, shape: Shape, port: u16, run: u64, value: f64) -> Instant {
    let now = Clock::new(Timestamp(0)).now();
    let (ready, mut is_ready) = mpsc::channel(shape.gateways);
    let (go, is_go) = watch::channel(false);
    let mut players = JoinSet::new();
    for gateway in 0..shape.gateways {
        let script = Script::new(config, gateway, (run, 1), now, value);
        players.spawn(script.play(port, ready.clone(), is_go.clone()));
    }
    for _ in 0..shape.gateways {
        is_ready.recv().await.expect("a gateway is ready");
    }
    let begin = Instant::now();
    go.send(true).expect("the gateways wait");
    while let Some(player) = players.join_next().await {
        player.expect("a gateway's load");
    }
    begin
}

async fn until(events: &mut EventLoop, mut is_done: impl FnMut(&Packet) -> bool) {
    loop {
        if let Event::Incoming(packet) = events.poll().await.expect("the broker")
            && is_done(&packet)
        {
            return;
        }
    }
}

/// At `percent` of sorted `times`, in ms.
pub fn at_percent(times: &[Duration], percent: usize) -> f64 {
    let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(place).copied().unwrap_or_default().as_secs_f64() * 1e3
}
