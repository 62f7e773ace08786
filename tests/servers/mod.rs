//! Real servers for tests, and a journal of generated messages for them to be filled from.
//!
//! `make tools` builds or installs the servers. Each runs on a free port of the loopback with its
//! data in a folder of its own, and ends with the test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::panic, reason = "so that it says what is missing")]
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use davy::journal::{Journal, NewEntry};
use davy::sinks::{SinkStatus, Sinks};
use davy_core::config::{self, Config, SourceFile};
use davy_core::delivery::MessageNumber;
use davy_core::reading::{PointId, Quality, Reading, Timestamp};
use davy_core::sparkplug::{BirthPoint, WireType, build_device_birth, encode_data, finish};
use davy_core::watch::Input;
use tempfile::TempDir;
use tokio::sync::watch;

/// When the first reading was taken: 2025-01-01T00:00Z.
pub(crate) const BEGIN_MS: i64 = 1_735_689_600_000;

/// Readings of one message.
pub(crate) const MESSAGE_READINGS: i64 = 100;

const POINTS: [&str; 3] = ["TF.gas", "FACE.ch4", "FACE.ch4.fault"];

/// How long anything may take before the test fails.
const LIMIT: Duration = Duration::from_mins(2);

/// Tag → time in ms → value.
pub(crate) type Values = BTreeMap<String, BTreeMap<i64, f64>>;

/// A journal, and what its messages said.
pub(crate) struct Plant {
    pub(crate) folder: TempDir,
    pub(crate) journal: Journal,
    pub(crate) committed: watch::Sender<u64>,
    pub(crate) expected: Values,
    config: Config,
    messages: i64,
}

impl Plant {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<_> = ["site.toml", "points.csv", "standards.toml"]
            .into_iter()
            .map(|name| SourceFile {
                name: name.into(),
                text: std::fs::read_to_string(
                    Path::new(env!("CARGO_MANIFEST_DIR"))
                        .join("core/src/config/testdata/good")
                        .join(name),
                )
                .unwrap(),
            })
            .collect();
        let mut plant = Self {
            journal: Journal::open(folder.path()).unwrap().0,
            folder,
            committed: watch::channel(0).0,
            expected: Values::new(),
            config: config::check(&files).unwrap(),
            messages: 0,
        };
        let by = "test".into();
        plant.append(&Input::Config { files, by });
        plant.birth();
        plant
    }

    fn append(&mut self, input: &Input) {
        let (kind, bytes) = davy::entry::encode(input);
        let entry = NewEntry {
            now: Timestamp(BEGIN_MS + self.messages),
            kind,
            input: &bytes,
            effects: &[],
        };
        self.journal.append(&[entry], &[]).unwrap();
        self.committed.send_replace(self.journal.last_number());
    }

    fn birth(&mut self) {
        let points: Vec<_> = POINTS
            .iter()
            .map(|tag| self.config.points.iter().find(|point| point.tag == *tag))
            .map(|point| point.unwrap().clone())
            .collect();
        let born: Vec<_> = (1..)
            .zip(&points)
            .map(|(alias, point)| BirthPoint {
                point,
                alias,
                reading: None,
            })
            .collect();
        let last = MessageNumber {
            run: 1,
            sequence: 0,
        };
        let payload = build_device_birth(Timestamp(BEGIN_MS), 0, last, &born);
        let topic = "spBv1.0/works/DBIRTH/gw/gas".into();
        self.append(&Input::Message { topic, payload });
    }

    /// One numbered message of readings of one point, 10 ms apart, in steps that a decimal holds.
    pub(crate) fn message(&mut self) {
        self.messages += 1;
        let which = self.messages as usize % POINTS.len();
        let wire = [WireType::Double, WireType::Float, WireType::Boolean][which];
        let kept = self.expected.entry(POINTS[which].to_owned()).or_default();
        let readings: Vec<_> = (0..MESSAGE_READINGS)
            .map(|n| {
                let count = self.messages * MESSAGE_READINGS + n;
                let value = match wire {
                    WireType::Boolean => (count % 2) as f64,
                    WireType::Float => (count % 4_096) as f64 / 1_024.0,
                    _ => (count % 1_000) as f64 / 100.0,
                };
                let at = BEGIN_MS + count * 10;
                kept.insert(at, value);
                Reading::new(PointId(0), value, Quality::Good, Timestamp(at))
            })
            .collect();
        self.send(which as u64 + 1, wire, &readings);
    }

    /// One good reading of the first point.
    pub(crate) fn single(&mut self, at: i64, value: f64) {
        self.messages += 1;
        let reading = Reading::new(PointId(0), value, Quality::Good, Timestamp(at));
        self.send(1, WireType::Double, &[reading]);
    }

    fn send(&mut self, alias: u64, wire: WireType, readings: &[Reading]) {
        let number = MessageNumber {
            run: 1,
            sequence: self.messages.unsigned_abs(),
        };
        let at = Timestamp(BEGIN_MS);
        let (mut stored, mut payload) = (Vec::new(), Vec::new());
        let with_alias = readings.iter().map(|reading| (alias, wire, reading));
        encode_data(&mut stored, at, Some(number), with_alias);
        finish(&stored, at, 0, false, &mut payload).unwrap();
        let topic = "spBv1.0/works/DDATA/gw/gas".into();
        self.append(&Input::Message { topic, payload });
    }

    /// Takes the bytes of all messages up to `through` out of the journal.
    pub(crate) fn prune(&mut self, through: u64) {
        self.journal.snapshot(through, b"a state").unwrap();
        let everything = Timestamp(i64::MAX);
        while self.journal.prune_inputs(everything, through).unwrap().more {}
    }

    pub(crate) fn readings(&self) -> usize {
        self.expected.values().map(BTreeMap::len).sum()
    }
}

/// A server's process. It ends with the test.
pub(crate) struct Server {
    pub(crate) url: String,
    child: Child,
}

impl Server {
    pub(crate) fn start(program: &Path, arguments: &[&str], url: String) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{}: {error}; run `make tools`", program.display());
        });
        Self { url, child }
    }

    /// As a loss of power to its process: no signal that it could catch.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it says that it is well.
    pub(crate) async fn ready(&mut self) {
        let url = format!("{}/health", self.url);
        wait("the server is ready", || async {
            matches!(reqwest::get(&url).await, Ok(answer) if answer.status().is_success())
        })
        .await;
        assert!(
            self.child.try_wait().unwrap().is_none(),
            "another server answers"
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `host:port` that nobody listens on.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The built InfluxDB.
pub(crate) fn influxd() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/influxd");
    let path = std::env::var_os("DAVY_INFLUXD").map_or(default, PathBuf::from);
    assert!(
        path.is_file(),
        "no influxd at `{}`; run `make tools`",
        path.display()
    );
    path
}

/// Asks again and again until the answer is yes, for a bounded time.
pub(crate) async fn wait<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !ask().await {
            ticks.tick().await;
        }
    };
    let done = tokio::time::timeout(LIMIT, asking).await;
    assert!(done.is_ok(), "in {LIMIT:?} it was never so: {what}");
}

/// How far InfluxDB's sink has come.
pub(crate) fn influx_status(sinks: &Sinks) -> SinkStatus {
    let status = sinks.status();
    status
        .into_iter()
        .find(|sink| sink.name == "influxdb")
        .unwrap()
}
