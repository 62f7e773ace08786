//! Readings of one point side by side: times, values, quality codes.
//!
//! Invariants: the three columns have one length. Once [`Columns::settle`] has run, times rise
//! strictly: of readings with the same time the one that came last stands.

use davy_core::reading::{Quality, Timestamp};

use super::{Quantities, Sample};

/// Readings of one point, in the order in which they came until they are settled.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    /// Milliseconds since 1970.
    pub(super) times: Vec<i64>,
    /// In the point's unit; NaN when there is none.
    pub(super) values: Vec<f64>,
    /// As `Quality::code` writes them.
    pub(super) codes: Vec<u8>,
}

impl Columns {
    /// With room for `count` readings.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            times: Vec::with_capacity(count),
            values: Vec::with_capacity(count),
            codes: Vec::with_capacity(count),
        }
    }

    /// How many readings there are.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// Adds a reading after all others.
    pub(super) fn push(&mut self, time: i64, value: f64, code: u8) {
        self.times.push(time);
        self.values.push(value);
        self.codes.push(code);
    }

    /// Adds all of `other` after all others; on the same time `other` wins.
    pub(super) fn extend(&mut self, other: &Self) {
        self.times.extend_from_slice(&other.times);
        self.values.extend_from_slice(&other.values);
        self.codes.extend_from_slice(&other.codes);
    }

    /// The readings, in the order in which they stand.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, f64, u8)> + '_ {
        self.times
            .iter()
            .zip(&self.values)
            .zip(&self.codes)
            .map(|((time, value), code)| (*time, *value, *code))
    }

    /// Sorts by time and keeps, of readings with the same time, the one that came last.
    pub(super) fn settle(&mut self) {
        if self.times.is_sorted_by(|earlier, later| earlier < later) {
            return;
        }
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by_key(|(time, ..)| *time); // stable: what came last stays last
        *self = Self::with_capacity(all.len());
        for (time, value, code) in all {
            if self.times.last() == Some(&time) {
                self.times.pop();
                self.values.pop();
                self.codes.pop();
            }
            self.push(time, value, code);
        }
    }

    /// Cuts settled readings to those with `from <= time < to`.
    pub(super) fn clip(&mut self, from: i64, to: i64) {
        let end = self.times.partition_point(|time| *time < to);
        let start = self.times.partition_point(|time| *time < from).min(end);
        cut(self, start, end);
    }

    /// Readings in even pieces of about `usual`, at most half as many again, oldest first.
    ///
    /// Even, because a small rest in a piece of its own would pack badly.
    pub(super) fn pieces(&self, usual: usize) -> impl Iterator<Item = Self> + '_ {
        let count = ((self.len() + usual / 2) / usual).max(1);
        let size = self.len().div_ceil(count).max(1);
        self.times
            .chunks(size)
            .zip(self.values.chunks(size))
            .zip(self.codes.chunks(size))
            .map(|((times, values), codes)| Self {
                times: times.to_vec(),
                values: values.to_vec(),
                codes: codes.to_vec(),
            })
    }

    /// First and last time of settled readings; `None` when there are none.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        Some((*self.times.first()?, *self.times.last()?))
    }

    /// What there is to know of all readings at once.
    pub(super) fn quantities(&self) -> Quantities {
        let mut all = Quantities::default();
        for (value, code) in self.values.iter().zip(&self.codes) {
            all.add(*value, *code);
        }
        all
    }
}

fn cut(columns: &mut Columns, start: usize, end: usize) {
    columns.times.truncate(end);
    columns.times.drain(..start);
    columns.values.truncate(end);
    columns.values.drain(..start);
    columns.codes.truncate(end);
    columns.codes.drain(..start);
}

/// One reading as it is handed out.
pub(super) fn sample((time, value, code): (i64, f64, u8)) -> Sample {
    Sample {
        at: Timestamp(time),
        value,
        quality: Quality::from_code(code),
    }
}
