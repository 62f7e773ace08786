//! One task for each bus: asks on the grid, keeps silent units from delaying the others.
//!
//! This is where a reading's path begins to move: the task takes the group of points that is due,
//! sends its planned requests, decodes the replies and hands one `Batch` on. All units behind one
//! address share one connection, and one request is under way at a time, as on the serial line that
//! such an address usually stands for.
//!
//! # Invariants
//!
//! - Every point of a group gets a reading each time that it is polled: a value, or bad with its
//!   cause. No row is ever missing and no old value is repeated.
//! - Polls keep the grid: the next is due at the last grid point plus the period, whatever the last
//!   one took. A slot that could not begin before the next one came is counted as missed, and not
//!   made up for.
//! - A unit that does not answer costs one timeout. Then it is silent: not polled, but probed over
//!   a connection of its own (`probe.rs`), within a budget of 5 % of the bus's time. All of its
//!   points become bad at once, and again at each heartbeat (the period, at least 10 s).
//! - A register that a unit does not have costs the others of its request a few polls, and then
//!   nothing (`ask.rs`).
//! - Every state is kept by bus and unit; units with the same number on two buses never meet.
//! - Nothing is dropped when the consumer is slow: the task waits for room (counted). The slots
//!   that pass meanwhile are counted as missed, so the loss is known, and it is the units' own
//!   values that are skipped and not ones already read.
//!
//! # Limits
//!
//! A gateway to a serial line holds it for its own timeout when a unit is dead. The bus's timeout
//! must be longer than that one, or live units behind it time out in their turn.
//! A unit that answers some requests and never others counts as silent as a whole.

mod ask;
mod counters;
mod group;
mod line;
mod log;
mod probe;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use davy_core::config::Bus;
use davy_core::point::Point;
use davy_core::reading::{BadCause, PointId, READINGS_MAX, Reading, Timestamp};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::clock::{Clock, monotonic};
use crate::decode::Calibration;
use crate::modbus::{Failure, Link};

use group::{Ended, Group};
use line::Line;
use log::{Place, UnitLog};
use probe::{Prober, SILENT_FACTOR, Silence};

pub use counters::{BusCounters, UnitCounters};

/// Least time between two repeats of the same bad news about a group.
const HEARTBEAT_MIN: Duration = Duration::from_secs(10);

/// Buses begin spread over so much of time, or over a period that is shorter. Ours: a reading of a
/// slow group is not held back for long by it.
const PHASE_MAX: Duration = Duration::from_secs(1);

/// Readings of one unit that were taken together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The unit's id: the Sparkplug device.
    pub unit: Arc<str>,
    /// When the last reply in it came; each reading has the time of its own reply.
    pub sampled_at: Timestamp,
    /// One for each point that was due; never empty.
    pub readings: Vec<Reading>,
    /// How the unit stood after this poll.
    pub unit_state: UnitState,
}

/// Whether a unit answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitState {
    /// It answered all that it was asked, if only with an exception.
    Alive,
    /// It left something unanswered, or cannot be reached.
    Silent,
}

/// Everything that one bus is polled by.
#[derive(Debug)]
pub struct BusPoll {
    timeout: Duration,
    units: Vec<Unit>,
    groups: Vec<Group>,
    calibration: Calibration,
    counters: Arc<BusCounters>,
    /// Which of how many buses it is.
    phase: (u32, u32),
}

#[derive(Debug)]
struct Unit {
    id: Arc<str>,
    number: u8,
    /// Why it is not polled now; none while it is.
    silent: Option<BadCause>,
    /// Whether it answered its last poll.
    answered: bool,
    /// Since when it has been polled; none before the first poll.
    polled_since: Option<Instant>,
    log: UnitLog,
}

/// The consumer is gone: the task ends.
struct Closed;

impl BusPoll {
    /// Plans the polling of `bus`, which belongs to the gateway with id `gateway`.
    ///
    /// `points` is the whole table of the configuration; points of other gateways and of units on
    /// other buses are left out.
    pub fn new(gateway: &str, bus: &Bus, points: &[Point]) -> Self {
        let mut groups = Vec::new();
        let mut of_bus = Vec::new();
        for (place, unit) in bus.units.iter().enumerate() {
            let of_unit: Vec<(PointId, &Point)> = (0..)
                .map(PointId)
                .zip(points)
                .filter(|(_, point)| point.gateway == gateway && point.device == unit.id)
                .collect();
            groups.extend(group::divide(place, &of_unit, bus, points));
            of_bus.extend(of_unit);
        }
        let units = bus.units.iter().map(|unit| Unit {
            id: unit.id.as_str().into(),
            number: unit.number,
            silent: None,
            answered: false,
            polled_since: None,
            log: UnitLog::new(Place::new(bus, unit)),
        });
        Self {
            timeout: bus.timeout,
            units: units.collect(),
            groups,
            calibration: Calibration::new(&of_bus),
            counters: Arc::new(BusCounters::new(bus)),
            phase: (0, 1),
        }
    }

    /// Gives the bus, the `place`-th of so many, a phase of its own on the grid: buses that all
    /// began at once would burst in the same millisecond for ever.
    #[must_use]
    pub fn with_phase(mut self, place: usize, buses: usize) -> Self {
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        self.phase = (number(place), number(buses).max(1));
        self
    }

    /// What is counted while it runs.
    pub fn counters(&self) -> Arc<BusCounters> {
        Arc::clone(&self.counters)
    }

    /// How many requests one round over all groups takes.
    pub fn requests(&self) -> usize {
        self.groups.iter().map(|group| group.asks.len()).sum()
    }

    /// The group whose turn it is, and when.
    ///
    /// Of several that are due, units that answered last time go first: so the first timeouts of
    /// many dead units fall into the gaps between the polls of live ones. After ten periods a unit
    /// waits behind nobody.
    fn earliest(&self, now: Instant) -> Option<(Instant, usize)> {
        let turn = |(place, group): (usize, &Group)| {
            let next = group.grid.next;
            let answered = self.units.get(group.unit).is_some_and(|unit| unit.answered);
            let is_due = next <= now;
            let waits = is_due && !answered && now < next + group.grid.period * 10;
            ((!is_due, waits, next), place)
        };
        let ((_, _, at), place) = self.groups.iter().enumerate().map(turn).min()?;
        Some((at, place))
    }

    /// Polls until the consumer of `out` is gone. It may be dropped at any point: no batch is lost
    /// half-way, and the connections close.
    pub async fn run<L: Link>(self, link: &L, clock: &Clock, out: mpsc::Sender<Batch>) {
        // A unit is in the prober's hands or in ours, so neither channel can hold more than all.
        let room = self.units.len().max(1);
        let (silences, silent) = mpsc::channel(room);
        let (answering, revived) = mpsc::channel(room);
        let wire = Mutex::new(());
        let with_points: BTreeSet<usize> = self.groups.iter().map(|group| group.unit).collect();
        let prober = Prober::new(
            link,
            self.timeout,
            with_points.len(),
            &wire,
            Arc::clone(&self.counters),
        );
        let poller = Poller {
            line: Line::new(link, self.timeout, &wire, Arc::clone(&self.counters)),
            bus: self,
            clock,
            out,
            silences,
            revived,
            link_is_down: false,
        };
        tokio::select! {
            Closed = poller.run() => {}
            () = prober.run(silent, answering) => {}
        }
    }
}

/// The half that polls the units that answer.
struct Poller<'a, L: Link> {
    bus: BusPoll,
    line: Line<'a, L>,
    clock: &'a Clock,
    out: mpsc::Sender<Batch>,
    silences: mpsc::Sender<Silence>,
    revived: mpsc::Receiver<usize>,
    link_is_down: bool,
}

impl<L: Link> Poller<'_, L> {
    async fn run(mut self) -> Closed {
        let start = monotonic();
        let (place, buses) = self.bus.phase;
        for group in &mut self.bus.groups {
            let span = group.grid.period.min(PHASE_MAX);
            group.grid.start(start + span * place / buses);
        }
        loop {
            let due = self.bus.earliest(monotonic());
            let Some((at, place)) = due else {
                self.out.closed().await;
                return Closed;
            };
            tokio::select! {
                biased;
                () = self.out.closed() => return Closed,
                Some(unit) = self.revived.recv() => self.revive(unit),
                () = sleep_until(at) => {
                    if let Err(closed) = self.poll(place).await {
                        return closed;
                    }
                }
            }
        }
    }

    fn revive(&mut self, unit: usize) {
        if let Some(unit) = self.bus.units.get_mut(unit) {
            unit.silent = None;
            unit.polled_since = None;
        }
    }

    /// Takes the slot of one group.
    async fn poll(&mut self, place: usize) -> Result<(), Closed> {
        let Some(group) = self.bus.groups.get_mut(place) else {
            return Ok(());
        };
        let index = group.unit;
        let (Some(unit), Some(counters)) = (
            self.bus.units.get_mut(index),
            self.bus.counters.units.get(index),
        ) else {
            return Ok(());
        };
        let missed = group.grid.begin(monotonic());
        if let Some(cause) = unit.silent {
            unit.log.repeat(monotonic());
            return self.remind(place, cause).await;
        }
        counters.missed.fetch_add(missed, Relaxed);
        unit.polled_since.get_or_insert_with(monotonic);

        let mut batch = Batch {
            unit: Arc::clone(&unit.id),
            sampled_at: self.clock.now(),
            readings: Vec::with_capacity(group.points()),
            unit_state: UnitState::Alive,
        };
        let ended = group
            .ask_all(
                unit.number,
                &mut self.line,
                self.clock,
                counters,
                &mut batch,
            )
            .await;
        unit.answered = ended.is_none();
        if !unit.answered {
            // What it said before it fell silent is kept, and is no sign of life.
            batch.unit_state = UnitState::Silent;
        }
        if !matches!(ended, Some(Ended::Down(_))) {
            self.link_is_down = false;
        }
        self.log(index, ended.as_ref());
        let after = batch.sampled_at;
        if !batch.readings.is_empty() {
            self.emit(batch).await?;
        }
        match ended {
            None => Ok(()),
            Some(Ended::Silent(request, failure)) => {
                self.demote(place, request, failure, after).await
            }
            Some(Ended::Down(_)) => self.link_down(place, after).await,
        }
    }

    /// Tells the log how a unit stands after a poll.
    fn log(&mut self, unit: usize, ended: Option<&Ended>) {
        let trouble = match ended {
            Some(Ended::Silent(_, failure) | Ended::Down(failure)) => Some(*failure),
            None => {
                let mut own = self.bus.groups.iter().filter(|group| group.unit == unit);
                own.find_map(|group| group.trouble)
            }
        };
        if let Some(unit) = self.bus.units.get_mut(unit) {
            unit.log.see(trouble, monotonic());
        }
    }

    /// A unit did not answer: its points are bad from now on, and the prober has it.
    async fn demote(
        &mut self,
        place: usize,
        request: usize,
        failure: Failure,
        after: Timestamp,
    ) -> Result<(), Closed> {
        let Some(group) = self.bus.groups.get(place) else {
            return Ok(());
        };
        let index = group.unit;
        let ask = group.asks.get(request);
        let (Some(ask), Some(unit)) = (ask, self.bus.units.get_mut(index)) else {
            return Ok(());
        };
        let polled = unit
            .polled_since
            .map_or(Duration::ZERO, |since| monotonic() - since);
        unit.silent = Some(failure.cause());
        let silence = Silence {
            unit: index,
            number: unit.number,
            request: ask.request().clone(),
            settled: polled >= self.bus.timeout * SILENT_FACTOR,
        };
        if let Some(counters) = self.bus.counters.units.get(index) {
            counters.silent.store(true, Relaxed);
        }
        self.silences.send(silence).await.map_err(|_| Closed)?;
        self.tell(index, failure.cause(), after).await
    }

    /// No connection can be made: every unit that was polled is bad, with that cause.
    async fn link_down(&mut self, place: usize, after: Timestamp) -> Result<(), Closed> {
        if self.link_is_down {
            return self.remind(place, BadCause::LinkDown).await;
        }
        self.link_is_down = true;
        for unit in 0..self.bus.units.len() {
            let polled = self.bus.units.get(unit).is_some_and(|u| u.silent.is_none());
            if polled {
                self.tell(unit, BadCause::LinkDown, after).await?;
            }
        }
        Ok(())
    }

    /// Bad readings for every point of a unit, stamped later than `after`: the readings of the
    /// poll that ended so must not look newer.
    async fn tell(&mut self, unit: usize, cause: BadCause, after: Timestamp) -> Result<(), Closed> {
        let told = Some((cause, monotonic()));
        let at = self.clock.now().max(after + Duration::from_millis(1));
        let mut readings = Vec::new();
        for group in &mut self.bus.groups {
            if group.unit == unit {
                group.told = told;
                group.fail(cause, at, &mut readings);
            }
        }
        self.emit_bad(unit, at, readings).await
    }

    /// Bad readings for one group, unless they were sent less than a heartbeat ago.
    async fn remind(&mut self, place: usize, cause: BadCause) -> Result<(), Closed> {
        let Some(group) = self.bus.groups.get_mut(place) else {
            return Ok(());
        };
        let heartbeat = group.grid.period.max(HEARTBEAT_MIN);
        let now = monotonic();
        match group.told {
            Some((told, at)) if told == cause && now < at + heartbeat => return Ok(()),
            _ => group.told = Some((cause, now)),
        }
        let at = self.clock.now();
        let mut readings = Vec::with_capacity(group.points());
        group.fail(cause, at, &mut readings);
        let unit = group.unit;
        self.emit_bad(unit, at, readings).await
    }

    async fn emit_bad(
        &mut self,
        unit: usize,
        sampled_at: Timestamp,
        readings: Vec<Reading>,
    ) -> Result<(), Closed> {
        match self.bus.units.get(unit) {
            Some(unit) if !readings.is_empty() => {
                let batch = Batch {
                    unit: Arc::clone(&unit.id),
                    sampled_at,
                    readings,
                    unit_state: UnitState::Silent,
                };
                self.emit(batch).await
            }
            _ => Ok(()),
        }
    }

    /// Hands a poll on, in batches of what one message may hold.
    async fn emit(&mut self, mut batch: Batch) -> Result<(), Closed> {
        self.bus.calibration.apply(&mut batch.readings);
        while batch.readings.len() > READINGS_MAX {
            let rest = batch.readings.split_off(READINGS_MAX);
            let readings = std::mem::replace(&mut batch.readings, rest);
            let unit = Arc::clone(&batch.unit);
            self.send(Batch {
                unit,
                readings,
                ..batch
            })
            .await?;
        }
        self.send(batch).await
    }

    /// Hands a batch on; waits for room, and counts that it had to.
    async fn send(&mut self, batch: Batch) -> Result<(), Closed> {
        match self.out.try_send(batch) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Closed),
            Err(TrySendError::Full(batch)) => {
                self.bus.counters.waits.fetch_add(1, Relaxed);
                self.out.send(batch).await.map_err(|_| Closed)
            }
        }
    }
}

#[cfg(test)]
mod tests;
