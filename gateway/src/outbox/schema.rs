//! The tables of the outbox.

use std::time::Duration;

use davy_core::reading::Timestamp;
use rusqlite::{Connection, params};

/// Version of the tables.
pub(super) const SCHEMA_VERSION: i64 = 2;

/// Pages in the write-ahead log from which on storing makes it short by itself: 64 MB, some ten
/// seconds of the largest gateway that is measured.
const LOG_PAGES_MAX: u32 = 16_384;

/// A run that has begun.
pub(super) struct Begun {
    /// Name of the outbox.
    pub(super) instance: String,
    /// Its number.
    pub(super) run: u64,
    /// The row before its first message.
    pub(super) base: i64,
}

/// Makes the tables where they are missing, and says how to write.
pub(super) fn prepare(database: &Connection) -> rusqlite::Result<()> {
    database.pragma_update(None, "journal_mode", "WAL")?;
    // Written at once, synced at each checkpoint: a crash of the gateway loses nothing, a power cut
    // at most what came since the last sync.
    database.pragma_update(None, "synchronous", "NORMAL")?;
    // The log is written to the file by the syncer, aside. Storing does it by itself, and waits for
    // the disk, only where the syncer does not get the log short again.
    database.pragma_update(None, "wal_autocheckpoint", LOG_PAGES_MAX)?;
    database.busy_timeout(Duration::from_secs(5))?;
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS message (
             row INTEGER PRIMARY KEY,
             stored_at INTEGER NOT NULL, -- ms that gateways have run over this outbox
             device TEXT NOT NULL,
             payload BLOB NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS run (
             run INTEGER PRIMARY KEY,
             base INTEGER NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS number (
             name TEXT PRIMARY KEY,
             value INTEGER NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS note (
             name TEXT PRIMARY KEY,
             value TEXT NOT NULL) STRICT;",
    )?;
    database.execute(
        "INSERT OR IGNORE INTO number (name, value) VALUES
             ('version', ?1), ('produced', 0), ('committed', 0), ('lost', 0), ('bytes', 0),
             ('last_run', 0)",
        [SCHEMA_VERSION],
    )?;
    Ok(())
}

/// Begins a run: numbers it, and forgets those of which nothing is left.
///
/// Its number is the wall clock's, in milliseconds, and more than the last: copies of one file
/// never number their messages alike, and one that was restored goes on where nobody was.
pub(super) fn begin_run(
    database: &mut Connection,
    new_instance: &str,
    now: Timestamp,
) -> rusqlite::Result<Begun> {
    let transaction = database.transaction()?;
    transaction.execute(
        "INSERT OR IGNORE INTO note (name, value) VALUES ('instance', ?1)",
        [new_instance],
    )?;
    let instance = transaction.query_row(
        "SELECT value FROM note WHERE name = 'instance'",
        [],
        |row| row.get(0),
    )?;
    transaction.execute(
        "UPDATE number SET value = max(value + 1, ?1) WHERE name = 'last_run'",
        [now.0],
    )?;
    let run: i64 = transaction.query_row(
        "SELECT value FROM number WHERE name = 'last_run'",
        [],
        |row| row.get(0),
    )?;
    let base: i64 = transaction.query_row(
        "SELECT max((SELECT coalesce(max(row), 0) FROM message),
                    (SELECT coalesce(max(base), 0) FROM run),
                    (SELECT value FROM number WHERE name = 'produced'))",
        [],
        |row| row.get(0),
    )?;
    transaction.execute("INSERT INTO run (run, base) VALUES (?1, ?2)", [run, base])?;
    forget_empty(&transaction, run)?;
    transaction.commit()?;
    Ok(Begun {
        instance,
        run: run.cast_unsigned(),
        base,
    })
}

/// Forgets the runs before `present` of which nothing is left.
pub(super) fn forget_empty(database: &Connection, present: i64) -> rusqlite::Result<()> {
    database
        // The end of a run is looked up, not searched for: there may be thousands.
        .prepare_cached(
            "DELETE FROM run WHERE run < ?1 AND NOT EXISTS (
                 SELECT 1 FROM message WHERE row > run.base AND row <= (
                     SELECT next.base FROM run AS next WHERE next.run > run.run
                     ORDER BY next.run LIMIT 1))",
        )?
        .execute([present])?;
    Ok(())
}

/// Adds to one of the counted numbers.
pub(super) fn add(database: &Connection, name: &str, count: i64) -> rusqlite::Result<()> {
    database
        .prepare_cached("UPDATE number SET value = value + ?2 WHERE name = ?1")?
        .execute(params![name, count])?;
    Ok(())
}
