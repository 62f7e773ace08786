//! One centre a folder: the lock that a second one runs into.
//!
//! The operating system frees it when the process ends in whatever way, so no stale lock is left
//! behind. The process number inside the file is for people only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use super::JournalError;

/// The lock file's name in the data folder.
pub const LOCK_FILE: &str = "journal.lock";

/// Held for as long as the journal is open.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock of `folder`, or says who holds it.
    pub(super) fn take(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(LOCK_FILE);
        let failed = |source| JournalError::Folder {
            deed: "locking",
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                // The number only helps a person to find the other one: not knowing it is no
                // fault. At most 20 digits belong there.
                let known = (&mut file).take(20).read_to_string(&mut process).is_ok();
                let process = Some(process.trim().to_owned()).filter(|p| known && !p.is_empty());
                return Err(JournalError::InUse {
                    folder: folder.to_path_buf(),
                    process: process.unwrap_or_else(|| "of unknown number".to_owned()),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    /// Closing the file would not be enough: a process that is being started by this one shares
    /// it for a moment, and the lock with it.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::error!(%error, "the lock of the data folder could not be freed");
        }
    }
}
