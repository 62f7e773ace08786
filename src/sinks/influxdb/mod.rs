//! Readings to InfluxDB 2: batched, tried again by cause, nothing lost while it is away.
//!
//! ```text
//! readings → lines → batches → write (influxdb2) → 204 → cursor in influxdb.sqlite
//! ```
//!
//! Each reading is a point of the measurement `reading`: tags `tag`, `kind`, `gateway`, `source`;
//! fields `value` (none when there is none), `quality` (`Quality::code`, 0 good, 1–15 uncertain,
//! 16–31 bad), `lane` (`live` or `historical`); its time in ms is the gateway's.
//!
//! Invariants
//! - The cursor moves only after the server has said "stored" (204) of every line before it, or
//!   lines have been put aside because the server said that they themselves are at fault.
//! - While the server is away nothing is read from the journal, which keeps the readings.
//! - A line may be written twice (after a crash); the same series and time is the same point.
//!
//! | answer | what follows |
//! |---|---|
//! | 204 | stored |
//! | 400, 422 in the server's own words; 413 | halve the batch; a line alone is put aside |
//! | 422 `partial write` | the server stored the rest; what it dropped is counted |
//! | 408, 429, 5xx, no answer, no connection | try again, ever more slowly, with jitter |
//! | 401, 403, 404 and any other | keep, try again slowly, and say so: a person must act |
//!
//! Limits: [`BATCH_LINES`], [`BATCH_BYTES`], [`PENDING_BYTES`], [`WRITE_TIMEOUT`]; lines put aside:
//! [`ASIDE_MAX`](file::ASIDE_MAX). To send everything that the journal still has again, to another
//! server say, delete `influxdb.sqlite` while the centre is stopped.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use davy_core::config::Config;
use davy_core::reading::{Lane, Reading};
use influxdb2::api::write::TimestampPrecision;
use influxdb2::{Client, ClientBuilder, RequestError};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::SinksError;
use super::begin::{self, Store};
use super::follow::{Cause, Sink, SinkError};
use file::File;
use verdict::Verdict;

mod file;

mod line;

mod verdict;

#[cfg(test)]
mod tests;

/// Lines of one write (the server's own advice for batches: 5,000).
pub const BATCH_LINES: usize = 5_000;

/// Bytes of one write.
pub const BATCH_BYTES: usize = 1 << 20;

/// Bytes of lines that wait in memory.
const PENDING_BYTES: usize = 8 << 20;

/// Payload bytes of the journal for one commit: some 1.5 MiB of lines.
const JOURNAL_BYTES: usize = 256 << 10;

/// How long readings are gathered while they come in live.
const GATHER: Duration = Duration::from_secs(1);

/// How long a write may take.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to write.
#[derive(Clone)]
pub struct InfluxConfig {
    /// `http://host:port` or `https://host:port`, without a path.
    pub url: String,
    /// The organization.
    pub org: String,
    /// The bucket.
    pub bucket: String,
    /// A token that may write to it.
    pub token: String,
}

impl std::fmt::Debug for InfluxConfig {
    /// Without the token: it would end up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InfluxConfig")
            .field("url", &self.url)
            .field("org", &self.org)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

/// Why InfluxDB cannot be written to at all.
#[derive(Debug, thiserror::Error)]
pub enum InfluxError {
    /// The address.
    #[error("address of InfluxDB `{found}`: {why}; allowed: http(s)://host:port without a path")]
    Address {
        /// As given.
        found: String,
        /// What is wrong with it.
        why: String,
    },
    /// An empty name.
    #[error("{0} of InfluxDB is empty")]
    Empty(&'static str),
    /// The client could not be made.
    #[error("making a client of InfluxDB: {0}")]
    Client(String),
    /// The file of the cursor.
    #[error("file `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// The file was written by another version.
    #[error("file `{}` has layout {found}; {known} is known", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The layout of this version.
        known: i64,
    },
}

impl InfluxError {
    /// Whether what the file holds is to blame.
    pub(super) fn is_unusable(&self) -> bool {
        match self {
            Self::File { source, .. } => begin::is_unusable(source),
            Self::Layout { .. } => true,
            Self::Address { .. } | Self::Empty(_) | Self::Client(_) => false,
        }
    }
}

/// How the sink is opened.
pub(super) struct InfluxStore {
    pub(super) folder: PathBuf,
    pub(super) config: InfluxConfig,
    pub(super) stop: CancellationToken,
}

impl Store for InfluxStore {
    type Sink = Influx;

    const NAME: &'static str = "influxdb";

    const FILE: &'static str = file::FILE;

    fn open(&self) -> Result<Influx, SinksError> {
        let (config, stop) = (self.config.clone(), self.stop.clone());
        Ok(Influx::open(&self.folder, config, stop)?)
    }
}

impl InfluxConfig {
    /// The client drops a path without a word and panics on what is no address, so both are
    /// checked here.
    pub fn check(&self) -> Result<(), InfluxError> {
        let failed = |why: String| InfluxError::Address {
            found: self.url.clone(),
            why,
        };
        let url = Url::parse(&self.url).map_err(|error| failed(error.to_string()))?;
        let fault = match url.scheme() {
            "http" | "https" if !url.has_host() => Some("no host"),
            "http" | "https" => None,
            _ => Some("neither http nor https"),
        };
        let more = [
            (!matches!(url.path(), "/" | ""), "a path"),
            (url.query().is_some() || url.fragment().is_some(), "a query"),
            (
                !url.username().is_empty() || url.password().is_some(),
                "a user",
            ),
        ];
        let more = more.iter().find(|(found, _)| *found).map(|(_, what)| *what);
        if let Some(why) = fault.or(more) {
            return Err(failed(why.to_owned()));
        }
        for (value, name) in [(&self.org, "organization"), (&self.bucket, "bucket")] {
            if value.is_empty() {
                return Err(InfluxError::Empty(name));
            }
        }
        Ok(())
    }
}

/// Lines that are written together.
#[derive(Debug, Default)]
struct Batch {
    text: String,
    lines: usize,
}

impl Batch {
    /// Two halves, by lines; `None` of a single line.
    fn halve(self) -> Result<(Self, Self), Self> {
        let half = self.lines / 2;
        let Some(end) = (half > 0)
            .then(|| self.text.match_indices('\n').nth(half - 1))
            .flatten()
        else {
            return Err(self);
        };
        let (first, second) = self.text.split_at(end.0 + 1);
        let batch = |text: &str, lines| Self {
            text: text.to_owned(),
            lines,
        };
        Ok((batch(first, half), batch(second, self.lines - half)))
    }
}

/// Readings to InfluxDB.
pub(super) struct Influx {
    config: InfluxConfig,
    client: Client,
    file: File,
    stop: CancellationToken,
    timeout: Duration,
    /// By place in the configuration: measurement and tags of its lines.
    heads: Vec<String>,
    /// Oldest first; the first may have been refused as a whole and halved.
    waiting: VecDeque<Batch>,
    waiting_bytes: usize,
    /// Put aside since the last commit, each with the server's words.
    aside: Vec<(String, String)>,
    /// Dropped by the server since the last commit, which it did not name.
    dropped: u64,
}

impl Influx {
    /// Checks where to write, without writing; opens the cursor in `folder`.
    pub(super) fn open(
        folder: &Path,
        config: InfluxConfig,
        stop: CancellationToken,
    ) -> Result<Self, InfluxError> {
        config.check()?;
        let client = ClientBuilder::new(&config.url, &config.org, &config.token)
            .build()
            .map_err(|error| InfluxError::Client(error.to_string()))?;
        Ok(Self {
            file: File::open(folder)?,
            config,
            client,
            stop,
            timeout: WRITE_TIMEOUT,
            heads: Vec::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            aside: Vec::new(),
            dropped: 0,
        })
    }

    /// Writes what waits, the oldest first.
    async fn write_all(&mut self) -> Result<(), SinkError> {
        while let Some(batch) = self.waiting.pop_front() {
            let verdict = self.write(&batch.text).await;
            let bytes = batch.text.len();
            let what = match verdict {
                Verdict::Stored => {
                    self.waiting_bytes -= bytes;
                    continue;
                }
                Verdict::Partly { dropped, why } => {
                    tracing::error!(dropped, why, "InfluxDB dropped readings of a batch");
                    self.dropped += dropped;
                    self.waiting_bytes -= bytes;
                    continue;
                }
                Verdict::Faulty { why } => match batch.halve() {
                    Ok((first, second)) => {
                        self.waiting.push_front(second);
                        self.waiting.push_front(first);
                        continue;
                    }
                    Err(Batch { text, .. }) => {
                        if self.aside.is_empty() {
                            // One of a commit is told; all are in the file.
                            let line = text.trim_end();
                            tracing::error!(line, why, "InfluxDB refuses a reading");
                        }
                        self.aside.push((text, why));
                        self.waiting_bytes -= bytes;
                        continue;
                    }
                },
                Verdict::Later { cause, why } => SinkError { cause, what: why },
            };
            self.waiting.push_front(batch);
            return Err(what);
        }
        Ok(())
    }

    async fn write(&self, text: &str) -> Verdict {
        let later = |cause, why: String| Verdict::Later { cause, why };
        let write = self.client.write_line_protocol_with_precision(
            &self.config.org,
            &self.config.bucket,
            text.to_owned(),
            TimestampPrecision::Milliseconds,
        );
        let answer = tokio::select! {
            () = self.stop.cancelled() => return later(Cause::Stopping, "the centre stops".into()),
            answer = tokio::time::timeout(self.timeout, write) => answer,
        };
        match answer {
            Ok(Ok(())) => Verdict::Stored,
            Ok(Err(RequestError::Http { status, text })) => {
                verdict::of_answer(status.as_u16(), &text)
            }
            Ok(Err(error)) => later(Cause::Passing, causes(&error)),
            Err(_) => {
                let waited = self.timeout.as_secs_f32();
                later(Cause::Passing, format!("InfluxDB: no answer in {waited} s"))
            }
        }
    }
}

/// An error with all that is behind it: the first alone says only "processing the request".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = format!("InfluxDB: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl Sink for Influx {
    fn batch_bytes(&self) -> usize {
        JOURNAL_BYTES
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    fn cursor(&self) -> u64 {
        self.file.cursor()
    }

    /// The file is synced with each commit.
    fn durable(&self) -> u64 {
        self.file.cursor()
    }

    fn state(&self) -> Result<Option<Vec<u8>>, SinkError> {
        self.file.state().map_err(|error| stored(&error))
    }

    fn configure(&mut self, config: &Config) {
        self.heads = config.points.iter().map(line::head).collect();
    }

    fn take(&mut self, _: &Config, reading: &Reading, lane: Lane) {
        // A reading names a point of the configuration that it was decoded by.
        let Some(head) = self.heads.get(reading.point.index()) else {
            return;
        };
        let full = |batch: &Batch| {
            batch.lines >= BATCH_LINES
                || batch.text.len() + line::BYTES_MAX + head.len() > BATCH_BYTES
        };
        if self.waiting.back().is_none_or(full) {
            self.waiting.push_back(Batch::default());
        }
        if let Some(batch) = self.waiting.back_mut() {
            let before = batch.text.len();
            line::write(&mut batch.text, head, reading, lane);
            batch.lines += 1;
            self.waiting_bytes += batch.text.len() - before;
        }
    }

    fn is_full(&self) -> bool {
        self.waiting_bytes >= PENDING_BYTES
    }

    fn commit(
        &mut self,
        cursor: u64,
        state: Option<&[u8]>,
        runtime: &Runtime,
    ) -> Result<(), SinkError> {
        runtime.block_on(self.write_all())?;
        self.file
            .commit(cursor, state, &self.aside, self.dropped)
            .map_err(|error| stored(&error))?;
        self.aside.clear();
        self.dropped = 0;
        Ok(())
    }

    fn refused(&self) -> u64 {
        self.file.refused() + self.aside.len() as u64 + self.dropped
    }
}

fn stored(error: &rusqlite::Error) -> SinkError {
    SinkError {
        cause: Cause::Passing,
        what: format!("storing the cursor of InfluxDB: {error}"),
    }
}
