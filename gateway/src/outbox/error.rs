//! Why the outbox did not do what it was asked.

use std::path::PathBuf;

use thiserror::Error;

use super::schema::SCHEMA_VERSION;
use crate::lock::LockError;

/// Why the outbox could not do it. Nothing of the deed was kept.
#[derive(Debug, Error)]
pub enum OutboxError {
    /// The disk is full. The same call works once there is room.
    #[error("{deed} in outbox `{}`: no room on the disk", path.display())]
    NoRoom {
        /// What was being done.
        deed: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// SQLite failed.
    #[error("{deed} in outbox `{}`: {source}", path.display())]
    Storage {
        /// What was being done.
        deed: &'static str,
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Another gateway writes it, or it cannot be locked.
    #[error("outbox `{}`: {source}; one gateway writes a folder", path.display())]
    Locked {
        /// Which file is the lock.
        path: PathBuf,
        /// Who holds it, or what the system said.
        source: LockError,
    },
    /// Tables of another version.
    #[error("outbox `{}`: version {found} of the tables; this program knows {SCHEMA_VERSION}", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
}
