//! Store and forward: a message is in here before it is published, and stays until the centre says
//! that it is committed.
//!
//! Its place in the path: between decode and MQTT. One file in the gateway's data folder.
//!
//! # Invariants
//!
//! - Messages are numbered as (`run`, `sequence`) without gaps. `run` grows at each start and is
//!   synced before the first message of it, so no number is ever used twice, whatever crashed. It
//!   is taken from the wall clock, so that a copy of the file has other numbers.
//! - produced = committed + stored + lost, always, and kept in the same transactions as the
//!   messages. What a power cut takes back was never counted.
//! - Only [`Outbox::committed`], a limit and [`Outbox::lose`] free a message. What the last two free
//!   is lost: counted, and told to the centre.
//!
//! # Format
//!
//! A message's row number grows over all runs. The table `run` holds the row number at which each
//! run begins, so the sequence is the distance to it, and both orders are one.
//!
//! # Limits
//!
//! [`Limits::bytes_max`], [`Limits::age_max`], and messages of [`davy_core::delivery::RUNS_MAX`] runs; the oldest goes
//! first. Age is the time that the gateway has run since, by the monotonic clock: a step of the wall
//! clock frees nothing.
//!
//! Writes are in SQLite's write-ahead log at once and synced by [`Outbox::sync`] or a [`Syncer`],
//! every second. On a full disk a message is refused and counted as lost ([`Outbox::refused`]);
//! the next one is taken as soon as there is room.

mod account;
mod aside;
mod error;
mod schema;
mod sync;
mod trim;

use std::path::{Path, PathBuf};
use std::time::Duration;

use davy_core::delivery::{MessageNumber, Ranges, Stored};
use davy_core::reading::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

pub use self::account::Account;
pub use self::error::OutboxError;
pub use self::sync::Syncer;

use self::schema::{SCHEMA_VERSION, add, begin_run, forget_empty, prepare};
use crate::lock::Lock;

/// The outbox's name in the gateway's data folder.
pub const FILE: &str = "outbox.sqlite";

/// The lock's name beside it: one gateway a folder.
const LOCK_FILE: &str = "outbox.lock";

/// How much is kept while the centre is away.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of payload.
    pub bytes_max: u64,
    /// Age in hours that the gateway has run since. 72 h is what a plant is used to (断点续传).
    pub age_max: Duration,
}

/// A message to be numbered and kept.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// The unit that it is about.
    pub device: &'a str,
    /// Its payload, but for what is known only when it is published.
    pub payload: &'a [u8],
}

/// A message in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the order of all messages.
    pub row: i64,
    /// Its number.
    pub number: MessageNumber,
    /// The unit that it is about.
    pub device: String,
    /// Its payload, but for what is known only when it is published.
    pub payload: Vec<u8>,
}

/// The open outbox, with its run.
pub struct Outbox {
    database: Connection,
    #[allow(
        dead_code,
        reason = "it is held, and freed after the database is closed"
    )]
    lock: Lock,
    path: PathBuf,
    limits: Limits,
    instance: String,
    run: u64,
    /// Row of the run's message 0.
    run_base: i64,
    last_row: i64,
    account: Account,
    bytes: u64,
    /// The age clock at the start: that of the newest message then.
    began_at: Duration,
    /// Messages that the disk refused and that are not booked in the file yet.
    unbooked: u64,
}

impl Outbox {
    /// Opens the outbox in `folder` (made when missing) and begins a new run, synced.
    ///
    /// `new_instance` names the outbox if this is its first start: two gateways that use one
    /// identity are told apart by it. `now` is the wall clock.
    pub fn open(
        folder: &Path,
        limits: Limits,
        new_instance: &str,
        now: Timestamp,
    ) -> Result<Self, OutboxError> {
        let path = folder.join(FILE);
        let failed = |deed: &'static str| failure(deed, &path);
        std::fs::create_dir_all(folder).map_err(|error| {
            failed("making the folder")(rusqlite::Error::ToSqlConversionFailure(error.into()))
        })?;
        let lock = folder.join(LOCK_FILE);
        let lock =
            Lock::take(&lock).map_err(|source| OutboxError::Locked { path: lock, source })?;
        let mut database = Connection::open(&path).map_err(failed("opening"))?;
        prepare(&database).map_err(failed("preparing"))?;
        let found: i64 = database
            .query_row(
                "SELECT value FROM number WHERE name = 'version'",
                [],
                |row| row.get(0),
            )
            .map_err(failed("reading the version"))?;
        if found != SCHEMA_VERSION {
            return Err(OutboxError::Version { path, found });
        }
        let begun =
            begin_run(&mut database, new_instance, now).map_err(failed("beginning a run"))?;
        let mut outbox = Self {
            database,
            lock,
            path,
            limits,
            instance: begun.instance,
            run: begun.run,
            run_base: begun.base,
            last_row: begun.base,
            account: Account::default(),
            bytes: 0,
            began_at: Duration::ZERO,
            unbooked: 0,
        };
        outbox.sync()?;
        outbox.count().map_err(failure("counting", &outbox.path))?;
        outbox.trim_runs()?;
        Ok(outbox)
    }

    /// The present run.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Name of this outbox, given at its first start.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Where every message is now.
    pub fn account(&self) -> Account {
        self.account
    }

    /// Bytes of payload in here.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number that the next message will get.
    pub fn next_number(&self) -> MessageNumber {
        MessageNumber {
            run: self.run,
            sequence: (self.last_row - self.run_base + 1).cast_unsigned(),
        }
    }

    /// Row of the newest message; 0 when there has never been one.
    pub fn last_row(&self) -> i64 {
        self.last_row
    }

    /// Keeps messages, all or none. They get the numbers from [`Outbox::next_number`] on.
    /// `elapsed` is the monotonic time since the outbox was opened.
    pub fn push(
        &mut self,
        elapsed: Duration,
        messages: &[NewMessage<'_>],
    ) -> Result<(), OutboxError> {
        let stored_at = self.age_clock(elapsed);
        let path = &self.path;
        let failed = |error| failure("storing messages", path)(error);
        let transaction = self.database.transaction().map_err(failed)?;
        let mut bytes = 0;
        {
            let mut insert = transaction
                .prepare_cached(
                    "INSERT INTO message (row, stored_at, device, payload) VALUES (?1, ?2, ?3, ?4)",
                )
                .map_err(failed)?;
            for (row, message) in (self.last_row + 1..).zip(messages) {
                insert
                    .execute(params![row, stored_at, message.device, message.payload])
                    .map_err(failed)?;
                bytes += message.payload.len() as u64;
            }
        }
        add(&transaction, "produced", messages.len() as i64).map_err(failed)?;
        add(&transaction, "bytes", bytes as i64).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.last_row += messages.len() as i64;
        self.account.produced += messages.len() as u64;
        self.account.stored += messages.len() as u64;
        self.bytes += bytes;
        Ok(())
    }

    /// What is written beside a message: milliseconds that gateways have run over this outbox.
    fn age_clock(&self, elapsed: Duration) -> i64 {
        i64::try_from((self.began_at + elapsed).as_millis()).unwrap_or(i64::MAX)
    }

    /// Rows of the messages `first..=last` of a run, ends included, freed or not; none when the run
    /// is over or has no such messages.
    pub fn rows(&self, run: u64, first: u64, last: u64) -> Result<Option<(i64, i64)>, OutboxError> {
        let Some((base, end)) = self.rows_of(run)? else {
            return Ok(None);
        };
        let row = |sequence| base.saturating_add(i64::try_from(sequence).unwrap_or(i64::MAX));
        let (from, to) = (row(first.max(1)), row(last).min(end));
        Ok((from <= to).then_some((from, to)))
    }

    /// Which of the messages `first..=last` of a run are not in here any more. Of the present run
    /// those that are still to be produced are none of them.
    pub fn absent(&self, run: u64, first: u64, last: u64) -> Result<Ranges, OutboxError> {
        let failed = |error| failure("looking for messages", &self.path)(error);
        let mut absent = Ranges::default();
        let Some((base, end)) = self.rows_of(run)? else {
            absent.insert_range(first, last);
            return Ok(absent);
        };
        let produced = (end - base).max(0).cast_unsigned();
        let last = if run == self.run {
            last.min(produced)
        } else {
            last
        };
        let row = |sequence| base.saturating_add(i64::try_from(sequence).unwrap_or(i64::MAX));
        let mut query = self
            .database
            .prepare_cached("SELECT row FROM message WHERE row BETWEEN ?1 AND ?2 ORDER BY row")
            .map_err(failed)?;
        let mut rows = query
            .query([row(first), row(last).min(end)])
            .map_err(failed)?;
        let mut next = first;
        while let Some(one) = rows.next().map_err(failed)? {
            let kept = (one.get::<_, i64>(0).map_err(failed)? - base).cast_unsigned();
            absent.insert_range(next, kept.saturating_sub(1));
            next = kept.saturating_add(1);
        }
        absent.insert_range(next, last);
        Ok(absent)
    }

    /// Frees what the centre has committed, and says how many messages that was.
    pub fn committed<'a>(
        &mut self,
        runs: impl IntoIterator<Item = (u64, &'a Ranges)>,
    ) -> Result<u64, OutboxError> {
        let known = self.runs().map_err(failure("finding runs", &self.path))?;
        let mut rows = Vec::new();
        for (run, ranges) in runs {
            let Some((base, last)) = self.span(&known, run) else {
                continue;
            };
            rows.extend(ranges.iter().map(|(from, to)| {
                let row =
                    |sequence| base.saturating_add(i64::try_from(sequence).unwrap_or(i64::MAX));
                (row(from), row(to).min(last))
            }));
        }
        let freed = self.free(&rows, "committed")?;
        self.account.committed += freed;
        Ok(freed)
    }

    /// Up to `messages_max` messages and about `bytes_max` bytes after `row`, oldest first.
    pub fn after(
        &self,
        row: i64,
        messages_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredMessage>, OutboxError> {
        let failed = |error| failure("reading messages", &self.path)(error);
        let runs = self.runs().map_err(failed)?;
        let mut query = self
            .database
            .prepare_cached(
                "SELECT row, device, payload FROM message WHERE row > ?1 ORDER BY row LIMIT ?2",
            )
            .map_err(failed)?;
        let limit = i64::try_from(messages_max).unwrap_or(i64::MAX);
        let mut rows = query.query(params![row, limit]).map_err(failed)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(one) = rows.next().map_err(failed)?
            && (found.is_empty() || bytes < bytes_max)
        {
            let row: i64 = one.get(0).map_err(failed)?;
            // A name that is no text is nobody's: it must not hold the others up.
            let device = one.get_ref(1).map_err(failed)?;
            let payload: Vec<u8> = one.get(2).map_err(failed)?;
            bytes += payload.len();
            let of = runs
                .partition_point(|(_, base)| *base < row)
                .saturating_sub(1);
            let (run, base) = runs.get(of).copied().unwrap_or((self.run, self.run_base));
            found.push(StoredMessage {
                row,
                number: MessageNumber {
                    run,
                    sequence: (row - base).cast_unsigned(),
                },
                device: device.as_str().unwrap_or_default().to_owned(),
                payload,
            });
        }
        Ok(found)
    }

    /// What is kept of each run, the present one included even when it is empty.
    pub fn stored(&self) -> Result<Vec<Stored>, OutboxError> {
        let failed = |error| failure("summing up", &self.path)(error);
        let runs = self.runs().map_err(failed)?;
        let mut query = self
            .database
            // Apart, each is one look into the tree; together, SQLite reads every row between.
            .prepare_cached(
                "SELECT (SELECT min(row) FROM message WHERE row > ?1 AND row <= ?2),
                        (SELECT max(row) FROM message WHERE row > ?1 AND row <= ?2)",
            )
            .map_err(failed)?;
        let mut stored = Vec::new();
        for (index, (run, base)) in runs.iter().enumerate() {
            let end = runs.get(index + 1).map_or(i64::MAX, |(_, next)| *next);
            let kept: (Option<i64>, Option<i64>) = query
                .query_row([*base, end], |row| Ok((row.get(0)?, row.get(1)?)))
                .map_err(failed)?;
            match kept {
                (Some(first), Some(last)) => stored.push(Stored {
                    run: *run,
                    first: (first - base).cast_unsigned(),
                    last: (last - base).cast_unsigned(),
                }),
                _ if *run == self.run => {
                    let next = self.next_number().sequence;
                    stored.push(Stored {
                        run: *run,
                        first: next,
                        last: next - 1,
                    });
                }
                _ => {}
            }
        }
        Ok(stored)
    }

    /// A text kept beside the messages, such as the table of aliases.
    pub fn note(&self, name: &str) -> Result<Option<String>, OutboxError> {
        self.database
            .query_row("SELECT value FROM note WHERE name = ?1", [name], |row| {
                row.get(0)
            })
            .optional()
            .map_err(failure("reading a note", &self.path))
    }

    /// Keeps a text beside the messages.
    pub fn set_note(&mut self, name: &str, value: &str) -> Result<(), OutboxError> {
        self.database
            .execute(
                "INSERT INTO note (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [name, value],
            )
            .map_err(failure("writing a note", &self.path))?;
        Ok(())
    }

    /// Rows of a run: the row before its first message, and its last.
    fn rows_of(&self, run: u64) -> Result<Option<(i64, i64)>, OutboxError> {
        let known = self.runs().map_err(failure("finding a run", &self.path))?;
        Ok(self.span(&known, run))
    }

    /// The same, when all runs are at hand.
    fn span(&self, known: &[(u64, i64)], run: u64) -> Option<(i64, i64)> {
        let index = known.binary_search_by_key(&run, |(run, _)| *run).ok()?;
        let (_, base) = known.get(index)?;
        let end = known
            .get(index + 1)
            .map_or(self.last_row, |(_, next)| *next);
        Some((*base, end))
    }

    fn runs(&self) -> rusqlite::Result<Vec<(u64, i64)>> {
        self.database
            .prepare_cached("SELECT run, base FROM run ORDER BY run")?
            .query_map([], |row| {
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
            })?
            .collect()
    }

    /// Deletes rows, as ranges with their ends, and books them under `account`; all or none.
    fn free(&mut self, rows: &[(i64, i64)], account: &str) -> Result<u64, OutboxError> {
        let path = &self.path;
        let failed = |error| failure("freeing messages", path)(error);
        let transaction = self.database.transaction().map_err(failed)?;
        let (mut freed, mut bytes) = (0, 0);
        for (from, to) in rows.iter().filter(|(from, to)| from <= to) {
            let of_range: u64 = transaction
                .prepare_cached(
                    "SELECT coalesce(sum(length(payload)), 0) FROM message
                     WHERE row BETWEEN ?1 AND ?2",
                )
                .and_then(|mut query| query.query_row([from, to], |row| row.get(0)))
                .map_err(failed)?;
            bytes += of_range;
            freed += transaction
                .prepare_cached("DELETE FROM message WHERE row BETWEEN ?1 AND ?2")
                .and_then(|mut delete| delete.execute([from, to]))
                .map_err(failed)? as u64;
        }
        if freed > 0 {
            add(&transaction, account, freed.cast_signed()).map_err(failed)?;
            add(&transaction, "bytes", -bytes.cast_signed()).map_err(failed)?;
            forget_empty(&transaction, self.run.cast_signed()).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        self.account.stored -= freed.min(self.account.stored);
        self.bytes -= bytes.min(self.bytes);
        Ok(freed)
    }
}

fn failure(deed: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> OutboxError {
    let path = path.to_owned();
    move |source| {
        let path = path.clone();
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => OutboxError::NoRoom { deed, path },
            _ => OutboxError::Storage { deed, path, source },
        }
    }
}

#[cfg(test)]
mod tests;
