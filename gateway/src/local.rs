//! Local alarms: the engine of the centre over this gateway's own points.
//!
//! The edge annunciates alone when the network is gone, by the same rules as the centre. Here
//! nobody can acknowledge, so the rule is: while the centre is away the annunciator is on as long
//! as some alarm of priority 1 or 2 on a limit is active. When the centre is there it decides.
//!
//! What is decided here is never sent: the centre judges the same readings itself.

use std::collections::BTreeSet;

use davy_core::alarm::{AlarmDefinition, Condition, Effect, Engine, Input, Subject};
use davy_core::config::Config;
use davy_core::reading::{Lane, Reading, Timestamp};

/// Alarms up to this priority are annunciated: those that a person must answer at once.
const PRIORITY_MAX: u8 = 2;

/// The engine, and which of its alarms are active.
#[derive(Debug)]
pub struct LocalAlarms {
    engine: Engine,
    active: BTreeSet<String>,
    effects: Vec<Effect>,
}

impl LocalAlarms {
    /// The alarms of one gateway that are annunciated.
    pub fn new(config: &Config, gateway: &str) -> Self {
        let is_own = |alarm: &&AlarmDefinition| {
            let Subject::Point(point) = alarm.subject else {
                return false;
            };
            let point = config.points.get(point.index());
            matches!(alarm.condition, Condition::Limit(_))
                && u8::from(alarm.priority) <= PRIORITY_MAX
                && point.is_some_and(|point| point.gateway == gateway)
        };
        let alarms: Vec<_> = config.alarms.iter().filter(is_own).cloned().collect();
        Self {
            engine: Engine::new(&config.points, &alarms),
            active: BTreeSet::new(),
            effects: Vec::new(),
        }
    }

    /// Judges readings as measured.
    pub fn judge(&mut self, now: Timestamp, readings: &[Reading]) {
        let lane = Lane::Live;
        let input = Input::Readings { lane, readings };
        self.engine.apply(now, input, &mut self.effects);
        self.follow();
    }

    /// Time has passed: delays may have ended.
    pub fn tick(&mut self, now: Timestamp) {
        self.engine.apply(now, Input::Tick, &mut self.effects);
        self.follow();
    }

    /// Names of the alarms that are active now.
    pub fn active(&self) -> impl Iterator<Item = &str> {
        self.active.iter().map(String::as_str)
    }

    /// Whether the annunciator would be on if the centre were away.
    pub fn annunciates(&self) -> bool {
        !self.active.is_empty()
    }

    fn follow(&mut self) {
        for effect in self.effects.drain(..) {
            let Effect::Changed(change) = effect else {
                continue;
            };
            let axes = &change.axes;
            let is_hidden =
                axes.shelved_until.is_some() || axes.suppressed_by_design || axes.out_of_service;
            if axes.active && !is_hidden {
                self.active.insert(change.alarm);
            } else {
                self.active.remove(&change.alarm);
            }
        }
    }
}
