//! The journal as the loop uses it: append, restart, full disk, pruning, crash, proof, backup.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use davy_core::hazard::{Class, HazardState, Origin, Rule};
use davy_core::point::Text;
use davy_core::reading::Timestamp;
use proptest::prelude::*;
use rusqlite::Connection;

use super::backup::{BackupError, backup};
use super::reader::HazardQuery;
use super::verify::{Verified, VerifyError, verify};
use super::*;

fn entry<'a>(now: i64, kind: Kind, input: &'a [u8], effects: &'a [u8]) -> NewEntry<'a> {
    NewEntry {
        now: Timestamp(now),
        kind,
        input,
        effects,
    }
}

fn message(now: i64, input: &[u8]) -> NewEntry<'_> {
    entry(now, Kind::Message, input, b"")
}

fn open(folder: &Path) -> Journal {
    Journal::open(folder).unwrap().0
}

fn proven(path: &Path) -> Verified {
    verify(path, &[], |_, _| {}).unwrap()
}

/// Where and of what the chain is found broken.
fn found(path: &Path, anchors: &[Anchor]) -> (u64, &'static str) {
    match verify(path, anchors, |_, _| {}) {
        Err(VerifyError::Broken { broken, .. }) => (broken.number, broken.what),
        other => panic!("expected a broken chain, found {other:?}"),
    }
}

/// Entries 1 to 6: started, config, message, command with effects, message with effects, message.
fn six(folder: &Path) -> Journal {
    let mut journal = open(folder);
    journal
        .append(
            &[
                entry(10, Kind::Started, b"started", b""),
                entry(11, Kind::Config, b"config", b""),
                message(12, b"reading 1"),
            ],
            &[],
        )
        .unwrap();
    journal
        .append(
            &[
                entry(13, Kind::Command, b"acknowledge", b"[4]"),
                entry(14, Kind::Message, b"reading 2", b"[5]"),
                message(15, b"reading 3"),
            ],
            &[],
        )
        .unwrap();
    journal
}

#[test]
fn what_was_appended_is_read_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, opened) = Journal::open(folder.path()).unwrap();
    assert_eq!((opened.last_number, opened.last_hash), (0, Sum::NONE));
    assert_eq!(opened.snapshot, None);
    let group = [message(1, b"a"), entry(2, Kind::Command, b"b", b"[1]")];
    assert_eq!(journal.append(&group, &[]).unwrap(), 1..3);
    assert_eq!(journal.append(&[], &[]).unwrap(), 3..3);
    assert_eq!(journal.append(&[message(3, b"")], &[]).unwrap(), 3..4);
    let hash = journal.last_hash();
    drop(journal);
    let (mut journal, opened) = Journal::open(folder.path()).unwrap();
    assert_eq!((opened.last_number, opened.last_hash), (3, hash));
    assert_eq!(journal.append(&[message(4, b"d")], &[]).unwrap(), 4..5);
    let entries = journal
        .reader()
        .unwrap()
        .read_on(1, usize::MAX, 10)
        .unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.number,
                entry.now.0,
                entry.kind,
                entry.input.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (2, 2, Kind::Command, Some(&b"b"[..])),
            (3, 3, Kind::Message, Some(&b""[..])),
            (4, 4, Kind::Message, Some(&b"d"[..])),
        ]
    );
    assert_eq!(entries[0].effects, b"[1]");
    assert_eq!(entries[1].effects, b"");
    assert_eq!(proven(folder.path()).entries, 4);
}

#[test]
fn a_second_centre_on_the_same_folder_is_refused_and_told_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let error = Journal::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    assert!(
        error.contains(&folder.path().display().to_string()),
        "{error}"
    );
    drop(first);
    open(folder.path());
}

#[test]
fn other_files_and_other_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let other = Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(
        matches!(error, JournalError::NotAJournal { found: 0, .. }),
        "{error}"
    );

    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let file = Connection::open(folder.path().join(FILE)).unwrap();
    file.pragma_update(None, "user_version", 9).unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(
        matches!(
            error,
            JournalError::Version {
                found: 9,
                known: 4,
                ..
            }
        ),
        "{error}"
    );

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), "this is no database").unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
}

#[test]
fn a_full_disk_keeps_nothing_of_the_group_and_room_makes_it_work_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = six(folder.path());
    let pages: i64 = journal
        .connection()
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    let limit = |journal: &Journal, pages: i64| {
        journal
            .connection()
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
            .unwrap();
    };
    limit(&journal, pages + 4);
    let large = vec![1; 100_000];
    let alarm = alarm(1);
    let raised = effects(&[1], None);
    let group = [
        entry(20, Kind::Message, b"small", &raised),
        message(21, &large),
    ];
    let error = journal.append(&group, &[alarm]).unwrap_err();
    assert!(error.is_no_room(), "{error}");
    let error = journal.snapshot(6, &large).unwrap_err();
    assert!(error.is_no_room(), "{error}");
    assert_eq!(journal.last_number(), 6);
    let reader = journal.reader().unwrap();
    assert_eq!(reader.latest().unwrap(), 6);
    assert_eq!(reader.last_change(1).unwrap(), None);
    limit(&journal, pages + 1000);
    assert_eq!(journal.append(&group, &[alarm]).unwrap(), 7..9);
    assert_eq!(proven(folder.path()).entries, 8);
    assert!(reader.last_change(1).unwrap().is_some());
}

#[test]
fn too_much_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = six(folder.path());
    let large = vec![0; ENTRY_BYTES_MAX + 1];
    let error = journal.append(&[message(1, &large)], &[]).unwrap_err();
    assert!(matches!(error, JournalError::TooLarge { .. }), "{error}");
    let many = vec![message(1, b""); GROUP_ENTRIES_MAX + 1];
    let error = journal.append(&many, &[]).unwrap_err();
    assert!(matches!(error, JournalError::TooLarge { .. }), "{error}");
    let error = journal.append(&[], &[alarm(1)]).unwrap_err();
    assert!(matches!(error, JournalError::NothingToFollow(1)), "{error}");
    assert_eq!(journal.last_number(), 6);
}

#[test]
fn a_damaged_snapshot_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = six(folder.path());
    assert!(matches!(
        journal.snapshot(7, b"?"),
        Err(JournalError::Beyond {
            found: 7,
            last: 6,
            ..
        })
    ));
    for number in [2, 4, 5] {
        journal.snapshot(number, &number.to_be_bytes()).unwrap();
    }
    drop(journal);
    let newest = Journal::open(folder.path()).unwrap().1;
    let snapshot = newest.snapshot.unwrap();
    assert_eq!(
        (snapshot.number, &snapshot.bytes[..]),
        (5, &5_u64.to_be_bytes()[..])
    );
    let file = Connection::open(folder.path().join(FILE)).unwrap();
    file.execute("UPDATE snapshot SET bytes = x'00' WHERE number = 5", [])
        .unwrap();
    let opened = Journal::open(folder.path()).unwrap().1;
    assert_eq!(opened.snapshot.unwrap().number, 4);
    assert_eq!(opened.snapshots_damaged, 1);
}

#[test]
fn only_old_messages_before_the_snapshots_lose_their_bytes_and_the_chain_stands() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = six(folder.path());
    let nothing = journal.prune_inputs(Timestamp(100), 6).unwrap();
    assert_eq!((nothing.inputs, nothing.through), (0, 0), "no snapshot yet");
    journal.snapshot(5, b"s").unwrap();
    let done = journal.prune_inputs(Timestamp(14), 6).unwrap();
    assert_eq!((done.inputs, done.more), (0, false), "young is kept");
    let done = journal.prune_inputs(Timestamp(100), 3).unwrap();
    assert_eq!((done.inputs, done.more, done.held), (0, false, Some(5)));
    let done = journal.prune_inputs(Timestamp(100), 6).unwrap();
    assert_eq!((done.inputs, done.through, done.more), (2, 5, true));
    let done = journal.prune_inputs(Timestamp(100), 6).unwrap();
    assert_eq!((done.inputs, done.through, done.more), (0, 5, false));
    let entries = journal
        .reader()
        .unwrap()
        .read_on(0, usize::MAX, 10)
        .unwrap();
    let has_input: Vec<_> = entries.iter().map(|entry| entry.input.is_some()).collect();
    assert_eq!(has_input, [true, true, false, true, false, true]);
    let verified = proven(folder.path());
    assert_eq!((verified.entries, verified.pruned), (6, 2));
    drop(journal);
    open(folder.path());
}

#[test]
fn pruning_goes_from_snapshot_to_snapshot_and_one_stands_where_messages_begin() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let reader = journal.reader().unwrap();
    // Ten messages a day, and a snapshot each day.
    let day = |journal: &mut Journal, day: i64| {
        journal.append(&vec![message(day, b"x"); 10], &[]).unwrap();
        journal.snapshot(journal.last_number(), b"s").unwrap();
    };
    for number in 1..=300 {
        day(&mut journal, number);
        while journal
            .prune_inputs(Timestamp(number - 100), u64::MAX)
            .unwrap()
            .more
        {}
        let through = reader.pruned_through().unwrap();
        let first = reader.snapshot(through).unwrap().unwrap().number;
        assert!(through == 0 || first == through, "{first} at {through}");
        // Nothing younger goes, and little stays longer.
        let old = u64::try_from(number - 101).unwrap_or(0) * 10;
        assert!(through <= old && through + 80 >= old, "{through} of {old}");
    }
    let count = "SELECT count(*) FROM snapshot";
    let kept: usize = journal
        .connection()
        .query_row(count, [], |row| row.get(0))
        .unwrap();
    assert!(kept <= SNAPSHOTS_KEPT, "{kept}");
    proven(folder.path());
}

#[test]
fn the_mark_of_pruning_moves_only_when_the_bytes_of_a_message_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = six(folder.path());
    for number in [1, 2, 6] {
        journal.snapshot(number, b"s").unwrap();
    }
    let done = journal.prune_inputs(Timestamp(100), 6).unwrap();
    assert_eq!((done.inputs, done.through, done.more), (0, 0, false));
    journal.append(&[message(16, b"reading 4")], &[]).unwrap();
    journal.snapshot(7, b"s").unwrap();
    let done = journal.prune_inputs(Timestamp(100), 7).unwrap();
    assert_eq!((done.inputs, done.through), (3, 6));
}

#[test]
fn pruning_is_bounded_a_call_and_gives_pages_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let input = vec![9; 1800];
    let group = vec![message(1, &input); 2500];
    journal.append(&group, &[]).unwrap();
    journal.snapshot(2400, b"s").unwrap();
    let count = |journal: &Journal, pragma: &str| -> i64 {
        journal
            .connection()
            .pragma_query_value(None, pragma, |row| row.get(0))
            .unwrap()
    };
    let pages = count(&journal, "page_count");
    let mut calls = Vec::new();
    loop {
        let done = journal.prune_inputs(Timestamp(2), 2400).unwrap();
        calls.push(done.inputs);
        if !done.more {
            break;
        }
    }
    assert_eq!(calls, [500, 500, 500, 500, 400, 0]);
    assert!(count(&journal, "freelist_count") > pages * 8 / 10);
    journal.append(&group[..2000], &[]).unwrap();
    assert_eq!(count(&journal, "page_count"), pages);
    assert_eq!(proven(folder.path()).pruned, 2400);
}

#[test]
fn reading_on_is_bounded_in_rows_and_bytes_and_never_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let input = [0; 100];
    journal.append(&[message(1, &input); 10], &[]).unwrap();
    let reader = journal.reader().unwrap();
    assert_eq!(reader.read_on(0, usize::MAX, 4).unwrap().len(), 4);
    assert_eq!(reader.read_on(0, 250, 10).unwrap().len(), 3);
    assert_eq!(reader.read_on(0, 0, 0).unwrap().len(), 1);
    assert_eq!(reader.read_on(10, usize::MAX, 10).unwrap(), []);
}

#[test]
fn effects_are_read_without_what_nothing_followed_from() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = six(folder.path());
    let reader = journal.reader().unwrap();
    let read = reader.read_effects(0, usize::MAX, 10).unwrap();
    let numbers: Vec<_> = read.entries.iter().map(|entry| entry.number).collect();
    assert_eq!((numbers, read.through), (vec![4, 5], 6));
    let read = reader.read_effects(0, usize::MAX, 1).unwrap();
    assert_eq!((read.entries.len(), read.through), (1, 4));
    let read = reader.read_effects(4, 1, 10).unwrap();
    assert_eq!((read.entries.len(), read.through), (1, 5));
    let read = reader.read_effects(6, usize::MAX, 10).unwrap();
    assert_eq!((read.entries.len(), read.through), (0, 6));
    journal.append(&[message(20, b"x")], &[]).unwrap();
    assert_eq!(reader.read_effects(6, 1, 1).unwrap().through, 7);
}

/// A row of an occurrence that the first entry of the group changes.
fn alarm(occurrence: u64) -> Projection<'static> {
    Projection::Alarm {
        occurrence,
        first: 0,
        last: 0,
    }
}

/// An entry of the ledger.
fn hazard(id: u64, source: &str, state: HazardState) -> Hazard {
    let title = Text {
        zh: "甲".into(),
        en: "A".into(),
    };
    Hazard {
        id,
        origin: Origin {
            alarm: "TF1.GT-101.gas2".into(),
            subject: "TF1.GT-101".into(),
            title,
            source: Some(source.into()),
            found_by: "system".into(),
        },
        rule: Rule::LevelTwo,
        class: Class::General,
        state,
        overdue: false,
        deadline_missed: false,
        supervised: false,
        found_at: Timestamp(1),
        deadline: Timestamp(9),
        occurrences: vec![1],
        occurrence_count: 1,
        alarms: BTreeSet::new(),
        active_alarms: BTreeSet::new(),
        normal_since: None,
        rectified_by: None,
        five_items: None,
        failed_rechecks: 0,
        extensions: 0,
        repeats: None,
        evidence: BTreeMap::new(),
        story: Vec::new(),
    }
}

/// The effects of an entry that changes some occurrences and an entry of the ledger.
fn effects(occurrences: &[u64], hazard: Option<&Hazard>) -> Vec<u8> {
    let alarms = occurrences.iter().map(|occurrence| {
        serde_json::json!({ "kind": "alarm", "occurrence": occurrence, "alarm": "TF1.GT-101.gas2" })
    });
    let hazards = hazard.map(|hazard| {
        serde_json::json!({ "kind": "hazard", "event": "x", "by": "y", "from": null, "hazard": hazard })
    });
    let all: Vec<_> = alarms.chain(hazards).collect();
    serde_json::to_vec(&all).unwrap()
}

/// Entries 1 to 4: an alarm is raised and enters the ledger, another one is raised, the first one
/// changes with its entry, both change.
fn with_rows(folder: &Path) {
    let mut journal = open(folder);
    let found = hazard(1, "TF1", HazardState::Found);
    let registered = hazard(1, "TF1", HazardState::Registered);
    let said = [
        effects(&[1], Some(&found)),
        effects(&[2], None),
        effects(&[1], Some(&registered)),
        effects(&[1, 2], None),
    ];
    let entry = |place: usize| NewEntry {
        effects: &said[place],
        ..message(place as i64, b"x")
    };
    let rows = [
        Projection::Alarm {
            occurrence: 1,
            first: 0,
            last: 2,
        },
        Projection::Alarm {
            occurrence: 2,
            first: 1,
            last: 1,
        },
        Projection::Hazard {
            hazard: &registered,
            last: 2,
        },
    ];
    journal
        .append(&[entry(0), entry(1), entry(2)], &rows)
        .unwrap();
    let rows = [alarm(1), alarm(2)];
    journal.append(&[entry(3)], &rows).unwrap();
    journal.snapshot(4, b"state").unwrap();
}

const ALARMS: &str = "row of the table `alarm`";
const HAZARDS: &str = "row of the table `hazard`";

/// A change by hand; the entry and what of it is found, and what is said of it.
type Tampered = (&'static str, u64, &'static str, &'static str, &'static str);

const TAMPERED: &[Tampered] = &[
    (
        "DELETE FROM alarm WHERE occurrence = 2",
        2,
        ALARMS,
        "occurrence 2: no row",
        "one, as",
    ),
    (
        "UPDATE alarm SET raised_in = 2 WHERE occurrence = 1",
        1,
        ALARMS,
        "occurrence 1: raised in entry 2",
        "raised in entry 1",
    ),
    (
        "UPDATE alarm SET changed_in = 3 WHERE occurrence = 1",
        4,
        ALARMS,
        "occurrence 1: last changed in entry 3",
        "entry 4",
    ),
    (
        "UPDATE alarm SET changed_in = 9 WHERE occurrence = 1",
        9,
        ALARMS,
        "occurrence 1: last changed in entry 9",
        "no row",
    ),
    (
        "UPDATE alarm SET occurrence = 7 WHERE occurrence = 2",
        2,
        ALARMS,
        "occurrence 2: no row",
        "one, as",
    ),
    (
        "INSERT INTO alarm VALUES (3, 2, 2)",
        2,
        ALARMS,
        "occurrence 3: last changed in entry 2",
        "no row",
    ),
    (
        "INSERT INTO alarm VALUES (-3, 2, 2)",
        2,
        ALARMS,
        "occurrence -3: last",
        "no row",
    ),
    (
        "DELETE FROM hazard",
        1,
        HAZARDS,
        "number 1: no row",
        "one, as",
    ),
    (
        "UPDATE hazard SET source = 'TF2'",
        3,
        HAZARDS,
        "number 1: column `source`: `TF2`",
        "`TF1`",
    ),
    (
        "UPDATE hazard SET state = 'closed'",
        3,
        HAZARDS,
        "number 1: column `state`: `closed`",
        "`registered`",
    ),
    (
        "UPDATE hazard SET json = replace(json, 'system', 'nobody')",
        3,
        HAZARDS,
        "nobody",
        "system",
    ),
    (
        "UPDATE hazard SET changed_in = 1",
        1,
        HAZARDS,
        "registered",
        "found",
    ),
    (
        "UPDATE hazard SET changed_in = 4",
        4,
        HAZARDS,
        "number 1: last changed in entry 4",
        "no row",
    ),
    (
        "INSERT INTO hazard VALUES (2, 'TF1', 'found', '{}', 3)",
        3,
        HAZARDS,
        "number 2: last",
        "no row",
    ),
    (
        "UPDATE snapshot SET bytes = x'00'",
        4,
        "digest of its snapshot",
        "",
        "",
    ),
    (
        "UPDATE snapshot SET digest = zeroblob(32)",
        4,
        "digest of its snapshot",
        "",
        "0000",
    ),
    (
        "UPDATE snapshot SET digest = x'00'",
        4,
        "column",
        "",
        "size",
    ),
];

#[test]
fn a_row_that_follows_from_the_entries_is_held_against_them() {
    for (sql, number, what, found, expected) in TAMPERED {
        let folder = tempfile::tempdir().unwrap();
        with_rows(folder.path());
        assert_eq!(proven(folder.path()).entries, 4);
        let file = Connection::open(folder.path().join(FILE)).unwrap();
        file.execute_batch(sql).unwrap();
        drop(file);
        let Err(VerifyError::Broken { broken, .. }) = verify(folder.path(), &[], |_, _| {}) else {
            panic!("not found: {sql}");
        };
        assert_eq!(
            (broken.number, broken.what),
            (*number, *what),
            "{sql}: {broken}"
        );
        assert!(broken.found.contains(found), "{sql}: {broken}");
        assert!(broken.expected.contains(expected), "{sql}: {broken}");
    }
}

#[test]
fn the_last_change_of_an_alarm_is_found() {
    let folder = tempfile::tempdir().unwrap();
    with_rows(folder.path());
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.last_change(1).unwrap().unwrap().number, 4);
    assert_eq!(reader.last_change(6).unwrap(), None);
}

#[test]
fn what_happened_to_an_alarm_is_read_from_where_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let named =
        |occurrence: u64| format!(r#"[{{"kind":"alarm","occurrence":{occurrence},"a":0}}]"#);
    let followed = |at: i64, effects: &'static str| NewEntry {
        effects: effects.as_bytes(),
        ..message(at, b"x")
    };
    let (one, twelve) = (named(1).leak(), named(12).leak());
    // Before it began, another one; then the raise, much that is not about it, and an answer.
    journal.append(&[followed(1, twelve)], &[]).unwrap();
    journal.append(&[followed(2, one)], &[alarm(1)]).unwrap();
    for at in 3..9 {
        journal.append(&[followed(at, twelve)], &[]).unwrap();
    }
    journal.append(&[followed(9, one)], &[alarm(1)]).unwrap();
    journal.append(&[followed(10, one)], &[]).unwrap();
    let reader = journal.reader().unwrap();
    let numbers = |rows| -> Vec<u64> {
        let about = reader.about(1, rows).unwrap();
        about.iter().map(|entry| entry.number).collect()
    };
    assert_eq!(numbers(10), [2, 9]);
    assert_eq!(numbers(1), [2]);
    assert_eq!(reader.about(12, 10).unwrap(), []);
}

#[test]
fn hazards_are_found_by_source_and_state_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let hazards = [
        hazard(1, "TF1", HazardState::Found),
        hazard(2, "TF2", HazardState::Found),
        hazard(3, "TF1", HazardState::Rectifying),
        hazard(4, "TF1", HazardState::Found),
        hazard(1, "TF1", HazardState::Closed),
    ];
    let rows = hazards
        .each_ref()
        .map(|hazard| Projection::Hazard { hazard, last: 0 });
    journal.append(&[message(1, b"")], &rows).unwrap();
    let reader = journal.reader().unwrap();
    let ask = |source, state, after, rows| -> Vec<u64> {
        let query = HazardQuery {
            source,
            state,
            after,
            rows,
        };
        let hazards = reader.hazards(&query).unwrap();
        hazards.iter().map(|hazard| hazard.id).collect()
    };
    assert_eq!(ask(None, None, 0, 3), [4, 3, 2]);
    assert_eq!(ask(None, None, 2, 3), [1]);
    assert_eq!(ask(Some("TF1"), None, 0, 9), [4, 3, 1]);
    assert_eq!(ask(None, Some("found"), 4, 9), [2]);
    assert_eq!(ask(None, Some("open"), 0, 9), [4, 3, 2]);
    assert_eq!(ask(Some("TF1"), Some("open"), 4, 9), [3]);
    assert_eq!(ask(Some("TF1"), Some("closed"), 0, 9), [1]);
    let first = reader.hazard(1).unwrap().unwrap();
    assert_eq!(first.state, "closed");
    assert_eq!(reader.hazard(9).unwrap(), None);
}

/// Changes a closed journal's file by hand, and says where `verify` finds it.
fn found_after(sql: &str) -> (u64, &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = six(folder.path());
    for number in [3, 5] {
        journal.snapshot(number, b"s").unwrap();
    }
    journal.prune_inputs(Timestamp(100), 3).unwrap();
    drop(journal);
    assert_eq!(proven(folder.path()).pruned, 1);
    let file = Connection::open(folder.path().join(FILE)).unwrap();
    file.execute_batch(sql).unwrap();
    drop(file);
    found(folder.path(), &[])
}

#[test]
fn a_change_in_any_column_is_found_at_its_entry() {
    for (change, at, what) in [
        ("now_ms = 16", 5, "hash"),
        ("kind = 2", 5, "hash"),
        ("kind = 77", 5, "kind"),
        ("input_digest = zeroblob(32)", 5, "digest of the input"),
        ("input_digest = x'00'", 5, "column"),
        ("effects = x'5b375d'", 5, "hash"),
        ("effects = NULL", 5, "hash"),
        ("hash = zeroblob(32)", 5, "hash"),
        ("hash = x'00'", 5, "column"),
        ("number = 50", 5, "number"),
    ] {
        let sql = format!("UPDATE entry SET {change} WHERE number = 5");
        assert_eq!(found_after(&sql), (at, what), "{change}");
    }
    // A pruned message has nothing but its digest.
    let sql = "UPDATE entry SET input_digest = zeroblob(32) WHERE number = 3";
    assert_eq!(found_after(sql), (3, "hash"));
    let sql = "UPDATE input SET bytes = x'00' WHERE number = 5";
    assert_eq!(found_after(sql), (5, "digest of the input"));
}

#[test]
fn rows_removed_put_in_or_moved_are_found() {
    let digest = "(SELECT input_digest FROM entry WHERE number = 6)";
    for (sql, at, what) in [
        ("DELETE FROM entry WHERE number = 1", 1, "number"),
        ("DELETE FROM entry WHERE number = 4", 4, "number"),
        ("DELETE FROM input WHERE number = 4", 4, "input"),
        ("DELETE FROM input WHERE number = 5", 5, "input"),
        ("INSERT INTO input VALUES (3, x'00')", 3, "input"),
        ("UPDATE mark SET pruned_through = 5", 5, "input"),
        ("UPDATE mark SET pruned_through = 2", 3, "input"),
        (
            "INSERT INTO input VALUES (0, x'00')",
            0,
            "entry named by a snapshot, an input or the mark of pruning",
        ),
        (
            "INSERT INTO input VALUES (7, x'00')",
            7,
            "entry named by a snapshot, an input or the mark of pruning",
        ),
        (
            "DELETE FROM entry WHERE number > 4; DELETE FROM input WHERE number > 4",
            5,
            "entry named by a snapshot, an input or the mark of pruning",
        ),
        (
            &format!("INSERT INTO entry VALUES (7, 1, 4, {digest}, NULL, zeroblob(32))"),
            7,
            "input",
        ),
        (
            "UPDATE entry SET number = 99 WHERE number = 5;
             UPDATE entry SET number = 5 WHERE number = 6;
             UPDATE entry SET number = 6 WHERE number = 99",
            5,
            "digest of the input",
        ),
    ] {
        assert_eq!(found_after(sql), (at, what), "{sql}");
    }
}

#[test]
fn a_cut_tail_and_a_chain_written_anew_are_found_against_an_anchor() {
    let folder = tempfile::tempdir().unwrap();
    let journal = six(folder.path());
    let anchor = proven(folder.path()).anchor().unwrap();
    assert_eq!(anchor.hash, journal.last_hash());
    drop(journal);
    let file = Connection::open(folder.path().join(FILE)).unwrap();
    file.execute_batch("DELETE FROM entry WHERE number > 3; DELETE FROM input WHERE number > 3")
        .unwrap();
    drop(file);
    assert_eq!(proven(folder.path()).entries, 3);
    assert_eq!(
        found(folder.path(), &[anchor]),
        (6, "entry noted as anchor")
    );
    let mut journal = open(folder.path());
    let forged = [message(13, b"1"), message(14, b"2"), message(15, b"3")];
    journal.append(&forged, &[]).unwrap();
    assert_eq!(found(folder.path(), &[anchor]), (6, "hash noted as anchor"));
}

#[test]
fn bytes_flipped_in_the_file_are_found_and_never_pass_as_proven() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let input = [0xA5; 3000];
    journal
        .append(&[entry(1, Kind::Message, &input, b"[]"); 8], &[])
        .unwrap();
    let entries = journal
        .reader()
        .unwrap()
        .read_on(0, usize::MAX, 10)
        .unwrap();
    drop(journal);
    let path = folder.path().join(FILE);
    let whole = std::fs::read(&path).unwrap();
    let at: Vec<usize> = whole
        .windows(64)
        .enumerate()
        .filter(|(_, window)| window.iter().all(|byte| *byte == 0xA5))
        .map(|(at, _)| at)
        .collect();
    let mut broken = 0;
    for at in at.iter().step_by(997) {
        let mut flipped = whole.clone();
        flipped[*at] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        if verify(&path, &[], |_, _| {}).is_ok() {
            // A byte that SQLite no longer uses, left over from before a page was split.
            let read = Reader::open(&path).unwrap().read_on(0, usize::MAX, 10);
            assert_eq!(read.unwrap(), entries);
        } else {
            assert_eq!(found(&path, &[]).1, "digest of the input");
            broken += 1;
        }
    }
    assert!(broken > 20, "{broken}");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = verify(&path, &[], |_, _| {}).unwrap_err();
    assert!(matches!(error, VerifyError::Unreadable { .. }), "{error}");
    std::fs::write(&path, vec![0x11; 20_000]).unwrap();
    let error = verify(&path, &[], |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains(FILE), "{error}");
}

#[test]
fn an_end_that_does_not_follow_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(six(folder.path()));
    let file = Connection::open(folder.path().join(FILE)).unwrap();
    file.execute("UPDATE entry SET now_ms = 0 WHERE number = 6", [])
        .unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(
        matches!(&error, JournalError::Broken(broken) if broken.number == 6),
        "{error}"
    );
}

#[test]
fn the_chain_is_proven_while_the_centre_appends_and_prunes() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    for _ in 0..5 {
        journal.append(&vec![message(1, b"x"); 1000], &[]).unwrap();
    }
    journal.snapshot(5000, b"s").unwrap();
    let mut told = Vec::new();
    let verified = verify(folder.path(), &[], |done, total| {
        told.push((done, total));
        journal.append(&[message(1, b"y"); 10], &[]).unwrap();
        journal.prune_inputs(Timestamp(2), 5000).unwrap();
    })
    .unwrap();
    assert_eq!(verified.entries, 5000);
    assert_eq!(told.first(), Some(&(1000, 5000)));
    assert_eq!(told.last(), Some(&(5000, 5000)));
    assert_eq!(journal.last_number(), 5050);
}

#[test]
fn a_backup_of_a_running_journal_is_one_moment_and_can_be_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = six(folder.path());
    let large = vec![3; 4 << 20];
    let raised = effects(&[1], None);
    journal
        .append(&[entry(20, Kind::Message, &large, &raised)], &[alarm(1)])
        .unwrap();
    journal.snapshot(7, b"state").unwrap();
    let anchor = Anchor {
        number: 7,
        hash: journal.last_hash(),
    };
    let to = folder.path().join("copy.sqlite");
    let mut steps = 0;
    let verified = backup(folder.path(), &to, |_, _| {
        steps += 1;
        journal.append(&[message(21, b"meanwhile")], &[]).unwrap();
    })
    .unwrap();
    assert!(steps > 2, "{steps}");
    assert_eq!(journal.last_number(), 7 + steps);
    assert_eq!(verified.anchor(), Some(anchor));
    assert!(!folder.path().join("copy.sqlite.partial").exists());
    assert!(!folder.path().join("copy.sqlite-wal").exists());

    let restored = tempfile::tempdir().unwrap();
    std::fs::copy(&to, restored.path().join(FILE)).unwrap();
    let (mut again, opened) = Journal::open(restored.path()).unwrap();
    assert_eq!((opened.last_number, opened.last_hash), (7, anchor.hash));
    assert_eq!(opened.snapshot.unwrap().bytes, b"state");
    assert_eq!(again.append(&[message(30, b"on")], &[]).unwrap(), 8..9);
    let changed = again.reader().unwrap().last_change(1).unwrap();
    assert_eq!(changed.unwrap().number, 7);
    let verified = verify(restored.path(), &[anchor], |_, _| {}).unwrap();
    assert_eq!(verified.entries, 8);
}

#[test]
fn what_a_killed_backup_left_is_written_over_and_what_one_writes_is_not() {
    let folder = tempfile::tempdir().unwrap();
    drop(six(folder.path()));
    let to = folder.path().join("copy.sqlite");
    let partial = folder.path().join("copy.sqlite.partial");
    std::fs::write(&partial, vec![7; 100_000]).unwrap();
    let writes = std::fs::File::open(&partial).unwrap();
    writes.lock().unwrap();
    let error = backup(folder.path(), &to, |_, _| {}).unwrap_err();
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
    assert_eq!(std::fs::metadata(&partial).unwrap().len(), 100_000);
    drop(writes);
    let verified = backup(folder.path(), &to, |_, _| {}).unwrap();
    assert_eq!((verified.entries, proven(&to).entries), (6, 6));
    assert!(!partial.exists());
}

#[test]
fn a_closed_journal_is_read_without_writing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a #%3f? b");
    std::fs::create_dir(&odd).unwrap();
    drop(six(&odd));
    let file = odd.join(FILE);
    let immutable = schema::open_immutable(&file).unwrap();
    let count = "SELECT count(*) FROM entry";
    let count: i64 = immutable.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 6);
    let names = std::fs::read_dir(&odd).unwrap();
    assert!(
        names
            .flatten()
            .all(|entry| !entry.file_name().to_str().unwrap().contains("sqlite-"))
    );
}

#[test]
fn a_backup_overwrites_nothing_and_leaves_nothing_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    drop(six(folder.path()));
    let to = folder.path().join("copy.sqlite");
    std::fs::write(&to, "mine").unwrap();
    let error = backup(folder.path(), &to, |_, _| {}).unwrap_err();
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
    assert_eq!(std::fs::read(&to).unwrap(), b"mine");
    std::fs::remove_file(&to).unwrap();
    let file = Connection::open(folder.path().join(FILE)).unwrap();
    file.execute("UPDATE entry SET now_ms = 0 WHERE number = 2", [])
        .unwrap();
    let error = backup(folder.path(), &to, |_, _| {}).unwrap_err();
    assert!(matches!(error, BackupError::Bad(_)), "{error}");
    assert!(!to.exists() && !folder.path().join("copy.sqlite.partial").exists());
}

/// Set for the process that is killed; names its data folder.
const CHILD: &str = "DAVY_TEST_JOURNAL_CHILD";

/// Not a test of its own: appends for ever, telling each number once it is committed.
#[test]
fn child_that_appends() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let limits = checkpoint::Limits {
        passive_bytes: 1 << 18,
        restart_bytes: 1 << 20,
        ..checkpoint::Limits::default()
    };
    let (mut journal, opened) = Journal::open_with(Path::new(&folder), limits).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\ncommitted {}", opened.last_number).unwrap();
    let input = vec![0x5A; 4000];
    for round in 0_u64.. {
        let raised = effects(&[round + 1], None);
        let mut group = vec![message(1, &input); 1 + (round % 40) as usize];
        group[0].effects = &raised;
        let numbers = journal.append(&group, &[alarm(round + 1)]).unwrap();
        if round % 25 == 24 {
            journal.snapshot(numbers.end - 1, &input).unwrap();
        }
        writeln!(out, "committed {}", numbers.end - 1).unwrap();
    }
}

#[test]
fn a_killed_centre_has_kept_all_that_it_said_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = 0;
    for kill_after in [1, 2, 3, 7, 11, 26, 27, 40, 75, 110] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "journal::tests::child_that_appends",
                "--nocapture",
            ])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut committed = lines.by_ref().filter_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("committed ")
                .map(|number| number.parse::<u64>().unwrap())
        });
        assert!(committed.next().unwrap() >= told);
        told = committed.nth(kill_after - 1).unwrap();
        child.kill().unwrap();
        // What it had still said before the signal arrived counts as well.
        told = committed.last().unwrap_or(told);
        child.wait().unwrap();
        // First as it lies there, then as a restart leaves it.
        assert!(proven(folder.path()).last >= told);
        let (journal, opened) = Journal::open(folder.path()).unwrap();
        assert!(opened.last_number >= told);
        assert_eq!(opened.snapshots_damaged, 0);
        drop(journal);
        assert_eq!(proven(folder.path()).last, opened.last_number);
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    (1_i64..=5).prop_map(|code| Kind::from_code(code).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is appended in whatever groups is read back and proven.
    #[test]
    fn any_groups_are_read_back_and_proven(
        groups in prop::collection::vec(prop::collection::vec(
            (any::<i64>(), any_kind(), prop::collection::vec(any::<u8>(), 0..300),
             prop::collection::vec(any::<u8>(), 0..300)), 1..8), 1..8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open(folder.path());
        for group in &groups {
            let group: Vec<_> = group
                .iter()
                .map(|(now, kind, input, effects)| entry(*now, *kind, input, effects))
                .collect();
            journal.append(&group, &[]).unwrap();
        }
        let read = journal.reader().unwrap().read_on(0, usize::MAX, 1000).unwrap();
        let told: Vec<_> = read
            .into_iter()
            .map(|entry| (entry.now.0, entry.kind, entry.input.unwrap(), entry.effects))
            .collect();
        prop_assert_eq!(told, groups.concat());
        let verified = proven(folder.path());
        prop_assert_eq!(verified.last_hash, journal.last_hash());
    }
}
