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
//! A restart is no recovery either. What is active, and of what the centre knows, is kept
//! ([`LocalAlarms::kept`]) and goes on where it was: an alarm between its reset and its limit stays,
//! and one whose point is not seen does too. And that nothing is active says nothing before each
//! point was looked at ([`LocalAlarms::knows`]).
//!
//! Limits: which alarms were acknowledged at the centre is not known here. Delays that ran when the
//! gateway ended begin anew, but for those of an active alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use davy_core::alarm::{
    AlarmDefinition, Condition, Effect, Engine, Input, Snapshot, Subject, SystemCondition, Turn,
};
use davy_core::config::Config;
use davy_core::reading::{Lane, PointId, Quality, Reading, Timestamp, UncertainCause};
use davy_core::watch::STOOD_STILL_MIN_MS;
use serde::{Deserialize, Serialize};

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
    /// Points of which nothing is known since the start.
    unjudged: BTreeSet<PointId>,
    /// The points of each alarm that is judged here.
    points_of: BTreeMap<String, Vec<PointId>>,
}

/// What a restart goes on from.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// When it was kept.
    at: Timestamp,
    engine: Snapshot,
    /// Active alarms that the centre has seen.
    seen: BTreeSet<String>,
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
    /// The alarms of one gateway: limits that are annunciated, and loss of view.
    pub fn new(config: &Config, gateway: &str) -> Self {
        let alarms = judged(config, gateway);
        Self::of(
            config,
            gateway,
            &alarms,
            Engine::new(&config.points, &alarms),
        )
    }

    /// The same, going on from what an earlier one has [kept](LocalAlarms::kept). What has left the
    /// configuration since is forgotten.
    ///
    /// # Errors
    ///
    /// The text is none that this program has written.
    pub fn resume(config: &Config, gateway: &str, kept: &str) -> serde_json::Result<Self> {
        let kept: Kept = serde_json::from_str(kept)?;
        let alarms = judged(config, gateway);
        let engine = Engine::restore(&config.points, &alarms, &kept.engine);
        let mut local = Self::of(config, gateway, &alarms, engine);
        local.last = Some(kept.at);
        let active = local.engine.alarms().filter(|alarm| alarm.axes.active);
        let active: Vec<_> = active.map(|it| (it.name.to_owned(), it.priority)).collect();
        for (name, priority) in active {
            local.raised(&name, u8::from(priority));
            if let Some(known) = local.active.get_mut(&name)
                && kept.seen.contains(&name)
            {
                *known = Known::Seen;
            }
        }
        Ok(local)
    }

    fn of(config: &Config, gateway: &str, alarms: &[AlarmDefinition], engine: Engine) -> Self {
        let points_of: BTreeMap<_, _> = alarms
            .iter()
            .map(|alarm| (alarm.name.clone(), points_of(config, &alarm.subject)))
            .collect();
        let annunciated = alarms
            .iter()
            .filter(|it| u8::from(it.priority) <= PRIORITY_MAX);
        let unjudged = annunciated.filter_map(|alarm| points_of.get(&alarm.name));
        let views = alarms.iter().filter(|alarm| {
            matches!(
                alarm.condition,
                Condition::System(SystemCondition::LossOfView)
            )
        });
        Self {
            engine,
            gateway: gateway.to_owned(),
            views: views.map(|alarm| alarm.name.clone()).collect(),
            active: BTreeMap::new(),
            effects: Vec::new(),
            last: None,
            version: 0,
            unjudged: unjudged.flatten().copied().collect(),
            points_of,
        }
    }

    /// What a restart goes on from, as a text; to be kept whenever [`LocalAlarms::version`] has grown.
    ///
    /// # Errors
    ///
    /// None that is known: all of it can be written.
    pub fn kept(&self) -> serde_json::Result<String> {
        let seen = self.active.iter();
        let seen = seen.filter(|(_, known)| matches!(known, Known::Seen));
        serde_json::to_string(&Kept {
            at: self.last.unwrap_or_default(),
            engine: self.engine.snapshot_of_active(),
            seen: seen.map(|(name, _)| name.clone()).collect(),
        })
    }

    /// Whether it is known of each point that is annunciated for how it stands: a reading of it came
    /// that tells, or it is in loss of view. Before that nobody knows that all is quiet.
    pub fn knows(&self) -> bool {
        self.unjudged.is_empty()
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
        if !self.unjudged.is_empty() {
            for reading in readings.iter().filter(|reading| tells(reading.quality)) {
                self.unjudged.remove(&reading.point);
            }
        }
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
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
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
            if is_active {
                self.raised(&change.alarm, u8::from(change.priority));
            } else {
                self.active.remove(&change.alarm);
                self.version += 1;
            }
        }
        self.effects = effects;
    }

    /// An alarm is active from now on.
    fn raised(&mut self, alarm: &str, priority: u8) {
        for point in self.points_of.get(alarm).into_iter().flatten() {
            self.unjudged.remove(point);
        }
        if priority > PRIORITY_MAX {
            return;
        }
        let known = if self.views.contains(alarm) {
            Known::Since(None)
        } else {
            Known::Whatever
        };
        self.active.insert(alarm.to_owned(), known);
        self.version += 1;
    }
}

/// The alarms of a gateway that are judged here. A loss of view that is not annunciated is judged as
/// well: it ends the waiting for a reading.
fn judged(config: &Config, gateway: &str) -> Vec<AlarmDefinition> {
    let is_own = |alarm: &&AlarmDefinition| {
        let own = match &alarm.subject {
            Subject::Point(point) => config
                .points
                .get(point.index())
                .is_some_and(|point| point.gateway == gateway),
            Subject::Unit(of, _) => of == gateway,
            Subject::Gateway(_) | Subject::Centre => false,
        };
        own && match alarm.condition {
            Condition::Limit(_) => u8::from(alarm.priority) <= PRIORITY_MAX,
            Condition::System(condition) => condition == SystemCondition::LossOfView,
        }
    };
    config.alarms.iter().filter(is_own).cloned().collect()
}

/// The points that an alarm is about.
fn points_of(config: &Config, subject: &Subject) -> Vec<PointId> {
    match subject {
        Subject::Point(point) => vec![*point],
        Subject::Unit(gateway, unit) => (0..)
            .map(PointId)
            .zip(&config.points)
            .filter(|(_, point)| point.gateway == *gateway && point.device == *unit)
            .map(|(id, _)| id)
            .collect(),
        Subject::Gateway(_) | Subject::Centre => Vec::new(),
    }
}

/// Whether a reading of this quality says how its point stands. One beyond its range that counts for
/// a limit raises that.
fn tells(quality: Quality) -> bool {
    quality.is_good() || quality == Quality::Uncertain(UncertainCause::Calibration)
}

#[cfg(test)]
mod tests;
