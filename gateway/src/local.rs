//! Local alarms: the engine of the centre over this gateway's own points.
//!
//! The edge annunciates alone when the network is gone, by the same rules as the centre: limits,
//! and the loss of view of a point or a unit, each by the priority that the configuration gives
//! it. Here nobody can acknowledge, so the rule is: while the centre is away the annunciator is on
//! as long as such an alarm is active. When the centre is there it decides.
//!
//! A loss of view that the centre has had before its eyes for [`KNOWN_AFTER`] is known to those who
//! answer alarms, and going away tells them nothing new: a unit that is out for repair would sound
//! at each fault of the network until somebody pulled the siren's plug. It sounds no more until it
//! has ended and comes again. A limit that is reached sounds whoever knew of it: it is the danger
//! itself.
//!
//! What is decided here is never sent: the centre judges the same readings itself.
//!
//! Limits: which alarms were acknowledged at the centre is not known here, and what was known is
//! forgotten with a restart of the gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use davy_core::alarm::{
    AlarmDefinition, Condition, Effect, Engine, Input, Subject, SystemCondition, Turn,
};
use davy_core::config::Config;
use davy_core::reading::{Lane, Reading, Timestamp};
use davy_core::watch::STOOD_STILL_MIN_MS;

use crate::poll::UnitState;

/// Alarms up to this priority are annunciated: those that a person must answer at once.
const PRIORITY_MAX: u8 = 2;

/// A centre that was there for so long has seen an alarm. Ours: far above the 10 s after which a
/// centre that commits nothing, or a broker that does not answer, counts as away.
pub const KNOWN_AFTER: Duration = Duration::from_mins(1);

/// The engine, and which of its alarms are active.
#[derive(Debug)]
pub struct LocalAlarms {
    engine: Engine,
    gateway: String,
    /// Names of those that are about a loss of view.
    views: BTreeSet<String>,
    active: BTreeMap<String, Known>,
    effects: Vec<Effect>,
    /// The time of the last input; none before the first.
    last: Option<Timestamp>,
    /// Grows whenever what sounds may be other alarms than before.
    version: u64,
}

/// What the centre knows of an active alarm.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// That does not matter: a limit.
    Whatever,
    /// Since when the centre has been there beside it; none while it is away.
    Since(Option<Duration>),
    /// It has seen it.
    Seen,
}

impl LocalAlarms {
    /// The alarms of one gateway that are annunciated.
    pub fn new(config: &Config, gateway: &str) -> Self {
        let is_own = |alarm: &&AlarmDefinition| {
            let own = match &alarm.subject {
                Subject::Point(point) => config
                    .points
                    .get(point.index())
                    .is_some_and(|point| point.gateway == gateway),
                Subject::Unit(of, _) => of == gateway,
                Subject::Gateway(_) | Subject::Centre => false,
            };
            let is_seen_here = matches!(
                alarm.condition,
                Condition::Limit(_) | Condition::System(SystemCondition::LossOfView)
            );
            own && is_seen_here && u8::from(alarm.priority) <= PRIORITY_MAX
        };
        let alarms: Vec<_> = config.alarms.iter().filter(is_own).cloned().collect();
        let views = alarms.iter().filter(|alarm| {
            matches!(
                alarm.condition,
                Condition::System(SystemCondition::LossOfView)
            )
        });
        Self {
            engine: Engine::new(&config.points, &alarms),
            gateway: gateway.to_owned(),
            views: views.map(|alarm| alarm.name.clone()).collect(),
            active: BTreeMap::new(),
            effects: Vec::new(),
            last: None,
            version: 0,
        }
    }

    /// Judges readings of one unit as measured, and how the unit stands after them.
    pub fn judge(&mut self, now: Timestamp, unit: &str, state: UnitState, readings: &[Reading]) {
        let subject = Subject::Unit(self.gateway.clone(), unit.to_owned());
        let told = |active| Input::System {
            subject: &subject,
            condition: SystemCondition::LossOfView,
            active,
        };
        // One process reads them all, one after the other.
        let (lane, turn) = (Lane::Live, Turn::Next);
        // In the order in which the centre hears of it: birth, data, death.
        if state == UnitState::Alive {
            self.apply(now, told(false));
        }
        self.apply(
            now,
            Input::Readings {
                lane,
                turn,
                readings,
            },
        );
        if state == UnitState::Silent {
            self.apply(now, told(true));
        }
    }

    /// Time has passed: delays may have ended.
    pub fn tick(&mut self, now: Timestamp) {
        self.apply(now, Input::Tick);
    }

    /// The centre is there, or is not; `elapsed` is the monotonic time since the gateway's start.
    pub fn centre_is_there(&mut self, there: bool, elapsed: Duration) {
        for known in self.active.values_mut() {
            let Known::Since(since) = *known else {
                continue;
            };
            *known = match since {
                _ if !there => Known::Since(None),
                Some(since) if elapsed.saturating_sub(since) >= KNOWN_AFTER => {
                    self.version += 1;
                    Known::Seen
                }
                since => Known::Since(since.or(Some(elapsed))),
            };
        }
    }

    /// Names of the alarms that sound while the centre is away.
    pub fn sounding(&self) -> impl Iterator<Item = &str> {
        let unknown = self
            .active
            .iter()
            .filter(|(_, known)| !matches!(known, Known::Seen));
        unknown.map(|(name, _)| name.as_str())
    }

    /// Grows whenever [`LocalAlarms::sounding`] may be others than before.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn apply(&mut self, now: Timestamp, input: Input<'_>) {
        // The gateway stood still, or its clock was set: that is no silence of a point.
        if let Some(since) = self.last.replace(now)
            && now.ms_since(since) >= STOOD_STILL_MIN_MS
        {
            let blind = Input::Blind { since };
            self.engine.apply(now, blind, &mut self.effects);
        }
        self.engine.apply(now, input, &mut self.effects);
        for effect in self.effects.drain(..) {
            let Effect::Changed(change) = effect else {
                continue;
            };
            let axes = &change.axes;
            let is_hidden =
                axes.shelved_until.is_some() || axes.suppressed_by_design || axes.out_of_service;
            let is_active = axes.active && !is_hidden;
            if is_active == self.active.contains_key(&change.alarm) {
                continue;
            }
            self.version += 1;
            if is_active {
                let known = if self.views.contains(&change.alarm) {
                    Known::Since(None)
                } else {
                    Known::Whatever
                };
                self.active.insert(change.alarm, known);
            } else {
                self.active.remove(&change.alarm);
            }
        }
    }
}

#[cfg(test)]
mod tests;
