//! Proof that what followed follows: every input of the journal is judged again, and what comes of
//! it is held against what the journal says.

use std::path::Path;

use davy_core::watch::Watch;
use thiserror::Error;

use crate::entry::{self, EntryError};
use crate::journal::{JournalError, Reader};

/// Bytes and rows of one read.
const READ: (usize, usize) = (8 << 20, 2_000);

/// What was replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Entries that were judged again.
    pub entries: u64,
    /// Of them, those from which something followed.
    pub with_effects: u64,
}

/// Why the replay does not prove it.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An entry is no input.
    #[error("entry {number}: {cause}")]
    Entry {
        /// Which entry.
        number: u64,
        /// Why.
        cause: EntryError,
    },
    /// The bytes of a message are gone, so that what follows cannot be derived.
    #[error("entry {number}: its bytes were pruned; a replay begins at the first entry")]
    Pruned {
        /// The first such entry.
        number: u64,
    },
    /// Something else follows than the journal says.
    #[error("entry {number}: the journal says {found}; what follows is {expected}")]
    Differs {
        /// The first such entry.
        number: u64,
        /// The effects in the journal.
        found: String,
        /// The effects that follow.
        expected: String,
    },
}

/// Judges every entry again from the first on.
pub fn replay(journal: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Replayed, ReplayError> {
    let reader = Reader::open(journal)?;
    let total = reader.latest()?;
    let mut watch = Watch::new();
    let mut replayed = Replayed::default();
    let mut effects = Vec::new();
    loop {
        let (bytes, rows) = READ;
        let entries = reader.read_on(replayed.entries, bytes, rows)?;
        if entries.is_empty() {
            return Ok(replayed);
        }
        for stored in entries {
            let number = stored.number;
            let input = stored.input.ok_or(ReplayError::Pruned { number })?;
            let input = entry::decode(stored.kind, &input)
                .map_err(|cause| ReplayError::Entry { number, cause })?;
            effects.clear();
            watch.apply(stored.now, &input, &mut effects);
            let expected = entry::encode_effects(&effects);
            if expected != stored.effects {
                let text =
                    |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(500).collect();
                return Err(ReplayError::Differs {
                    number,
                    found: text(&stored.effects),
                    expected: text(&expected),
                });
            }
            replayed.entries = number;
            replayed.with_effects += u64::from(!effects.is_empty());
        }
        progress(replayed.entries, total);
    }
}
