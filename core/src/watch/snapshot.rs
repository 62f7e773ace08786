//! All that is decided, written down: restart is the last snapshot plus the journal after it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Watch;
use crate::alarm::{self, Engine};
use crate::config::{self, Fault, SourceFile};
use crate::gateways::Gateways;
use crate::hazard::Ledger;
use crate::reading::Timestamp;
use crate::warning::Warning;

/// Version of the form. A snapshot of another version is not read: the journal is replayed.
pub const SNAPSHOT_VERSION: u32 = 8;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    number: u64,
    now: Timestamp,
    files: &'a [SourceFile],
    gateways: &'a Gateways,
    engine: alarm::Snapshot,
    warnings: BTreeMap<&'a str, &'a Warning>,
    ledger: &'a Ledger,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    number: u64,
    now: Timestamp,
    files: Vec<SourceFile>,
    gateways: Gateways,
    engine: alarm::Snapshot,
    warnings: BTreeMap<String, Warning>,
    ledger: Ledger,
}

/// Why a snapshot cannot be gone on from.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// It is not one, or of a form that this program does not read.
    #[error("reading a snapshot: {0}")]
    Form(String),
    /// It was written by another version.
    #[error("snapshot of version {found}; this program reads {SNAPSHOT_VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// Its configuration is refused by this program.
    #[error("snapshot with a configuration of {} faults; the first: {}", .0.len(), .0.first().map_or_else(String::new, ToString::to_string))]
    Config(Vec<Fault>),
}

impl Watch {
    /// All that is decided, as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let sources = self.config.sources.iter().map(|source| source.id.as_str());
        let written = Written {
            version: SNAPSHOT_VERSION,
            number: self.number,
            now: self.now,
            files: &self.files,
            gateways: &self.gateways,
            engine: self.engine.snapshot(),
            warnings: sources.zip(&self.warnings).collect(),
            ledger: &self.ledger,
        };
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Goes on from a snapshot as if it had never stopped.
    pub fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let form = |error: serde_json::Error| RestoreError::Form(error.to_string());
        let Version { version: found } = serde_json::from_slice(bytes).map_err(form)?;
        if found != SNAPSHOT_VERSION {
            return Err(RestoreError::Version { found });
        }
        let read: Read = serde_json::from_slice(bytes).map_err(form)?;
        debug_assert_eq!(read.version, SNAPSHOT_VERSION);
        let mut watch = Self::new();
        watch.number = read.number;
        watch.now = read.now;
        watch.gateways = read.gateways;
        watch.ledger = read.ledger;
        if read.files.is_empty() {
            return Ok(watch);
        }
        let config = config::check(&read.files).map_err(RestoreError::Config)?;
        watch.adopt(&read.files, config);
        let config = &watch.config;
        watch.engine = Engine::restore(&config.points, &config.alarms, &read.engine);
        watch.gateways.resolve(config, &watch.directory);
        watch.warnings = (config.sources.iter())
            .map(|source| read.warnings.get(&source.id).cloned().unwrap_or_default())
            .collect();
        for source in 0..watch.warnings.len() {
            let facts = watch.facts(source);
            let next =
                watch.warnings[source].next_deadline(watch.now, &facts, &watch.config.warning);
            drop(facts);
            if let Some(next) = next {
                watch.colour_deadlines.insert((next, source));
            }
        }
        Ok(watch)
    }
}
