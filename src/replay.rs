//! Proof that what followed follows: every input of the journal is judged again, and what comes of
//! it is held against what the journal says.
//!
//! A snapshot that it passes must be the state that it has come to.
//!
//! Where readings were pruned it begins at the snapshot at which they begin. A snapshot is not in
//! the chain: what follows it is proven from there on, and [`Replayed::from`] says from where.
//! Where none were it begins at the first entry. Where there is nothing to judge nothing is proven,
//! which is an error.

use std::path::Path;

use davy_core::watch::{Input, RestoreError, Watch};
use thiserror::Error;

use crate::centre::{restore, unpack};
use crate::entry::{self, EntryError};
use crate::journal::{JournalError, Reader, Snapshot, differing};

/// Bytes and rows of one read.
const READ: (usize, usize) = (8 << 20, 2_000);

/// What was replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The first entry that was judged again: 1, or the one after a snapshot.
    pub from: u64,
    /// The last one.
    pub through: u64,
    /// Of them, those from which something followed.
    pub with_effects: u64,
    /// Of them, those from which something else follows than the journal says, which a person has
    /// accepted later on ([`Input::ReplayAccepted`]).
    pub accepted: u64,
    /// Snapshots that are the state which the replay came to.
    pub snapshots: u32,
    /// Snapshots that cannot be held against it: of another version of the form, or after an entry
    /// that differs.
    pub snapshots_unproven: u32,
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
    /// The bytes of messages are gone, and nothing else to begin from is there.
    #[error(
        "messages up to entry {through} were pruned, and no snapshot after it can be read: {why}; \
         replay with the version that wrote it, or a backup from before"
    )]
    Pruned {
        /// The last entry that is gone.
        through: u64,
        /// What is wrong with the snapshot.
        why: String,
    },
    /// There is nothing that it could judge.
    #[error("no entry after {after}: nothing was judged, and nothing is proven")]
    Nothing {
        /// Where the replay would have begun.
        after: u64,
    },
    /// A snapshot is not the state that the replay comes to.
    #[error("entry {number}: its snapshot: found {found}; expected {expected}")]
    Snapshot {
        /// The last entry that is in it.
        number: u64,
        /// Where it differs first, or why it is none.
        found: String,
        /// The state there.
        expected: String,
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

impl ReplayError {
    /// Whether it is a difference at an entry, or behind it.
    fn is_from(&self, entry: u64) -> bool {
        matches!(self, Self::Differs { number, .. } if *number >= entry)
    }
}

/// Judges every entry again from the first on, or from the snapshot at which the kept readings
/// begin when some were pruned.
pub fn replay(journal: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Replayed, ReplayError> {
    let reader = Reader::open(journal)?;
    let total = reader.latest()?;
    let mut watch = begin(&reader)?;
    let mut replayed = Replayed {
        from: watch.number() + 1,
        through: watch.number(),
        ..Replayed::default()
    };
    let mut next = reader.snapshot(replayed.from)?;
    // The first entry that differs and is not accepted yet, and how many do.
    let mut differs: Option<(ReplayError, u64)> = None;
    let mut effects = Vec::new();
    loop {
        let (bytes, rows) = READ;
        let entries = reader.read_on(replayed.through, bytes, rows)?;
        if entries.is_empty() {
            if replayed.through < replayed.from {
                let after = replayed.through;
                return Err(ReplayError::Nothing { after });
            }
            return differs.map_or(Ok(replayed), |(error, _)| Err(error));
        }
        for stored in entries {
            let number = stored.number;
            let input = stored.input.ok_or_else(|| ReplayError::Pruned {
                through: number,
                why: "it went while the replay ran".into(),
            })?;
            let input = entry::decode(stored.kind, &input)
                .map_err(|cause| ReplayError::Entry { number, cause })?;
            if let Input::ReplayAccepted { first, .. } = input
                && let Some((_, entries)) = differs.take_if(|(error, _)| error.is_from(first))
            {
                replayed.accepted += entries;
            }
            effects.clear();
            watch.apply(stored.now, &input, &mut effects);
            let expected = entry::encode_effects(&effects);
            if expected != stored.effects {
                let text =
                    |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(500).collect();
                let first = || ReplayError::Differs {
                    number,
                    found: text(&stored.effects),
                    expected: text(&expected),
                };
                differs.get_or_insert_with(|| (first(), 0)).1 += 1;
            }
            if let Some(snapshot) = next.take_if(|next| next.number == number) {
                let differs = differs.is_some() || replayed.accepted > 0;
                if differs || !is_state(&snapshot, &watch)? {
                    replayed.snapshots_unproven += 1;
                } else {
                    replayed.snapshots += 1;
                }
                next = reader.snapshot(number + 1)?;
            }
            replayed.through = number;
            replayed.with_effects += u64::from(!effects.is_empty());
        }
        progress(replayed.through, total);
    }
}

/// Whether a snapshot could be held against the state; an error when it is another one.
fn is_state(snapshot: &Snapshot, watch: &Watch) -> Result<bool, ReplayError> {
    let failed = |found: String, expected: String| ReplayError::Snapshot {
        number: snapshot.number,
        found,
        expected,
    };
    let expected = watch.snapshot();
    let found = unpack(&snapshot.bytes)
        .map_err(|error| failed(error.to_string(), "the state after the entry".into()))?;
    if found == expected {
        return Ok(true);
    }
    if let Err(RestoreError::Version { .. }) = Watch::restore(&found) {
        return Ok(false);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (found, expected) = differing(&text(&found), &text(&expected));
    Err(failed(found, expected))
}

/// Before the first entry, or after the first snapshot before which nothing is needed that is gone.
fn begin(reader: &Reader) -> Result<Watch, ReplayError> {
    let through = reader.pruned_through()?;
    if through == 0 {
        return Ok(Watch::new());
    }
    let gone = |why: String| ReplayError::Pruned { through, why };
    let snapshot = reader.snapshot(through)?;
    let snapshot = snapshot.ok_or_else(|| gone("there is none".into()))?;
    restore(&snapshot.bytes).map_err(|error| gone(error.to_string()))
}
