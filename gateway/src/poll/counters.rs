//! What is counted while a bus is polled; read by the status page and the metrics.
//!
//! Each number only grows and is read while it grows; none of them steers anything.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use davy_core::config::Bus;

use crate::modbus::Failure;

/// Of one bus.
#[derive(Debug, Default)]
pub struct BusCounters {
    /// The bus's name.
    pub name: String,
    /// Connections made for polling; all but the first are reconnects.
    pub connects: AtomicU64,
    /// Connections that could not be made.
    pub connect_failures: AtomicU64,
    /// Requests sent to silent units.
    pub probes: AtomicU64,
    /// Milliseconds spent on them.
    pub probing_ms: AtomicU64,
    /// Batches that had to wait for room at the consumer.
    pub waits: AtomicU64,
    /// Of each unit, in the order of the configuration.
    pub units: Vec<UnitCounters>,
}

/// Of one unit.
#[derive(Debug, Default)]
pub struct UnitCounters {
    /// The unit's id.
    pub unit: String,
    /// Groups polled, whatever came of it.
    pub polls: AtomicU64,
    /// Of those, answered before the next slot of the group.
    pub on_time: AtomicU64,
    /// Slots that passed unused while the unit was not silent.
    pub missed: AtomicU64,
    /// Requests without an answer in time (or so says the gateway before the unit).
    pub timeouts: AtomicU64,
    /// Requests answered with an exception.
    pub exceptions: AtomicU64,
    /// Requests answered with something that is no valid reply.
    pub garbled: AtomicU64,
    /// Requests during which the connection was closed.
    pub closed: AtomicU64,
    /// Whether it is silent now.
    pub silent: AtomicBool,
}

impl BusCounters {
    pub(super) fn new(bus: &Bus) -> Self {
        let units = bus.units.iter().map(|unit| UnitCounters {
            unit: unit.id.clone(),
            ..UnitCounters::default()
        });
        Self {
            name: bus.name.clone(),
            units: units.collect(),
            ..Self::default()
        }
    }
}

impl UnitCounters {
    /// Slots that passed unused, or were answered too late.
    pub(super) fn lost(&self) -> u64 {
        let late = self
            .polls
            .load(Relaxed)
            .saturating_sub(self.on_time.load(Relaxed));
        late + self.missed.load(Relaxed)
    }

    pub(super) fn count(&self, failure: Failure) {
        let counter = match failure {
            Failure::Exception(_) if !failure.is_silence() => &self.exceptions,
            Failure::Exception(_) | Failure::NoAnswer => &self.timeouts,
            Failure::Garbled | Failure::Misaddressed => &self.garbled,
            Failure::LinkDown | Failure::Unreachable(_) => &self.closed,
        };
        counter.fetch_add(1, Relaxed);
    }
}
