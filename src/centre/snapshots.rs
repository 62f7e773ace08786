//! When the state is written down, and how: the loop only reads it out, a thread packs it, and the
//! loop writes what is then a tenth of it.
//!
//! At 48,000 points the state is 21 MB of JSON. Read out, hashed and written on the loop's thread it
//! held the loop up for some 0.4 s each time; so it is for 0.15 s, not more than once in
//! [`PAUSE_MS`].
//!
//! Limits: one is packed at a time; it unpacks to [`SNAPSHOT_BYTES_MAX`].

use std::io::Read as _;
use std::thread::JoinHandle;

use davy_core::reading::Timestamp;
use davy_core::watch::{RestoreError, Watch};

use crate::journal::{Journal, SNAPSHOT_BYTES_MAX};

/// A snapshot is taken after so many entries, …
const ENTRIES: u64 = 50_000;

/// … and not sooner after the one before, in milliseconds. What comes in within it is replayed
/// within seconds.
const PAUSE_MS: i64 = 30_000;

/// Level of zstd: 21 MB come to a tenth within 0.1 s.
const ZSTD_LEVEL: i32 = 1;

/// The snapshots of one loop.
pub(super) struct Snapshots {
    due_at: u64,
    not_before: Timestamp,
    packing: Option<(u64, JoinHandle<std::io::Result<Vec<u8>>>)>,
}

impl Snapshots {
    /// The next one is due some entries after `number`.
    pub(super) fn after(number: u64) -> Self {
        Self {
            due_at: number + ENTRIES,
            not_before: Timestamp::MIN,
            packing: None,
        }
    }

    /// Has the next one taken at once.
    pub(super) fn hurry(&mut self) {
        (self.due_at, self.not_before) = (0, Timestamp::MIN);
    }

    /// One step, after a commit: begins one that is due, writes one that is packed.
    pub(super) fn turn(&mut self, now: Timestamp, watch: &Watch, journal: &mut Journal) {
        if let Some((number, packing)) = self.packing.take_if(|(_, packing)| packing.is_finished())
        {
            if let Ok(packed) = packing.join() {
                write(journal, number, packed);
            } else {
                tracing::warn!("packing a snapshot broke");
            }
        }
        let number = watch.number();
        if self.packing.is_some() || number < self.due_at || now < self.not_before {
            return;
        }
        (self.due_at, self.not_before) = (number + ENTRIES, Timestamp(now.0 + PAUSE_MS));
        let bytes = watch.snapshot();
        let packing = std::thread::Builder::new()
            .name("snapshot".into())
            .spawn(move || pack(&bytes));
        match packing {
            Ok(packing) => self.packing = Some((number, packing)),
            Err(error) => tracing::warn!(%error, "no thread to pack a snapshot"),
        }
    }

    /// The last one, at the end.
    pub(super) fn end(self, watch: &Watch, journal: &mut Journal) {
        drop(self.packing);
        write(journal, watch.number(), pack(&watch.snapshot()));
    }
}

fn pack(state: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(state, ZSTD_LEVEL)
}

/// The state in a snapshot of the journal.
pub(crate) fn restore(packed: &[u8]) -> Result<Watch, RestoreError> {
    let state = unpack(packed).map_err(|error| RestoreError::Form(error.to_string()))?;
    Watch::restore(&state)
}

/// The bytes of the state in it.
pub(crate) fn unpack(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut state = Vec::new();
    let limit = SNAPSHOT_BYTES_MAX as u64;
    zstd::stream::read::Decoder::new(packed)?
        .take(limit + 1)
        .read_to_end(&mut state)?;
    if state.len() > SNAPSHOT_BYTES_MAX {
        let found = format!("a snapshot of more than {limit} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, found));
    }
    Ok(state)
}

fn write(journal: &mut Journal, number: u64, packed: std::io::Result<Vec<u8>>) {
    let written = packed
        .map_err(|error| error.to_string())
        .and_then(|packed| {
            journal
                .snapshot(number, &packed)
                .map_err(|error| error.to_string())
        });
    if let Err(error) = written {
        tracing::warn!(error, "no snapshot; a restart replays more of the journal");
    }
}

#[cfg(test)]
mod tests {
    use davy_core::watch::Input;

    use super::*;

    #[test]
    fn one_is_taken_after_enough_entries_and_not_too_soon_after_another() {
        let folder = tempfile::TempDir::new().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        let mut watch = Watch::new();
        let mut snapshots = Snapshots::after(0);
        let mut now = Timestamp(1_000_000);
        snapshots.turn(now, &watch, &mut journal);
        assert!(snapshots.packing.is_none());
        for _ in 0..2 * ENTRIES {
            watch.apply(now, &Input::Tick, &mut Vec::new());
        }
        snapshots.turn(now, &watch, &mut journal);
        let (number, packing) = snapshots.packing.take().unwrap();
        assert_eq!(number, 2 * ENTRIES);
        let packed = packing.join().unwrap().unwrap();
        assert!(unpack(&packed).unwrap() == watch.snapshot());
        for _ in 0..ENTRIES {
            watch.apply(now, &Input::Tick, &mut Vec::new());
        }
        snapshots.turn(now, &watch, &mut journal);
        assert!(snapshots.packing.is_none(), "too soon");
        now = Timestamp(now.0 + PAUSE_MS);
        snapshots.turn(now, &watch, &mut journal);
        assert!(snapshots.packing.is_some());
    }

    #[test]
    fn what_is_no_snapshot_does_not_unpack() {
        let mut watch = Watch::new();
        watch.apply(Timestamp(1), &Input::Tick, &mut Vec::new());
        let packed = pack(&watch.snapshot()).unwrap();
        assert_eq!(restore(&packed).unwrap().number(), 1);
        for length in 0..packed.len() {
            assert!(restore(&packed[..length]).is_err(), "{length} bytes of it");
        }
        assert!(restore(&[0; 10]).is_err());
        assert!(restore(&pack(b"no state").unwrap()).is_err());
    }
}
