//! Asks silent units whether they answer again, within a budget of the bus's time.
//!
//! Probes have a connection of their own, made for each and closed after it: a dead unit's timeout
//! never breaks the connection that live units are polled over. A gateway to a serial line still
//! holds that line while it waits for the dead unit: a live unit asked meanwhile would time out
//! without fault. So a probe and a poll are never under way together, and there is a budget by the
//! time that probes really took: after each the prober rests 20 times as long (5 % of the bus's
//! time), for all silent units of the bus together. Where the live units lose slots by it, the rest
//! is doubled with every probe up to 160 times (0.6 %), and halved again when they lose none. So a
//! unit alone in its silence is asked every 10 s when the timeout is 500 ms, unless the bus is full.
//!
//! Units take turns. One that was well until now goes first, since a single lost frame is the
//! likely cause. A bus on which no unit answers has nobody to be kept from: the prober then rests
//! only as long as a probe took, so that the bus is back soon.
//!
//! Some devices accept a single connection. When the prober's own one is refused, the unit is
//! handed back to be tried over the polling connection, one such trial a rest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use davy_core::reading::BadCause;
use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep_until;

use crate::clock::monotonic;
use crate::modbus::{Link, Reader};
use crate::plan::Request;

use super::{BusCounters, UnitCounters};

/// Rest after a probe in multiples of what it took: least, and most.
pub(super) const SILENT_FACTOR: u32 = 20;
const SILENT_FACTOR_MAX: u32 = 160;

/// A unit that fell silent.
pub(super) struct Silence {
    /// Its place on the bus.
    pub(super) unit: usize,
    pub(super) number: u8,
    /// What it did not answer.
    pub(super) request: Request,
    /// Whether it had been polled for some time, and did not just come back.
    pub(super) settled: bool,
}

pub(super) struct Prober<'a, L: Link> {
    link: &'a L,
    timeout: Duration,
    /// How many units of the bus have points.
    units: usize,
    /// Held while a request is under way.
    wire: &'a Mutex<()>,
    counters: Arc<BusCounters>,
    waiting: VecDeque<Silence>,
    factor: u32,
    /// Slots that live units had lost when the last probe began.
    lost: u64,
}

impl<'a, L: Link> Prober<'a, L> {
    pub(super) fn new(
        link: &'a L,
        timeout: Duration,
        units: usize,
        wire: &'a Mutex<()>,
        counters: Arc<BusCounters>,
    ) -> Self {
        Self {
            link,
            timeout,
            units,
            wire,
            counters,
            waiting: VecDeque::new(),
            factor: SILENT_FACTOR,
            lost: 0,
        }
    }

    /// Takes silent units and gives back those that may be polled again. Ends with the poller.
    pub(super) async fn run(
        mut self,
        mut silent: mpsc::Receiver<Silence>,
        answering: mpsc::Sender<usize>,
    ) {
        let mut rest_until = monotonic();
        loop {
            tokio::select! {
                biased;
                silence = silent.recv() => match silence {
                    Some(silence) if silence.settled => {
                        rest_until = rest_until.min(monotonic() + self.timeout * SILENT_FACTOR);
                        self.waiting.push_front(silence);
                    }
                    Some(silence) => {
                        self.waiting.push_back(silence);
                        // The timeout that it cost the poller counts like a probe's: a unit that
                        // answers probes and nothing else stays within the budget too.
                        if self.waiting.len() < self.units {
                            let rest = self.timeout * self.factor;
                            rest_until = rest_until.max(monotonic() + rest);
                        }
                    }
                    None => return,
                },
                () = sleep_until(rest_until), if !self.waiting.is_empty() => {
                    self.weigh();
                    let alone = self.waiting.len() >= self.units;
                    let begun = monotonic();
                    let probed = self.probe().await;
                    let took = monotonic() - begun;
                    self.counters
                        .probing_ms
                        .fetch_add(took.as_millis() as u64, Relaxed);
                    let cost = match probed {
                        Probed::Trial(_) => self.timeout,
                        Probed::Silent => took.max(self.timeout / SILENT_FACTOR),
                        Probed::Answers(_) => took,
                    };
                    let rest = if alone { cost } else { cost * self.factor };
                    rest_until = monotonic() + rest;
                    if let Probed::Answers(unit) | Probed::Trial(unit) = probed
                        && answering.send(unit).await.is_err()
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Rests longer when the last probe cost live units a slot.
    fn weigh(&mut self) {
        let live = self.counters.units.iter();
        let live = live.filter(|unit| !unit.silent.load(Relaxed));
        let before = std::mem::replace(&mut self.lost, live.map(UnitCounters::lost).sum());
        self.factor = if self.lost > before {
            (self.factor * 2).min(SILENT_FACTOR_MAX)
        } else {
            (self.factor / 2).max(SILENT_FACTOR)
        };
    }

    /// Asks the unit whose turn it is.
    async fn probe(&mut self) -> Probed {
        let Some(silence) = self.waiting.pop_front() else {
            return Probed::Silent;
        };
        let request = &silence.request;
        self.counters.probes.fetch_add(1, Relaxed);
        let result = match Reader::connect(self.link, self.timeout).await {
            Ok(mut reader) => {
                let _held = self.wire.lock().await;
                reader
                    .read(silence.number, request.table, request.first, request.count)
                    .await
            }
            Err(failure) => Err(failure),
        };
        match result {
            Err(failure) if failure.is_silence() => {
                self.waiting.push_back(silence);
                Probed::Silent
            }
            Err(failure) if failure.cause() == BadCause::LinkDown => Probed::Trial(silence.unit),
            Ok(_) | Err(_) => Probed::Answers(silence.unit),
        }
    }
}

/// What a probe showed.
enum Probed {
    /// Nothing; the unit stays with the prober.
    Silent,
    /// The unit answers again.
    Answers(usize),
    /// There was no connection for the probe: the poller tries the unit itself, which may cost it
    /// one timeout.
    Trial(usize),
}
