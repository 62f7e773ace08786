//! Following the journal: crashes at any point, aliases that move, states that are lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use davy_core::config::{self, Config, SourceFile};
use davy_core::delivery::MessageNumber;
use davy_core::point::Point;
use davy_core::reading::{BadCause, PointId, Quality, Reading};
use davy_core::sparkplug::{BirthPoint, WireType, build_device_birth, encode_data, finish};
use davy_core::watch::Input;
use proptest::prelude::*;
use tempfile::TempDir;

use super::follow::{Cause, Follower, Pauses, Sink, SinkError, Step, Trouble};
use super::series::Series;
use super::trend::Trend;
use super::*;
use crate::journal::{Journal, NewEntry, Reader, file_of};

const TAGS: [&str; 3] = ["TF.gas", "FACE.ch4", "FACE.ch4.fault"];

/// The files of a site with four points, as the configuration's own tests have it.
pub(super) fn files() -> Vec<SourceFile> {
    let file = |name: &str, text: &str| SourceFile {
        name: name.into(),
        text: text.into(),
    };
    vec![
        file(
            "site.toml",
            include_str!("../../core/src/config/testdata/good/site.toml"),
        ),
        file(
            "points.csv",
            include_str!("../../core/src/config/testdata/good/points.csv"),
        ),
        file(
            "standards.toml",
            include_str!("../../core/src/config/testdata/good/standards.toml"),
        ),
    ]
}

/// Tag and time → value (as bits) and quality.
type Model = BTreeMap<(String, i64), (u64, Quality)>;

/// A journal, what its messages meant, and the series that follows it.
struct Plant {
    folder: TempDir,
    journal: Journal,
    config: Config,
    now: i64,
    /// Alias → tag, as the last birth said.
    born: BTreeMap<u64, String>,
    expected: Model,
}

impl Plant {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap().0;
        let mut plant = Self {
            folder,
            journal,
            config: config::check(&files()).unwrap(),
            now: 1_000,
            born: BTreeMap::new(),
            expected: Model::new(),
        };
        plant.append(&Input::Started {
            version: "1".into(),
        });
        plant.configure(files());
        plant
    }

    fn append(&mut self, input: &Input) {
        let (kind, bytes) = crate::entry::encode(input);
        self.now += 1;
        let entry = NewEntry {
            now: Timestamp(self.now),
            kind,
            input: &bytes,
            effects: &[],
        };
        self.journal.append(&[entry], &[]).unwrap();
    }

    fn configure(&mut self, files: Vec<SourceFile>) {
        self.config = config::check(&files).unwrap();
        let by = "test".into();
        self.append(&Input::Config { files, by });
    }

    fn point(&self, tag: &str) -> Point {
        let point = self.config.points.iter().find(|point| point.tag == tag);
        point.cloned().unwrap_or_else(|| Point {
            tag: tag.to_owned(),
            ..self.config.points[0].clone()
        })
    }

    /// A birth of a node that gives aliases as it likes.
    fn birth(&mut self, aliases: &[(u64, &str)]) {
        let points: Vec<_> = aliases.iter().map(|(_, tag)| self.point(tag)).collect();
        let born: Vec<_> = aliases
            .iter()
            .zip(&points)
            .map(|((alias, _), point)| BirthPoint {
                point,
                alias: *alias,
                reading: None,
            })
            .collect();
        let last = MessageNumber {
            run: 1,
            sequence: 0,
        };
        let payload = build_device_birth(Timestamp(self.now), 0, last, &born);
        let topic = "spBv1.0/works/DBIRTH/gw/gas".into();
        self.append(&Input::Message { topic, payload });
        for (alias, tag) in aliases {
            self.born.insert(*alias, (*tag).to_owned());
        }
    }

    fn data(&mut self, alias: u64, value: f64) {
        let tag = self.born[&alias].clone();
        let point = self.point(&tag);
        let at = self.now;
        let wire = WireType::of(&point);
        // A state is 0 or 1.
        let value = match wire {
            WireType::Boolean if value.is_finite() => f64::from(value > 1.0),
            _ => value,
        };
        let reading = if value.is_nan() {
            Reading::without_value(PointId(0), BadCause::NoAnswer, Timestamp(at))
        } else {
            Reading::new(PointId(0), value, Quality::Good, Timestamp(at))
        };
        let (mut stored, mut payload) = (Vec::new(), Vec::new());
        encode_data(&mut stored, Timestamp(at), None, [(alias, wire, &reading)]);
        finish(&stored, Timestamp(at), 0, false, &mut payload).unwrap();
        let topic = "spBv1.0/works/DDATA/gw/gas".into();
        self.append(&Input::Message { topic, payload });
        if self.config.points.iter().any(|point| point.tag == tag) {
            // The node calls it good; the configuration has the last word.
            let reading = reading.within(point.trusted());
            let kept = (reading.value.to_bits(), reading.quality);
            self.expected.insert((tag, at), kept);
        }
    }

    /// A follower as after a start, which crashes at commit number `crash_at`.
    fn follower(
        &self,
        crash_at: u64,
        batch_bytes: usize,
    ) -> (Follower<Crashing>, CancellationToken) {
        let stop = CancellationToken::new();
        let sink = Crashing {
            trend: trend(self.folder.path(), None),
            commits_left: crash_at,
            batch_bytes,
            stop: stop.clone(),
        };
        let reader = Reader::open(&file_of(self.folder.path())).unwrap();
        let runtime = runtime();
        let pauses = Pauses::default();
        let follower = Follower::new(
            "series",
            sink,
            reader,
            Arc::default(),
            pauses,
            stop.clone(),
            runtime,
        );
        (follower.unwrap(), stop)
    }

    /// Follows to the end without a crash.
    fn follow(&self) {
        let (mut follower, _) = self.follower(u64::MAX, 1 << 20);
        while follower.step().unwrap() == Step::More {}
    }

    fn found(&self) -> Model {
        let series = Series::open(self.folder.path()).unwrap();
        let reader = series.reader().unwrap();
        let mut found = Model::new();
        for point in &self.config.points {
            let all = reader
                .range(
                    &point.tag,
                    Timestamp(i64::MIN),
                    Timestamp(i64::MAX),
                    usize::MAX,
                )
                .unwrap();
            assert_eq!(all.damaged, vec![]);
            found.extend(all.items.iter().map(|sample| {
                let kept = (sample.value.to_bits(), sample.quality);
                ((point.tag.clone(), sample.at.0), kept)
            }));
        }
        found
    }
}

fn trend(folder: &Path, kept: Option<Duration>) -> Trend {
    let series = Series::open(folder).unwrap();
    let reader = Arc::new(series.reader().unwrap());
    Trend::new(series, reader, kept)
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The series, with a process that dies before a commit.
struct Crashing {
    trend: Trend,
    commits_left: u64,
    batch_bytes: usize,
    stop: CancellationToken,
}

impl Sink for Crashing {
    fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    fn gather(&self) -> std::time::Duration {
        self.trend.gather()
    }

    fn cursor(&self) -> u64 {
        self.trend.cursor()
    }

    fn durable(&self) -> u64 {
        self.trend.durable()
    }

    fn state(&self) -> Result<Option<Vec<u8>>, SinkError> {
        self.trend.state()
    }

    fn configure(&mut self, config: &Config) {
        self.trend.configure(config);
    }

    fn take(&mut self, config: &Config, reading: &Reading, lane: davy_core::reading::Lane) {
        self.trend.take(config, reading, lane);
    }

    fn is_full(&self) -> bool {
        self.trend.is_full()
    }

    fn commit(
        &mut self,
        cursor: u64,
        state: Option<&[u8]>,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<(), SinkError> {
        if self.commits_left == 0 {
            self.stop.cancel();
            let what = "the process dies".to_owned();
            let cause = Cause::Stopping;
            return Err(SinkError { cause, what });
        }
        self.commits_left -= 1;
        self.trend.commit(cursor, state, runtime)
    }

    fn refused(&self) -> u64 {
        self.trend.refused()
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// Aliases 1, 2, 3 for the three tags, in this rotation.
    Birth(usize),
    Data(u64, f64),
    /// Follows until it crashes at this commit, with batches of so many bytes; or to the end.
    Follow(u64, usize),
    /// The state is gone from the file.
    Forget,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let value = prop_oneof![4 => (0i32..100).prop_map(|n| f64::from(n) / 4.0), 1 => Just(f64::NAN)];
    let act = prop_oneof![
        2 => (0usize..3).prop_map(Act::Birth),
        8 => (1u64..4, value).prop_map(|(alias, value)| Act::Data(alias, value)),
        3 => (0u64..4, 1usize..600).prop_map(|(crash, bytes)| Act::Follow(crash, bytes)),
        1 => Just(Act::Forget),
    ];
    prop::collection::vec(act, 1..40)
}

fn rotated(by: usize) -> Vec<(u64, &'static str)> {
    (1u64..4)
        .map(|alias| (alias, TAGS[(alias as usize + by) % 3]))
        .collect()
}

fn forget(folder: &Path) {
    let file = rusqlite::Connection::open(folder.join("series.db")).unwrap();
    file.execute("UPDATE cursor SET state = NULL", []).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_crash_at_any_point_gives_the_same_series(acts in acts()) {
        let mut plant = Plant::new();
        plant.birth(&rotated(0));
        for act in acts {
            match act {
                Act::Birth(by) => plant.birth(&rotated(by)),
                Act::Data(alias, value) => plant.data(alias, value),
                Act::Follow(crash_at, bytes) => {
                    let (mut follower, _) = plant.follower(crash_at, bytes);
                    while matches!(follower.step(), Ok(Step::More)) {}
                }
                Act::Forget => {
                    drop(Series::open(plant.folder.path()).unwrap());
                    forget(plant.folder.path());
                }
            }
        }
        plant.follow();
        prop_assert_eq!(plant.found(), plant.expected);
    }
}

#[test]
fn aliases_that_move_never_put_a_value_under_another_tag() {
    // Followed to the end after each entry, each time by a new process.
    let mut plant = Plant::new();
    plant.birth(&[(5, "TF.gas"), (70_000, "FACE.ch4")]);
    for (alias, value) in [(5, 1.0), (70_000, 2.0)] {
        plant.data(alias, value);
        plant.follow();
    }
    plant.birth(&[(70_000, "TF.gas"), (5, "FACE.ch4")]);
    plant.follow();
    for (alias, value) in [(5, 3.0), (70_000, 4.0)] {
        plant.data(alias, value);
        plant.follow();
    }
    // Now one of them stands for something that no point is named after.
    plant.birth(&[(5, "not.a.point"), (70_000, "not.one.either")]);
    plant.follow();
    plant.data(5, 5.0);
    plant.data(70_000, 6.0);
    plant.follow();
    assert_eq!(plant.expected.len(), 4);
    assert_eq!(plant.found(), plant.expected);
}

#[test]
fn a_configuration_that_moves_points_leaves_values_under_their_tags() {
    let mut plant = Plant::new();
    plant.birth(&rotated(0));
    plant.data(1, 1.0);
    plant.data(2, 2.0);
    plant.follow();
    // The second row goes: every point after it has another number.
    let mut files = files();
    let kept = files[1]
        .text
        .lines()
        .filter(|line| !line.starts_with("TF.pump"));
    files[1].text = kept.collect::<Vec<_>>().join("\n");
    plant.configure(files);
    for alias in 1..4 {
        plant.data(alias, alias as f64);
        plant.follow();
    }
    assert_eq!(plant.expected.len(), 5);
    assert_eq!(plant.found(), plant.expected);
}

/// Sinks that follow a plant, and waits until they have come to its last entry.
fn followed(plant: &Plant) -> (watch::Sender<u64>, Sinks) {
    let (committed, following) = watch::channel(plant.journal.last_number());
    let sinks = Sinks::start_with(plant.folder.path(), following, None, None).unwrap();
    come(&sinks, plant.journal.last_number());
    (committed, sinks)
}

fn come(sinks: &Sinks, last: u64) {
    until(|| sinks.status()[0].cursor >= last);
}

fn until(done: impl Fn() -> bool) {
    runtime().block_on(async {
        let come = async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(5));
            while !done() {
                ticks.tick().await;
            }
        };
        let limit = std::time::Duration::from_mins(1);
        tokio::time::timeout(limit, come).await.unwrap();
    });
}

/// What the sinks' series has of a tag.
fn count(sinks: &Sinks, tag: &str) -> usize {
    let all = sinks
        .series()
        .range(tag, Timestamp(0), Timestamp(i64::MAX), 1_000);
    all.unwrap().items.len()
}

#[test]
fn a_series_that_cannot_be_used_is_set_aside_and_made_again() {
    let mut plant = Plant::new();
    plant.birth(&[(1, "TF.gas")]);
    for value in 0..5 {
        plant.data(1, f64::from(value));
    }
    let (_committed, sinks) = followed(&plant);
    assert_eq!(sinks.begun_anew(), Vec::<String>::new());
    sinks.stop();
    drop(sinks);
    let file = plant.folder.path().join("series.db");
    std::fs::write(&file, "this is no database").unwrap();
    let (_committed, sinks) = followed(&plant);
    assert_eq!(sinks.status()[0].set_aside, 1);
    assert_eq!(sinks.begun_anew().len(), 1);
    assert_eq!(sinks.begun_anew(), Vec::<String>::new(), "told once");
    assert_eq!(count(&sinks, "TF.gas"), 5);
    let aside = std::fs::read(plant.folder.path().join("series.db.aside-1")).unwrap();
    assert_eq!(aside, b"this is no database");
}

#[test]
fn a_series_of_another_journal_is_set_aside_and_few_of_them_are_kept() {
    let mut plant = Plant::new();
    plant.birth(&[(1, "TF.gas")]);
    plant.data(1, 1.0);
    drop(followed(&plant));
    let other = Plant::new();
    for _ in 0..5 {
        for end in ["", "-wal", "-shm"] {
            let name = format!("series.db{end}");
            let (from, to) = (
                plant.folder.path().join(&name),
                other.folder.path().join(name),
            );
            drop(std::fs::remove_file(&to));
            if from.exists() {
                std::fs::copy(from, to).unwrap();
            }
        }
        let (_committed, sinks) = followed(&other);
        assert_eq!(sinks.status()[0].set_aside, 1);
        assert_eq!(sinks.series_cursor(), other.journal.last_number());
        assert_eq!(count(&sinks, "TF.gas"), 0);
    }
    let names = std::fs::read_dir(other.folder.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut aside: Vec<_> = names
        .filter(|name| name.starts_with("series.db.aside-"))
        .collect();
    aside.retain(|name| !name.ends_with("-wal"));
    aside.sort();
    assert_eq!(
        aside,
        [
            "series.db.aside-3",
            "series.db.aside-4",
            "series.db.aside-5"
        ]
    );
}

#[test]
fn a_series_that_is_damaged_while_the_centre_runs_is_made_again() {
    let mut plant = Plant::new();
    plant.birth(&[(1, "TF.gas")]);
    for value in 0..5 {
        plant.data(1, f64::from(value));
    }
    let stopped = followed(&plant);
    stopped.1.stop();
    drop(stopped);
    let (committed, sinks) = followed(&plant);
    let file = plant.folder.path().join("series.db");
    let length = std::fs::metadata(&file).unwrap().len() as usize;
    let mut open = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    std::io::Write::write_all(&mut open, &vec![0xAA; length]).unwrap();
    let found = sinks
        .series()
        .range("TF.gas", Timestamp(0), Timestamp(i64::MAX), 9);
    assert!(found.is_err_and(|error| error.is_damaged()));
    plant.data(1, 5.0);
    let last = plant.journal.last_number();
    committed.send_replace(last);
    until(|| sinks.status()[0].set_aside == 1);
    come(&sinks, last);
    assert_eq!(count(&sinks, "TF.gas"), 6);
}

#[test]
fn sinks_follow_what_is_committed_and_say_how_far() {
    let mut plant = Plant::new();
    plant.birth(&rotated(0));
    let (committed, following) = watch::channel(plant.journal.last_number());
    let folder = plant.folder.path().to_owned();
    let sinks = Sinks::start_with(&folder, following, None, None).unwrap();
    plant.data(1, 7.0);
    let last = plant.journal.last_number();
    committed.send_replace(last);
    runtime().block_on(async {
        let come = async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(5));
            while sinks.status()[0].cursor < last {
                ticks.tick().await;
            }
        };
        let limit = std::time::Duration::from_mins(1);
        tokio::time::timeout(limit, come).await.unwrap();
    });
    let status = sinks.status();
    assert_eq!(
        (status[0].name, status[0].lag, &status[0].error),
        ("series", 0, &None)
    );
    assert_eq!(status[0].readings, 1);
    let ((tag, at), _) = plant.expected.first_key_value().unwrap();
    let found = sinks.series().at(tag, Timestamp(*at)).unwrap();
    assert_eq!(found.items.len(), 1);
    assert!(sinks.oldest_cursor() <= last);
    sinks.stop();
    assert_eq!(sinks.status()[0].error.as_deref(), Some("it has ended"));
}

#[test]
fn pauses_grow_to_their_limit_and_differ() {
    let pauses = Pauses::default();
    let ms = |cause, failures, chance| pauses.after(cause, failures, chance).as_millis();
    let whole: Vec<_> = (1..10).map(|n| ms(Cause::Passing, n, 0)).collect();
    let expected = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
    assert_eq!(whole, expected);
    assert_eq!(ms(Cause::Passing, u32::MAX, 0), 30_000);
    assert_eq!(ms(Cause::Person, 1, 0), 30_000);
    assert_eq!(ms(Cause::Passing, 1, 512), 187);
    assert!((125..=250).contains(&ms(Cause::Passing, 1, u64::MAX)));
}

#[test]
fn each_cause_is_told_and_the_end() {
    let mut trouble = Trouble::default();
    assert_eq!(trouble.ended(), None);
    let told = ["500", "500", "401", "401", "500"].map(|what| trouble.failed(what));
    assert_eq!(told, [true, false, true, false, true]);
    assert_eq!(trouble.ended(), Some(5));
    assert_eq!(trouble.ended(), None);
    assert!(trouble.failed("500"), "it is a new one");
}

#[test]
fn behind_a_hole_no_value_is_read_with_the_aliases_from_before_it() {
    let mut plant = Plant::new();
    plant.birth(&rotated(0));
    plant.data(1, 1.0);
    let (mut follower, _) = plant.follower(u64::MAX, 1 << 20);
    while follower.step().unwrap() == Step::More {}
    // While it is away the aliases move; then all of it is pruned, with no state of the core that
    // could be read.
    let before = plant.expected.clone();
    plant.birth(&rotated(1));
    plant.data(1, 2.0);
    let last = plant.journal.last_number();
    plant.journal.snapshot(last, b"not a state").unwrap();
    let pruned = plant.journal.prune_inputs(Timestamp(i64::MAX), last);
    assert_eq!(pruned.unwrap().inputs, 4);
    plant.data(1, 3.0);
    plant.expected = before;
    while follower.step().unwrap() == Step::More {}
    drop(follower);
    assert_eq!(plant.found(), plant.expected);
    plant.birth(&rotated(2));
    plant.data(1, 4.0);
    plant.follow();
    assert_eq!(plant.expected.len(), 2);
    assert_eq!(plant.found(), plant.expected);
    // A new one, that has never seen anything.
    std::fs::remove_file(plant.folder.path().join("series.db")).unwrap();
    plant
        .expected
        .retain(|_, (value, _)| f64::from_bits(*value) > 3.5);
    plant.follow();
    assert_eq!(plant.found(), plant.expected);
}

#[test]
fn nothing_goes_by_a_time_that_no_reading_has_come_to() {
    let mut plant = Plant::new();
    plant.birth(&[(1, "TF.gas")]);
    for place in 0..300 {
        plant.data(1, f64::from(place));
    }
    let kept = Duration::from_hours(731 * 24);
    let follow = |plant: &Plant| {
        let sink = trend(plant.folder.path(), Some(kept));
        let reader = Reader::open(&file_of(plant.folder.path())).unwrap();
        let (pauses, stop) = (Pauses::default(), CancellationToken::new());
        let mut follower = Follower::new(
            "series",
            sink,
            reader,
            Arc::default(),
            pauses,
            stop,
            runtime(),
        )
        .unwrap();
        while follower.step().unwrap() == Step::More {}
    };
    // The centre's clock is years ahead, and nothing else is.
    plant.now += 3 * 365 * 86_400_000;
    plant.append(&Input::Tick);
    follow(&plant);
    assert_eq!(plant.found().len(), 300);
    plant.data(1, 1.0);
    follow(&plant);
    assert!(plant.found().len() < 300, "what is sealed goes");
}
