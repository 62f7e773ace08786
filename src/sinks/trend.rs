//! The sink that keeps the embedded series: what trends are drawn from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use davy_core::config::Config;
use davy_core::reading::{Lane, Reading, Timestamp};
use tokio::runtime::Runtime;

use super::SinksError;
use super::begin::Store;
use super::follow::{Cause, Sink, SinkError};
use super::series::{self, PENDING_MAX, Series, SeriesError, SeriesPoint, SeriesReader};

/// Payload bytes of a batch: some 230,000 readings of 18 bytes, a quarter of what may wait.
const BATCH_BYTES: usize = 4 << 20;

/// A trend is behind by no more than this, and a commit is worth its write.
const GATHER: Duration = Duration::from_millis(200);

/// How long to wait before the series is looked through for old readings again.
const PRUNE_PAUSE: Duration = Duration::from_hours(1);

/// How long to wait between two steps of that.
const PRUNE_STEP: Duration = Duration::from_secs(1);

/// How the series is opened, and who reads it.
pub(super) struct TrendStore {
    pub(super) folder: PathBuf,
    pub(super) kept: Option<Duration>,
    /// Reads what is open; nothing meanwhile.
    pub(super) reader: Arc<SeriesReader>,
}

impl Store for TrendStore {
    type Sink = Trend;

    const NAME: &'static str = "series";

    const FILE: &'static str = series::FILE;

    fn open(&self) -> Result<Trend, SinksError> {
        let series = Series::open(&self.folder)?;
        self.reader.take_over(series.reader()?);
        Ok(Trend::new(series, Arc::clone(&self.reader), self.kept))
    }

    fn close(&self) {
        self.reader.close();
    }
}

/// Readings into the series.
pub(super) struct Trend {
    series: Series,
    reader: Arc<SeriesReader>,
    is_damaged: bool,
    /// How long readings are kept; for good when there is none.
    kept: Option<Duration>,
    /// By the journal's time.
    prune_at: Timestamp,
    /// By place in the configuration; none before its first reading.
    points: Vec<Option<SeriesPoint>>,
    refused: u64,
}

impl Trend {
    pub(super) fn new(series: Series, reader: Arc<SeriesReader>, kept: Option<Duration>) -> Self {
        Self {
            series,
            reader,
            is_damaged: false,
            kept,
            prune_at: Timestamp::MIN,
            points: Vec::new(),
            refused: 0,
        }
    }

    fn keep(&mut self, config: &Config, reading: &Reading) -> Result<(), SeriesError> {
        let place = reading.point.index();
        let known = self.points.get(place).copied().flatten();
        let point = match (known, config.points.get(place)) {
            (Some(point), _) => point,
            (None, Some(point)) => self.series.point(&point.tag)?,
            // A reading names a point of the configuration that it was decoded by.
            (None, None) => return Ok(()),
        };
        if let Some(slot) = self.points.get_mut(place) {
            *slot = Some(point);
        }
        self.series
            .append(point, reading.sampled_at, reading.value, reading.quality)
    }
}

impl Sink for Trend {
    fn batch_bytes(&self) -> usize {
        BATCH_BYTES
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    fn cursor(&self) -> u64 {
        self.series.cursor()
    }

    fn durable(&self) -> u64 {
        self.series.durable()
    }

    fn state(&self) -> Result<Option<Vec<u8>>, SinkError> {
        Ok(self.series.state()?)
    }

    fn configure(&mut self, config: &Config) {
        self.points = vec![None; config.points.len()];
    }

    fn take(&mut self, config: &Config, reading: &Reading, _: Lane) {
        if let Err(error) = self.keep(config, reading) {
            if self.refused == 0 {
                tracing::error!(%error, "the series does not take a reading");
            }
            self.refused += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.series.pending() >= PENDING_MAX
    }

    fn commit(&mut self, cursor: u64, state: Option<&[u8]>, _: &Runtime) -> Result<(), SinkError> {
        let done = self.series.commit_with(cursor, state);
        self.is_damaged |= done.as_ref().is_err_and(SeriesError::is_damaged);
        Ok(done?)
    }

    fn is_damaged(&self) -> bool {
        self.is_damaged || self.reader.is_damaged()
    }

    fn refused(&self) -> u64 {
        self.refused
    }

    fn prune(&mut self, now: Timestamp) -> Result<(), SinkError> {
        let Some(kept) = self.kept.filter(|_| now >= self.prune_at) else {
            return Ok(());
        };
        self.prune_at = now + PRUNE_STEP;
        let kept_ms = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp(now.0.saturating_sub(kept_ms));
        if self.series.prune(|_| Some(before))?.done {
            self.prune_at = now + PRUNE_PAUSE;
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Err(error) = self.series.checkpoint() {
            tracing::warn!(%error, "the series is not synced; it is at the next start");
        }
    }
}

impl From<SeriesError> for SinkError {
    fn from(error: SeriesError) -> Self {
        let cause = match error {
            SeriesError::Store { .. } => Cause::Passing,
            _ => Cause::Person,
        };
        let what = error.to_string();
        Self { cause, what }
    }
}
