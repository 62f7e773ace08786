//! Plants and faults to try all this on: physics, instruments, Modbus units that misbehave.
//!
//! ```text
//! story, commands ─► plant (tank farm, reactor, mine) ─► instrument ─► unit memory ─► Modbus TCP
//!                    pure, in steps, from a seed         NE 43, types                 frame faults
//! ```
//!
//! All but [`Simulator::serve`] and [`run`] is pure: the clock is passed in, and the same seed,
//! story, commands and times give the same bytes. In normal operation nothing crosses a limit of
//! the demo; whatever alarms was put in by a [`Fault`] or a [`Story`].
//!
//! Points are matched to the models by tag (`TF.CL2-GD03`, `R101.TI-01`, `M1501.T1.ch4`), after a
//! prefix `P2.` and so on that tells plants apart. A tag that no model knows shows a quiet value.
//!
//! **Calibration.** A detector has a discrete input `<tag>.cal` (kind `calibration`) beside it,
//! 1 while test gas is at the detector. The gateway is meant to mark readings of `<tag>`
//! `Uncertain(Calibration)` while `<tag>.cal` is 1, so that they are kept and sent, never alarmed.
//!
//! Limits: Modbus TCP only; a bus answers one request at a time on each connection, as a serial
//! line behind a converter would.

/// What can go wrong, and with what.
mod fault;

/// Faults by a line of text.
mod order;

/// Timelines of faults.
mod story;

/// Repeatable chance.
mod noise;

/// Wind and weather.
mod weather;

/// Leaks and where their gas goes.
mod plume;

/// Chlorine and ammonia tanks with their detectors.
mod tank_farm;

/// The reactor.
mod reactor;

/// The longwall face and the heading.
mod mine;

/// The three together.
mod plant;

/// Value to signal to registers.
mod instrument;

/// The memory of a unit.
mod image;

/// All plants, faults and units at one time.
mod world;

/// Modbus TCP frames, sound and spoilt.
mod frame;

/// Listeners and connections.
mod server;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use davy_core::config::{Config, Gateway};

pub use fault::{Fault, Target};
pub use order::{HELP as ORDERS, Order, OrderError, parse as parse_order};
pub use server::run;
pub use story::{Action, Story};

use frame::Coils;
use world::World;

/// Seconds since the start. The shell passes a real clock, tests pass one that they move.
pub type Clock = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Unit number of the annunciator on every listener, unless the gateway's configuration gives it
/// another one.
pub const ANNUNCIATOR_UNIT: u8 = 250;

/// Why the simulator could not do something.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The fault is of the link and the target is a point, or the like.
    #[error("fault {fault:?} on {target}: it cannot happen to that")]
    FaultDoesNotSuit {
        /// The fault.
        fault: Fault,
        /// Its target.
        target: Target,
    },
    /// There is no such unit, point or equipment.
    #[error("{target}: there is none of that name")]
    UnknownTarget {
        /// The target.
        target: Target,
    },
    /// Too many faults at a time.
    #[error("faults: found one more than {allowed} at a time; allowed: {allowed}")]
    TooManyFaults {
        /// How many are allowed.
        allowed: usize,
    },
    /// The configuration has no such bus.
    #[error("gateway `{gateway}`: found no bus `{bus}`")]
    UnknownBus {
        /// Id of the gateway.
        gateway: String,
        /// Name of the bus.
        bus: String,
    },
    /// The listener could not be opened.
    #[error("listen on `{address}`: {why}")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        why: std::io::Error,
    },
}

/// Plants behind the Modbus units of a configuration, and the faults that they have.
pub struct Simulator {
    gateways: Vec<Gateway>,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    world: World,
    /// The annunciator's coils of each gateway.
    coils: HashMap<String, Coils>,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("gateways", &self.gateways.len())
            .field("time", &self.state().world.time())
            .finish_non_exhaustive()
    }
}

impl Simulator {
    /// The plants of a checked configuration at time 0, which is when `clock` says 0.
    pub fn new(config: &Config, seed: u64, story: Story, clock: Clock) -> Self {
        Self {
            gateways: config.gateways.clone(),
            clock,
            state: Mutex::new(State {
                world: World::new(config, seed, story),
                coils: HashMap::new(),
            }),
        }
    }

    /// A fault begins now, and lasts until cleared.
    pub fn inject(&self, target: &Target, fault: &Fault) -> Result<(), SimulatorError> {
        self.state_now().world.inject(target, fault)
    }

    /// Every fault of the target ends now; gas that is in the air goes with the wind.
    pub fn clear(&self, target: &Target) {
        self.state_now().world.clear(target);
    }

    /// What a point reads now, in its unit, as its instrument measures it (calibration gas and a
    /// stuck value included, its wire and unit not); none for a tag that is not there.
    pub fn reading(&self, tag: &str) -> Option<f64> {
        self.state_now().world.reading(tag)
    }

    /// Whether the annunciator of a gateway is switched on at a coil (0–15).
    pub fn annunciates(&self, gateway: &str, coil: u16) -> bool {
        let state = self.state();
        let coils = state.coils.get(gateway);
        coils
            .and_then(|coils| coils.get(usize::from(coil)).copied())
            .unwrap_or(false)
    }

    /// The state as it was last left. A panic elsewhere leaves it whole: no step is half done
    /// that the next one would not do again.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, brought up to the clock.
    fn state_now(&self) -> MutexGuard<'_, State> {
        let now = (self.clock)();
        let mut state = self.state();
        state.world.advance_to(now);
        state
    }
}
