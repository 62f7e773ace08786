//! Entries of the journal → readings, as the loop itself took them.
//!
//! A decoder takes the same entries in the same order through the same code as the loop
//! (`davy_core::link`), so a value stands under the same tag here and there. What it must know to
//! go on from an entry is its *state*: the configuration in force and what births said of
//! aliases. A sink keeps that state in one transaction with its cursor.
//!
//! Invariant: the state belongs to the last entry that was followed. Without a state that can be
//! read it is found again by following the journal from its beginning ([`Decoder::resume`]).
//!
//! Limit: messages whose bytes were pruned are skipped and counted. A sink that starts when births
//! have been pruned knows their aliases only after the next births.

use davy_core::config::{self, Config};
use davy_core::link::{Directory, Links, Taken};
use davy_core::reading::Timestamp;
use davy_core::sparkplug::{DeviceMessage, NodeMessage, Topic};
use davy_core::watch::Input;
use serde::{Deserialize, Serialize};

use crate::entry;
use crate::journal::reader::StoredEntry;
use crate::journal::{JournalError, Kind, Reader};

/// Version of the state's form. One of another version is not read: the journal is followed from
/// its beginning instead.
const STATE_VERSION: u32 = 1;

/// Entries and bytes that are read at once while the journal is followed from its beginning.
const RESUME_ROWS: usize = 1_000;
const RESUME_BYTES: usize = 4 << 20;

/// Least effort: tags repeat so much that this makes a tenth of them.
const ZSTD_LEVEL: i32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    config: u64,
    links: &'a Links,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    config: u64,
    links: Links,
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
    links: Links,
    /// What the last message said.
    pub(super) taken: Taken,
    /// Whether the state is another one than when it was last written.
    changed: bool,
    /// Messages whose bytes had been pruned.
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
            links: Links::default(),
            taken: Taken::default(),
            changed: false,
            pruned: 0,
            unreadable: 0,
        }
    }

    /// The decoder as it was after entry `cursor`: from its state, or else from the journal.
    pub(super) fn resume(
        reader: &Reader,
        cursor: u64,
        state: Option<&[u8]>,
    ) -> Result<Self, JournalError> {
        if let Some(decoder) = state.and_then(|state| Self::restore(reader, state).transpose()) {
            return decoder;
        }
        if cursor > 0 {
            tracing::warn!(
                cursor,
                "no state of a sink; following the journal to its cursor"
            );
        }
        let (mut decoder, mut number) = (Self::new(), 0);
        while number < cursor {
            let entries = reader.read_on(number, RESUME_BYTES, RESUME_ROWS)?;
            let Some(last) = entries.last() else { break };
            number = last.number;
            for entry in entries.iter().filter(|entry| entry.number <= cursor) {
                decoder.follow(entry);
            }
        }
        decoder.pruned = 0;
        Ok(decoder)
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
        decoder.links = read.links;
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
            links: &self.links,
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
            Kind::Command | Kind::Tick | Kind::Started | Kind::Quarantined => {}
        }
        Followed::Message
    }

    fn message(&mut self, entry: &StoredEntry) {
        let Some(bytes) = &entry.input else {
            self.pruned += 1;
            return;
        };
        let Ok((topic, payload)) = entry::message(bytes) else {
            self.unreadable += 1;
            tracing::error!(number = entry.number, "entry of the journal is no message");
            return;
        };
        self.changed |= is_birth(topic);
        self.links.take_again(
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
        self.use_config(entry.number, entry.now, config);
        Followed::Configured
    }

    fn use_config(&mut self, number: u64, now: Timestamp, config: Config) {
        self.directory = Directory::new(&config);
        self.links.configure(now, &config, &self.directory);
        self.config = config;
        self.config_number = number;
        self.changed = true;
    }
}

fn is_birth(topic: &str) -> bool {
    matches!(
        Topic::parse(topic),
        Ok(Topic::Node {
            message: NodeMessage::Birth,
            ..
        } | Topic::Device {
            message: DeviceMessage::Birth,
            ..
        })
    )
}
