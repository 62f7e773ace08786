//! Entries of the journal → readings, as the loop itself took them.
//!
//! A decoder takes the same entries in the same order through the same code as the loop
//! (`davy_core::gateways`), so a value stands under the same tag here and there. What it must know to
//! go on from an entry is its *state*: the configuration in force and what births said of
//! aliases. A sink keeps that state in one transaction with its cursor.
//!
//! Invariants
//! - The state belongs to the last entry that was followed. Without a state that can be read it is
//!   found again by following the journal from its beginning, or from the snapshot at which its
//!   messages begin when some were pruned ([`Decoder::resume`]).
//! - What lies behind a hole is never read with the aliases from before it: a sink that is new, or
//!   was away for too long, begins at that snapshot, which knows what births said. The entries that
//!   it passes over are told and counted.

use davy_core::config::{self, Config};
use davy_core::gateways::{Directory, Reader as Births, Taken};
use davy_core::sparkplug::{DeviceMessage, NodeMessage, Topic};
use davy_core::watch::Input;
use serde::{Deserialize, Serialize};

use crate::centre::restore;
use crate::entry;
use crate::journal::reader::StoredEntry;
use crate::journal::{JournalError, Kind, Reader};

/// Version of the state's form. One of another version is not read: the journal is followed from
/// its beginning instead.
const STATE_VERSION: u32 = 3;

/// Entries and bytes that are read at once while the journal is followed from its beginning.
const RESUME_ROWS: usize = 1_000;
const RESUME_BYTES: usize = 4 << 20;

/// Least effort: tags repeat so much that this makes a tenth of them.
const ZSTD_LEVEL: i32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    config: u64,
    births: &'a Births,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    config: u64,
    births: Births,
}

/// What an entry changed for whoever takes the readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// Readings, or nothing.
    Message,
    /// Another configuration is in force: points have other numbers.
    Configured,
}

/// Follows entries in order.
pub(super) struct Decoder {
    config: Config,
    /// Number of the entry that brought it in; 0 before the first.
    config_number: u64,
    directory: Directory,
    births: Births,
    /// What the last message said.
    pub(super) taken: Taken,
    /// Whether the state is another one than when it was last written.
    changed: bool,
    /// Entries that were passed over because messages among them had been pruned.
    pub(super) pruned: u64,
    /// Entries that are no input. The loop writes none such; the journal's own check names them.
    pub(super) unreadable: u64,
}

impl Decoder {
    fn new() -> Self {
        Self {
            config: Config::empty(),
            config_number: 0,
            directory: Directory::default(),
            births: Births::default(),
            taken: Taken::default(),
            changed: false,
            pruned: 0,
            unreadable: 0,
        }
    }

    /// The decoder as it was after entry `cursor`, and that number: from its state, or else from
    /// the journal. Where messages after `cursor` are gone, as it was after the first entry from
    /// which all can be read again, and the number of that.
    pub(super) fn resume(
        reader: &Reader,
        cursor: u64,
        state: Option<&[u8]>,
    ) -> Result<(Self, u64), JournalError> {
        let pruned = reader.pruned_through()?;
        let has_hole = cursor < pruned;
        if let Some(state) = state.filter(|_| !has_hole)
            && let Some(decoder) = Self::restore(reader, state)?
        {
            return Ok((decoder, cursor));
        }
        let snapshot = if pruned > 0 {
            Self::of_snapshot(reader, pruned)?
        } else {
            None
        };
        let knows_births = snapshot.is_some() || pruned == 0;
        let (mut decoder, mut number) = snapshot.unwrap_or_else(|| (Self::new(), 0));
        let to = cursor.max(pruned);
        while number < to {
            let entries = reader.read_on(number, RESUME_BYTES, RESUME_ROWS)?;
            let Some(last) = entries.last() else { break };
            number = last.number.min(to);
            for entry in entries.iter().filter(|entry| entry.number <= to) {
                decoder.follow(entry);
            }
        }
        if !knows_births {
            // What births said before the hole may have changed in it.
            decoder.births = Births::default();
            let (config, directory) = (&decoder.config, &decoder.directory);
            decoder.births.configure(config, directory);
        }
        decoder.changed = true;
        decoder.pruned = number.saturating_sub(cursor);
        if number > cursor {
            tracing::warn!(
                cursor,
                number,
                knows_births,
                "messages that a sink has not seen are pruned; it begins behind them"
            );
        } else if cursor > 0 {
            tracing::warn!(
                cursor,
                "no state of a sink; followed the journal to its cursor"
            );
        }
        Ok((decoder, number))
    }

    /// What the core knew after the snapshot at which the kept messages begin; `None` when none
    /// can be read.
    fn of_snapshot(reader: &Reader, pruned: u64) -> Result<Option<(Self, u64)>, JournalError> {
        let Some(snapshot) = reader.snapshot(pruned)? else {
            return Ok(None);
        };
        let Ok(watch) = restore(&snapshot.bytes) else {
            return Ok(None);
        };
        let mut decoder = Self::new();
        let mut number = snapshot.number + 1;
        // The configuration in force is the last one before it that was not refused.
        while let Some(entry) = reader.config_before(number)? {
            number = entry.number;
            let input = entry.input.as_deref().unwrap_or_default();
            let of_watch = matches!(
                entry::decode(entry.kind, input),
                Ok(Input::Config { files, .. }) if files == watch.files()
            );
            if of_watch && decoder.follow(&entry) == Followed::Configured {
                break;
            }
        }
        decoder.births = watch.gateways().reader();
        Ok(Some((decoder, snapshot.number)))
    }

    /// `None` when the state is none that can be read.
    fn restore(reader: &Reader, state: &[u8]) -> Result<Option<Self>, JournalError> {
        let read = zstd::stream::decode_all(state)
            .ok()
            .and_then(|json| serde_json::from_slice::<Read>(&json).ok());
        let Some(read) = read.filter(|read| read.version == STATE_VERSION) else {
            return Ok(None);
        };
        let mut decoder = Self::new();
        decoder.births = read.births;
        if read.config > 0 {
            let entries = reader.read_on(read.config - 1, 1, 1)?;
            let done = entries
                .first()
                .is_some_and(|entry| decoder.follow(entry) == Followed::Configured);
            if !done {
                return Ok(None);
            }
        }
        decoder.changed = false;
        Ok(Some(decoder))
    }

    /// The state after the last entry, when it is another one than when it was last asked for.
    pub(super) fn changed_state(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let written = Written {
            version: STATE_VERSION,
            config: self.config_number,
            births: &self.births,
        };
        let json = serde_json::to_vec(&written).unwrap_or_default();
        // What cannot be packed cannot be read back either: then the journal is followed again.
        Some(zstd::stream::encode_all(json.as_slice(), ZSTD_LEVEL).unwrap_or_default())
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Takes the next entry; its readings are in `taken`.
    pub(super) fn follow(&mut self, entry: &StoredEntry) -> Followed {
        self.taken.clear();
        match entry.kind {
            Kind::Message => self.message(entry),
            Kind::Config => return self.configure(entry),
            Kind::Started => self.lose_sight(),
            Kind::Centre => self.of_the_centre(entry),
            Kind::Command | Kind::Tick | Kind::Quarantined => {}
        }
        Followed::Message
    }

    /// Nothing is seen of the gateways, as the core takes it.
    fn lose_sight(&mut self) {
        self.births.lose_sight();
        self.changed = true;
    }

    fn of_the_centre(&mut self, entry: &StoredEntry) {
        let input = entry.input.as_deref().unwrap_or_default();
        match entry::decode(entry.kind, input) {
            Ok(Input::Broker { connected: false }) => self.lose_sight(),
            Ok(_) => {}
            Err(error) => {
                self.unreadable += 1;
                tracing::error!(number = entry.number, %error, "entry of the journal is no input");
            }
        }
    }

    fn message(&mut self, entry: &StoredEntry) {
        let Some(bytes) = &entry.input else {
            // Only on the way through a hole: see `resume`.
            return;
        };
        let Ok((topic, payload)) = entry::message(bytes) else {
            self.unreadable += 1;
            tracing::error!(number = entry.number, "entry of the journal is no message");
            return;
        };
        self.changed |= is_birth_or_death(topic);
        self.births.read(
            entry.now,
            topic,
            payload,
            &self.config,
            &self.directory,
            &mut self.taken,
        );
    }

    fn configure(&mut self, entry: &StoredEntry) -> Followed {
        let input = entry.input.as_deref().unwrap_or_default();
        let Ok(Input::Config { files, .. }) = entry::decode(entry.kind, input) else {
            self.unreadable += 1;
            tracing::error!(
                number = entry.number,
                "entry of the journal is no configuration"
            );
            return Followed::Message;
        };
        // The loop refuses a configuration with faults too: the one before stays in force.
        let Ok(config) = config::check(&files) else {
            return Followed::Message;
        };
        self.use_config(entry.number, config);
        Followed::Configured
    }

    fn use_config(&mut self, number: u64, config: Config) {
        self.directory = Directory::new(&config);
        self.births.configure(&config, &self.directory);
        self.config = config;
        self.config_number = number;
        self.changed = true;
    }
}

fn is_birth_or_death(topic: &str) -> bool {
    matches!(
        Topic::parse(topic),
        Ok(Topic::Node {
            message: NodeMessage::Birth | NodeMessage::Death,
            ..
        } | Topic::Device {
            message: DeviceMessage::Birth | DeviceMessage::Death,
            ..
        })
    )
}
