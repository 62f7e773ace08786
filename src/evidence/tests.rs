//! Evidence under a series that lags, that cannot be read, and of what came late.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use davy_core::config::Config;
use tokio::sync::watch as committed;

use super::*;
use crate::centre::tests::{POINTS, Run};

/// A centre whose series follows only as far as the test lets it.
struct House {
    folder: tempfile::TempDir,
    run: Run,
    sinks: Sinks,
    committed: committed::Sender<u64>,
    freezer: Freezer,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::start(folder.path(), POINTS);
        run.born().await;
        let number = run.centre.ask(Watch::number).await.unwrap();
        let (committed, following) = committed::channel(number);
        let sinks = Sinks::start_with(folder.path(), following, None, None).unwrap();
        let freezer = Freezer::new(run.centre.clone(), sinks.clone(), folder.path().to_owned());
        let house = Self {
            folder,
            run,
            sinks,
            committed,
            freezer,
        };
        house.series_follows().await;
        house
    }

    async fn number(&self) -> u64 {
        self.run.centre.ask(Watch::number).await.unwrap()
    }

    /// A value of a moment ago.
    async fn live(&self, sequence: u64, value: f64) {
        let now = self.run.centre.now();
        let at = Timestamp(now.0 - 1_000) + Duration::from_millis(sequence);
        self.run.taken(sequence, value, at, false).await;
    }

    /// A moment after all that was sent.
    async fn now(&self) -> Timestamp {
        self.number().await;
        self.run.centre.now()
    }

    /// Lets the series come as far as the journal is now, and no farther.
    async fn series_follows(&self) {
        let number = self.number().await;
        self.committed.send_replace(number);
        let come = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(5));
            while self.sinks.series_cursor() < number {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), come)
            .await
            .unwrap();
    }

    /// Halves that are filed: those of the first entry, with what the journal keeps of them.
    async fn filed(&self) -> BTreeMap<EvidencePart, (String, Value)> {
        let hazard = self.run.centre.ask(|watch| {
            let first = watch.ledger().hazards().next();
            first.map(|hazard| hazard.evidence.clone())
        });
        let numbers = hazard.await.unwrap().unwrap();
        let reader = Reader::open(self.folder.path()).unwrap();
        let read = |number: u64| {
            let entry = reader.read_on(number - 1, 1, 1).unwrap().remove(0);
            let input = crate::entry::decode(entry.kind, &entry.input.unwrap()).unwrap();
            match input {
                Input::Hazard(HazardCommand {
                    comment,
                    step: HazardStep::FileEvidence { content, .. },
                    ..
                }) => (comment, *content),
                other => panic!("{other:?}"),
            }
        };
        let halves = numbers.iter().map(|(part, number)| (*part, read(*number)));
        halves.collect()
    }

    async fn end(self) {
        self.run.stop().await;
        self.sinks.stop();
    }
}

/// Above every limit of `TF.a`.
const HIGH: f64 = 9.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn evidence_is_filed_while_inputs_go_on_coming_and_the_series_lags() {
    let mut house = House::new().await;
    house.live(1, 1.0).await;
    house.live(2, HIGH).await;
    let now = house.run.centre.now();
    house.freezer.pass(now).await.unwrap();
    assert!(
        house.filed().await.is_empty(),
        "its readings are on the way"
    );
    // Another input comes before the series has come so far, and again one after it: it never
    // stands at the newest number.
    house.live(3, HIGH).await;
    house.series_follows().await;
    house.live(4, HIGH).await;
    assert!(house.sinks.series_cursor() < house.number().await);
    house.freezer.pass(now).await.unwrap();
    let filed = house.filed().await;
    let (_, before) = &filed[&EvidencePart::Before];
    assert_eq!(before["trend"][0]["tag"], "TF.a");
    assert!(
        !before["trend"][0]["readings"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    // The other half likewise, ten minutes later.
    let later = now + REACH + Duration::from_secs(1);
    house.freezer.pass(later).await.unwrap();
    house.live(5, HIGH).await;
    house.series_follows().await;
    house.live(6, HIGH).await;
    house.freezer.pass(later).await.unwrap();
    assert_eq!(house.filed().await.len(), 2);
    assert!(
        house.freezer.waiting.len() <= 2,
        "what is filed is forgotten"
    );
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_came_late_is_shown_around_the_time_it_was_taken() {
    let mut house = House::new().await;
    let now = house.run.centre.now();
    let taken = Timestamp(now.0 - 7_200_000);
    for (sequence, value) in [(1, 1.0), (2, HIGH), (3, HIGH), (4, 1.0)] {
        let at = taken + Duration::from_mins(sequence);
        house.run.taken(sequence, value, at, true).await;
    }
    house.series_follows().await;
    let now = house.now().await;
    house.freezer.pass(now).await.unwrap();
    house.series_follows().await;
    house
        .freezer
        .pass(now + REACH + Duration::from_secs(1))
        .await
        .unwrap();
    let filed = house.filed().await;
    assert_eq!(filed.len(), 2);
    let raised = (taken + Duration::from_mins(2)).0;
    for (part, from) in [
        (EvidencePart::Before, raised - 600_000),
        (EvidencePart::After, raised),
    ] {
        let content = &filed[&part].1;
        assert_eq!(content["moment_ms"], raised);
        assert_eq!(content["from_ms"], from);
        let readings = content["trend"][0]["readings"].as_array().unwrap();
        assert!(!readings.is_empty(), "{part:?}");
    }
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_gateway_whose_clock_is_an_hour_off_has_its_evidence() {
    for off in [-3_600_000, 3_600_000] {
        let mut house = House::new().await;
        let now = house.run.centre.now();
        for (sequence, value) in (1..).zip([1.0, 1.0, 1.0, HIGH, HIGH]) {
            let at = Timestamp(now.0 + off) + Duration::from_secs(sequence);
            house.run.taken(sequence, value, at, false).await;
        }
        house.series_follows().await;
        let now = house.now().await;
        house.freezer.pass(now).await.unwrap();
        house.series_follows().await;
        let later = now + REACH + Duration::from_secs(1);
        house.freezer.pass(later).await.unwrap();
        let filed = house.filed().await;
        for (part, expected) in [(EvidencePart::Before, 4), (EvidencePart::After, 2)] {
            let (comment, content) = &filed[&part];
            assert_eq!(comment, "");
            let readings = content["trend"][0]["readings"].as_array().unwrap();
            assert_eq!(readings.len(), expected, "{part:?}, {off} ms off");
        }
        house.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_trend_without_the_reading_that_raised_the_alarm_was_not_read() {
    let mut house = House::new().await;
    house.live(1, HIGH).await;
    house.series_follows().await;
    let key = (1, EvidencePart::Before);
    let half = house.run.centre.ask(move |watch| {
        let found = Due::new(watch, key).unwrap();
        half(watch.config(), watch.concerns(), &found)
    });
    let half = half.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let empty = crate::sinks::series::Series::open(folder.path()).unwrap();
    let frozen = freeze(&empty.reader().unwrap(), house.folder.path(), &half);
    let why = frozen.unread.unwrap();
    assert!(why.contains("the reading that raised it"), "{why}");
    let now = house.now().await;
    house.freezer.pass(now).await.unwrap();
    assert_eq!(house.filed().await.len(), 1, "in its own series it is");
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_trend_that_cannot_be_read_is_tried_again_and_not_filed_as_empty() {
    let mut house = House::new().await;
    house.live(1, HIGH).await;
    house.series_follows().await;
    let file = rusqlite::Connection::open(house.folder.path().join("series.db")).unwrap();
    file.execute_batch("ALTER TABLE blocks RENAME TO away")
        .unwrap();
    let mut now = house.now().await;
    for _ in 0..3 {
        house.freezer.pass(now).await.unwrap();
        assert!(house.filed().await.is_empty());
        now = now + RETRY_LONGEST;
    }
    file.execute_batch("ALTER TABLE away RENAME TO blocks")
        .unwrap();
    house.freezer.pass(now).await.unwrap();
    let (comment, content) = house.filed().await.remove(&EvidencePart::Before).unwrap();
    assert_eq!(comment, "");
    assert!(
        !content["trend"][0]["readings"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    // Were it never mended, the half is filed with the reason, so that the entry can go on.
    file.execute_batch("ALTER TABLE blocks RENAME TO away")
        .unwrap();
    house.series_follows().await;
    now = now + REACH + RETRY_LONGEST;
    for _ in 0..READ_TRIES {
        assert_eq!(house.filed().await.len(), 1);
        house.freezer.pass(now).await.unwrap();
        // Not before its pause is over.
        house.freezer.pass(now).await.unwrap();
        now = now + RETRY_LONGEST;
    }
    let (comment, content) = house.filed().await.remove(&EvidencePart::After).unwrap();
    assert!(comment.contains("could not be read"), "{comment}");
    let why = content["trend"][0]["unread"].as_str().unwrap();
    assert!(why.contains("no such table"), "{why}");
    file.execute_batch("ALTER TABLE away RENAME TO blocks")
        .unwrap();
    house.end().await;
}

#[test]
fn the_limits_of_every_point_of_the_demo_are_found() {
    let files = crate::demo::files(2).unwrap_or_default();
    let config = davy_core::config::check(&files).unwrap_or_else(|_| Config::empty());
    assert!(!config.points.is_empty());
    for own in (0..config.points.len() as u32).map(PointId) {
        let of_point = |alarm: &&AlarmDefinition| {
            alarm.subject == Subject::Point(own) && matches!(alarm.condition, Condition::Limit(_))
        };
        let looked_for: Vec<_> = config.alarms.iter().filter(of_point).collect();
        let found: Vec<_> = limits_at(&config.alarms, own)
            .map(|(alarm, _)| alarm)
            .collect();
        assert_eq!(found, looked_for, "{own:?}");
    }
}

/// A minute of a curve of so many readings, each with its place as value but for a peak and a gap.
fn curve(readings: i64) -> Vec<Sample> {
    let sample = |place| Sample {
        at: Timestamp(1_000_000 + place * 60_000 / readings),
        value: match place {
            777 => 1e6,
            800 => f64::NAN,
            _ => place as f64,
        },
        quality: davy_core::reading::Quality::Good,
    };
    (0..readings).map(sample).collect()
}

#[test]
fn a_curve_is_thinned_to_its_ends_and_extremes() {
    let all = curve(OWN_MAX as i64);
    assert_eq!(thin(&all, OWN_MAX).len(), all.len(), "nothing is left out");
    let dense = curve(6_000);
    for kept in [NEIGHBOUR_MAX, OWN_MAX, 1] {
        let thinned = thin(&dense, kept);
        assert!(thinned.len() <= kept.max(4), "{kept}: {}", thinned.len());
        assert!(thinned.len() > kept / 3, "{kept}: {}", thinned.len());
        assert!(thinned.is_sorted_by(|one, next| one.at < next.at));
        let ends = (thinned.first().unwrap().at, thinned.last().unwrap().at);
        assert_eq!(ends, (dense[0].at, dense[5_999].at));
        assert!(
            thinned.iter().any(|sample| sample.value > 9e5),
            "the peak stays"
        );
    }
    assert!(thin(&[], 10).is_empty());
    // All at one moment, or without a value.
    let mut still = dense;
    for sample in &mut still {
        (sample.at, sample.value) = (Timestamp(5), f64::NAN);
    }
    assert_eq!(thin(&still, NEIGHBOUR_MAX).len(), 2);
}

#[test]
fn an_entry_is_no_larger_than_it_may_be_whatever_the_rate() {
    let folder = tempfile::tempdir().unwrap();
    let mut series = crate::sinks::series::Series::open(folder.path()).unwrap();
    let tags: Vec<String> = (0..POINTS_MAX)
        .map(|place| format!("TF-{place}.pressure"))
        .collect();
    let found_at = Timestamp(1_764_000_000_000);
    let begin = found_at.0 - REACH.as_millis() as i64;
    for tag in &tags {
        let point = series.point(tag).unwrap();
        for place in 0..6_000 {
            let at = Timestamp(begin + place * 100);
            let value = (place as f64).sin() * 100.0;
            series
                .append(point, at, value, davy_core::reading::Quality::Good)
                .unwrap();
        }
    }
    series.commit_with(1, None).unwrap();
    let half = Half {
        part: EvidencePart::Before,
        found_at,
        occurrence: None,
        at_once: false,
        by_value: false,
        tags,
        limits: Value::Null,
        rule: Value::Null,
    };
    let frozen = freeze(&series.reader().unwrap(), folder.path(), &half);
    assert_eq!(frozen.unread, None);
    assert_eq!(frozen.trend[0]["of"], 6_000);
    let bytes = serde_json::to_vec(&frozen.trend).unwrap().len();
    println!("one half: {bytes} bytes");
    assert!(bytes < 85_000, "{bytes} bytes");
}
