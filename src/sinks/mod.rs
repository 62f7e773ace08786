//! What follows the journal by cursor, each at its own pace and in its own file.
//!
//! ```text
//!             ┌→ decode → series.db          trends of the console
//! journal ────┤
//!             └→ decode → InfluxDB 2         cursor in influxdb.sqlite
//! ```
//!
//! None of these can lose anything or hold the loop up: each keeps the journal number up to which
//! it has stored or sent everything, and goes on from there after a restart. What a sink has not
//! passed must stay in the journal: prune it only up to [`Sinks::oldest_cursor`]. A file that cannot
//! be used is set aside and made again from the journal ([`begin`]).

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use davy_core::reading::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The embedded store of readings: every value with its quality and time.
pub mod series;

/// Readings to InfluxDB 2.
pub mod influxdb;

mod begin;

mod decode;

mod follow;

mod trend;

#[cfg(test)]
mod tests;

pub use influxdb::InfluxConfig;

use crate::centre::Centre;
use crate::journal::JournalError;
use begin::{Begin, Store};
use follow::{Cause, Progress, SinkError};
use influxdb::{InfluxError, InfluxStore};
use series::{SeriesError, SeriesReader};
use trend::TrendStore;

/// Why the sinks did not start.
#[derive(Debug, thiserror::Error)]
pub enum SinksError {
    /// The embedded series.
    #[error("opening the series: {0}")]
    Series(#[from] SeriesError),
    /// `InfluxDB`.
    #[error("setting up InfluxDB: {0}")]
    Influx(#[from] InfluxError),
    /// The journal that they follow.
    #[error("opening the journal for the sinks: {0}")]
    Journal(#[from] JournalError),
    /// A sink cannot go on from its cursor.
    #[error("going on with sink {name}: {why}")]
    Resume {
        /// Which sink.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A file that cannot be used, and cannot be set aside either.
    #[error("setting aside `{}`: {source}", file.display())]
    Aside {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread of one of them.
    #[error("starting the thread of sink {name}: {source}")]
    Thread {
        /// Which sink.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SinksError {
    fn resume(name: &'static str, error: SinkError) -> Self {
        let why = error.what;
        Self::Resume { name, why }
    }

    /// Whether what a sink's file holds is to blame.
    fn is_unusable(&self) -> bool {
        match self {
            Self::Series(error) => error.is_unusable(),
            Self::Influx(error) => error.is_unusable(),
            Self::Journal(_) | Self::Resume { .. } | Self::Aside { .. } | Self::Thread { .. } => {
                false
            }
        }
    }
}

/// How far a sink has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkStatus {
    /// Which sink: `series`, `influxdb`.
    pub name: &'static str,
    /// The journal number up to which everything is stored.
    pub cursor: u64,
    /// Entries of the journal after it.
    pub lag: u64,
    /// When the entry at the cursor was judged; 0 in an empty journal.
    pub through: Timestamp,
    /// Readings handed to it since the start.
    pub readings: u64,
    /// Attempts to store that failed since the start.
    pub failures: u64,
    /// Readings that were put aside because the other side does not take them.
    pub refused: u64,
    /// Entries that it passed over because messages among them had been pruned.
    pub pruned: u64,
    /// Entries that are no input; each is in the log with its number.
    pub unreadable: u64,
    /// Times since the start that its file could not be used, was set aside and made anew.
    pub set_aside: u64,
    /// Why it does not get on at the moment; none when it does.
    pub error: Option<String>,
    /// Whether that passes by itself or a person must act: it is not let in, its place is gone.
    pub needs_person: bool,
}

impl SinkStatus {
    /// How old the oldest entry is that waits, in ms; 0 when none does.
    pub fn lag_ms(&self, now: Timestamp) -> u64 {
        follow::lag_ms(self.lag, self.through, now)
    }
}

/// All sinks of a centre. They end with [`Sinks::stop`], or with the last clone of this.
#[derive(Clone)]
pub struct Sinks(Arc<Running>);

struct Running {
    series: Arc<SeriesReader>,
    sinks: Vec<(&'static str, Arc<Progress>)>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    committed: watch::Receiver<u64>,
    stop: CancellationToken,
}

impl Sinks {
    /// Opens the sinks' files in the data folder of `centre` and lets each follow the journal there
    /// on a thread of its own. Readings stay in the series for `series_kept`.
    pub fn start(
        folder: &Path,
        centre: &Centre,
        influx: Option<InfluxConfig>,
        series_kept: Duration,
    ) -> Result<Self, SinksError> {
        Self::start_with(folder, centre.committed(), influx, Some(series_kept))
    }

    /// As [`Sinks::start`], where something else writes the journal; `committed` is its last
    /// number, as it grows; without `series_kept` readings stay for good.
    pub fn start_with(
        folder: &Path,
        committed: watch::Receiver<u64>,
        influx: Option<InfluxConfig>,
        series_kept: Option<Duration>,
    ) -> Result<Self, SinksError> {
        let series = Arc::new(SeriesReader::closed());
        let mut sinks = Running {
            series: Arc::clone(&series),
            sinks: Vec::new(),
            threads: Mutex::default(),
            committed: committed.clone(),
            stop: CancellationToken::new(),
        };
        let (folder, stop) = (folder.to_path_buf(), sinks.stop.clone());
        let begin = Begin {
            folder: folder.clone(),
            committed,
            stop: stop.clone(),
        };
        let trend = TrendStore {
            folder: folder.clone(),
            kept: series_kept,
            reader: series,
        };
        sinks.follow(begin.clone(), trend)?;
        if let Some(config) = influx {
            let influx = InfluxStore {
                folder,
                config,
                stop,
            };
            sinks.follow(begin, influx)?;
        }
        Ok(Self(Arc::new(sinks)))
    }

    /// The series, for queries.
    pub fn series(&self) -> Arc<SeriesReader> {
        Arc::clone(&self.0.series)
    }

    /// The entry up to which the series holds every reading.
    pub fn series_cursor(&self) -> u64 {
        let series = self.0.sinks.first();
        series.map_or(0, |(_, progress)| progress.cursor.load(Ordering::Acquire))
    }

    /// The entry up to which every sink has stored everything for good: the journal may prune to
    /// here.
    pub fn oldest_cursor(&self) -> u64 {
        let durable = |(_, progress): &(_, Arc<Progress>)| progress.durable.load(Ordering::Acquire);
        self.0.sinks.iter().map(durable).min().unwrap_or(0)
    }

    /// The newest time of a reading since the start, by the gateways' clocks; 0 before the first.
    /// Nothing is let go by a time that no reading has come to: the centre's clock alone may have
    /// been wrong.
    pub fn newest(&self) -> Timestamp {
        let series = self.0.sinks.first();
        let newest = series.map(|(_, progress)| progress.newest_ms.load(Ordering::Acquire));
        Timestamp(newest.unwrap_or(0))
    }

    /// What was said of each sink that had to begin anew since the last time that this was asked.
    pub fn begun_anew(&self) -> Vec<String> {
        let sinks = self.0.sinks.iter();
        sinks
            .filter_map(|(_, progress)| progress.take_anew())
            .collect()
    }

    /// How far each has come.
    pub fn status(&self) -> Vec<SinkStatus> {
        let last = *self.0.committed.borrow();
        (self.0.sinks.iter())
            .map(|(name, progress)| progress.status(name, last))
            .collect()
    }

    /// Ends all of them, and waits until each has: as long as a write to a disk takes.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Running {
    fn follow<S: Store>(&mut self, begin: Begin, store: S) -> Result<(), SinksError> {
        let (progress, thread) = begin.follow(store)?;
        self.sinks.push((S::NAME, progress));
        self.threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
        Ok(())
    }

    fn stop(&self) {
        self.stop.cancel();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("the thread of a sink has panicked");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Progress {
    fn status(&self, name: &'static str, last: u64) -> SinkStatus {
        let set_aside = self.set_aside.load(Ordering::Acquire);
        let cursor = self.cursor.load(Ordering::Acquire);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = trouble.clone();
        let ended = self.ended.load(Ordering::Acquire);
        SinkStatus {
            name,
            cursor,
            lag: last.saturating_sub(cursor),
            through: Timestamp(self.through_ms.load(Ordering::Acquire)),
            readings: self.readings.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            pruned: self.pruned.load(Ordering::Relaxed),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            set_aside,
            needs_person: ended
                || (trouble.as_ref()).is_some_and(|(cause, _)| *cause == Cause::Person),
            error: (trouble.map(|(_, what)| what))
                .or_else(|| ended.then(|| "it has ended".to_owned())),
        }
    }
}
