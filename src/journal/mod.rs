//! The journal: what came in and what followed from it, append-only and hash-chained.
//!
//! Its place in the path: the loop decides a group of inputs, appends it here in one transaction,
//! and tells nobody before the append has returned. Everything told afterwards reads on from a
//! number: sinks, the live stream, the county.
//!
//! # Invariants
//!
//! - Entries are numbered from 1 without gaps. None is ever changed or removed.
//! - A group is kept whole, synced, with its alarms and hazards, or not at all.
//! - The hash of an entry covers all of it and the entry before ([`chain`]).
//! - Only the bytes of messages may go, oldest first, and never what a restart needs; their digest
//!   stays in the chain.
//! - One process writes a folder. Readers never hold the writer up.
//!
//! # The narrow waist
//!
//! Append a group with what followed, read on from a number, snapshot: the loop knows nothing
//! else of what is underneath, so that another engine can take its place.
//!
//! Limits: [`ENTRY_BYTES_MAX`], [`GROUP_ENTRIES_MAX`], [`SNAPSHOT_BYTES_MAX`],
//! [`SNAPSHOTS_KEPT`], [`PRUNE_ENTRIES_MAX`], [`PRUNE_BYTES_MAX`]; the write-ahead log: [`checkpoint`]; reads:
//! [`reader`].

use std::path::{Path, PathBuf};

use davy_core::hazard::Hazard;
use davy_core::reading::Timestamp;
use davy_gateway::lock::{Lock, LockError};
use rusqlite::ErrorCode;

/// The hash chain, byte for byte.
pub mod chain;

mod schema;

/// The rows that follow from the entries: how they are worked out, and held against them.
mod tables;

mod prune;

mod snapshots;

mod place;

mod writer;

/// The write-ahead log goes back into the file beside the loop.
pub mod checkpoint;

/// Reading on from a number; what happened to an alarm, and the ledger, for the API.
pub mod reader;

/// The proof of the chain.
pub mod verify;

/// A copy while the centre runs.
pub mod backup;

#[cfg(test)]
mod tests;

pub use chain::{Anchor, Sum};
pub use prune::Pruned;
pub use reader::Reader;
pub use schema::file_of;
pub use tables::HazardRow;
pub(crate) use tables::differing;
pub use writer::{Journal, Opened, Snapshot};

/// The journal's name in the data folder.
pub const FILE: &str = "journal.sqlite";

/// The lock's name in the data folder: one centre writes it.
pub const LOCK_FILE: &str = "journal.lock";

/// Bytes of one entry's input, and of its effects. 50,000 alarms of 300 bytes are 15 MB.
pub const ENTRY_BYTES_MAX: usize = 64 << 20;

/// Entries of one group.
pub const GROUP_ENTRIES_MAX: usize = 65_536;

/// Bytes of one snapshot.
pub const SNAPSHOT_BYTES_MAX: usize = 512 << 20;

/// Snapshots that are kept: one to start from, one in case it is damaged, and others to replay
/// from. Messages go from one to the next, so they stay for up to a fifteenth longer than asked
/// for. At 48,000 points one is some 2 MB.
pub const SNAPSHOTS_KEPT: usize = 32;

/// Entries that one call of [`Journal::prune_inputs`] looks at: it holds the loop up for some 2 ms,
/// its sync included (4.4 ms for twice as many of 1.8 kB, without optimisation).
pub const PRUNE_ENTRIES_MAX: u64 = 500;

/// Bytes of messages after which such a call ends; that many of ordinary messages are as many
/// entries, births are larger.
pub const PRUNE_BYTES_MAX: u64 = 4 << 20;

/// The codes that there are, for faults.
const KINDS: &str = "1 to 7";

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A message of a gateway, as received. The only kind whose bytes may be pruned.
    Message,
    /// A command: an operator's, or what the centre found about itself.
    Command,
    /// A configuration.
    Config,
    /// Time has passed.
    Tick,
    /// The centre has started.
    Started,
    /// A message that crashed the process before, set aside.
    Quarantined,
    /// Something about the centre itself: it stood still, has or lost its broker, goes on after a
    /// replay that differed.
    Centre,
}

impl Kind {
    /// Its byte in the chain and in the file. Codes are never used again.
    pub fn code(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::Command => 2,
            Self::Config => 3,
            Self::Tick => 4,
            Self::Started => 5,
            Self::Quarantined => 6,
            Self::Centre => 7,
        }
    }

    /// The kind of a code.
    pub fn from_code(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Message),
            2 => Some(Self::Command),
            3 => Some(Self::Config),
            4 => Some(Self::Tick),
            5 => Some(Self::Started),
            6 => Some(Self::Quarantined),
            7 => Some(Self::Centre),
            _ => None,
        }
    }
}

/// One input and what followed from it, to be appended.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// The centre's clock at which the input was judged.
    pub now: Timestamp,
    /// What came in.
    pub kind: Kind,
    /// Its bytes, as received.
    pub input: &'a [u8],
    /// What followed, a JSON array; no bytes when nothing did.
    pub effects: &'a [u8],
}

/// A row that follows from a group, written with it. Entries are named by their place in the group.
#[derive(Clone, Copy, Debug)]
pub enum Projection<'a> {
    /// One occurrence of an alarm.
    Alarm {
        /// Its number, never used again.
        occurrence: u64,
        /// The first entry of the group that changes it.
        first: usize,
        /// The last one.
        last: usize,
    },
    /// One entry of the ledger.
    Hazard {
        /// As it stands after the group.
        hazard: &'a Hazard,
        /// The last entry of the group that changes it.
        last: usize,
    },
}

/// Where the journal is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {number}: {what}: found {found}; expected {expected}")]
pub struct Broken {
    /// The entry at which it shows.
    pub number: u64,
    /// What of it.
    pub what: &'static str,
    /// As the file has it.
    pub found: String,
    /// As the chain asks for it.
    pub expected: String,
}

/// Why the journal could not do it. Nothing of the deed was kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A second centre on one folder.
    #[error(
        "data folder `{}` is in use by another centre, process {process}; one centre writes a folder",
        folder.display()
    )]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// The number of the other process, as it wrote it.
        process: String,
    },
    /// The data folder cannot be used.
    #[error("{deed} `{}`: {source}", path.display())]
    Folder {
        /// What was being done.
        deed: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Some other `SQLite` file.
    #[error("`{}` is not a Davy journal: application id {found}", file.display())]
    NotAJournal {
        /// The file.
        file: PathBuf,
        /// Its application id.
        found: i64,
    },
    /// Tables of a version that this program does not know.
    #[error("`{}`: version {found} of the tables; this program knows {known}", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// What is in the file is not what was written. Do not go on: verify, then restore.
    #[error("the journal is broken: {0}")]
    Broken(#[from] Broken),
    /// The file's pages are damaged. Do not go on: verify, then restore.
    #[error("{deed}: the file is damaged: {source}")]
    Damaged {
        /// What was being done.
        deed: &'static str,
        /// What `SQLite` said.
        source: rusqlite::Error,
    },
    /// The disk is full. The same append works once there is room.
    #[error("{deed}: no room on the disk: {source}")]
    NoRoom {
        /// What was being done.
        deed: &'static str,
        /// What `SQLite` said.
        source: rusqlite::Error,
    },
    /// The disk failed in another way, or `SQLite` did.
    #[error("{deed}: {source}")]
    Storage {
        /// What was being done.
        deed: &'static str,
        /// What `SQLite` said.
        source: rusqlite::Error,
    },
    /// A file of the journal is no longer where it was opened. The same append works once it is
    /// back; nothing is kept meanwhile, as nobody would find it again.
    #[error(
        "`{}` was removed or replaced while the centre writes it; nothing is kept until it is back, \
         or the centre is started again on a backup",
        file.display()
    )]
    Gone {
        /// Which file.
        file: PathBuf,
    },
    /// More than the journal takes at once.
    #[error("{what}: {found}; allowed are {allowed}")]
    TooLarge {
        /// What it is about.
        what: &'static str,
        /// How much of it.
        found: u64,
        /// How much is allowed.
        allowed: u64,
    },
    /// A snapshot, or a number, of an entry that is not there.
    #[error("{what} {found}; the last entry is {last}")]
    Beyond {
        /// What it is about.
        what: &'static str,
        /// The number given.
        found: u64,
        /// The last number there is.
        last: u64,
    },
    /// Alarms or hazards without an entry that they follow from.
    #[error("{0} alarms and hazards without an entry that they follow from")]
    NothingToFollow(usize),
}

impl JournalError {
    /// Whether the same deed can work later, when there is room again.
    pub fn is_no_room(&self) -> bool {
        matches!(self, Self::NoRoom { .. })
    }

    /// Whether the same deed can work later: there is room again, the disk is well, the file is
    /// back.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::NoRoom { .. } | Self::Storage { .. } | Self::Folder { .. } | Self::Gone { .. }
        )
    }
}

/// Sorts what `SQLite` says into full, damaged and the rest.
fn storage(deed: &'static str) -> impl Fn(rusqlite::Error) -> JournalError + Copy {
    move |source| match source.sqlite_error_code() {
        _ if is_full(&source) => JournalError::NoRoom { deed, source },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            JournalError::Damaged { deed, source }
        }
        _ => JournalError::Storage { deed, source },
    }
}

/// Whether `SQLite` says that the disk is full. When the shared memory beside a file could not grow
/// it has no word of its own for it.
pub fn is_full(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || code == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// `SQLite`'s integers are signed. Numbers grow from 1 by 1 and never reach the sign.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The other way; a negative number is none that was written.
fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Locks the data folder, or says who has.
fn lock(folder: &Path) -> Result<Lock, JournalError> {
    let path = folder.join(LOCK_FILE);
    Lock::take(&path).map_err(|error| match error {
        LockError::InUse { process } => JournalError::InUse {
            folder: folder.to_path_buf(),
            process,
        },
        LockError::File(source) => JournalError::Folder {
            deed: "locking",
            path,
            source,
        },
    })
}
