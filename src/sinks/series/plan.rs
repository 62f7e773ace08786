//! What a commit of the series is going to do, worked out before anything is touched.
//!
//! Readings that are new either fill the head of their point, which is then sealed, or go into the
//! log's next row. When the log holds too much that is no longer live, its oldest heads are written
//! again in that row.

use super::columns::Columns;
use super::head::{Fresh, Head, Writing};

/// Readings of a head that is sealed. Half of it times the points is what memory holds: 55,000
/// points take 120 MB at 17 bytes a reading.
const SEAL_READINGS: usize = 256;

/// Readings that the log may hold beside twice the live ones.
const LOG_SLACK: usize = 1 << 16;

/// Readings that a commit may carry at least from the old end of the log to the new one.
const CARRY_MIN: usize = 1 << 12;

/// What a commit is going to do.
pub(super) struct Plan {
    /// Full heads, settled.
    pub(super) sealed: Vec<(u32, Columns)>,
    /// By point number: whether it is sealed.
    pub(super) is_sealed: Vec<bool>,
    /// The log's row: heads that are written again, then what is new.
    pub(super) logged: Vec<u8>,
    /// Readings in that row.
    pub(super) logged_readings: usize,
    /// By point number: the log row in which its head begins; 0 when it has none.
    pub(super) begins: Vec<u64>,
    /// Log rows before this one hold nothing that lives.
    pub(super) log_from: u64,
}

impl Plan {
    /// For commit `batch`: what is `pending` on `heads`, which begin in the log rows `begins`. The
    /// log holds `held` readings.
    pub(super) fn new(
        heads: &[Head],
        pending: &[Fresh],
        begins: &[u64],
        held: usize,
        batch: u64,
    ) -> Self {
        let (sealed, is_sealed) = seal(heads, pending);
        let mut begins = begins.to_vec();
        for (point, _) in &sealed {
            set(&mut begins, *point, 0);
        }
        let mut logged = Writing::with_capacity(pending.len());
        let live: usize = heads.iter().map(Head::len).sum();
        if held > 2 * live + LOG_SLACK {
            let room = pending.len().max(CARRY_MIN);
            carry(heads, &mut begins, batch, room, &mut logged);
        }
        for new in pending {
            let place = new.point as usize;
            if is_sealed.get(place) == Some(&false) {
                logged.push(*new);
                if let Some(begins @ 0) = begins.get_mut(place) {
                    *begins = batch;
                }
            }
        }
        let log_from = begins.iter().filter(|begins| **begins > 0).min();
        Self {
            log_from: log_from.copied().unwrap_or(batch + 1),
            sealed,
            is_sealed,
            logged_readings: logged.len(),
            logged: logged.finish(),
            begins,
        }
    }
}

/// Heads that are full with what is new; and by point number whether it is one.
fn seal(heads: &[Head], pending: &[Fresh]) -> (Vec<(u32, Columns)>, Vec<bool>) {
    let mut lengths: Vec<usize> = heads.iter().map(Head::len).collect();
    for new in pending {
        if let Some(length) = lengths.get_mut(new.point as usize) {
            *length += 1;
        }
    }
    let mut places = vec![None; heads.len()];
    let mut sealed: Vec<(u32, Columns)> = Vec::new();
    for ((point, head), length) in (0..).zip(heads).zip(lengths) {
        if length >= SEAL_READINGS {
            set(&mut places, point, Some(sealed.len()));
            sealed.push((point, head.columns(length - head.len())));
        }
    }
    for new in pending {
        let place = places.get(new.point as usize).copied().flatten();
        if let Some((_, all)) = place.and_then(|place| sealed.get_mut(place)) {
            all.push(new.time, new.value, new.code);
        }
    }
    for (_, all) in &mut sealed {
        all.settle();
    }
    let is_sealed = places.iter().map(Option::is_some).collect();
    (sealed, is_sealed)
}

/// Writes the oldest heads of the log again at its new end, about `room` readings of them.
fn carry(heads: &[Head], begins: &mut [u64], batch: u64, mut room: usize, logged: &mut Writing) {
    let mut oldest: Vec<(u64, u32)> = (0u32..)
        .zip(begins.iter())
        .filter(|(_, begins)| **begins > 0)
        .map(|(point, begins)| (*begins, point))
        .collect();
    oldest.sort_unstable();
    for (_, point) in oldest {
        let Some(readings) = heads.get(point as usize).filter(|_| room > 0) else {
            break;
        };
        room = room.saturating_sub(readings.len());
        for (time, value, code) in readings.iter() {
            logged.push(Fresh {
                point,
                time,
                value,
                code,
            });
        }
        set(begins, point, batch);
    }
}

/// Puts `to` in the place of a point, if it has one.
pub(super) fn set<T>(places: &mut [T], point: u32, to: T) {
    if let Some(place) = places.get_mut(point as usize) {
        *place = to;
    }
}
