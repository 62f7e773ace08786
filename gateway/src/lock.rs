//! One process a folder: the lock that a second one runs into.
//!
//! The operating system frees it when the process ends in whatever way, so no stale lock is left
//! behind. The process number inside the file is for people only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use thiserror::Error;

/// Why the lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("in use by process {process}")]
    InUse {
        /// The number of the other process, as it wrote it.
        process: String,
    },
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// Held for as long as the folder is in use.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock that is `file`, made when missing, or says who holds it.
    pub fn take(file: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(file)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                // The number only helps a person to find the other one: not knowing it is no
                // fault. At most 20 digits belong there.
                let known = (&mut file).take(20).read_to_string(&mut process).is_ok();
                let process = Some(process.trim().to_owned()).filter(|p| known && !p.is_empty());
                let process = process.unwrap_or_else(|| "of unknown number".to_owned());
                return Err(LockError::InUse { process });
            }
            Err(TryLockError::Error(source)) => return Err(source.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        // On a full disk the number is left out; the lock holds all the same.
        let written = writeln!(file, "{}", std::process::id());
        written.or_else(|error| match error.kind() {
            io::ErrorKind::StorageFull => Ok(()),
            _ => Err(error),
        })?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    /// Closing the file would not be enough: a process that is being started by this one shares
    /// it for a moment, and the lock with it.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::error!(%error, "the lock of a data folder could not be freed");
        }
    }
}
