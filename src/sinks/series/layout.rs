//! The file: its name, its tables, how it is opened.

use std::path::Path;

use rusqlite::{Connection, Row, params};

use super::SeriesError;

/// The file in the data folder.
pub(in crate::sinks) const FILE: &str = "series.db";

/// Layout of the file, as the database's `user_version`.
const LAYOUT: i64 = 4;

const TABLES: &str = "
    -- `state` is what the one who follows the journal must know to go on from `number`.
    CREATE TABLE cursor (only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL,
        state BLOB);
    INSERT INTO cursor VALUES (1, 0, NULL);
    -- Readings of a point in log rows up to `sealed` are in `recent` or `blocks`.
    CREATE TABLE points (id INTEGER PRIMARY KEY, tag TEXT NOT NULL UNIQUE,
        sealed INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE head_log (batch INTEGER PRIMARY KEY, readings BLOB NOT NULL);
    CREATE TABLE recent (id INTEGER PRIMARY KEY, point INTEGER NOT NULL, first INTEGER NOT NULL,
        last INTEGER NOT NULL, count INTEGER NOT NULL, bad INTEGER NOT NULL,
        seen INTEGER NOT NULL, min REAL, max REAL, sum REAL, data BLOB NOT NULL);
    CREATE INDEX recent_by_time ON recent (point, last, first);
    CREATE TABLE blocks (id INTEGER PRIMARY KEY, point INTEGER NOT NULL, first INTEGER NOT NULL,
        last INTEGER NOT NULL, count INTEGER NOT NULL, bad INTEGER NOT NULL,
        seen INTEGER NOT NULL, min REAL, max REAL, sum REAL, data BLOB NOT NULL);
    CREATE INDEX blocks_by_time ON blocks (point, last, first);
    PRAGMA user_version = 4;";

/// Opens the file for writing, or makes an empty one.
///
/// Pages of 2 kB leave a little less of each row's last page empty than 4 kB (some 0.005
/// bytes a reading). The file may grow to 8.8 TB with them.
pub(super) fn open(path: &Path) -> Result<Connection, SeriesError> {
    let failed = |source| SeriesError::Open {
        path: path.to_owned(),
        source,
    };
    let connection = Connection::open(path).map_err(failed)?;
    connection
        .execute_batch(
            "PRAGMA page_size = 2048; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA wal_autocheckpoint = 0; PRAGMA busy_timeout = 5000;",
        )
        .map_err(failed)?;
    if layout(&connection).map_err(failed)? == 0 {
        connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} COMMIT;"))
            .map_err(failed)?;
    }
    let found = layout(&connection).map_err(failed)?;
    if found != LAYOUT {
        return Err(SeriesError::Layout {
            path: path.to_owned(),
            found,
            known: LAYOUT,
        });
    }
    Ok(connection)
}

fn layout(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Stores the cursor, and the state that belongs to it if it is another one.
pub(super) fn set_cursor(
    connection: &Connection,
    cursor: u64,
    state: Option<&[u8]>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE cursor SET number = ?1, state = coalesce(?2, state)")?
        .execute(params![cursor as i64, state])
        .map(drop)
}

/// The state that belongs to the cursor.
pub(super) fn state(connection: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.query_row("SELECT state FROM cursor", [], |row| row.get(0))
}

/// What a checkpoint says: whether it was held up, pages of the log, pages of it that are done.
pub(super) fn checkpointed(row: &Row<'_>) -> rusqlite::Result<(i64, i64, i64)> {
    row.try_into()
}

/// All rows of a query without arguments.
pub(super) fn rows<T>(
    connection: &Connection,
    sql: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}
