//! The outbox against a list of messages, through restarts and limits.

use std::collections::BTreeMap;

use davy_core::delivery::RUNS_MAX;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const LIMITS: Limits = Limits {
    bytes_max: 400,
    age_max: Duration::from_mins(1),
};

/// What the outbox should hold: every message that is neither committed nor lost.
#[derive(Default)]
struct Model {
    run: u64,
    sequence: u64,
    stored: BTreeMap<(u64, u64), (i64, Vec<u8>)>,
    account: Account,
    /// The age clock when the outbox was opened.
    began: i64,
    /// What the disk refused and the file does not know yet.
    unbooked: u64,
}

impl Model {
    fn elapsed(&self, now: i64) -> Duration {
        Duration::from_millis((now - self.began).cast_unsigned())
    }

    fn restart(&mut self) {
        self.run += 1;
        self.sequence = 0;
        // Killed: what no file was told of is forgotten, and the age clock stood meanwhile.
        let unbooked = std::mem::take(&mut self.unbooked);
        self.account.produced -= unbooked;
        self.account.lost -= unbooked;
        let newest = self.stored.values().next_back();
        self.began = newest.map_or(0, |(at, _)| *at);
    }
}

impl Outbox {
    /// Does to the file what no gateway does.
    pub(crate) fn tamper(&mut self, sql: &str) {
        self.database.execute_batch(sql).expect("sql");
    }

    /// Takes no message, or takes them again.
    pub(crate) fn refuse(&mut self, refuses: bool) {
        self.tamper(if refuses {
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON message
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        } else {
            "DROP TRIGGER IF EXISTS temp.refuse"
        });
    }

    /// The disk has room for so many bytes more.
    pub(crate) fn limit(&mut self, bytes: i64) {
        let pages: i64 = self
            .database
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .expect("pages");
        self.tamper(&format!("PRAGMA max_page_count = {}", pages + bytes / 4096));
    }
}

#[derive(Clone, Debug)]
enum Deed {
    Push(Vec<u8>),
    Commit(u64, u64, u64),
    Trim,
    Refuse(u64),
    Wait(i64),
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => prop::collection::vec(1u8..60, 1..4).prop_map(Deed::Push),
        3 => (1u64..4, 1u64..12, 0u64..6).prop_map(|(run, from, n)| Deed::Commit(run, from, n)),
        1 => Just(Deed::Trim),
        1 => (1u64..5).prop_map(Deed::Refuse),
        1 => (0i64..40_000).prop_map(Deed::Wait),
        1 => Just(Deed::Restart),
    ];
    prop::collection::vec(deed, 0..40)
}

fn open(folder: &TempDir) -> Outbox {
    Outbox::open(folder.path(), LIMITS, "first", Timestamp(0)).expect("outbox")
}

fn same(outbox: &Outbox, model: &Model) {
    let kept = outbox.after(0, 1000, usize::MAX).expect("after");
    let kept: Vec<_> = kept
        .into_iter()
        .map(|message| {
            (
                (message.number.run, message.number.sequence),
                message.payload,
            )
        })
        .collect();
    let expected: Vec<_> = model
        .stored
        .iter()
        .map(|(number, (_, payload))| (*number, payload.clone()))
        .collect();
    assert_eq!(kept, expected);
    assert_eq!(outbox.account(), model.account);
    let bytes = model.stored.values().map(|(_, payload)| payload.len());
    assert_eq!(outbox.bytes(), bytes.sum::<usize>() as u64);
    assert!(outbox.account().balances());
    for stored in outbox.stored().expect("stored") {
        let of_run: Vec<u64> = model
            .stored
            .keys()
            .filter(|(run, _)| *run == stored.run)
            .map(|(_, sequence)| *sequence)
            .collect();
        match (of_run.first(), of_run.last()) {
            (Some(first), Some(last)) => assert_eq!((stored.first, stored.last), (*first, *last)),
            _ => assert_eq!((stored.run, stored.last), (model.run, model.sequence)),
        }
    }
}

/// A new one is opened while the old one was never closed, but for the lock that goes with a process.
fn kill(outbox: &mut Outbox, folder: &TempDir) {
    let elsewhere = tempfile::tempdir().expect("folder");
    let lock = Lock::take(&elsewhere.path().join("lock")).expect("a lock");
    drop(std::mem::replace(&mut outbox.lock, lock));
    let old = std::mem::replace(outbox, open(folder));
    std::mem::forget(old);
}

fn act(outbox: &mut Outbox, model: &mut Model, now: &mut i64, folder: &TempDir, deed: Deed) {
    match deed {
        Deed::Push(lengths) => {
            let payloads: Vec<Vec<u8>> = lengths
                .iter()
                .map(|length| vec![*length; usize::from(*length)])
                .collect();
            let messages: Vec<_> = payloads
                .iter()
                .map(|payload| NewMessage {
                    device: "u",
                    payload,
                })
                .collect();
            assert_eq!(outbox.next_number().sequence, model.sequence + 1);
            outbox.push(model.elapsed(*now), &messages).expect("push");
            for payload in payloads {
                model.sequence += 1;
                model
                    .stored
                    .insert((model.run, model.sequence), (*now, payload));
                model.account.produced += 1;
            }
        }
        Deed::Commit(run, from, count) => {
            let mut ranges = Ranges::default();
            ranges.insert_range(from, from + count);
            outbox.committed([(run, &ranges)]).expect("committed");
            for sequence in from..=from + count {
                if model.stored.remove(&(run, sequence)).is_some() {
                    model.account.committed += 1;
                }
            }
        }
        Deed::Trim => {
            outbox.trim(model.elapsed(*now)).expect("trim");
            model.unbooked = 0;
            let bytes = |model: &Model| -> usize {
                model
                    .stored
                    .values()
                    .map(|(_, payload)| payload.len())
                    .sum()
            };
            while let Some(oldest) = model.stored.first_entry()
                && oldest.get().0 < *now - 60_000
            {
                oldest.remove();
                model.account.lost += 1;
            }
            while bytes(model) > 400 {
                model.stored.pop_first();
                model.account.lost += 1;
            }
        }
        Deed::Refuse(count) => {
            outbox.refused(count);
            model.account.produced += count;
            model.account.lost += count;
            model.unbooked += count;
        }
        Deed::Wait(ms) => *now += ms,
        Deed::Restart => {
            kill(outbox, folder);
            model.restart();
            *now = model.began;
        }
    }
    model.account.stored = model.stored.len() as u64;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_outbox_is_the_list_of_what_is_not_committed(deeds in deeds()) {
        let folder = tempfile::tempdir().expect("folder");
        let (mut outbox, mut model, mut now) = (open(&folder), Model { run: 1, ..Model::default() }, 0);
        for deed in deeds {
            act(&mut outbox, &mut model, &mut now, &folder, deed);
            same(&outbox, &model);
        }
    }
}

#[test]
fn no_number_is_used_twice_after_a_power_cut_took_messages_back() {
    let folder = tempfile::tempdir().expect("folder");
    let payload = [1u8; 8];
    let message = NewMessage {
        device: "u",
        payload: &payload,
    };
    let mut outbox = open(&folder);
    outbox.push(Duration::ZERO, &[message; 3]).expect("push");
    outbox.sync().expect("sync");
    // The log of everything since the last sync is torn away.
    let synced = std::fs::read(folder.path().join(FILE)).expect("file");
    outbox.push(Duration::ZERO, &[message; 2]).expect("push");
    drop(outbox);
    std::fs::write(folder.path().join(FILE), synced).expect("file");
    for side in ["-wal", "-shm"] {
        let side = folder.path().join(format!("{FILE}{side}"));
        if side.exists() {
            std::fs::remove_file(side).expect("log");
        }
    }
    let mut outbox = open(&folder);
    assert_eq!(
        outbox.next_number(),
        MessageNumber {
            run: 2,
            sequence: 1
        }
    );
    outbox.push(Duration::ZERO, &[message]).expect("push");
    // The centre had all five of run 1; nothing of run 2 is freed by saying so.
    let mut ranges = Ranges::default();
    ranges.insert_range(1, 5);
    assert_eq!(outbox.committed([(1, &ranges)]).expect("committed"), 3);
    assert_eq!(outbox.account().stored, 1);
    assert!(outbox.account().balances());
}

#[test]
fn a_full_disk_refuses_the_message_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().expect("folder");
    let mut outbox = open(&folder);
    outbox.limit(0);
    let payload = vec![7u8; 60_000];
    let message = NewMessage {
        device: "u",
        payload: &payload,
    };
    let refused = outbox.push(Duration::ZERO, &[message]);
    assert!(
        matches!(refused, Err(OutboxError::NoRoom { .. })),
        "{refused:?}"
    );
    assert!(outbox.account().balances() && outbox.account().produced == 0);
    outbox.limit(1 << 20);
    outbox.push(Duration::ZERO, &[message]).expect("push");
    assert_eq!(outbox.account().stored, 1);
}

#[test]
fn the_first_name_of_an_outbox_stays() {
    let folder = tempfile::tempdir().expect("folder");
    drop(open(&folder));
    let again = Outbox::open(folder.path(), LIMITS, "second", Timestamp(0)).expect("outbox");
    assert_eq!(again.instance(), "first");
    assert_eq!(again.run(), 2);
}

#[test]
fn a_run_is_newer_than_the_last_one_and_of_its_own_time() {
    let folder = tempfile::tempdir().expect("folder");
    let run = |ms| {
        let outbox = Outbox::open(folder.path(), LIMITS, "a", Timestamp(ms));
        outbox.expect("outbox").run()
    };
    assert_eq!(
        run(5_000),
        5_000,
        "a copy that starts at another time differs"
    );
    assert_eq!(run(4_000), 5_001, "though the clock was set back");
    assert_eq!(run(9_000), 9_000);
}

#[test]
fn a_gateway_that_started_thousands_of_times_names_every_run_that_it_keeps() {
    let folder = TempDir::new().expect("folder");
    // As many starts with one message each, during one long outage.
    let starts = RUNS_MAX as i64 + 7;
    let mut outbox = open(&folder);
    outbox.tamper(&format!(
        "DELETE FROM run;
         WITH RECURSIVE one (run) AS (SELECT 1 UNION ALL SELECT run + 1 FROM one WHERE run < {starts})
         INSERT INTO run SELECT run, run - 1 FROM one;
         INSERT INTO message SELECT base + 1, 0, 'u', x'00' FROM run;
         UPDATE number SET value = {starts} WHERE name IN ('produced', 'bytes', 'last_run')"
    ));
    drop(outbox);
    let mut outbox = open(&folder);
    let stored = outbox.stored().expect("stored");
    assert_eq!(stored.len(), RUNS_MAX);
    let named = stored.iter().map(|kept| kept.last + 1 - kept.first);
    let account = outbox.account();
    assert_eq!(
        named.sum::<u64>(),
        account.stored,
        "whatever is kept is named"
    );
    assert!(account.balances());
    assert_eq!(
        account.lost, 8,
        "the oldest have made room for the present run"
    );
    // All of it is committed at one word, and nothing is left to be named but the present run.
    let mut one = Ranges::default();
    one.insert(1);
    let runs: Vec<_> = stored.iter().map(|kept| (kept.run, &one)).collect();
    let freed = outbox.committed(runs).expect("freed");
    assert_eq!(freed, account.stored);
    assert_eq!(outbox.stored().expect("stored").len(), 1);
    assert!(outbox.account().balances() && outbox.bytes() == 0);
}

#[test]
fn a_syncer_works_beside_the_outbox() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(folder.path(), LIMITS, "a", Timestamp(0)).unwrap();
    let mut syncer = outbox.syncer().unwrap();
    let message = NewMessage {
        device: "u",
        payload: b"x",
    };
    outbox.push(Duration::ZERO, &[message]).unwrap();
    // What is in the log is then in the file itself: the log may be taken away.
    syncer.sync().unwrap();
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join(FILE), copy.path().join(FILE)).unwrap();
    let copied = Outbox::open(copy.path(), LIMITS, "a", Timestamp(0)).unwrap();
    assert_eq!(copied.account().stored, 1);
}

#[test]
fn age_is_the_time_that_the_gateway_ran() {
    let folder = tempfile::tempdir().unwrap();
    let message = NewMessage {
        device: "u",
        payload: b"x",
    };
    let ms = Duration::from_millis;
    let mut outbox = open(&folder);
    for at in [0, 1, 100] {
        outbox.push(ms(at), &[message]).unwrap();
    }
    assert_eq!(outbox.trim(LIMITS.age_max + ms(1)).unwrap(), 1);
    drop(outbox);
    // However long it was off: the newest is as old as it was when it was stored.
    let mut outbox = open(&folder);
    outbox.push(ms(50), &[message]).unwrap();
    assert_eq!(outbox.trim(ms(0)).unwrap(), 0);
    assert_eq!(outbox.trim(ms(59_902)).unwrap(), 1);
    assert_eq!(outbox.trim(LIMITS.age_max + ms(1)).unwrap(), 1);
    assert_eq!(outbox.account().stored, 1);
    assert!(outbox.account().balances());
}

#[test]
fn what_the_disk_refused_is_in_the_books_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = open(&folder);
    outbox.limit(0);
    let payload = vec![7u8; 60_000];
    let message = NewMessage {
        device: "u",
        payload: &payload,
    };
    outbox.push(Duration::ZERO, &[message; 2]).unwrap_err();
    outbox.refused(2);
    assert_eq!((outbox.account().produced, outbox.account().lost), (2, 2));
    outbox.trim(Duration::ZERO).unwrap();
    drop(outbox);
    let outbox = open(&folder);
    assert_eq!((outbox.account().produced, outbox.account().lost), (2, 2));
    assert!(outbox.account().balances());
}

/// The syncer alone keeps the log short, and storing writes nothing but the log.
#[test]
fn storing_leaves_the_log_to_the_syncer() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(
        folder.path(),
        Limits {
            bytes_max: 1 << 30,
            age_max: LIMITS.age_max,
        },
        "a",
        Timestamp(0),
    )
    .unwrap();
    let file = folder.path().join(FILE);
    let before = std::fs::metadata(&file).unwrap().len();
    let payload = vec![7u8; 60_000];
    let message = NewMessage {
        device: "u",
        payload: &payload,
    };
    for _ in 0..200 {
        outbox.push(Duration::ZERO, &[message]).unwrap();
    }
    assert_eq!(std::fs::metadata(&file).unwrap().len(), before);
    outbox.syncer().unwrap().sync().unwrap();
    assert!(std::fs::metadata(&file).unwrap().len() > 200 * 60_000);
}

#[test]
fn two_gateways_never_write_one_outbox() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(&folder);
    let second = Outbox::open(folder.path(), LIMITS, "b", Timestamp(0));
    let Err(refused) = second else {
        panic!("the second one is let in")
    };
    let said = refused.to_string();
    let process = std::process::id().to_string();
    assert!(
        said.contains("outbox.lock") && said.contains(&process),
        "{said}"
    );
    drop(outbox);
    open(&folder);
}
