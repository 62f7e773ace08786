//! Old messages go, and what was found in them stays; a sink that is away holds them for a while.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::TcpListener;
use std::path::Path;

use davy_core::hazard::{EvidencePart, HazardCommand, HazardStep};
use std::sync::atomic::Ordering;
use tokio::sync::watch;

use super::*;
use crate::centre::tests::{POINTS, Run};
use crate::journal::{Kind, Reader, verify};
use crate::replay::replay;
use crate::sinks::InfluxConfig;

const DAY: Duration = Duration::from_hours(24);

/// A journal of two runs, so that it has its two snapshots, and a third that goes on.
///
/// In the first an entry of the ledger is found and its evidence filed.
async fn grown(folder: &Path) -> Run {
    let run = Run::start(folder, POINTS);
    run.born().await;
    for sequence in 1..20 {
        run.value(sequence, 9.0).await;
    }
    let step = HazardStep::FileEvidence {
        part: EvidencePart::Before,
        content: Box::new(serde_json::json!({ "trend": [1, 2, 3] })),
    };
    let command = HazardCommand {
        hazard: 1,
        by: "system".into(),
        comment: String::new(),
        step,
    };
    run.centre.command(Input::Hazard(command)).await.unwrap();
    run.stop().await;
    let run = Run::start(folder, POINTS);
    run.value(20, 9.0).await;
    run.stop().await;
    let run = Run::start(folder, POINTS);
    run.value(21, 9.0).await;
    run
}

async fn number(run: &Run) -> u64 {
    run.centre.ask(Watch::number).await.unwrap()
}

/// Sinks that have followed up to now, synced.
async fn caught_up(folder: &Path, run: &Run) -> Sinks {
    caught_up_to(folder, number(run).await).await
}

async fn caught_up_to(folder: &Path, number: u64) -> Sinks {
    let start = |number| {
        let (committed, following) = watch::channel(number);
        (
            committed,
            Sinks::start_with(folder, following, None, None).unwrap(),
        )
    };
    let (_committed, sinks) = start(number);
    followed(&sinks, number).await;
    sinks
}

/// Waits until the series has come to an entry.
async fn followed(sinks: &Sinks, number: u64) {
    let come = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while sinks.series_cursor() < number {
            ticks.tick().await;
        }
    };
    let patience = Duration::from_mins(1);
    tokio::time::timeout(patience, come).await.unwrap();
}

/// One look at `now`.
async fn pass(
    retention: Retention,
    centre: &Centre,
    sinks: &Sinks,
    now: Timestamp,
) -> Result<(), Unanswered> {
    match prune(retention, centre, sinks, now).await? {
        Some(holding) => tell(centre, &holding).await,
        None => Ok(()),
    }
}

fn later(run: &Run, days: u32) -> Timestamp {
    run.centre.now() + DAY * days
}

/// Readings have come to a later day.
async fn ahead(run: &Run, days: u32) {
    run.taken(22, 9.0, later(run, days), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn old_messages_go_and_all_that_followed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let run = grown(folder.path()).await;
    let sinks = caught_up(folder.path(), &run).await;
    let retention = Retention::default();
    let young = later(&run, 29);
    pass(retention, &run.centre, &sinks, young).await.unwrap();
    let proven = || verify::verify(folder.path(), &[], |_, _| {}).unwrap();
    assert_eq!(proven().pruned, 0);
    let old = later(&run, 31);
    pass(retention, &run.centre, &sinks, old).await.unwrap();
    assert_eq!(proven().pruned, 0, "only the centre's clock is there yet");
    sinks.stop();
    ahead(&run, 31).await;
    let sinks = caught_up(folder.path(), &run).await;
    let ahead_ms = &run.centre.clock.test_ahead_ms;
    ahead_ms.store(86_400_000, Ordering::Release);
    run.centre.now();
    pass(retention, &run.centre, &sinks, old).await.unwrap();
    assert_eq!(
        proven().pruned,
        0,
        "the host's clock is not as it should be"
    );
    ahead_ms.store(0, Ordering::Release);
    run.centre.now();
    pass(retention, &run.centre, &sinks, old).await.unwrap();
    let verified = proven();
    // Births of node and unit, and 19 values, before the older snapshot; what follows it stays.
    assert_eq!(verified.pruned, 21);
    assert!(!run.names().await.contains_key(ALARM));
    let reader = Reader::open(folder.path()).unwrap();
    let through = reader.pruned_through().unwrap();
    let entries = reader.read_on(0, usize::MAX, 1_000).unwrap();
    for entry in &entries {
        let is_gone = entry.kind == Kind::Message && entry.number <= through;
        assert_eq!(entry.input.is_none(), is_gone, "entry {}", entry.number);
    }
    let evidence = entries.iter().find(|entry| entry.kind == Kind::Command);
    assert!(evidence.unwrap().number <= through);
    // The replay begins at the snapshot and says so.
    let replayed = replay(folder.path(), |_, _| {}).unwrap();
    assert_eq!(replayed.through, verified.last);
    assert_eq!(replayed.from, through + 1);
    sinks.stop();
    run.stop().await;
    // And it starts again, to the same alarms.
    let run = Run::start(folder.path(), POINTS);
    assert!(run.names().await.contains_key("TF.a.gas2"));
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn where_nothing_is_old_enough_all_is_replayed_and_all_trends_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = grown(folder.path()).await;
    ahead(&run, 29).await;
    let sinks = caught_up(folder.path(), &run).await;
    pass(Retention::default(), &run.centre, &sinks, later(&run, 29))
        .await
        .unwrap();
    sinks.stop();
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.pruned_through().unwrap(), 0);
    assert_eq!(replay(folder.path(), |_, _| {}).unwrap().from, 1);
    let restored = tempfile::tempdir().unwrap();
    let to = restored.path().join(crate::journal::FILE);
    crate::journal::backup::backup(folder.path(), &to, |_, _| {}).unwrap();
    assert_eq!(replay(restored.path(), |_, _| {}).unwrap().from, 1);
    for file in ["series.db", "series.db-wal", "series.db-shm"] {
        drop(std::fs::remove_file(folder.path().join(file)));
    }
    for folder in [folder.path(), restored.path()] {
        let number = Reader::open(folder).unwrap().latest().unwrap();
        let sinks = caught_up_to(folder, number).await;
        let (from, to) = (Timestamp(0), Timestamp(i64::MAX));
        let found = sinks.series().range("TF.a", from, to, 1_000).unwrap();
        assert_eq!(found.items.len(), 22);
    }
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_sink_that_is_away_holds_them_for_a_while_and_is_alarmed() {
    let folder = tempfile::tempdir().unwrap();
    let run = grown(folder.path()).await;
    caught_up(folder.path(), &run).await.stop();
    // Nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let influx = InfluxConfig {
        url: format!("http://{}", address.unwrap()),
        org: "works".into(),
        bucket: "davy".into(),
        token: String::new(),
    };
    let committed = run.centre.committed();
    let sinks = Sinks::start_with(folder.path(), committed, Some(influx), None).unwrap();
    ahead(&run, 61).await;
    followed(&sinks, number(&run).await).await;
    let reader = Reader::open(folder.path()).unwrap();
    let retention = Retention::default();
    let old = later(&run, 31);
    pass(retention, &run.centre, &sinks, old).await.unwrap();
    assert!(run.names().await.contains_key(ALARM));
    let before = number(&run).await;
    pass(retention, &run.centre, &sinks, old).await.unwrap();
    assert_eq!(number(&run).await, before, "told once");
    let gone = |entries: &[crate::journal::reader::StoredEntry]| {
        entries.iter().filter(|entry| entry.input.is_none()).count()
    };
    let read = || reader.read_on(0, usize::MAX, 1_000).unwrap();
    assert_eq!(gone(&read()), 0, "held");
    let too_old = later(&run, 61);
    pass(retention, &run.centre, &sinks, too_old).await.unwrap();
    assert_eq!(gone(&read()), 21, "no longer");
    sinks.stop();
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_new_sink_on_a_pruned_journal_knows_what_births_said() {
    let folder = tempfile::tempdir().unwrap();
    let run = grown(folder.path()).await;
    // What the first one stored is synced at its end.
    caught_up(folder.path(), &run).await.stop();
    ahead(&run, 31).await;
    let sinks = caught_up(folder.path(), &run).await;
    let all = || {
        let (from, to) = (Timestamp(0), Timestamp(i64::MAX));
        sinks.series().range("TF.a", from, to, 1_000).unwrap().items
    };
    let before = all();
    assert_eq!(before.len(), 22);
    let old = later(&run, 31);
    pass(Retention::default(), &run.centre, &sinks, old)
        .await
        .unwrap();
    sinks.stop();
    for file in ["series.db", "series.db-wal", "series.db-shm"] {
        drop(std::fs::remove_file(folder.path().join(file)));
    }
    let sinks = caught_up(folder.path(), &run).await;
    let (from, to) = (Timestamp(0), Timestamp(i64::MAX));
    let found = sinks.series().range("TF.a", from, to, 1_000).unwrap().items;
    assert_eq!(found, before[19..], "those after the snapshot");
    run.stop().await;
}

/// A server that answers every request so, for as long as the test runs.
fn answering(status: &'static str) -> InfluxConfig {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let read = std::io::Read::read(&mut stream, &mut [0; 16_384]);
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            if read.is_ok() {
                // Whoever has gone away is not told.
                std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap_or_default();
            }
        }
    });
    InfluxConfig {
        url,
        org: "works".into(),
        bucket: "davy".into(),
        token: "secret".into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_not_let_in_is_alarmed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let run = grown(folder.path()).await;
    let influx = answering("401 Unauthorized");
    let committed = run.centre.committed();
    let sinks = Sinks::start_with(folder.path(), committed, Some(influx), None).unwrap();
    let (cancel, centre) = (CancellationToken::new(), run.centre.clone());
    let retention = Retention::default();
    let task = tokio::spawn(super::run(retention, centre, sinks.clone(), cancel.clone()));
    let alarmed = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !run.names().await.contains_key(ALARM) {
            ticks.tick().await;
        }
    };
    let patience = Duration::from_mins(1);
    tokio::time::timeout(patience, alarmed).await.unwrap();
    let why = sinks.status()[1].error.clone().unwrap();
    assert!(why.contains("401"), "{why}");
    cancel.cancel();
    task.await.unwrap();
    sinks.stop();
    run.stop().await;
}

#[test]
fn what_may_pass_by_itself_is_alarmed_when_it_does_not() {
    let status = |error: Option<&str>, needs_person| SinkStatus {
        name: "influxdb",
        cursor: 1,
        lag: 9,
        through: Timestamp(0),
        readings: 0,
        failures: 1,
        refused: 0,
        pruned: 0,
        unreadable: 0,
        error: error.map(str::to_owned),
        needs_person,
        set_aside: 0,
    };
    let late = Retention::default().late;
    let ms = late.as_millis() as i64;
    let told = |status, at| stuck(&[status], late, Timestamp(at));
    assert!(told(status(Some("500"), false), ms - 1).is_empty());
    assert_eq!(
        told(status(Some("500"), false), ms),
        ["influxdb gets no further: 500"]
    );
    assert_eq!(told(status(Some("401"), true), 0).len(), 1);
    // One that catches up may be behind by days.
    assert!(told(status(None, false), 9 * ms).is_empty());
}
