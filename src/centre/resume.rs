//! Going on where the journal ended: the last snapshot, and what follows it judged again.
//!
//! Invariants: a state that differs from what the journal says is gone on from only when a person
//! has said so, and that is an entry of the journal; no number of an occurrence or of an entry of
//! the ledger is given twice.

use davy_core::watch::{Input, Watch};

use super::snapshots::restore;
use super::{CentreError, GROUP_BYTES_MAX, GROUP_MAX};
use crate::entry;
use crate::journal::reader::StoredEntry;
use crate::journal::{Journal, Snapshot};

/// Characters of effects that a fault quotes.
const QUOTE_MAX: usize = 300;

/// What a person has said about this start; nothing as a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Go on with what this program makes of the journal when that is something else than it
    /// holds; else it does not start.
    pub replay: bool,
    /// The host's clock is right, however far it lies past the journal's end.
    pub clock: bool,
}

/// The state after the last entry; and what was accepted, to be journaled first of all.
pub(super) fn resume(
    journal: &Journal,
    snapshot: Option<Snapshot>,
    accepted: Accepted,
) -> Result<(Watch, Option<Input>), CentreError> {
    let reader = journal.reader()?;
    let mut resumed = Resumed {
        watch: Watch::new(),
        accepts: accepted.replay,
        unread: String::new(),
        differ: None,
    };
    let mut number = 0;
    if let Some(snapshot) = snapshot {
        match restore(&snapshot.bytes) {
            Ok(watch) => (resumed.watch, number) = (watch, snapshot.number),
            Err(error) => {
                tracing::warn!(%error, "replaying the whole journal instead of a snapshot");
                resumed.unread = format!(" ({error})");
            }
        }
    }
    loop {
        let entries = reader.read_on(number, GROUP_BYTES_MAX, GROUP_MAX)?;
        let Some(last) = entries.last() else { break };
        number = last.number;
        for stored in &entries {
            resumed.judge(stored)?;
        }
    }
    let (occurrence, hazard) = reader.highest()?;
    let watch = &resumed.watch;
    let behind = watch.engine().last_occurrence() < occurrence || watch.ledger().last_id() < hazard;
    if behind && resumed.differ.is_none() {
        let found = (watch.engine().last_occurrence(), watch.ledger().last_id());
        resumed.differs(
            number,
            format!(
                "it ends at occurrence {} and ledger entry {}; the tables hold {occurrence} and {hazard}",
                found.0, found.1
            ),
        )?;
    }
    let accepted = resumed
        .differ
        .map(|(first, entries)| Input::ReplayAccepted {
            first,
            entries,
            occurrence,
            hazard,
        });
    Ok((resumed.watch, accepted))
}

struct Resumed {
    watch: Watch,
    accepts: bool,
    /// Why a snapshot could not be read, for faults.
    unread: String,
    /// The first entry that differs, and how many do.
    differ: Option<(u64, u64)>,
}

impl Resumed {
    /// Judges one entry again and holds what follows against what the journal says.
    fn judge(&mut self, stored: &StoredEntry) -> Result<(), CentreError> {
        let input = match &stored.input {
            Some(bytes) => entry::decode(stored.kind, bytes).map_err(|error| error.to_string()),
            None => Err("its bytes were pruned".to_owned()),
        };
        let mut effects = Vec::new();
        match input {
            Ok(input) => {
                self.watch.apply(stored.now, &input, &mut effects);
                let effects = entry::encode_effects(&effects);
                if effects != stored.effects {
                    let (found, expected) = (quote(&effects), quote(&stored.effects));
                    let cause = format!("it comes to {found}; the journal holds {expected}");
                    self.differs(stored.number, cause)?;
                }
            }
            Err(cause) => {
                let cause = format!("{cause}, and no snapshot after it can be read");
                self.differs(stored.number, cause)?;
                // It is passed over: its number and its time are all that is left of it.
                self.watch.apply(stored.now, &Input::Tick, &mut effects);
            }
        }
        Ok(())
    }

    fn differs(&mut self, number: u64, cause: String) -> Result<(), CentreError> {
        if !self.accepts {
            let cause = cause + &self.unread;
            return Err(CentreError::Replay { number, cause });
        }
        let (_, entries) = self.differ.get_or_insert((number, 0));
        *entries += 1;
        if *entries == 1 {
            tracing::error!(number, cause, "the replay differs, which was accepted");
        }
        Ok(())
    }
}

fn quote(effects: &[u8]) -> String {
    if effects.is_empty() {
        return "nothing".to_owned();
    }
    String::from_utf8_lossy(effects)
        .chars()
        .take(QUOTE_MAX)
        .collect()
}
