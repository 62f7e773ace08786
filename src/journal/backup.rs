//! A copy of the journal while the centre runs, proven before it gets its name.
//!
//! The copy is one moment of the source: a read transaction stands open while the pages are
//! copied in steps. Readers do not hold the loop up, so it goes on committing; what it commits
//! meanwhile stays in its write-ahead log until the copy is done (the limit: the disk must have
//! room for that).
//!
//! It is written to `<name>.partial`, synced, verified against the source's last entry, and then
//! renamed: a file that bears the name is whole. Nothing is ever written over but the `.partial` of a
//! backup that was killed: whoever writes one holds a lock on it.
//!
//! To restore: put the file into an empty data folder as [`super::FILE`] and start the centre.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OptionalExtension as _};

use super::chain::{Anchor, Sum};
use super::verify::{Verified, VerifyError, verify};
use super::{JournalError, from_sql, schema, storage};

/// Pages copied at a time: 2 MiB, a few milliseconds of one core.
const PAGES_A_STEP: i32 = 256;

const LAST_ENTRY: &str = "SELECT number, hash FROM entry ORDER BY number DESC LIMIT 1";

/// Why there is no backup. No file of that name was left.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("`{}` is there already; a backup overwrites nothing", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be made.
    #[error("{deed} `{}`: {source}", path.display())]
    File {
        /// What was being done.
        deed: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The source could not be read, or the copy not written.
    #[error("copying the journal: {0}")]
    Copy(#[source] JournalError),
    /// The copy does not hold.
    #[error("the copy is not good: {0}")]
    Bad(#[source] VerifyError),
}

/// Copies the journal's file, or the one in a data folder, to the new file `to` and proves it.
///
/// `progress` hears the pages copied and how many there are, after each step.
pub fn backup(
    path: &Path,
    to: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<Verified, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists {
            path: to.to_path_buf(),
        });
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let _reserved = reserve(&partial)?;
    let done = write(&schema::file_of(path), &partial, progress)
        .and_then(|verified| give_name(&partial, to).map(|()| verified));
    if done.is_err()
        && let Err(error) = fs::remove_file(&partial)
    {
        tracing::warn!(%error, file = %partial.display(), "a broken-off backup stays behind");
    }
    done
}

/// Makes the file and locks it as long as what is returned lives. One that a killed backup left is
/// nobody's any more and is written over.
fn reserve(partial: &Path) -> Result<File, BackupError> {
    let failed = |source| BackupError::File {
        deed: "making",
        path: partial.to_path_buf(),
        source,
    };
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    let file = options.open(partial).map_err(failed)?;
    let is_ours = match file.try_lock() {
        // The one who held it may have given it its name meanwhile.
        Ok(()) => is_at(&file, partial).map_err(failed)?,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    };
    if !is_ours {
        return Err(BackupError::Exists {
            path: partial.to_path_buf(),
        });
    }
    file.set_len(0).map_err(failed)?;
    for end in ["-journal", "-wal", "-shm"] {
        let mut beside = partial.as_os_str().to_owned();
        beside.push(end);
        match fs::remove_file(&beside) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
            _ => {}
        }
    }
    Ok(file)
}

/// Whether an open file is the one of a name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (open, named) = (file.metadata()?, fs::metadata(path)?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// Copies and proves.
fn write(
    from: &Path,
    partial: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<Verified, BackupError> {
    let source = schema::open_reader(from).map_err(BackupError::Copy)?;
    let last = copy(&source, partial, progress)
        .map_err(|error| BackupError::Copy(storage("copying pages")(error)))?;
    sync(partial, "syncing")?;
    let anchors: Vec<Anchor> = last.into_iter().collect();
    verify(partial, &anchors, |_, _| {}).map_err(BackupError::Bad)
}

/// Copies all pages as of one moment, and returns the last entry of that moment.
fn copy(
    source: &Connection,
    partial: &Path,
    mut progress: impl FnMut(u64, u64),
) -> rusqlite::Result<Option<Anchor>> {
    let moment = source.unchecked_transaction()?;
    let last = moment
        .query_row(LAST_ENTRY, [], |row| {
            Ok(Anchor {
                number: from_sql(row.get(0)?),
                hash: Sum(row.get(1)?),
            })
        })
        .optional()?;
    let mut copy = Connection::open(partial)?;
    {
        let pages = Backup::new(&moment, &mut copy)?;
        while pages.step(PAGES_A_STEP)? != StepResult::Done {
            let at = pages.progress();
            let total = u64::try_from(at.pagecount).unwrap_or(0);
            let left = u64::try_from(at.remaining).unwrap_or(0);
            progress(total.saturating_sub(left), total);
            // On two cores the loop may be waiting for this one.
            thread::yield_now();
        }
        let total = u64::try_from(pages.progress().pagecount).unwrap_or(0);
        progress(total, total);
    }
    // One file that holds all of it; the journal sets its own mode again when it is opened.
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(last)
}

/// Gives the proven copy its name, for good.
fn give_name(partial: &Path, to: &Path) -> Result<(), BackupError> {
    if to.exists() {
        return Err(BackupError::Exists {
            path: to.to_path_buf(),
        });
    }
    fs::rename(partial, to).map_err(|source| BackupError::File {
        deed: "naming",
        path: to.to_path_buf(),
        source,
    })?;
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    sync(folder, "syncing")
}

fn sync(path: &Path, deed: &'static str) -> Result<(), BackupError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| BackupError::File {
            deed,
            path: path.to_path_buf(),
            source,
        })
}
