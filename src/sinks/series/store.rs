//! The writer: readings into heads, heads into rows, all of it in one transaction with the cursor.
//!
//! Invariants: nothing in memory changes before its transaction is through, so a commit that
//! failed can be tried again; every reading in memory is in the head log; the log's rows hold at
//! most twice the live readings and a little. Work beside the commit is bounded: a commit carries
//! no more readings than it brings (or a few thousand) and merges [`MERGES_MAX`] points.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use davy_core::reading::{Quality, Timestamp};
use rusqlite::{Connection, OpenFlags, Transaction, params};

use super::head::{self, Fresh, Head};
use super::layout::{self, rows};
use super::merge::{self, Merged, PRUNE_ROWS};
use super::plan::{Plan, set};
use super::reader::{Heads, SeriesReader};
use super::row::{self, Place, ROW_READINGS};
use super::{PENDING_MAX, POINTS_MAX, Pruned, SeriesError};

/// Points that one commit merges from `recent` into `blocks`.
const MERGES_MAX: usize = 16;

/// Bytes written after which the file is synced and the write-ahead log is emptied.
const CHECKPOINT_BYTES: usize = 4 << 20;

/// Points of one `prune`.
const PRUNE_POINTS: usize = 4096;

/// Names a point in one open store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesPoint(u32);

/// The store, open for writing. There is one of it.
pub struct Series {
    path: PathBuf,
    connection: Connection,
    /// Shared with the readers; point number 0 is not used.
    heads: Arc<Heads>,
    /// By point number, as `heads`.
    tags: Vec<String>,
    numbers: HashMap<String, u32>,
    /// Points in the file; those after it are stored with the next commit.
    tags_stored: usize,
    /// By point number: the log row in which its head begins; 0 when it has none.
    begins: Vec<u64>,
    /// Rows of the head log: number and how many readings.
    log: VecDeque<(u64, usize)>,
    batch: u64,
    /// Since the last commit, in the order in which they came.
    pending: Vec<Fresh>,
    /// By point number: readings in `recent`.
    recent: Vec<usize>,
    to_merge: BTreeSet<u32>,
    cursor: u64,
    durable: u64,
    bytes_unsynced: usize,
    damaged: u64,
    prune_next: usize,
}

impl Series {
    /// Opens the store in a data folder, or makes an empty one.
    pub fn open(folder: &Path) -> Result<Self, SeriesError> {
        let path = folder.join(layout::FILE);
        let failed = |source| SeriesError::Open {
            path: path.clone(),
            source,
        };
        let connection = layout::open(&path)?;
        let cursor = connection
            .query_row("SELECT number FROM cursor", [], |row| row.get::<_, i64>(0))
            .map_err(failed)? as u64;
        let mut series = Self {
            path,
            connection,
            heads: Arc::new(RwLock::new(vec![Head::default()])),
            tags: vec![String::new()],
            numbers: HashMap::new(),
            tags_stored: 1,
            begins: vec![0],
            log: VecDeque::new(),
            batch: 0,
            pending: Vec::new(),
            recent: vec![0],
            to_merge: BTreeSet::new(),
            cursor,
            durable: 0,
            bytes_unsynced: 0,
            damaged: 0,
            prune_next: 0,
        };
        series.restore()?;
        // On a full disk nothing can be synced; it is tried again as soon as something is stored.
        if let Err(error) = series.checkpoint() {
            tracing::warn!(%error, "opened all the same");
        }
        Ok(series)
    }

    /// The journal number up to which all is stored; the sink follows from here.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// What was stored with the cursor for going on from it; none before the first.
    pub fn state(&self) -> Result<Option<Vec<u8>>, SeriesError> {
        layout::state(&self.connection).map_err(SeriesError::store("reading the cursor's state"))
    }

    /// The journal number up to which a loss of power takes nothing: the journal may prune to here.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Blocks found damaged while merging, since the start. They are kept as they are.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Points that wait to be merged; a few in each commit are.
    pub fn merges_waiting(&self) -> usize {
        self.to_merge.len()
    }

    /// Readings that wait for a commit.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The point of a tag, made if there is none.
    pub fn point(&mut self, tag: &str) -> Result<SeriesPoint, SeriesError> {
        if let Some(number) = self.numbers.get(tag) {
            return Ok(SeriesPoint(*number));
        }
        if self.tags.len() > POINTS_MAX {
            return Err(SeriesError::PointsFull(tag.to_owned()));
        }
        Ok(SeriesPoint(self.add_point(tag.to_owned())))
    }

    /// Takes a reading in, to be stored with the next commit; of any time, in any order.
    pub fn append(
        &mut self,
        point: SeriesPoint,
        at: Timestamp,
        value: f64,
        quality: Quality,
    ) -> Result<(), SeriesError> {
        if self.pending.len() >= PENDING_MAX {
            return Err(SeriesError::PendingFull);
        }
        self.pending.push(Fresh {
            point: point.0,
            time: at.0,
            value,
            code: quality.code(),
        });
        Ok(())
    }

    /// Stores what was appended, and that the journal is followed up to `cursor`, all or nothing.
    pub fn commit(&mut self, cursor: u64) -> Result<(), SeriesError> {
        self.commit_with(cursor, None)
    }

    /// As [`Series::commit`], and in the same transaction what the one who follows the journal
    /// must know to go on from `cursor`. `None` leaves what is stored of that as it is.
    pub fn commit_with(&mut self, cursor: u64, state: Option<&[u8]>) -> Result<(), SeriesError> {
        if cursor < self.cursor {
            return Err(SeriesError::CursorBack {
                found: cursor,
                stored: self.cursor,
            });
        }
        let batch = self.batch + 1;
        let plan = {
            let heads = self.heads.read().unwrap_or_else(PoisonError::into_inner);
            let held = self.log.iter().map(|(_, readings)| readings).sum();
            Plan::new(&heads, &self.pending, &self.begins, held, batch)
        };
        let doing = SeriesError::store("committing readings");
        let transaction = self.connection.unchecked_transaction().map_err(&doing)?;
        for (number, tag) in self.tags.iter().enumerate().skip(self.tags_stored) {
            transaction
                .prepare_cached("INSERT INTO points (id, tag) VALUES (?1, ?2)")
                .and_then(|mut insert| insert.execute(params![number as i64, tag]))
                .map_err(&doing)?;
        }
        let mut written = 0;
        if plan.logged_readings > 0 {
            written += plan.logged.len();
            transaction
                .prepare_cached("INSERT INTO head_log VALUES (?1, ?2)")
                .and_then(|mut insert| insert.execute(params![batch as i64, plan.logged]))
                .map_err(&doing)?;
        }
        for (point, readings) in &plan.sealed {
            let tag = self.tag(*point);
            written += row::insert(&transaction, Place::Recent, *point, tag, readings)?;
            transaction
                .prepare_cached("UPDATE points SET sealed = ?2 WHERE id = ?1")
                .and_then(|mut update| update.execute(params![point, batch as i64]))
                .map_err(&doing)?;
        }
        transaction
            .prepare_cached("DELETE FROM head_log WHERE batch < ?1")
            .and_then(|mut delete| delete.execute([plan.log_from as i64]))
            .map_err(&doing)?;
        let merged = self.merge(&transaction)?;
        layout::set_cursor(&transaction, cursor, state).map_err(&doing)?;
        written += state.map_or(0, <[u8]>::len);
        transaction.commit().map_err(&doing)?;
        self.bytes_unsynced += written + merged.bytes;
        self.cursor = cursor;
        self.settle(plan, &merged, batch);
        if self.bytes_unsynced >= CHECKPOINT_BYTES {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Syncs the file and empties the write-ahead log, as far as readers let it. `false`: not all.
    pub fn checkpoint(&mut self) -> Result<bool, SeriesError> {
        let (busy, frames, done) = self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], layout::checkpointed)
            .map_err(SeriesError::store("syncing series"))?;
        let all = busy == 0 && frames == done;
        if all {
            self.durable = self.cursor;
            self.bytes_unsynced = 0;
        }
        Ok(all)
    }

    /// A reader with a connection of its own.
    pub fn reader(&self) -> Result<SeriesReader, SeriesError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)
            .and_then(|connection| {
                connection.execute_batch("PRAGMA busy_timeout = 5000")?;
                Ok(connection)
            })
            .map_err(|source| SeriesError::Open {
                path: self.path.clone(),
                source,
            })?;
        Ok(SeriesReader::new(connection, Arc::clone(&self.heads)))
    }

    /// Deletes rows whose last reading lies before the time that `before` gives for the tag.
    ///
    /// `None` keeps all of a tag. A row goes when all of it may go, so up to a row of readings
    /// (4.5 hours at 1 s) stays longer; heads stay. One call is bounded; freed pages are used again.
    pub fn prune(
        &mut self,
        before: impl Fn(&str) -> Option<Timestamp>,
    ) -> Result<Pruned, SeriesError> {
        let begin = self.prune_next.max(1);
        let mut end = (begin + PRUNE_POINTS).min(self.tags_stored);
        let doing = SeriesError::store("pruning series");
        let transaction = self.connection.unchecked_transaction().map_err(&doing)?;
        let (mut pruned, mut recent, mut room) = (Pruned::default(), Vec::new(), PRUNE_ROWS);
        for point in begin..end {
            let Some(limit) = self.tags.get(point).and_then(|tag| before(tag)) else {
                continue;
            };
            for place in Place::ALL {
                let (rows, readings) =
                    merge::prune_rows(&transaction, place, point, limit, room).map_err(&doing)?;
                room -= rows;
                pruned.readings += readings;
                if place == Place::Recent {
                    recent.push((point, readings as usize));
                }
            }
            if room == 0 {
                end = point; // once more
                break;
            }
        }
        transaction.commit().map_err(&doing)?;
        for (point, readings) in recent {
            if let Some(left) = self.recent.get_mut(point) {
                *left = left.saturating_sub(readings);
            }
        }
        pruned.done = end >= self.tags_stored;
        self.prune_next = if pruned.done { 0 } else { end };
        Ok(pruned)
    }

    fn tag(&self, point: u32) -> &str {
        self.tags.get(point as usize).map_or("", String::as_str)
    }

    fn add_point(&mut self, tag: String) -> u32 {
        let number = self.tags.len() as u32;
        self.numbers.insert(tag.clone(), number);
        self.tags.push(tag);
        self.begins.push(0);
        self.recent.push(0);
        self.heads
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Head::default());
        number
    }

    /// Brings memory to where the file is after a commit.
    fn settle(&mut self, plan: Plan, merged: &Merged, batch: u64) {
        let mut heads = self.heads.write().unwrap_or_else(PoisonError::into_inner);
        for new in &self.pending {
            let place = new.point as usize;
            if plan.is_sealed.get(place) == Some(&false)
                && let Some(head) = heads.get_mut(place)
            {
                head.push(*new);
            }
        }
        for (point, readings) in &plan.sealed {
            set(&mut heads, *point, Head::default());
            if let Some(recent) = self.recent.get_mut(*point as usize) {
                *recent += readings.len();
                if *recent >= ROW_READINGS {
                    self.to_merge.insert(*point);
                }
            }
        }
        drop(heads);
        for point in &merged.points {
            self.to_merge.remove(point);
            set(&mut self.recent, *point, 0);
        }
        self.pending.clear();
        self.tags_stored = self.tags.len();
        self.begins = plan.begins;
        self.batch = batch;
        self.damaged += merged.damaged;
        if plan.logged_readings > 0 {
            self.log.push_back((batch, plan.logged_readings));
        }
        while self
            .log
            .front()
            .is_some_and(|(row, _)| *row < plan.log_from)
        {
            self.log.pop_front();
        }
    }

    /// Moves what lies in `recent` of some points into `blocks`.
    fn merge(&self, transaction: &Transaction<'_>) -> Result<Merged, SeriesError> {
        let mut merged = Merged::default();
        for point in self.to_merge.iter().take(MERGES_MAX) {
            merge::merge_point(transaction, *point, self.tag(*point), &mut merged)?;
            merged.points.push(*point);
        }
        Ok(merged)
    }

    /// Reads points, counts and heads back.
    fn restore(&mut self) -> Result<(), SeriesError> {
        let doing = SeriesError::store("reading series");
        let points = rows(
            &self.connection,
            "SELECT id, tag, sealed FROM points ORDER BY id",
            |row| {
                Ok((
                    row.get::<_, u32>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?,
                ))
            },
        )
        .map_err(&doing)?;
        let mut sealed = vec![0];
        for (found, tag, batch) in points {
            let expected = self.add_point(tag);
            if found != expected {
                return Err(SeriesError::Points { found, expected });
            }
            sealed.push(batch as u64);
        }
        self.tags_stored = self.tags.len();
        self.batch = sealed.iter().copied().max().unwrap_or(0);
        let recent = rows(
            &self.connection,
            "SELECT point, sum(count + bad) FROM recent GROUP BY point",
            |row| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?)),
        )
        .map_err(&doing)?;
        for (point, readings) in recent {
            set(&mut self.recent, point, readings as usize);
            if readings as usize >= ROW_READINGS {
                self.to_merge.insert(point);
            }
        }
        let log = rows(
            &self.connection,
            "SELECT batch, readings FROM head_log ORDER BY batch",
            |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, Vec<u8>>(1)?)),
        )
        .map_err(&doing)?;
        let mut heads = self.heads.write().unwrap_or_else(PoisonError::into_inner);
        for (batch, bytes) in log {
            let readings = head::read(&bytes).map_err(|why| SeriesError::HeadLog { batch, why })?;
            self.log.push_back((batch, readings.len()));
            self.batch = self.batch.max(batch);
            for reading in readings {
                let place = reading.point as usize;
                let lives = sealed.get(place).is_some_and(|sealed| batch > *sealed);
                let (true, Some(head)) = (lives, heads.get_mut(place)) else {
                    continue;
                };
                head.push(reading);
                if let Some(begins @ 0) = self.begins.get_mut(place) {
                    *begins = batch;
                }
            }
        }
        for (point, head) in (0..).zip(heads.iter_mut()) {
            head.settle(point); // one that was carried comes twice
        }
        Ok(())
    }
}
