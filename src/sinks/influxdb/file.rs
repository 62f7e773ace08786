//! The cursor in `influxdb.sqlite`, with the decoder's state and the lines put aside.
//!
//! Written with `synchronous = FULL`, about once a second: what is stored stays so.

use std::path::Path;

use rusqlite::{Connection, params};

use super::InfluxError;

/// The file in the data folder.
pub(super) const FILE: &str = "influxdb.sqlite";

/// Layout of the file, as the database's `user_version`.
const LAYOUT: i64 = 1;

/// Lines put aside that are kept; older ones go, their number stays counted.
pub(super) const ASIDE_MAX: u32 = 1_000;

const TABLES: &str = "BEGIN IMMEDIATE;
    CREATE TABLE cursor (only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL,
        refused INTEGER NOT NULL, state BLOB);
    INSERT INTO cursor VALUES (1, 0, 0, NULL);
    CREATE TABLE aside (id INTEGER PRIMARY KEY, line TEXT NOT NULL, why TEXT NOT NULL);
    PRAGMA user_version = 1;
    COMMIT;";

/// The file, open for writing.
pub(super) struct File {
    connection: Connection,
    cursor: u64,
    refused: u64,
}

impl File {
    /// Opens the file, or makes an empty one.
    pub(super) fn open(folder: &Path) -> Result<Self, InfluxError> {
        let path = folder.join(FILE);
        let failed = |source| InfluxError::File {
            path: path.clone(),
            source,
        };
        let connection = Connection::open(&path).map_err(failed)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;",
            )
            .map_err(failed)?;
        if layout(&connection).map_err(failed)? == 0 {
            connection.execute_batch(TABLES).map_err(failed)?;
        }
        let found = layout(&connection).map_err(failed)?;
        if found != LAYOUT {
            return Err(InfluxError::Layout {
                path,
                found,
                known: LAYOUT,
            });
        }
        let (cursor, refused): (i64, i64) = connection
            .query_row("SELECT number, refused FROM cursor", [], |row| {
                row.try_into()
            })
            .map_err(failed)?;
        Ok(Self {
            connection,
            cursor: cursor as u64,
            refused: refused as u64,
        })
    }

    /// The journal number up to which everything is sent.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Lines that the server did not take, ever.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// The state of the decoder at the cursor.
    pub(super) fn state(&self) -> rusqlite::Result<Option<Vec<u8>>> {
        self.connection
            .query_row("SELECT state FROM cursor", [], |row| row.get(0))
    }

    /// Moves the cursor, and keeps the lines put aside, in one transaction.
    pub(super) fn commit(
        &mut self,
        cursor: u64,
        state: Option<&[u8]>,
        aside: &[(String, String)],
        dropped: u64,
    ) -> rusqlite::Result<()> {
        let refused = self.refused + aside.len() as u64 + dropped;
        let transaction = self.connection.transaction()?;
        for (line, why) in aside {
            transaction
                .prepare_cached("INSERT INTO aside (line, why) VALUES (?1, ?2)")?
                .execute(params![line, why])?;
        }
        if !aside.is_empty() {
            transaction.execute(
                "DELETE FROM aside WHERE id <= (SELECT max(id) FROM aside) - ?1",
                [ASIDE_MAX],
            )?;
        }
        transaction
            .prepare_cached(
                "UPDATE cursor SET number = ?1, refused = ?2, state = coalesce(?3, state)",
            )?
            .execute(params![cursor as i64, refused as i64, state])?;
        transaction.commit()?;
        self.cursor = cursor;
        self.refused = refused;
        Ok(())
    }
}

fn layout(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}
