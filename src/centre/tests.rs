//! The loop with a real journal, without network: what is told and when, restarts, a full disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use davy_core::alarm::Command;
use davy_core::delivery::{MessageNumber, Stored};
use davy_core::reading::{PointId, Quality, READINGS_MAX, Reading};
use davy_core::sparkplug::{
    BirthPoint, BundleMessage, BundleWriter, DeviceMessage, NodeBirth, NodeData, NodeMessage,
    Topic, WireType, build_device_birth, build_node_birth, build_node_data, encode_data, finish,
};
use tempfile::TempDir;

use super::*;
use crate::entry;
use crate::journal::{Kind, Reader};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_mins(1);

const SITE: &str = include_str!("../../core/src/watch/testdata/site.toml");
pub(crate) const POINTS: &str = include_str!("../../core/src/watch/testdata/points.csv");
const STANDARDS: &str = include_str!("../../core/src/config/testdata/good/standards.toml");

thread_local! {
    /// Makes the disk full from the start for centres that this thread starts.
    pub(super) static TEST_FULL_AT_START: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The error of a commit for which there is no room.
pub(crate) fn no_room() -> JournalError {
    let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    JournalError::NoRoom {
        deed: "appending to the journal",
        source: rusqlite::Error::SqliteFailure(full, None),
    }
}

/// Crashes the loop on messages of the sequence number that a test has set.
pub(crate) fn crash(health: &Health, payload: &[u8]) {
    let crashes = health.test_crash.load(Ordering::Acquire);
    let number = davy_core::sparkplug::walk(payload).and_then(|walk| walk.number());
    let sequence = number.ok().flatten().map(|number| number.sequence);
    assert!(
        crashes == 0 || sequence != Some(crashes),
        "a message that crashes"
    );
}

fn files(points: &str) -> Vec<SourceFile> {
    [
        ("site.toml", SITE),
        ("points.csv", points),
        ("standards.toml", STANDARDS),
    ]
    .map(|(name, text)| SourceFile {
        name: name.into(),
        text: text.into(),
    })
    .into()
}

/// The site of these tests.
pub(crate) fn good_files() -> Vec<SourceFile> {
    files(POINTS)
}

/// A person has accepted that the replay differs.
const REPLAY: Accepted = Accepted {
    replay: true,
    clock: false,
};

/// A running loop, and what it says to gateways.
pub(crate) struct Run {
    pub(crate) centre: Centre,
    thread: std::thread::JoinHandle<()>,
    outbound: mpsc::Receiver<Outbound>,
}

impl Run {
    pub(crate) fn start(folder: &Path, points: &str) -> Self {
        Self::try_start(folder, points).unwrap()
    }

    fn try_start(folder: &Path, points: &str) -> Result<Self, CentreError> {
        Self::with(folder, points, Accepted::default())
    }

    fn with(folder: &Path, points: &str, accepted: Accepted) -> Result<Self, CentreError> {
        Self::of(folder, files(points), accepted)
    }

    fn of(folder: &Path, files: Vec<SourceFile>, accepted: Accepted) -> Result<Self, CentreError> {
        let (sender, outbound) = mpsc::channel(64);
        let (centre, thread) = Centre::start(folder, files, accepted, sender)?;
        Ok(Self {
            centre,
            thread,
            outbound,
        })
    }

    pub(crate) async fn stop(self) {
        self.centre.stop().await;
        let thread = self.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join().is_ok());
        let joined = tokio::time::timeout(PATIENCE, joined).await;
        assert!(joined.unwrap().unwrap());
    }

    /// NBIRTH and DBIRTH of gateway `gw`.
    pub(crate) async fn born(&self) {
        let config = self.centre.ask(|watch| Arc::clone(watch.config())).await;
        let config = config.unwrap();
        let points = config.points.iter().enumerate();
        let born: Vec<BirthPoint<'_>> = points
            .filter(|(_, point)| point.gateway == "gw" && point.device == "gas")
            .map(|(place, point)| BirthPoint {
                point,
                alias: place as u64 + 1,
                reading: None,
            })
            .collect();
        let now = self.centre.now();
        let stored = [Stored {
            run: 1,
            first: 1,
            last: 0,
        }];
        let last = MessageNumber {
            run: 1,
            sequence: 0,
        };
        let birth = NodeBirth {
            bd_seq: 1,
            last,
            stored: &stored,
            lost: 0,
            instance: "one",
        };
        let payload = build_node_birth(now, 0, &birth);
        let (group, node, device) = ("works", "gw", "gas");
        let message = NodeMessage::Birth;
        let topic = Topic::Node {
            group,
            message,
            node,
        };
        self.say(topic, payload).await;
        let message = DeviceMessage::Birth;
        let topic = Topic::Device {
            group,
            message,
            node,
            device,
        };
        self.say(topic, build_device_birth(now, 1, last, &born))
            .await;
    }

    async fn say(&self, topic: Topic<'_>, payload: Vec<u8>) {
        self.centre
            .message(topic.to_string(), payload)
            .await
            .unwrap();
    }

    /// A value of `TF.a`, the first point.
    pub(crate) async fn value(&self, sequence: u64, value: f64) {
        self.send(self.payload(sequence, value)).await;
    }

    fn payload(&self, sequence: u64, value: f64) -> Vec<u8> {
        let mut payload = Vec::new();
        let stored = self.stored(sequence, value);
        finish(&stored, self.centre.now(), 0, false, &mut payload).unwrap();
        payload
    }

    /// The same as the gateway sends it out of its outbox: in a bundle.
    async fn send_bundled(&self, sequence: u64, value: f64) {
        let mut bundle = BundleWriter::default();
        let stored = self.stored(sequence, value);
        let (device, payload) = ("gas", &stored[..]);
        assert!(bundle.push(BundleMessage { device, payload }));
        let backlog = zstd::bulk::compress(&bundle.into_bytes(), 3).unwrap();
        let data = NodeData {
            backlog: Some(backlog),
            ..NodeData::default()
        };
        let now = self.centre.now();
        let payload = build_node_data(now, 1, &data);
        for (topic, payload) in crate::ingest::unfold("works", "gw", &payload, now).unwrap() {
            self.centre.message(topic, payload).await.unwrap();
        }
    }

    /// As it lies in the outbox.
    fn stored(&self, sequence: u64, value: f64) -> Vec<u8> {
        let now = self.centre.now();
        let point = davy_core::reading::PointId(0);
        // Each a millisecond later than the one before, however fast they come.
        let sampled_at = now + Duration::from_millis(sequence);
        let reading = Reading::new(point, value, Quality::Good, sampled_at);
        let number = MessageNumber { run: 1, sequence };
        let mut stored = Vec::new();
        let rows = [(1, WireType::Float, &reading)];
        encode_data(&mut stored, now, Some(number), rows);
        stored
    }

    /// A value of `TF.a` that was taken at `sampled_at`; late, it comes out of the gateway's store.
    pub(crate) async fn taken(&self, sequence: u64, value: f64, sampled_at: Timestamp, late: bool) {
        let now = self.centre.now();
        let point = davy_core::reading::PointId(0);
        let reading = Reading::new(point, value, Quality::Good, sampled_at);
        let number = MessageNumber { run: 1, sequence };
        let (mut stored, mut payload) = (Vec::new(), Vec::new());
        encode_data(
            &mut stored,
            now,
            Some(number),
            [(1, WireType::Float, &reading)],
        );
        finish(&stored, now, 0, late, &mut payload).unwrap();
        self.send(payload).await;
    }

    async fn send(&self, payload: Vec<u8>) {
        let topic = Topic::Device {
            group: "works",
            message: DeviceMessage::Data,
            node: "gw",
            device: "gas",
        };
        self.say(topic, payload).await;
    }

    /// Names of the alarms in the list, with their occurrences.
    pub(crate) async fn names(&self) -> BTreeMap<String, u64> {
        let alarms = self.centre.ask(|watch| {
            let alarms = watch.engine().alarms();
            alarms
                .map(|view| (view.name.to_owned(), view.occurrence))
                .collect()
        });
        alarms.await.unwrap()
    }

    /// Waits until a commit has failed.
    async fn full(&self) {
        becomes_full(&self.centre, true).await;
    }
}

/// Waits until the disk refuses commits, or takes them again.
async fn becomes_full(centre: &Centre, wanted: bool) {
    let mut full = centre.full();
    let became = full.wait_for(|full| *full == wanted);
    let became = tokio::time::timeout(PATIENCE, became).await.unwrap();
    drop(became.unwrap());
}

fn acknowledge(occurrence: u64) -> Input {
    Input::Alarm(Command::Acknowledge {
        occurrence,
        by: "Li".into(),
        comment: None,
    })
}

/// What the journal's inputs come to, up to a number.
fn replayed(folder: &Path, up_to: u64) -> Vec<u8> {
    let reader = Reader::open(folder).unwrap();
    let mut watch = Watch::new();
    for stored in reader.read_on(0, usize::MAX, up_to as usize).unwrap() {
        let input = entry::decode(stored.kind, &stored.input.unwrap()).unwrap();
        let mut effects = Vec::new();
        watch.apply(stored.now, &input, &mut effects);
        assert_eq!(entry::encode_effects(&effects), stored.effects);
    }
    watch.snapshot()
}

async fn state(centre: &Centre) -> (u64, Vec<u8>) {
    let state = centre.ask(|watch| (watch.number(), watch.snapshot()));
    state.await.unwrap()
}

#[tokio::test]
async fn a_command_is_answered_after_its_commit() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 2.5).await;
    let occurrence = run.names().await["TF.a.gas2"];
    let mut follow = run.centre.follow();
    let answer = run.centre.command(acknowledge(occurrence)).await.unwrap();
    let Answer::Done(number) = answer else {
        panic!("{answer:?}")
    };
    let kept = Reader::open(folder.path()).unwrap();
    assert!(kept.latest().unwrap() >= number);
    let entry = kept.read_on(number - 1, usize::MAX, 1).unwrap();
    let input = entry::decode(entry[0].kind, entry[0].input.as_ref().unwrap()).unwrap();
    assert_eq!(input, acknowledge(occurrence));
    let told = follow.recv().await.unwrap();
    assert_eq!((told.number, &told.effects), (number, &entry[0].effects));
    // A refused one is journaled as well.
    let answer = run.centre.command(acknowledge(occurrence)).await.unwrap();
    assert!(matches!(
        answer,
        Answer::RefusedAlarm(Refusal::AlreadyAcknowledged)
    ));
    assert!(kept.latest().unwrap() > number);
    run.stop().await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let mut run = Run::start(folder.path(), POINTS);
    run.born().await;
    for sequence in 1..20 {
        let value = if sequence % 3 == 0 { 2.5 } else { 0.1 };
        run.value(sequence, value).await;
    }
    let (number, before) = state(&run.centre).await;
    while let Ok(outbound) = run.outbound.try_recv() {
        assert!(!matches!(outbound, Outbound::Rebirth { .. }));
    }
    // As a kill leaves it: the files as they are, nothing ended in order.
    let copy = TempDir::new().unwrap();
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let again = Run::start(copy.path(), POINTS);
    assert_eq!(replayed(copy.path(), number), before);
    let (number, resumed) = state(&again.centre).await;
    assert_eq!(replayed(copy.path(), number), resumed);
    assert_eq!(
        again.names().await["TF.a.gas2"],
        run.names().await["TF.a.gas2"]
    );
    // What the gateway sends again is known.
    let entries = again.centre.health().number.load(Ordering::Acquire);
    again.value(19, 2.5).await;
    again.centre.ask(|_| ()).await.unwrap();
    assert_eq!(again.centre.health().duplicates.load(Ordering::Acquire), 1);
    assert_eq!(
        again.centre.health().number.load(Ordering::Acquire),
        entries
    );
    again.stop().await;
    run.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_else_is() {
    let folder = TempDir::new().unwrap();
    let mut run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 0.1).await;
    run.centre.ask(|_| ()).await.unwrap();
    while run.outbound.try_recv().is_ok() {}
    let health = run.centre.health();
    let number = health.number.load(Ordering::Acquire);
    let mut follow = run.centre.follow();
    health.test_full.store(true, Ordering::Release);
    run.value(2, 2.5).await;
    let (asked, commanded) = (run.centre.clone(), run.centre.clone());
    let ask = tokio::spawn(async move { asked.ask(Watch::snapshot).await });
    let mut command = tokio::spawn(async move { commanded.command(acknowledge(99)).await });
    run.full().await;
    assert!(health.no_room.load(Ordering::Acquire));
    assert!(!health.ended.load(Ordering::Acquire));
    assert_eq!(health.number.load(Ordering::Acquire), number);
    assert!(
        run.outbound.try_recv().is_err(),
        "no gateway frees anything"
    );
    assert!(follow.try_recv().is_err(), "nothing is told");
    assert!(futures::poll!(&mut command).is_pending());
    // Questions are answered with what is committed, however far the loop has come.
    let asked = tokio::time::timeout(PATIENCE, ask).await.unwrap();
    assert_eq!(asked.unwrap().unwrap(), replayed(folder.path(), number));
    assert!(!run.names().await.contains_key("TF.a.gas2"));
    assert_eq!(
        Reader::open(folder.path()).unwrap().latest().unwrap(),
        number
    );
    // Room again: it goes on, and nothing is lost or doubled.
    health.test_full.store(false, Ordering::Release);
    run.value(3, 2.6).await;
    let answer = tokio::time::timeout(PATIENCE, command).await.unwrap();
    assert!(matches!(
        answer.unwrap().unwrap(),
        Answer::RefusedAlarm(Refusal::UnknownOccurrence)
    ));
    run.centre.ask(|_| ()).await.unwrap();
    assert!(!health.no_room.load(Ordering::Acquire));
    assert!(run.names().await.contains_key("TF.a.gas2"));
    let (number, now) = state(&run.centre).await;
    assert_eq!(replayed(folder.path(), number), now);
    let mut freed = None;
    while let Ok(outbound) = run.outbound.try_recv() {
        if let Outbound::Committed { runs, .. } = outbound {
            freed = runs
                .first()
                .map(|run| run.ranges.iter().collect::<Vec<_>>());
        }
    }
    assert_eq!(freed.unwrap(), [(1, 3)]);
    let mut raised = 0;
    while let Ok(told) = follow.try_recv() {
        let text = String::from_utf8(told.effects.clone()).unwrap();
        raised += text.matches("TF.a.gas2\",\"from\":\"normal\"").count();
    }
    assert_eq!(raised, 1);
    run.stop().await;
}

/// The journal's files in a folder.
fn journal_files(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let of_journal = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(crate::journal::FILE)
    };
    files.filter(of_journal).collect()
}

/// Waits until the loop says that it can, or cannot, commit.
async fn is_full(run: &Run, full: bool) {
    let mut said = run.centre.full();
    let said = said.wait_for(|said| *said == full);
    tokio::time::timeout(PATIENCE, said).await.unwrap().unwrap();
}

#[tokio::test]
async fn nothing_is_committed_to_a_journal_that_was_removed() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 2.5).await;
    let (number, _) = state(&run.centre).await;
    for file in journal_files(folder.path()) {
        std::fs::remove_file(file).unwrap();
    }
    run.value(2, 2.5).await;
    is_full(&run, true).await;
    assert!(run.centre.health().journal_gone.load(Ordering::Acquire));
    assert_eq!(run.centre.health().number.load(Ordering::Acquire), number);
    run.stop().await;
}

#[tokio::test]
async fn a_quiet_centre_sees_that_its_log_is_another_file_and_goes_on_when_it_is_back() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    state(&run.centre).await;
    let log = folder.path().join("journal.sqlite-wal");
    let away = folder.path().join("away");
    std::fs::rename(&log, &away).unwrap();
    std::fs::write(&log, "").unwrap();
    is_full(&run, true).await;
    std::fs::rename(&away, &log).unwrap();
    is_full(&run, false).await;
    assert!(!run.centre.health().journal_gone.load(Ordering::Acquire));
    run.value(1, 2.5).await;
    let (number, _) = state(&run.centre).await;
    run.stop().await;
    let verified = crate::journal::verify::verify(folder.path(), &[], |_, _| {}).unwrap();
    assert!(verified.last >= number);
}

#[tokio::test]
async fn a_centre_on_a_full_disk_can_be_stopped() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.centre.ask(|_| ()).await.unwrap();
    let health = run.centre.health();
    let number = health.number.load(Ordering::Acquire);
    health.test_full.store(true, Ordering::Release);
    run.value(1, 2.5).await;
    let commanded = run.centre.clone();
    let command = tokio::spawn(async move { commanded.command(acknowledge(99)).await });
    run.full().await;
    run.stop().await;
    assert!(command.await.unwrap().is_err(), "told to nobody");
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.latest().unwrap(), number);
    let again = Run::start(folder.path(), POINTS);
    assert!(!again.names().await.contains_key("TF.a.gas2"));
    again.value(1, 2.5).await;
    assert!(
        again.names().await.contains_key("TF.a.gas2"),
        "it comes again"
    );
    again.stop().await;
}

#[tokio::test]
async fn a_centre_that_never_committed_has_nothing_to_show() {
    let folder = TempDir::new().unwrap();
    TEST_FULL_AT_START.with(|full| full.set(true));
    let run = Run::start(folder.path(), POINTS);
    TEST_FULL_AT_START.with(|full| full.set(false));
    let asked = tokio::time::timeout(PATIENCE, run.centre.ask(|_| ())).await;
    assert!(matches!(asked.unwrap(), Err(Unanswered::NoRoom)));
    assert_eq!(crate::api::Problem::from(Unanswered::NoRoom).status, 503);
    run.stop().await;
}

#[tokio::test]
async fn a_question_on_a_full_disk_does_not_wait_behind_messages() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 2.5).await;
    let (number, before) = state(&run.centre).await;
    let health = run.centre.health();
    health.test_full.store(true, Ordering::Release);
    // More than one group takes, and as much as the queue holds behind it.
    let payload = run.payload(2, 0.1);
    for _ in 0..QUEUE_MAX {
        run.send(payload.clone()).await;
    }
    run.full().await;
    let asked = tokio::time::timeout(PATIENCE, state(&run.centre)).await;
    assert!(asked.unwrap() == (number, before));
    health.test_full.store(false, Ordering::Release);
    run.stop().await;
}

#[tokio::test]
async fn a_damaged_snapshot_costs_a_replay_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 2.5).await;
    let occurrence = run.names().await["TF.a.gas2"];
    run.stop().await;
    let damage = |text: &str| {
        let file = crate::journal::file_of(folder.path());
        let connection = rusqlite::Connection::open(file).unwrap();
        assert!(
            connection.execute(text, []).unwrap() > 0,
            "there is a snapshot"
        );
    };
    for how in [
        "UPDATE snapshot SET bytes = x'00'",
        "UPDATE snapshot SET bytes = zeroblob(10), \
         digest = x'01d448afd928065458cf670b60f5a594d735af0172c8d67f22a81680132681ca'",
    ] {
        damage(how);
        let run = Run::start(folder.path(), POINTS);
        assert_eq!(run.names().await["TF.a.gas2"], occurrence, "{how}");
        let (number, now) = state(&run.centre).await;
        assert_eq!(replayed(folder.path(), number), now);
        run.stop().await;
    }
}

/// Makes the journal one that another version of the program wrote.
fn rewrite(folder: &Path, statement: &str) {
    let file = crate::journal::file_of(folder);
    let connection = rusqlite::Connection::open(file).unwrap();
    assert!(
        connection.execute(statement, []).unwrap() > 0,
        "{statement}"
    );
}

#[tokio::test]
async fn a_replay_that_differs_starts_nothing_until_it_is_accepted() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 2.5).await;
    let occurrence = run.names().await["TF.a.gas2"];
    run.stop().await;
    rewrite(folder.path(), "DELETE FROM snapshot");
    rewrite(
        folder.path(),
        "UPDATE entry SET effects = x'5b5d' WHERE number = 2",
    );
    let latest = Reader::open(folder.path()).unwrap().latest().unwrap();
    let Err(refused @ CentreError::Replay { number: 2, .. }) =
        Run::try_start(folder.path(), POINTS)
    else {
        panic!("it starts, or says something else")
    };
    let said = refused.to_string();
    for part in ["entry 2", "configured", "[]", "--accept-replay"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.latest().unwrap(), latest, "nothing was written");
    // Accepted, it is an entry, and the next start begins after it.
    let run = Run::with(folder.path(), POINTS, REPLAY).unwrap();
    assert_eq!(run.names().await["TF.a.gas2"], occurrence);
    run.stop().await;
    let entry = &reader.read_on(latest, usize::MAX, 1).unwrap()[0];
    let input = entry::decode(entry.kind, entry.input.as_ref().unwrap()).unwrap();
    assert!(matches!(
        input,
        Input::ReplayAccepted {
            first: 2,
            entries: 1,
            ..
        }
    ));
    Run::start(folder.path(), POINTS).stop().await;
    let replayed = crate::replay::replay(folder.path(), |_, _| {}).unwrap();
    assert_eq!(
        replayed.accepted, 1,
        "and `davy verify --replay` knows of it"
    );
}

#[tokio::test]
async fn no_number_is_given_twice_when_the_journal_cannot_be_replayed() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 2.5).await;
    let occurrence = run.names().await["TF.a.gas2"];
    run.stop().await;
    // No snapshot, and the messages are gone.
    rewrite(folder.path(), "DELETE FROM snapshot");
    rewrite(
        folder.path(),
        "DELETE FROM input WHERE number IN (SELECT number FROM entry WHERE kind = 1)",
    );
    let refused = Run::try_start(folder.path(), POINTS);
    assert!(matches!(refused, Err(CentreError::Replay { .. })));
    let run = Run::with(folder.path(), POINTS, REPLAY).unwrap();
    run.born().await;
    run.value(2, 2.5).await;
    assert!(run.names().await["TF.a.gas2"] > occurrence);
    run.stop().await;
}

#[tokio::test]
async fn a_centre_starts_on_a_full_disk_and_says_so() {
    let folder = TempDir::new().unwrap();
    Run::start(folder.path(), POINTS).stop().await;
    let (sender, _outbound) = mpsc::channel(64);
    TEST_FULL_AT_START.with(|full| full.set(true));
    let started = Centre::start(folder.path(), files(POINTS), Accepted::default(), sender);
    TEST_FULL_AT_START.with(|full| full.set(false));
    let (centre, thread) = started.unwrap();
    assert!(centre.health().no_room.load(Ordering::Acquire));
    let asked = centre.ask(|watch| (watch.number(), watch.now(), watch.config().points.len()));
    let asked = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    let (number, at, points) = asked.unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!((number, points), (reader.latest().unwrap(), 4));
    let as_of_ms = centre.health().alive_at_ms.load(Ordering::Acquire);
    assert_eq!(as_of_ms, at.0);
    centre.health().test_full.store(false, Ordering::Release);
    becomes_full(&centre, false).await;
    assert!(centre.ask(Watch::number).await.unwrap() > number);
    assert!(!centre.health().no_room.load(Ordering::Acquire));
    centre.stop().await;
    tokio::task::spawn_blocking(move || thread.join().unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn another_configuration_is_an_entry_and_keeps_the_alarms() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 2.5).await;
    let occurrence = run.names().await["TF.a.gas2"];
    run.stop().await;
    let more = format!(
        "{POINTS}TF.e,戊,E,cl2,,mg/m3,0,10,TF,gw,far,1s,input_registers,4,f32,ABCD,none,,\n"
    );
    let run = Run::start(folder.path(), &more);
    assert_eq!(run.names().await["TF.a.gas2"], occurrence);
    let points = run.centre.ask(|watch| watch.config().points.len()).await;
    assert_eq!(points.unwrap(), 5);
    run.stop().await;
    let reader = Reader::open(folder.path()).unwrap();
    let configs = reader.read_on(0, usize::MAX, 1_000).unwrap();
    let configs = configs.iter().filter(|entry| entry.kind == Kind::Config);
    assert_eq!(configs.count(), 2, "the same one again is none");
    // One with faults starts nothing and leaves no trace.
    let latest = reader.latest().unwrap();
    let refused = Run::try_start(folder.path(), "nothing");
    assert!(matches!(refused, Err(CentreError::Config(faults)) if !faults.is_empty()));
    assert_eq!(reader.latest().unwrap(), latest);
}

#[tokio::test]
async fn one_centre_writes_a_folder() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    let second = Run::try_start(folder.path(), POINTS);
    let Err(CentreError::Journal(JournalError::InUse { folder: named, .. })) = second else {
        panic!("a second centre has started")
    };
    assert_eq!(named, PathBuf::from(folder.path()));
    run.stop().await;
    Run::start(folder.path(), POINTS).stop().await;
}

#[tokio::test]
async fn a_loop_that_breaks_says_that_it_has_ended() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    let mut committed = run.centre.committed();
    run.born().await;
    run.centre.health().test_crash.store(1, Ordering::Release);
    run.value(1, 0.1).await;
    assert!(run.thread.join().is_err());
    assert!(run.centre.health().ended.load(Ordering::Acquire));
    committed.borrow_and_update();
    assert!(
        committed.changed().await.is_err(),
        "whoever serves can see it"
    );
    assert!(run.centre.ask(|_| ()).await.is_err());
}

#[tokio::test]
async fn a_question_that_breaks_is_an_error_and_the_loop_goes_on() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    let broken = run.centre.ask(|_| -> u64 { panic!("a question") }).await;
    assert!(matches!(broken, Err(Unanswered::Broken)));
    let problem = crate::api::Problem::from(Unanswered::Broken);
    assert_eq!(problem.status, 500);
    run.born().await;
    run.value(1, 2.5).await;
    assert!(run.names().await.contains_key("TF.a.gas2"));
    run.stop().await;
}

#[tokio::test]
async fn a_centre_that_stood_still_says_so_and_calls_no_point_lost() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 0.1).await;
    run.centre.ask(|_| ()).await.unwrap();
    // The disk is full for ten minutes, with a message on its way.
    let health = run.centre.health();
    health.test_full.store(true, Ordering::Release);
    run.value(2, 0.1).await;
    run.full().await;
    run.value(3, 0.1).await;
    run.centre
        .clock
        .test_ahead_ms
        .store(600_000, Ordering::Release);
    health.test_full.store(false, Ordering::Release);
    becomes_full(&run.centre, false).await;
    let names = run.names().await;
    let lost = |name: &&String| name.starts_with("TF.") && name.ends_with("loss_of_view");
    assert_eq!(names.keys().find(lost), None, "{names:?}");
    assert!(names.contains_key("centre.stood_still"), "{names:?}");
    let (number, now) = state(&run.centre).await;
    assert_eq!(replayed(folder.path(), number), now);
    run.stop().await;
}

#[tokio::test]
async fn a_message_that_crashed_the_loop_is_set_aside_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 0.1).await;
    run.centre.ask(|_| ()).await.unwrap();
    let crashes = run.payload(2, 2.5);
    let health = run.centre.health();
    health.test_crash.store(2, Ordering::Release);
    run.send(crashes.clone()).await;
    assert!(run.thread.join().is_err());
    assert!(health.ended.load(Ordering::Acquire));
    // The gateway sends it again, in other bytes; it is kept, told and alarmed, and judged by nobody.
    let mut run = Run::start(folder.path(), POINTS);
    let health = run.centre.health();
    health.test_crash.store(2, Ordering::Release);
    run.send_bundled(2, 2.5).await;
    let names = run.names().await;
    assert!(names.contains_key("gw.unusable") && !names.contains_key("TF.a.gas2"));
    assert!(!health.ended.load(Ordering::Acquire));
    let unusable = run
        .centre
        .ask(|watch| watch.gateways().get("gw").unwrap().unusable);
    assert_eq!(unusable.await.unwrap(), 1);
    let mut freed = None;
    while let Ok(Outbound::Committed { runs, .. }) = run.outbound.try_recv() {
        freed = runs
            .first()
            .map(|run| run.ranges.iter().collect::<Vec<_>>());
    }
    assert_eq!(freed.unwrap(), [(1, 2)], "its gateway may free it");
    let number = state(&run.centre).await.0;
    run.send(crashes).await;
    assert_eq!(state(&run.centre).await.0, number, "once in a run");
    // All else goes on, and the journal proves it.
    health.test_crash.store(0, Ordering::Release);
    run.value(3, 2.5).await;
    assert!(run.names().await.contains_key("TF.a.gas2"));
    let (number, now) = state(&run.centre).await;
    assert_eq!(replayed(folder.path(), number), now);
    run.stop().await;
}

/// Limits that one value raises together, six of them above it and two below.
const SWING: [(&str, f64); 8] = [
    ("ll", 1.0),
    ("l", 2.0),
    ("gas1", 3.0),
    ("h", 4.0),
    ("gas2", 5.0),
    ("mine_alarm", 6.0),
    ("mine_cut", 7.0),
    ("hh", 8.0),
];

/// Points with the longest names that are allowed and as many limits, as many as one message may
/// hold readings of, each alarm an entry of the ledger at once.
fn worst_files() -> Vec<SourceFile> {
    let mut files = good_files();
    let name = "𠮷".repeat(200);
    let header = POINTS.lines().next().unwrap().to_owned();
    let worst = (0..READINGS_MAX).map(|place| {
        let address = place * 2;
        format!(
            "{place:064},{name},{name},worst,,mg/m3,0,10,TF,gw,gas,1s,input_registers,{address},f32,ABCD,none,,"
        )
    });
    let others = [("far", "gw,far"), ("there", "other,gas")].map(|(tag, unit)| {
        format!("{tag},{tag},{tag},cl2,,mg/m3,0,10,TF,{unit},1s,input_registers,0,f32,ABCD,none,,")
    });
    let points: Vec<String> = [header].into_iter().chain(worst).chain(others).collect();
    files[1].text = points.join("\n");
    let at_once = files[2]
        .text
        .replace("level1 = { after = \"30min\"", "level1 = { after = \"0s\"");
    let limits = SWING.map(|(setpoint, limit)| {
        let end = if setpoint.starts_with("mine") {
            format!("reset = {}", limit - 1.5)
        } else {
            "deadband = 0.5".to_owned()
        };
        format!(
            "[[preset.limit]]\nsetpoint = \"{setpoint}\"\nfixed = false\nlimit = {limit}\n{end}\n\
             on_delay = \"0s\"\noff_delay = \"0s\"\nlatch = false\npriority = 1\n\
             shelvable = false\nguidance = \"anything\"\n\
             figure_source = {{ zh = \"甲\", en = \"A\" }}\n"
        )
    });
    let preset = "\n[[preset]]\nkind = \"worst\"\nunit = \"mg/m3\"\n";
    files[2].text = at_once + preset + &limits.concat();
    files
}

#[tokio::test]
async fn a_message_from_which_too_much_follows_is_set_aside_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let run = Run::of(folder.path(), worst_files(), Accepted::default()).unwrap();
    run.born().await;
    let all = |sequence: u64, value: f64| {
        let now = run.centre.now() + Duration::from_millis(sequence);
        let readings: Vec<_> = (0..READINGS_MAX as u32)
            .map(|point| Reading::new(PointId(point), value, Quality::Good, now))
            .collect();
        let rows =
            (readings.iter().zip(1..)).map(|(reading, alias)| (alias, WireType::Float, reading));
        let (mut stored, mut payload) = (Vec::new(), Vec::new());
        let number = MessageNumber { run: 1, sequence };
        encode_data(&mut stored, now, Some(number), rows);
        finish(&stored, now, 0, false, &mut payload).unwrap();
        payload
    };
    run.send(all(1, 0.0)).await;
    run.centre.ask(|_| ()).await.unwrap();
    let latest = Reader::open(folder.path()).unwrap().latest().unwrap();
    let worst = all(2, 9.9);
    run.send(worst.clone()).await;
    assert!(run.centre.ask(|_| ()).await.is_err());
    assert!(run.thread.join().is_ok());
    let kept = Reader::open(folder.path()).unwrap().latest().unwrap();
    assert_eq!(kept, latest, "all of it or nothing");
    // The gateway sends it again. The centre goes on and says so.
    let run = Run::of(folder.path(), worst_files(), Accepted::default()).unwrap();
    run.send(worst.clone()).await;
    let names = run.names().await;
    assert!(names.contains_key("gw.unusable"));
    let kept = Reader::open(folder.path()).unwrap();
    let kept = kept.read_on(latest, usize::MAX, 10).unwrap();
    let kept = kept.iter().find(|entry| entry.kind == Kind::Quarantined);
    let kept = kept.unwrap();
    let input = entry::decode(kept.kind, kept.input.as_ref().unwrap()).unwrap();
    assert!(matches!(input, Input::Quarantined { payload, .. } if payload == worst));
    run.stop().await;
}

/// What was said of the host's clock, and when, in order.
fn clock_told(folder: &Path) -> Vec<(Timestamp, bool)> {
    let entries = Reader::open(folder).unwrap().read_on(0, usize::MAX, 1_000);
    let told = entries.unwrap().into_iter().filter_map(|entry| {
        match entry::decode(entry.kind, &entry.input?).unwrap() {
            Input::Centre {
                condition: davy_core::alarm::SystemCondition::HostClock,
                active,
                ..
            } => Some((entry.now, active)),
            _ => None,
        }
    });
    told.collect()
}

#[tokio::test]
async fn one_wrong_turn_of_the_hosts_clock_moves_nothing_and_is_told() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    let before = run.centre.now();
    let ahead = &run.centre.clock.test_ahead_ms;
    // The year 2099, and then half an hour back.
    for wrong_ms in [73 * 365 * 86_400_000, -1_800_000] {
        ahead.store(wrong_ms, Ordering::Release);
        // Answered before that turn has looked at the clock, and after.
        for _ in 0..2 {
            run.centre.ask(|_| ()).await.unwrap();
        }
        assert!(run.centre.is_clock_off());
        assert!(run.names().await.contains_key("centre.host_clock"));
        ahead.store(0, Ordering::Release);
        for _ in 0..2 {
            run.centre.ask(|_| ()).await.unwrap();
        }
        assert!(!run.centre.is_clock_off());
    }
    let told = clock_told(folder.path());
    assert!(
        told.iter()
            .map(|(_, active)| *active)
            .eq([true, false, true, false])
    );
    for (now, _) in told {
        assert!(now >= before && now < before + Duration::from_hours(1));
    }
    let (number, now) = state(&run.centre).await;
    assert_eq!(replayed(folder.path(), number), now);
    run.stop().await;
}

#[tokio::test]
async fn a_start_long_after_the_journals_end_needs_a_persons_word() {
    let folder = TempDir::new().unwrap();
    let now = Clock::new(Timestamp::MIN).now();
    let end = Timestamp(now.0 - 400 * 86_400_000);
    let mut watch = Watch::new();
    let input = Input::Started {
        version: "before".into(),
    };
    let mut effects = Vec::new();
    watch.apply(end, &input, &mut effects);
    let (kind, input) = entry::encode(&input);
    let entry = crate::journal::NewEntry {
        now: end,
        kind,
        input: &input,
        effects: &entry::encode_effects(&effects),
    };
    let (mut journal, _) = Journal::open(folder.path()).unwrap();
    journal.append(&[entry], &[]).unwrap();
    drop(journal);
    let run = Run::start(folder.path(), POINTS);
    assert!(run.centre.now() < end + Duration::from_hours(1));
    for _ in 0..2 {
        run.centre.ask(|_| ()).await.unwrap();
    }
    assert!(run.names().await.contains_key("centre.host_clock"));
    run.stop().await;
    let accepted = Accepted {
        clock: true,
        replay: false,
    };
    let run = Run::with(folder.path(), POINTS, accepted).unwrap();
    assert!(run.centre.now() >= now);
    for _ in 0..2 {
        run.centre.ask(|_| ()).await.unwrap();
    }
    assert!(!run.centre.is_clock_off());
    run.stop().await;
    let told = clock_told(folder.path());
    assert!(told.iter().map(|(_, active)| *active).eq([true, false]));
}

#[tokio::test]
async fn a_replay_of_nothing_is_no_proof() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.stop().await;
    let last = Reader::open(folder.path()).unwrap().latest().unwrap();
    // As if the bytes of all messages had gone, up to the snapshot of the stop.
    rewrite(
        folder.path(),
        &format!("UPDATE mark SET pruned_through = {last}"),
    );
    let found = crate::replay::replay(folder.path(), |_, _| {}).unwrap_err();
    assert!(
        matches!(found, crate::replay::ReplayError::Nothing { after } if after == last),
        "{found}"
    );
}

#[tokio::test]
async fn a_snapshot_written_by_hand_is_found_by_the_replay() {
    let folder = TempDir::new().unwrap();
    let run = Run::start(folder.path(), POINTS);
    run.born().await;
    run.value(1, 2.5).await;
    run.stop().await;
    let replayed = crate::replay::replay(folder.path(), |_, _| {}).unwrap();
    assert_eq!((replayed.snapshots, replayed.snapshots_unproven), (1, 0));
    let reader = Reader::open(folder.path()).unwrap();
    let snapshot = reader.snapshot(0).unwrap().unwrap();
    let state = String::from_utf8(unpack(&snapshot.bytes).unwrap()).unwrap();
    let forged = state.replace("\"acknowledged\":false", "\"acknowledged\":true");
    assert_ne!(state, forged);
    let packed = zstd::bulk::compress(forged.as_bytes(), 1).unwrap();
    let digest = crate::journal::Sum::of(&packed);
    let file = rusqlite::Connection::open(crate::journal::file_of(folder.path())).unwrap();
    let changed = file.execute(
        "UPDATE snapshot SET bytes = ?1, digest = ?2",
        rusqlite::params![packed, digest.0],
    );
    assert_eq!(changed.unwrap(), 1);
    crate::journal::verify::verify(folder.path(), &[], |_, _| {}).unwrap();
    let found = crate::replay::replay(folder.path(), |_, _| {}).unwrap_err();
    let said = found.to_string();
    assert!(
        matches!(found, crate::replay::ReplayError::Snapshot { number, .. } if number == snapshot.number),
        "{said}"
    );
    assert!(said.contains("true") && said.contains("false"), "{said}");
}
