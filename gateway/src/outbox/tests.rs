//! The outbox against a list of messages, through restarts and limits.

use std::collections::BTreeMap;

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
}

#[derive(Clone, Debug)]
enum Deed {
    Push(Vec<u8>),
    Commit(u64, u64, u64),
    Trim,
    Wait(i64),
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => prop::collection::vec(1u8..60, 1..4).prop_map(Deed::Push),
        3 => (1u64..4, 1u64..12, 0u64..6).prop_map(|(run, from, n)| Deed::Commit(run, from, n)),
        1 => Just(Deed::Trim),
        1 => (0i64..40_000).prop_map(Deed::Wait),
        1 => Just(Deed::Restart),
    ];
    prop::collection::vec(deed, 0..40)
}

fn open(folder: &TempDir) -> Outbox {
    Outbox::open(folder.path(), LIMITS, "first").expect("outbox")
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
            outbox.push(Timestamp(*now), &messages).expect("push");
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
            outbox.trim(Timestamp(*now)).expect("trim");
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
        Deed::Wait(ms) => *now += ms,
        Deed::Restart => {
            // The new one is opened while the old one was never closed: as after a kill.
            let old = std::mem::replace(outbox, open(folder));
            std::mem::forget(old);
            model.run += 1;
            model.sequence = 0;
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
    outbox.push(Timestamp(0), &[message; 3]).expect("push");
    outbox.sync().expect("sync");
    // The log of everything since the last sync is torn away.
    let synced = std::fs::read(folder.path().join(FILE)).expect("file");
    outbox.push(Timestamp(0), &[message; 2]).expect("push");
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
    outbox.push(Timestamp(0), &[message]).expect("push");
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
    let pages: i64 = outbox
        .database
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .expect("pages");
    outbox
        .database
        .pragma_update(None, "max_page_count", pages)
        .expect("limit");
    let payload = vec![7u8; 60_000];
    let message = NewMessage {
        device: "u",
        payload: &payload,
    };
    let refused = outbox.push(Timestamp(0), &[message]);
    assert!(
        matches!(refused, Err(OutboxError::NoRoom { .. })),
        "{refused:?}"
    );
    assert!(outbox.account().balances() && outbox.account().produced == 0);
    outbox
        .database
        .pragma_update(None, "max_page_count", pages + 100)
        .expect("limit");
    outbox.push(Timestamp(0), &[message]).expect("push");
    assert_eq!(outbox.account().stored, 1);
}

#[test]
fn the_first_name_of_an_outbox_stays() {
    let folder = tempfile::tempdir().expect("folder");
    drop(open(&folder));
    let again = Outbox::open(folder.path(), LIMITS, "second").expect("outbox");
    assert_eq!(again.instance(), "first");
    assert_eq!(again.run(), 2);
}

#[test]
fn a_syncer_works_beside_the_outbox() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(folder.path(), LIMITS, "a").unwrap();
    let mut syncer = outbox.syncer().unwrap();
    let message = NewMessage {
        device: "u",
        payload: b"x",
    };
    outbox.push(Timestamp(1), &[message]).unwrap();
    // What is in the log is then in the file itself: the log may be taken away.
    syncer.sync().unwrap();
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join(FILE), copy.path().join(FILE)).unwrap();
    let copied = Outbox::open(copy.path(), LIMITS, "a").unwrap();
    assert_eq!(copied.account().stored, 1);
}

#[test]
fn age_frees_from_the_oldest_on_and_stops_at_the_first_that_may_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(folder.path(), LIMITS, "a").unwrap();
    let message = NewMessage {
        device: "u",
        payload: b"x",
    };
    let age_ms = i64::try_from(LIMITS.age_max.as_millis()).unwrap();
    // The clock stood wrong for one message: it must not take the older ones with it.
    for at in [0, 1, 100, 5, 101] {
        outbox.push(Timestamp(at), &[message]).unwrap();
    }
    assert_eq!(outbox.trim(Timestamp(age_ms + 50)).unwrap(), 2);
    assert_eq!(outbox.trim(Timestamp(age_ms + 101)).unwrap(), 2);
    assert_eq!(outbox.account().stored, 1);
    assert!(outbox.account().balances());
}
