//! The journal's tables, and how a connection to them is set up.
//!
//! - `entry` is the chain. A row is never changed and never removed.
//! - `input` holds what came in, apart from the chain, so that taking out the messages of a day
//!   gives whole pages back for new ones. There is a row for each entry but the messages up to
//!   `mark.pruned_through`, which is 0 until the first bytes go.
//! - `snapshot` holds states of the engine: the newest two, and some older ones
//!   ([`super::snapshots`]).
//! - `alarm` says in which entries each occurrence of an alarm was raised and last changed, `hazard`
//!   holds each entry of the ledger as last changed: they follow from the entries and are written
//!   in their transaction ([`super::tables`]).
//!
//! Limits: a row's bytes are bounded by [`super::ENTRY_BYTES_MAX`]; `entry`, `alarm` and `hazard`
//! are kept for good.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{FILE, JournalError, storage};

/// `DAVY` in ASCII: marks the file as ours.
const APPLICATION_ID: i64 = 0x4441_5659;

/// Version of the tables. A newer one is refused, so that an old program spoils nothing.
const VERSION: i64 = 4;

/// Bytes of a page: four messages of 1.8 kB fit one.
pub(super) const PAGE_BYTES: u64 = 8192;

/// How long a connection waits for a lock that another one of this process holds. Checkpoints
/// hold it for milliseconds; this is a way out, not a plan.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements that a connection keeps compiled; more than there are.
const STATEMENTS_KEPT: usize = 32;

const TABLES: &str = "
    CREATE TABLE entry (
        number       INTEGER PRIMARY KEY CHECK (number > 0),
        now_ms       INTEGER NOT NULL,
        kind         INTEGER NOT NULL,
        input_digest BLOB NOT NULL,
        effects      BLOB,
        hash         BLOB NOT NULL
    ) STRICT;
    CREATE INDEX entry_with_effects ON entry (number) WHERE effects IS NOT NULL;
    CREATE TABLE input (
        number INTEGER PRIMARY KEY,
        bytes  BLOB NOT NULL
    ) STRICT;
    CREATE TABLE mark (
        id             INTEGER PRIMARY KEY CHECK (id = 1),
        pruned_through INTEGER NOT NULL
    ) STRICT;
    INSERT INTO mark VALUES (1, 0);
    CREATE TABLE snapshot (
        number INTEGER PRIMARY KEY,
        digest BLOB NOT NULL,
        bytes  BLOB NOT NULL
    ) STRICT;
    CREATE TABLE alarm (
        occurrence INTEGER PRIMARY KEY,
        raised_in  INTEGER NOT NULL,
        changed_in INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE hazard (
        id         INTEGER PRIMARY KEY,
        source     TEXT NOT NULL,
        state      TEXT NOT NULL,
        json       TEXT NOT NULL,
        changed_in INTEGER NOT NULL
    ) STRICT;
";

/// The journal's file: `path` itself, or the one in it when it is a data folder.
pub fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(FILE)
    } else {
        path.to_path_buf()
    }
}

/// A connection that writes; makes the tables when the file is new.
pub(super) fn open_writer(file: &Path) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(file, flags).map_err(storage("opening the journal"))?;
    set_up(&connection).map_err(storage("setting the journal up"))?;
    if is_new(&connection).map_err(storage("reading the journal's tables"))? {
        create(&mut connection).map_err(storage("making the journal's tables"))?;
    }
    check(&connection, file)?;
    Ok(connection)
}

/// A connection that only reads.
///
/// Reading a journal makes files beside it. Where nothing can be made (a medium that is mounted
/// read-only) one that was closed in order is whole by itself, and is read as it lies.
pub(super) fn open_reader(file: &Path) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(file, flags).and_then(set_up_reader);
    let connection = match opened {
        Err(error) if cannot_write_beside(&error) && is_closed(file) => open_immutable(file),
        opened => opened,
    };
    let connection = connection.map_err(storage("opening the journal"))?;
    check(&connection, file)?;
    Ok(connection)
}

/// Opens a file that nobody writes, and makes nothing beside it.
pub(super) fn open_immutable(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let mut uri = "file:".to_owned();
    for part in file.to_string_lossy().chars() {
        match part {
            '%' => uri.push_str("%25"),
            '?' => uri.push_str("%3f"),
            '#' => uri.push_str("%23"),
            part => uri.push(part),
        }
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, flags).and_then(set_up_reader)
}

fn set_up_reader(connection: Connection) -> rusqlite::Result<Connection> {
    let pragmas = "PRAGMA query_only = ON; PRAGMA cache_size = -8192; PRAGMA trusted_schema = OFF;";
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(pragmas)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // The first look at the file itself.
    connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    Ok(connection)
}

fn cannot_write_beside(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// Whether a file is there, and nothing in a log beside it.
fn is_closed(file: &Path) -> bool {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let logged = std::fs::metadata(log).map_or(0, |log| log.len());
    file.is_file() && logged == 0
}

/// Write-ahead log, synced at each commit; checkpoints are not this connection's work.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA foreign_keys = ON;
         PRAGMA cache_size = -16384;
         PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;"
    ))
}

fn is_new(connection: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0)
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Whether the file is a journal of a version that this program knows.
fn check(connection: &Connection, file: &Path) -> Result<(), JournalError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let reading = storage("reading the journal's version");
    let application = pragma("application_id").map_err(reading)?;
    if application != APPLICATION_ID {
        return Err(JournalError::NotAJournal {
            file: file.to_path_buf(),
            found: application,
        });
    }
    let found = pragma("user_version").map_err(reading)?;
    if found != VERSION {
        return Err(JournalError::Version {
            file: file.to_path_buf(),
            found,
            known: VERSION,
        });
    }
    Ok(())
}
