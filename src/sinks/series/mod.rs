//! The embedded store of readings (`series.db`): every value with its quality and time.
//!
//! ```text
//! journal → append → pending → commit ─┬→ head log   the unsealed readings, a row a commit
//!                                      ├→ recent     256 readings of a point, sealed
//!                                      ├→ blocks     up to 16,384 readings, merged from recent
//!                                      └→ cursor     journal number, in the same transaction
//! reader: blocks + recent + heads (in memory) → samples or buckets
//! ```
//!
//! The last readings of each point, its *head*, are in memory and in the head log. A head of 256
//! readings is sealed into `recent`; 16,384 of those are merged into `blocks`, which is only ever
//! added to, so that its pages stay full. Thus a slow point never holds the cursor back: what is
//! not sealed is in the log. The log is cleaned from its old end: heads still in it are written
//! again at the new end, so it holds at most twice what is live and each reading is written about
//! three times on its way (log, recent, blocks), four if it waits long.
//!
//! Invariants
//! - Readings and cursor are stored in one transaction: after a crash the sink follows from
//!   [`Series::cursor`], and nothing is lost or doubled.
//! - What goes in comes out bit for bit. Of readings of one point and time the last one stands.
//! - Whatever is damaged is named with tag and time, and the rest is served.
//! - A reading without a value counts as `bad` and never enters a minimum, maximum or mean.
//!
//! The file is written with `synchronous = NORMAL`: a loss of power may take the last commits, but
//! always with their cursor, and the journal, which is the truth, still has them. So the journal
//! may prune only up to [`Series::durable`], the cursor of the last sync.
//!
//! Limits: [`PENDING_MAX`] readings between two commits, [`POINTS_MAX`] points, [`BUCKETS_MAX`]
//! buckets a query. One writer; any number of readers, each with its own connection.

use std::path::PathBuf;

use davy_core::reading::{Quality, Timestamp};
use serde::Serialize;

mod chunk;
mod columns;
mod head;
mod layout;
mod level;
mod merge;
mod plan;
mod reader;
mod row;
mod store;

pub(super) use layout::FILE;
pub use reader::SeriesReader;
pub use store::{Series, SeriesPoint};

#[cfg(test)]
mod tests;

/// Most readings that wait for a commit.
pub const PENDING_MAX: usize = 1 << 20;

/// Most points in one store; twice the national network of 2022 (440,000).
pub const POINTS_MAX: usize = 1 << 20;

/// Most buckets in one answer.
pub const BUCKETS_MAX: usize = 10_000;

/// One stored reading.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// When it was sampled, by the gateway's clock.
    pub at: Timestamp,
    /// In the point's unit; NaN (`null` in JSON) when there is none.
    pub value: f64,
    /// Whether the value can be believed.
    pub quality: Quality,
}

/// What happened to a point in one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// Where the stretch begins; it ends where the next one begins.
    pub at: Timestamp,
    /// Least value; NaN (`null` in JSON) when `count` is 0.
    pub min: f64,
    /// Greatest value; NaN (`null` in JSON) when `count` is 0.
    pub max: f64,
    /// Mean of the values, each counting once; NaN (`null` in JSON) when `count` is 0.
    pub mean: f64,
    /// Good and uncertain readings: those that the three figures are made of. 0 is a gap.
    pub count: u64,
    /// Bad readings, which have no value to believe.
    pub bad: u64,
    /// Which qualities its readings had: calibration gas is in `count`, and must not look real.
    pub seen: Seen,
}

/// Which qualities a number of readings had: a bit for each code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Seen(u32);

impl Seen {
    /// Takes one in. A code past the last bit (none is written) counts as the last.
    #[inline]
    fn add(&mut self, code: u8) {
        self.0 |= 1 << u32::from(code).min(u32::BITS - 1);
    }

    /// Those that were not good, in the order of their codes.
    pub fn not_good(self) -> impl Iterator<Item = Quality> {
        Quality::all().filter(move |quality| {
            let bit = 1_u32 << quality.code();
            !quality.is_good() && self.0 & bit != 0
        })
    }
}

/// The answer to a query, and what could not be read on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// In order of time.
    pub items: Vec<T>,
    /// Blocks that are damaged; their readings are missing in `items`.
    pub damaged: Vec<Damage>,
}

/// A block that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("series of `{tag}`: block from {} ms to {} ms is damaged: {why}", .first.0, .last.0)]
pub struct Damage {
    /// The point.
    pub tag: String,
    /// First reading in the block.
    pub first: Timestamp,
    /// Last reading in the block.
    pub last: Timestamp,
    /// What is wrong with it.
    pub why: String,
}

/// What `prune` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Readings deleted, doubles counted as stored.
    pub readings: u64,
    /// Whether all points have been visited; if not, call again.
    pub done: bool,
}

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// The file cannot be opened or made.
    #[error("opening series `{}`: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// The file was written by another version.
    #[error("series `{}` has layout {found}; {known} is known", .path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The layout of this version.
        known: i64,
    },
    /// It is not open at the moment: its file is being made again.
    #[error("the series is being made again from the journal")]
    Closed,
    /// The database failed.
    #[error("{doing}: {source}")]
    Store {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// The table of points is not as it was written.
    #[error("points of series: number {found} stands where {expected} was written")]
    Points {
        /// In the file.
        found: u32,
        /// Points are numbered without gaps.
        expected: u32,
    },
    /// Unsealed readings cannot be read back at the start.
    #[error("head log of series, batch {batch}: {why}")]
    HeadLog {
        /// The row.
        batch: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Readings cannot be packed.
    #[error("packing readings of `{tag}`: {why}")]
    Pack {
        /// The point.
        tag: String,
        /// What the compressor said.
        why: String,
    },
    /// Too many readings wait: commit first.
    #[error("{PENDING_MAX} readings wait for a commit; no more are allowed")]
    PendingFull,
    /// Too many points.
    #[error("no room for point `{0}`; {POINTS_MAX} are allowed")]
    PointsFull(String),
    /// The journal's numbers only grow.
    #[error("cursor {found} is below {stored}, which is stored already")]
    CursorBack {
        /// As asked for.
        found: u64,
        /// As stored.
        stored: u64,
    },
    /// A query that makes no sense.
    #[error("{buckets} buckets from {} ms to {} ms; 1 to {BUCKETS_MAX} of a time that ends after it begins are allowed", .from.0, .to.0)]
    Query {
        /// As asked for.
        from: Timestamp,
        /// As asked for.
        to: Timestamp,
        /// As asked for.
        buckets: usize,
    },
}

impl SeriesError {
    /// Whether the file's pages are damaged.
    pub(super) fn is_damaged(&self) -> bool {
        matches!(self, Self::Open { source, .. } | Self::Store { source, .. }
            if super::begin::is_damaged(source))
    }

    /// Whether what the file holds is to blame that it could not be opened.
    pub(super) fn is_unusable(&self) -> bool {
        match self {
            Self::Open { source, .. } | Self::Store { source, .. } => {
                super::begin::is_unusable(source)
            }
            _ => true,
        }
    }

    fn store(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Store { doing, source }
    }
}

/// What there is to know of a number of readings without their times.
#[derive(Clone, Copy, Debug)]
struct Quantities {
    /// Readings with a value.
    count: u64,
    /// Readings without.
    bad: u64,
    /// Least value; NaN when there is none.
    min: f64,
    /// Greatest value; NaN when there is none.
    max: f64,
    /// Sum of the values.
    sum: f64,
    /// The qualities of all of them.
    seen: Seen,
}

impl Default for Quantities {
    fn default() -> Self {
        Self {
            count: 0,
            bad: 0,
            min: f64::NAN,
            max: f64::NAN,
            sum: 0.0,
            seen: Seen::default(),
        }
    }
}

/// Codes from here on are bad quality: see `Quality::code`.
const BAD_CODES: u8 = 16;

impl Quantities {
    /// Takes one reading in.
    #[inline]
    fn add(&mut self, value: f64, code: u8) {
        self.seen.add(code);
        if code >= BAD_CODES || !value.is_finite() {
            self.bad += 1;
            return;
        }
        self.count += 1;
        self.min = self.min.min(value); // of a NaN and a number, the number
        self.max = self.max.max(value);
        self.sum += value;
    }

    /// Takes others in.
    fn add_all(&mut self, other: &Self) {
        self.count += other.count;
        self.bad += other.bad;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.seen.0 |= other.seen.0;
    }
}
