//! What makes the outbox survive a power cut: the log is synced and written to the file.

use std::path::PathBuf;

use rusqlite::Connection;

use super::{Outbox, OutboxError, failure};

/// Syncs an outbox from another thread; see [`Outbox::syncer`].
pub struct Syncer {
    database: Connection,
    path: PathBuf,
}

impl Syncer {
    /// Makes everything written so far survive a power cut.
    pub fn sync(&mut self) -> Result<(), OutboxError> {
        checkpoint(&self.database).map_err(failure("syncing", &self.path))
    }
}

impl Outbox {
    /// Makes everything written so far survive a power cut.
    pub fn sync(&mut self) -> Result<(), OutboxError> {
        self.book()?;
        checkpoint(&self.database).map_err(failure("syncing", &self.path))
    }

    /// What makes it survive a power cut from another thread, so that storing never waits for the
    /// disk: a connection of its own, which syncs only.
    pub fn syncer(&self) -> Result<Syncer, OutboxError> {
        let database = Connection::open(&self.path).map_err(failure("opening", &self.path))?;
        Ok(Syncer {
            database,
            path: self.path.clone(),
        })
    }
}

/// Passive: writers are not waited for and do not wait.
fn checkpoint(database: &Connection) -> rusqlite::Result<()> {
    database.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
