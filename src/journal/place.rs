//! Whether the journal's files are still where they were opened.
//!
//! A file that is removed or replaced under a running centre goes on taking commits that nobody
//! will find again. So its place is looked at before each commit: three looks of some microseconds
//! beside a sync of the disk.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::JournalError;

/// What `SQLite` keeps beside a file in use: its log, and the shared memory over it.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// The files in use, each with what names it on its disk.
#[derive(Debug)]
pub(super) struct Place(Vec<(PathBuf, (u64, u64))>);

impl Place {
    /// Of a journal that has been read from, so that all its files are there.
    pub(super) fn of(file: &Path) -> Self {
        let beside = BESIDE.map(|end| {
            let mut path = file.as_os_str().to_owned();
            path.push(end);
            PathBuf::from(path)
        });
        let there = beside.into_iter();
        let there = there.filter_map(|path| identity(&path).ok().map(|found| (path, found)));
        Self(there.collect())
    }

    /// An error when one of them is gone or is another one.
    pub(super) fn check(&self) -> Result<(), JournalError> {
        for (path, opened) in &self.0 {
            match identity(path) {
                Ok(found) if found == *opened => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(JournalError::Folder {
                        deed: "looking at",
                        path: path.clone(),
                        source: error,
                    });
                }
                Ok(_) | Err(_) => return Err(JournalError::Gone { file: path.clone() }),
            }
        }
        Ok(())
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}
