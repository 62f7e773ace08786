//! Queries: samples, buckets, the last sample before a time.
//!
//! A query takes the head first and the file after it. A commit between the two shows readings
//! twice, which the merge drops, and never hides one. Rows that overlap in time are decoded and
//! merged, the newer winning; a row or chunk that stands alone and lies inside one bucket answers
//! by its index columns without being decoded.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use davy_core::reading::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::chunk;
use super::columns::{Columns, sample};
use super::head::Head;
use super::row::{self, Place};
use super::{BUCKETS_MAX, Bucket, Damage, Found, Quantities, Sample, Seen, SeriesError};

/// The head of every point by its number; numbers start at 1.
pub(super) type Heads = RwLock<Vec<Head>>;

/// Reads a store while it is being written. May be shared between threads; one query at a time.
///
/// It outlives the store: when that is made anew, it takes over what reads the new one.
pub struct SeriesReader {
    open: Mutex<Option<Open>>,
    /// A query has found the file damaged.
    damaged: AtomicBool,
}

/// What it reads by.
struct Open {
    connection: Connection,
    heads: Arc<Heads>,
}

/// A row, or a head, that a query meets.
struct Entry {
    first: i64,
    last: i64,
    /// Of two readings of the same time, the one of the greater rank stands. Heads come last.
    rank: (u8, i64),
    source: Source,
}

enum Source {
    Row(Place, Quantities),
    Head(Columns),
}

/// What a query makes of the readings that it meets.
enum Part {
    Whole { first: i64, all: Quantities },
    Readings(Columns),
}

/// One query under way.
struct Query<'a> {
    transaction: Transaction<'a>,
    tag: &'a str,
    damaged: Vec<Damage>,
}

impl SeriesReader {
    pub(super) fn new(connection: Connection, heads: Arc<Heads>) -> Self {
        Self {
            open: Mutex::new(Some(Open { connection, heads })),
            damaged: AtomicBool::new(false),
        }
    }

    /// One that has nothing to read yet.
    pub(in crate::sinks) fn closed() -> Self {
        Self {
            open: Mutex::new(None),
            damaged: AtomicBool::new(false),
        }
    }

    /// Reads by what another one does from now on.
    pub(in crate::sinks) fn take_over(&self, other: Self) {
        let other = other.open.into_inner();
        let other = other.unwrap_or_else(PoisonError::into_inner);
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = other;
        self.damaged.store(false, Ordering::Release);
    }

    /// Reads nothing until it takes over.
    pub(in crate::sinks) fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether a query has found the file damaged.
    pub(in crate::sinks) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// The first `limit` samples with `from <= at < to`.
    pub fn range(
        &self,
        tag: &str,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Found<Sample>, SeriesError> {
        let span = from.0..to.0;
        self.query(tag, |query, point, head| {
            let mut samples = Vec::new();
            for group in query.groups(point, head, &span)? {
                for part in query.read(group, &span, &|_, _| false)? {
                    if let Part::Readings(readings) = part {
                        samples.extend(readings.iter().map(sample));
                    }
                }
                if samples.len() >= limit {
                    break;
                }
            }
            samples.truncate(limit);
            Ok(samples)
        })
    }

    /// The time from `from` to `to` (not included) in `buckets` stretches of equal length.
    ///
    /// There are always that many; one without readings is a gap and says `count` 0, `bad` 0.
    pub fn buckets(
        &self,
        tag: &str,
        from: Timestamp,
        to: Timestamp,
        buckets: usize,
    ) -> Result<Found<Bucket>, SeriesError> {
        if buckets == 0 || buckets > BUCKETS_MAX || to <= from {
            return Err(SeriesError::Query { from, to, buckets });
        }
        let span = from.0..to.0;
        let edges = edges(&span, buckets);
        let place = |time: i64| {
            edges
                .partition_point(|edge| *edge <= time)
                .saturating_sub(1)
        };
        let mut found = self.query(tag, |query, point, head| {
            let mut all = vec![Quantities::default(); buckets];
            for group in query.groups(point, head, &span)? {
                let inside = |first, last| place(first) == place(last);
                for part in query.read(group, &span, &inside)? {
                    match part {
                        Part::Whole { first, all: whole } => {
                            if let Some(bucket) = all.get_mut(place(first)) {
                                bucket.add_all(&whole);
                            }
                        }
                        Part::Readings(readings) => fill(&mut all, &edges, &readings),
                    }
                }
            }
            Ok(all)
        })?;
        // A tag that is not known has gaps only.
        found.items.resize(buckets, Quantities::default());
        let items = edges.iter().zip(&found.items).map(bucket).collect();
        Ok(Found {
            items,
            damaged: found.damaged,
        })
    }

    /// The last sample at or before `at`, of whatever quality: one or none.
    pub fn at(&self, tag: &str, at: Timestamp) -> Result<Found<Sample>, SeriesError> {
        let span = i64::MIN..at.0.saturating_add(1);
        self.query(tag, |query, point, mut head| {
            let mut all = Columns::default();
            for entry in query.last_rows(point, at.0)? {
                for part in query.read(vec![entry], &span, &|_, _| false)? {
                    if let Part::Readings(readings) = part {
                        all.extend(&readings);
                    }
                }
            }
            head.clip(span.start, span.end);
            all.extend(&head);
            all.settle();
            Ok(all.iter().last().map(sample).into_iter().collect())
        })
    }

    fn query<T>(
        &self,
        tag: &str,
        ask: impl FnOnce(&mut Query<'_>, u32, Columns) -> Result<Vec<T>, SeriesError>,
    ) -> Result<Found<T>, SeriesError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_mut().ok_or(SeriesError::Closed)?;
        let found = open.query(tag, ask);
        if found.as_ref().is_err_and(SeriesError::is_damaged) {
            self.damaged.store(true, Ordering::Release);
        }
        found
    }
}

impl Open {
    fn query<T>(
        &mut self,
        tag: &str,
        ask: impl FnOnce(&mut Query<'_>, u32, Columns) -> Result<Vec<T>, SeriesError>,
    ) -> Result<Found<T>, SeriesError> {
        let connection = &mut self.connection;
        let doing = SeriesError::store("finding a point");
        let point: Option<u32> = connection
            .prepare_cached("SELECT id FROM points WHERE tag = ?1")
            .and_then(|mut select| select.query_row([tag], |row| row.get(0)).optional())
            .map_err(&doing)?;
        let Some(point) = point else {
            return Ok(Found {
                items: Vec::new(),
                damaged: Vec::new(),
            });
        };
        let heads = self.heads.read().unwrap_or_else(PoisonError::into_inner);
        let head = heads.get(point as usize).cloned().unwrap_or_default();
        drop(heads);
        let mut head = head.columns(0);
        head.settle();
        let mut query = Query {
            transaction: connection.transaction().map_err(&doing)?,
            tag,
            damaged: Vec::new(),
        };
        let items = ask(&mut query, point, head)?;
        Ok(Found {
            items,
            damaged: query.damaged,
        })
    }
}

impl Query<'_> {
    /// What meets the span, in order of time; what overlaps is in one group.
    fn groups(
        &self,
        point: u32,
        mut head: Columns,
        span: &Range<i64>,
    ) -> Result<Vec<Vec<Entry>>, SeriesError> {
        let mut entries = self.rows(
            "point = ?1 AND last >= ?2 AND first < ?3",
            params![point, span.start, span.end],
        )?;
        head.clip(span.start, span.end);
        entries.extend(head.span().map(|(first, last)| Entry {
            first,
            last,
            rank: (u8::MAX, 0),
            source: Source::Head(head),
        }));
        entries.sort_by_key(|entry| entry.first);
        let mut groups: Vec<Vec<Entry>> = Vec::new();
        let mut end = i64::MIN;
        for entry in entries {
            let last = entry.last;
            match groups.last_mut() {
                Some(group) if entry.first <= end => group.push(entry),
                _ => groups.push(vec![entry]),
            }
            end = end.max(last);
        }
        Ok(groups)
    }

    /// The rows that can hold the last reading at or before `at`, the newest last.
    fn last_rows(&self, point: u32, at: i64) -> Result<Vec<Entry>, SeriesError> {
        let mut rows = self.rows(
            "point = ?1 AND last > ?2 AND first <= ?2",
            params![point, at],
        )?;
        rows.extend(self.rows(
            "point = ?1 AND last <= ?2 ORDER BY last DESC, id DESC LIMIT 1",
            params![point, at],
        )?);
        rows.sort_by_key(|entry| entry.rank);
        Ok(rows)
    }

    fn rows(
        &self,
        which: &str,
        params: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<Entry>, SeriesError> {
        let mut entries = Vec::new();
        for place in Place::ALL {
            let sql = format!(
                "SELECT id, first, last, count, bad, min, max, sum, seen FROM {} WHERE {which}",
                place.table()
            );
            self.transaction
                .prepare_cached(&sql)
                .and_then(|mut select| {
                    for entry in select.query_map(params, |row| entry(place, row))? {
                        entries.push(entry?);
                    }
                    Ok(())
                })
                .map_err(SeriesError::store("finding blocks"))?;
        }
        Ok(entries)
    }

    /// Reads a group; `whole(first, last)` says that what spans that time need not be decoded.
    fn read(
        &mut self,
        mut group: Vec<Entry>,
        span: &Range<i64>,
        whole: &dyn Fn(i64, i64) -> bool,
    ) -> Result<Vec<Part>, SeriesError> {
        if group.len() == 1 {
            let mut parts = Vec::new();
            for entry in group {
                self.read_entry(entry, span, whole, &mut parts)?;
            }
            return Ok(parts);
        }
        group.sort_by_key(|entry| entry.rank);
        let (mut parts, mut merged) = (Vec::new(), Columns::default());
        for entry in group {
            self.read_entry(entry, span, &|_, _| false, &mut parts)?;
        }
        for part in parts {
            if let Part::Readings(readings) = part {
                merged.extend(&readings);
            }
        }
        merged.settle();
        Ok(vec![Part::Readings(merged)])
    }

    fn read_entry(
        &mut self,
        entry: Entry,
        span: &Range<i64>,
        whole: &dyn Fn(i64, i64) -> bool,
        parts: &mut Vec<Part>,
    ) -> Result<(), SeriesError> {
        let whole = |first: i64, last: i64| {
            span.contains(&first) && span.contains(&last) && whole(first, last)
        };
        let (place, all) = match entry.source {
            Source::Head(readings) => {
                parts.push(Part::Readings(readings));
                return Ok(());
            }
            Source::Row(place, all) => (place, all),
        };
        if whole(entry.first, entry.last) {
            parts.push(Part::Whole {
                first: entry.first,
                all,
            });
            return Ok(());
        }
        let sql = format!("SELECT data FROM {} WHERE id = ?1", place.table());
        let data: Vec<u8> = self
            .transaction
            .prepare_cached(&sql)
            .and_then(|mut select| select.query_row([entry.rank.1], |row| row.get(0)))
            .map_err(SeriesError::store("fetching a block"))?;
        let chunks = row::chunks(&data).unwrap_or_else(|why| {
            self.damaged((entry.first, entry.last), why);
            Vec::new()
        });
        for bytes in chunks {
            match read_chunk(bytes, span, &whole) {
                Ok(part) => parts.extend(part),
                Err(why) => self.damaged((entry.first, entry.last), why),
            }
        }
        Ok(())
    }

    fn damaged(&mut self, (first, last): (i64, i64), why: String) {
        self.damaged.push(Damage {
            tag: self.tag.to_owned(),
            first: Timestamp(first),
            last: Timestamp(last),
            why,
        });
    }
}

fn read_chunk(
    bytes: &[u8],
    span: &Range<i64>,
    whole: &dyn Fn(i64, i64) -> bool,
) -> Result<Option<Part>, String> {
    let chunk = chunk::open(bytes)?;
    if chunk.last < span.start || chunk.first >= span.end {
        return Ok(None);
    }
    if whole(chunk.first, chunk.last) {
        return Ok(Some(Part::Whole {
            first: chunk.first,
            all: chunk.quantities,
        }));
    }
    let mut readings = chunk.decode()?;
    readings.clip(span.start, span.end);
    Ok(Some(Part::Readings(readings)))
}

fn entry(place: Place, row: &Row<'_>) -> rusqlite::Result<Entry> {
    let figure = |column: usize| -> rusqlite::Result<f64> {
        Ok(row.get::<_, Option<f64>>(column)?.unwrap_or(f64::NAN)) // SQLite keeps NaN as NULL
    };
    Ok(Entry {
        first: row.get(1)?,
        last: row.get(2)?,
        rank: (place as u8, row.get(0)?),
        source: Source::Row(
            place,
            Quantities {
                count: row.get::<_, i64>(3)? as u64,
                bad: row.get::<_, i64>(4)? as u64,
                min: figure(5)?,
                max: figure(6)?,
                sum: figure(7)?,
                seen: Seen(row.get(8)?),
            },
        ),
    })
}

/// Where each bucket begins. `i128`, because a span may be as wide as time itself.
fn edges(span: &Range<i64>, buckets: usize) -> Vec<i64> {
    let width = i128::from(span.end) - i128::from(span.start);
    (0..buckets as i128)
        .map(|bucket| {
            let offset = (width * bucket).div_euclid(buckets as i128);
            (i128::from(span.start) + offset) as i64
        })
        .collect()
}

/// Adds settled readings, none before the first edge, to their buckets.
fn fill(buckets: &mut [Quantities], edges: &[i64], readings: &Columns) {
    let mut place = 0;
    for (time, value, code) in readings.iter() {
        while edges.get(place + 1).is_some_and(|edge| *edge <= time) {
            place += 1;
        }
        if let Some(bucket) = buckets.get_mut(place) {
            bucket.add(value, code);
        }
    }
}

fn bucket((at, all): (&i64, &Quantities)) -> Bucket {
    Bucket {
        at: Timestamp(*at),
        min: all.min,
        max: all.max,
        mean: if all.count == 0 {
            f64::NAN
        } else {
            all.sum / all.count as f64
        },
        count: all.count,
        bad: all.bad,
        seen: all.seen,
    }
}
