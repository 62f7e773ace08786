//! The one writer: open, append, snapshot, prune.
//!
//! The loop owns it. Each call is one transaction, synced when it returns; after an error the
//! journal stands as before the call.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use davy_core::reading::Timestamp;
use davy_gateway::lock::Lock;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::chain::{Link, Sum};
use super::checkpoint::{Checkpointer, Limits};
use super::place::Place;
use super::prune::{self, Pruned};
use super::reader::Reader;
use super::snapshots;
use super::tables::HazardRow;
use super::{
    Broken, ENTRY_BYTES_MAX, FILE, GROUP_ENTRIES_MAX, JournalError, Kind, NewEntry, Projection,
    SNAPSHOT_BYTES_MAX, from_sql, schema, storage, to_sql,
};

const INSERT_ENTRY: &str = "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const INSERT_INPUT: &str = "INSERT INTO input VALUES (?1, ?2)";
const UPSERT_ALARM: &str = "INSERT INTO alarm VALUES (?1, ?2, ?3)
    ON CONFLICT (occurrence) DO UPDATE SET changed_in = excluded.changed_in";
const UPSERT_HAZARD: &str = "INSERT OR REPLACE INTO hazard VALUES (?1, ?2, ?3, ?4, ?5)";
const LAST_ENTRIES: &str = "SELECT number, now_ms, kind, input_digest, effects, hash FROM entry
    ORDER BY number DESC LIMIT 2";

/// The engine's state after an entry, as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry that is in it.
    pub number: u64,
    /// The state.
    pub bytes: Vec<u8>,
}

/// What was found when the journal was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The last entry; 0 when there is none.
    pub last_number: u64,
    /// Its hash; [`Sum::NONE`] when there is none.
    pub last_hash: Sum,
    /// The newest snapshot that is whole.
    pub snapshot: Option<Snapshot>,
    /// Newer snapshots that were passed over because their digest does not fit.
    pub snapshots_damaged: u32,
}

/// The journal of one data folder. Dropping it ends its checkpoints and frees the folder.
#[derive(Debug)]
pub struct Journal {
    // The order matters: fields are dropped from the top, and the lock must go last.
    connection: Connection,
    checkpointer: Checkpointer,
    file: PathBuf,
    place: Place,
    last_number: u64,
    last_hash: Sum,
    _lock: Lock,
}

impl Journal {
    /// Opens the journal of a data folder, and makes both when they are not there.
    ///
    /// The last entry is checked against its hash and the one before; [`super::verify`] checks
    /// the rest.
    pub fn open(folder: &Path) -> Result<(Self, Opened), JournalError> {
        Self::open_with(folder, Limits::default())
    }

    /// As [`Journal::open`], with the limits of the write-ahead log.
    pub fn open_with(folder: &Path, limits: Limits) -> Result<(Self, Opened), JournalError> {
        let failed = |deed| {
            move |source| JournalError::Folder {
                deed,
                path: folder.to_path_buf(),
                source,
            }
        };
        fs::create_dir_all(folder).map_err(failed("making the data folder"))?;
        let lock = super::lock(folder)?;
        let file = folder.join(FILE);
        let mut connection = schema::open_writer(&file)?;
        // A new file's name lives in the folder: it must be on the disk before anything in it is.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed("syncing the data folder"))?;
        let (last_number, last_hash) = read_tail(&connection)?;
        let (snapshot, snapshots_damaged) = snapshots::newest(&connection, last_number)?;
        let checkpointer = Checkpointer::start(&file, &mut connection, limits)?;
        let journal = Self {
            connection,
            checkpointer,
            place: Place::of(&file),
            file,
            last_number,
            last_hash,
            _lock: lock,
        };
        let opened = Opened {
            last_number,
            last_hash,
            snapshot,
            snapshots_damaged,
        };
        Ok((journal, opened))
    }

    /// Appends a group with what followed, synced to the disk, and returns its numbers.
    ///
    /// All of it is kept or none; after an error the same group can be appended again.
    pub fn append(
        &mut self,
        group: &[NewEntry<'_>],
        projections: &[Projection<'_>],
    ) -> Result<Range<u64>, JournalError> {
        let first = self.last_number + 1;
        if group.is_empty() && projections.is_empty() {
            return Ok(first..first);
        }
        check_group(group, projections)?;
        self.check_place()?;
        self.checkpointer.give_way();
        let failed = storage("appending to the journal");
        let transaction = begin(&mut self.connection).map_err(failed)?;
        let last_hash = insert_entries(&transaction, group, first, self.last_hash)
            .and_then(|hash| write_projections(&transaction, projections, first).map(|()| hash))
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.last_number += group.len() as u64;
        self.last_hash = last_hash;
        Ok(first..self.last_number + 1)
    }

    /// An error when the journal's files are no longer where they were opened: what is appended to
    /// them would be lost. Each append looks by itself.
    pub fn check_place(&self) -> Result<(), JournalError> {
        self.place.check()
    }

    /// Keeps the engine's state after entry `number`, the one before it, and some older ones, so
    /// that all kept messages can be replayed: [`super::SNAPSHOTS_KEPT`].
    pub fn snapshot(&mut self, number: u64, bytes: &[u8]) -> Result<(), JournalError> {
        if number > self.last_number {
            return Err(JournalError::Beyond {
                what: "snapshot of entry",
                found: number,
                last: self.last_number,
            });
        }
        allow("bytes of a snapshot", bytes.len(), SNAPSHOT_BYTES_MAX)?;
        let failed = storage("writing a snapshot");
        let transaction = begin(&mut self.connection).map_err(failed)?;
        snapshots::write(&transaction, number, bytes).map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// Takes out the bytes of messages judged before `before`, oldest first, from one snapshot to
    /// the next: up to one that is not past `not_after`, and that a restart does not need what
    /// comes before.
    ///
    /// One call looks at [`super::PRUNE_ENTRIES_MAX`] entries and ends after
    /// [`super::PRUNE_BYTES_MAX`]; call again while there is more. Commands, configurations and
    /// starts stay for good, and so does every hash.
    pub fn prune_inputs(
        &mut self,
        before: Timestamp,
        not_after: u64,
    ) -> Result<Pruned, JournalError> {
        let failed = storage("pruning the journal");
        self.checkpointer.give_way();
        let transaction = begin(&mut self.connection).map_err(failed)?;
        let done = prune::step(&transaction, before, not_after).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }

    /// A reader on a connection of its own, which may go to another thread.
    pub fn reader(&self) -> Result<Reader, JournalError> {
        Reader::open(&self.file)
    }

    /// The last entry; 0 when there is none.
    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Its hash: with the number, an anchor to note elsewhere.
    pub fn last_hash(&self) -> Sum {
        self.last_hash
    }

    /// The write-ahead log and its checkpoints, for `/metrics`.
    pub fn checkpoints(&self) -> super::checkpoint::Counters {
        self.checkpointer.counters()
    }

    /// The checkpoints, so that a test can do one itself.
    #[cfg(test)]
    pub(super) fn checkpointer(&self) -> &Checkpointer {
        &self.checkpointer
    }

    /// The writer's connection, so that a test can make the disk full.
    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Takes the write lock at once, so that a group never fails half-way for want of it.
fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn allow(what: &'static str, found: usize, allowed: usize) -> Result<(), JournalError> {
    if found > allowed {
        return Err(JournalError::TooLarge {
            what,
            found: found as u64,
            allowed: allowed as u64,
        });
    }
    Ok(())
}

fn check_group(group: &[NewEntry<'_>], projections: &[Projection<'_>]) -> Result<(), JournalError> {
    if group.is_empty() {
        return Err(JournalError::NothingToFollow(projections.len()));
    }
    allow("entries of a group", group.len(), GROUP_ENTRIES_MAX)?;
    for entry in group {
        allow("bytes of an input", entry.input.len(), ENTRY_BYTES_MAX)?;
        allow("bytes of effects", entry.effects.len(), ENTRY_BYTES_MAX)?;
    }
    Ok(())
}

/// Writes the rows of a group and returns the hash of the last one.
fn insert_entries(
    transaction: &Transaction<'_>,
    group: &[NewEntry<'_>],
    first: u64,
    mut previous: Sum,
) -> rusqlite::Result<Sum> {
    let mut insert_entry = transaction.prepare_cached(INSERT_ENTRY)?;
    let mut insert_input = transaction.prepare_cached(INSERT_INPUT)?;
    for (entry, number) in group.iter().zip(first..) {
        let link = Link {
            previous,
            number,
            now: entry.now,
            kind: entry.kind,
            input: Sum::of(entry.input),
            effects: Sum::of(entry.effects),
        };
        previous = link.hash();
        let effects = (!entry.effects.is_empty()).then_some(entry.effects);
        insert_entry.execute(params![
            to_sql(number),
            entry.now.0,
            entry.kind.code(),
            link.input.0,
            effects,
            previous.0
        ])?;
        insert_input.execute(params![to_sql(number), entry.input])?;
    }
    Ok(previous)
}

/// Writes the rows that follow from a group; `first` is its first entry.
fn write_projections(
    transaction: &Transaction<'_>,
    projections: &[Projection<'_>],
    first: u64,
) -> rusqlite::Result<()> {
    if projections.is_empty() {
        return Ok(());
    }
    let entry = |place: usize| to_sql(first + place as u64);
    let mut upsert_alarm = transaction.prepare_cached(UPSERT_ALARM)?;
    let mut upsert_hazard = transaction.prepare_cached(UPSERT_HAZARD)?;
    for projection in projections {
        match *projection {
            Projection::Alarm {
                occurrence,
                first,
                last,
            } => {
                upsert_alarm.execute([to_sql(occurrence), entry(first), entry(last)])?;
            }
            Projection::Hazard { hazard, last } => {
                let HazardRow {
                    id,
                    source,
                    state,
                    json,
                } = HazardRow::of(hazard);
                upsert_hazard.execute(params![to_sql(id), source, state, json, entry(last)])?;
            }
        }
    }
    Ok(())
}

/// The last number and hash, after a look at whether they follow from the row.
fn read_tail(connection: &Connection) -> Result<(u64, Sum), JournalError> {
    let failed = storage("reading the end of the journal");
    let mut statement = connection.prepare_cached(LAST_ENTRIES).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else {
        return Ok((0, Sum::NONE));
    };
    let number = from_sql(row.get(0).map_err(failed)?);
    let code = row.get(2).map_err(failed)?;
    let effects: Option<Vec<u8>> = row.get(4).map_err(failed)?;
    let hash = Sum(row.get(5).map_err(failed)?);
    let kind = Kind::from_code(code).ok_or_else(|| Broken {
        number,
        what: "kind",
        found: code.to_string(),
        expected: super::KINDS.to_owned(),
    })?;
    let mut link = Link {
        previous: Sum::NONE,
        number,
        now: Timestamp(row.get(1).map_err(failed)?),
        kind,
        input: Sum(row.get(3).map_err(failed)?),
        effects: Sum::of(&effects.unwrap_or_default()),
    };
    if let Some(before) = rows.next().map_err(failed)? {
        link.previous = Sum(before.get(5).map_err(failed)?);
    }
    if link.hash() != hash {
        return Err(JournalError::Broken(Broken {
            number,
            what: "hash",
            found: hash.to_string(),
            expected: link.hash().to_string(),
        }));
    }
    Ok((number, hash))
}
