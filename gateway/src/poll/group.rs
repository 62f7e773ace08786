//! The points of one unit and one period, and the grid that they are polled on.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use davy_core::config::Bus;
use davy_core::point::Point;
use davy_core::reading::{BadCause, PointId, Reading, Timestamp};
use tokio::time::Instant;

use crate::clock::{Clock, monotonic};
use crate::decode::Decoder;
use crate::modbus::{Failure, Link};
use crate::plan::{self, Limits};

use super::ask::{Ask, Unanswered};
use super::line::Line;
use super::{Batch, UnitCounters};

/// Points that are due together.
#[derive(Debug)]
pub(super) struct Group {
    /// Place of its unit on the bus.
    pub(super) unit: usize,
    /// When it is due.
    pub(super) grid: Grid,
    /// What to ask, in order of address.
    pub(super) asks: Vec<Ask>,
    /// The bad news last sent of all its points, and when; none while it is well.
    pub(super) told: Option<(BadCause, Instant)>,
    /// The first failure of its last poll that was not the whole unit's.
    pub(super) trouble: Option<Failure>,
}

impl Group {
    /// How many points it has.
    pub(super) fn points(&self) -> usize {
        self.asks.iter().map(Ask::points).sum()
    }

    /// Sends its requests to the unit with `number`, one after the other, and fills `batch`.
    ///
    /// An exception or a garbled reply makes the points of that request bad and no others. At the
    /// first request without an answer the rest is not sent.
    pub(super) async fn ask_all<L: Link>(
        &mut self,
        number: u8,
        line: &mut Line<'_, L>,
        clock: &Clock,
        counters: &UnitCounters,
        batch: &mut Batch,
    ) -> Option<Ended> {
        self.trouble = None;
        for (place, ask) in self.asks.iter_mut().enumerate() {
            match ask.poll(number, line, clock, counters, batch).await {
                Ok(None) => {}
                Ok(Some(failure)) => {
                    self.trouble.get_or_insert(failure);
                }
                Err(Unanswered::Silent(failure)) => {
                    counters.polls.fetch_add(1, Relaxed);
                    return Some(Ended::Silent(place, failure));
                }
                Err(Unanswered::Down(why)) => return Some(Ended::Down(why)),
            }
        }
        self.told = None;
        counters.silent.store(false, Relaxed);
        counters.polls.fetch_add(1, Relaxed);
        if monotonic() < self.grid.next {
            counters.on_time.fetch_add(1, Relaxed);
        }
        None
    }

    /// Appends a bad reading for each of its points.
    pub(super) fn fail(&self, cause: BadCause, at: Timestamp, readings: &mut Vec<Reading>) {
        for ask in &self.asks {
            ask.fail(cause, at, readings);
        }
    }
}

/// Why a poll ended before its last request.
pub(super) enum Ended {
    /// At this request of the group the unit did not answer.
    Silent(usize, Failure),
    /// There is no connection, for this reason.
    Down(Failure),
}

/// Divides the points of the unit at `unit` by period, shortest first, and plans each group.
pub(super) fn divide(
    unit: usize,
    of_unit: &[(PointId, &Point)],
    bus: &Bus,
    points: &[Point],
) -> Vec<Group> {
    let mut by_period: BTreeMap<Duration, Vec<(PointId, &Point)>> = BTreeMap::new();
    for (id, point) in of_unit {
        by_period
            .entry(point.period)
            .or_default()
            .push((*id, point));
    }
    by_period
        .into_iter()
        .map(|(period, members)| {
            let asks = plan::plan(&members, Limits::from(bus))
                .into_iter()
                .map(|request| {
                    let decoder = Decoder::new(&request, points);
                    Ask::new(request, decoder)
                });
            Group {
                unit,
                grid: Grid::new(period),
                asks: asks.collect(),
                told: None,
                trouble: None,
            }
        })
        .collect()
}

/// Moments `start + n × period`. Never drifts: the next is worked out from the last grid point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) period: Duration,
    /// The earliest slot that was not taken.
    pub(super) next: Instant,
}

impl Grid {
    /// A period below 1 ms counts as 1 ms.
    pub(super) fn new(period: Duration) -> Self {
        Self {
            period: period.max(Duration::from_millis(1)),
            next: monotonic(),
        }
    }

    pub(super) fn start(&mut self, at: Instant) {
        self.next = at;
    }

    /// Takes the latest slot that is due at `now` and says how many older ones were missed.
    pub(super) fn begin(&mut self, now: Instant) -> u64 {
        let late = now.saturating_duration_since(self.next);
        let missed = late.as_nanos() / self.period.as_nanos();
        // 2^32 slots of 1 ms are 50 days asleep; after that the grid begins anew.
        match u32::try_from(missed).map(|missed| missed.saturating_add(1)) {
            Ok(slots) => self.next += self.period * slots,
            Err(_) => self.next = now + self.period,
        }
        u64::try_from(missed).unwrap_or(u64::MAX)
    }
}
