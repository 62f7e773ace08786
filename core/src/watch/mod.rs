//! Everything that the centre decides, put together: inputs in, effects out.
//!
//! [`Watch::apply`] is the one door. What comes in (a start, a configuration, a message of a
//! gateway, a command, the passing of time) is journaled as it is given here, with the `now` that it
//! was judged at; what it answers is journaled beside it. The same inputs give the same effects,
//! bit for bit, so the journal can be replayed.
//!
//! Inside, one thing feeds the next and never the reverse: messages → links → engine → warnings
//! and ledger.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::{self, AlarmChange, Engine, Refusal, Subject, SystemCondition};
use crate::config::{self, Config, Fault, SourceFile};
use crate::delivery::MessageNumber;
use crate::gateways::{Directory, Gateways, LinkChange, Taken};
use crate::hazard::{HazardChange, HazardCommand, Ledger, Refused};
use crate::reading::Timestamp;
use crate::warning::{Warning, WarningChange};

mod colour;
mod concerns;
mod follow;
mod ledger;
mod snapshot;

#[cfg(test)]
mod tests;

pub use concerns::Concerns;
pub use snapshot::{RestoreError, SNAPSHOT_VERSION};

/// A centre that has not looked for so long, in milliseconds, stood still: [`Input::StoodStill`].
/// It looks once a second; a point is in loss of view after 30 s at the soonest (Davy's own figure).
pub const STOOD_STILL_MIN_MS: i64 = 10_000;

/// What comes in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "input")]
pub enum Input {
    /// The centre has started.
    Started {
        /// Version of the program.
        version: String,
    },
    /// The centre stood still and goes on: it saw nothing since a moment.
    StoodStill {
        /// When it last looked.
        since: Timestamp,
    },
    /// The centre has, or no longer has, a connection to its broker.
    Broker {
        /// Whether it has.
        connected: bool,
    },
    /// A person has accepted that this program decides otherwise than the journal says: what it has
    /// worked out is the state from here on.
    ReplayAccepted {
        /// The first entry that differs.
        first: u64,
        /// How many differ.
        entries: u64,
        /// Occurrences of alarms have been numbered up to this.
        occurrence: u64,
        /// Entries of the ledger have been numbered up to this.
        hazard: u64,
    },
    /// A configuration is to be in force.
    Config {
        /// Its files, as read.
        files: Vec<SourceFile>,
        /// Who brought it in.
        by: String,
    },
    /// A message of MQTT, as received.
    Message {
        /// Its topic.
        topic: String,
        /// Its payload.
        #[serde(skip)]
        payload: Vec<u8>,
    },
    /// A message that crashed the process before: kept with its bytes, judged by nobody.
    Quarantined {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Vec<u8>,
        /// The number that its gateway gave it, where that could be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<MessageNumber>,
    },
    /// An operator's command on an alarm.
    Alarm(alarm::Command),
    /// A step on an entry of the ledger.
    Hazard(HazardCommand),
    /// Something about the centre itself began or ended.
    Centre {
        /// What.
        condition: SystemCondition,
        /// Whether it holds now.
        active: bool,
        /// In words, for whoever reads the journal.
        why: String,
    },
    /// Time has passed.
    Tick,
}

/// What followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Effect {
    /// An alarm has changed.
    Alarm(AlarmChange),
    /// A command on an alarm was refused.
    AlarmRefused {
        /// The occurrence that it named.
        occurrence: u64,
        /// Why.
        why: Refusal,
    },
    /// The colour of a source has changed.
    Warning(WarningChange),
    /// An entry of the ledger has changed.
    Hazard(HazardChange),
    /// A step on an entry was refused.
    HazardRefused {
        /// The entry that it named.
        hazard: u64,
        /// Which guard, and what would satisfy it.
        #[serde(flatten)]
        refused: Refused,
    },
    /// A gateway or unit has changed.
    Link(LinkChange),
    /// The centre stood still: nobody watched.
    StoodStill {
        /// From when.
        since: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// A configuration is in force.
    Configured {
        /// Points of it.
        points: u64,
        /// Alarms of it.
        alarms: u64,
    },
    /// A configuration was refused, all its faults at once. The one before stays in force.
    ConfigRefused {
        /// What is wrong with it.
        faults: Vec<Fault>,
    },
}

/// Everything that is decided at one centre.
#[derive(Debug)]
pub struct Watch {
    /// Inputs judged so far: the number of the last one's entry in the journal.
    number: u64,
    now: Timestamp,
    files: Vec<SourceFile>,
    config: Arc<Config>,
    directory: Directory,
    gateways: Gateways,
    engine: Engine,
    warnings: Vec<Warning>,
    ledger: Ledger,
    concerns: Arc<Concerns>,
    /// Sources whose facts have changed since they were judged.
    dirty: BTreeSet<usize>,
    /// When the colour of a source may change by time alone.
    colour_deadlines: BTreeSet<(Timestamp, usize)>,
    taken: Taken,
    told: Vec<alarm::Effect>,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Before any configuration: it watches nothing.
    pub fn new() -> Self {
        let config = Arc::new(Config::empty());
        Self {
            number: 0,
            now: Timestamp::MIN,
            files: Vec::new(),
            directory: Directory::default(),
            gateways: Gateways::default(),
            engine: Engine::new(&config.points, &config.alarms),
            warnings: Vec::new(),
            ledger: Ledger::default(),
            concerns: Arc::default(),
            dirty: BTreeSet::new(),
            colour_deadlines: BTreeSet::new(),
            taken: Taken::default(),
            told: Vec::new(),
            config,
        }
    }

    /// Judges one input at `now`, the centre's clock, and appends what followed to `effects`.
    ///
    /// It cannot fail: what cannot be used is counted and told, a refused command is an effect.
    /// `now` never goes back; an earlier one counts as the latest there was.
    pub fn apply(&mut self, now: Timestamp, input: &Input, effects: &mut Vec<Effect>) {
        let now = now.max(self.now);
        let before = std::mem::replace(&mut self.now, now);
        self.number += 1;
        match input {
            Input::Started { .. } => {
                if before != Timestamp::MIN {
                    self.stood_still(now, before, effects);
                }
                self.gateways.lose_sight();
                self.unsee_gateways(now, effects);
            }
            Input::StoodStill { since } => self.stood_still(now, *since, effects),
            Input::Broker { connected } => {
                let was_cut_off = self.engine.is_cut_off();
                self.own_fault(now, SystemCondition::CutOff, !connected);
                if !connected {
                    self.gateways.lose_sight();
                } else if was_cut_off {
                    self.unsee_gateways(now, effects);
                }
            }
            Input::ReplayAccepted {
                occurrence, hazard, ..
            } => {
                self.engine.number_after(*occurrence);
                self.ledger.number_after(*hazard);
            }
            Input::Config { files, .. } => self.configure(now, files, effects),
            Input::Message { topic, payload } => self.message(now, topic, payload, effects),
            Input::Quarantined { topic, number, .. } => {
                let mut taken = std::mem::take(&mut self.taken);
                let group = &self.config.group;
                self.gateways
                    .set_aside(now, topic, *number, group, &mut taken);
                self.taken(now, &mut taken, effects);
                self.taken = taken;
            }
            Input::Alarm(command) => {
                self.engine
                    .apply(now, alarm::Input::Command(command), &mut self.told);
            }
            Input::Hazard(command) => self.step(now, command, effects),
            Input::Centre {
                condition, active, ..
            } => {
                self.own_fault(now, *condition, *active);
            }
            Input::Tick => self.tick(now, effects),
        }
        // Whatever the input was: a watch that is restored here knows no moment before `now`.
        while let Some((at, source)) = self.colour_deadlines.first().copied()
            && at <= now
        {
            self.colour_deadlines.pop_first();
            self.dirty.insert(source);
        }
        self.follow(now, effects);
    }

    /// How many inputs have been judged: the number of the last one's entry in the journal.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When the last input was judged.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// When a [`Input::Tick`] is needed next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let colours = self.colour_deadlines.first().map(|(at, _)| *at);
        [
            self.engine.next_deadline(),
            self.gateways.next_deadline(),
            self.ledger.next_deadline(),
            colours,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a message has been taken before: it need not be judged or journaled again.
    pub fn has_seen(&self, topic: &str, payload: &[u8]) -> bool {
        self.gateways.has_seen(topic, payload)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Which alarms concern which source, by the configuration in force.
    pub fn concerns(&self) -> &Arc<Concerns> {
        &self.concerns
    }

    /// The files of the configuration in force.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Tag → point.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The alarms.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The gateways.
    pub fn gateways(&self) -> &Gateways {
        &self.gateways
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The warning of each source, in the order of the configuration.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Nobody watched from `since` until `now`. That is no fault of the points: one alarm says so.
    fn stood_still(&mut self, now: Timestamp, since: Timestamp, effects: &mut Vec<Effect>) {
        let input = alarm::Input::Blind { since };
        self.engine.apply(now, input, &mut self.told);
        let blind = now.ms_since(since);
        let blind_for = Duration::from_millis(u64::try_from(blind).unwrap_or(0));
        self.gateways.pass_over(now, blind_for);
        self.ledger.pass_over(now, blind_for);
        if blind < STOOD_STILL_MIN_MS {
            return;
        }
        effects.push(Effect::StoodStill { since, until: now });
        // It is over as soon as it is known; the off-delay holds the alarm up long enough to see.
        self.own_fault(now, SystemCondition::StoodStill, true);
        self.own_fault(now, SystemCondition::StoodStill, false);
    }

    /// Something about the centre itself began or ended.
    fn own_fault(&mut self, now: Timestamp, condition: SystemCondition, active: bool) {
        let input = alarm::Input::System {
            subject: &Subject::Centre,
            condition,
            active,
        };
        self.engine.apply(now, input, &mut self.told);
    }

    /// Who was there before may have gone meanwhile without a word.
    fn unsee_gateways(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut taken = std::mem::take(&mut self.taken);
        self.gateways.unsee(now, &mut taken);
        self.taken(now, &mut taken, effects);
        self.taken = taken;
    }

    fn configure(&mut self, now: Timestamp, files: &[SourceFile], effects: &mut Vec<Effect>) {
        let config = match config::check(files) {
            Ok(config) => config,
            Err(faults) => {
                effects.push(Effect::ConfigRefused { faults });
                return;
            }
        };
        let before = Arc::clone(&self.config);
        let known_before = std::mem::take(&mut self.concerns);
        self.adopt(files, config);
        let (points, alarms) = (self.config.points.len(), self.config.alarms.len());
        self.engine.reconfigure(
            now,
            &self.config.points,
            &self.config.alarms,
            &mut self.told,
        );
        self.warnings = (self.config.sources.iter())
            .map(|source| {
                let known = before.sources.iter().position(|old| old.id == source.id);
                known
                    .and_then(|place| self.warnings.get(place).cloned())
                    .unwrap_or_default()
            })
            .collect();
        self.gateways.configure(now, &self.config, &self.directory);
        for gateway in &self.config.gateways {
            if self
                .gateways
                .get(&gateway.id)
                .is_some_and(|link| !link.online)
            {
                let unseen = alarm::Input::System {
                    subject: &Subject::Gateway(gateway.id.clone()),
                    condition: SystemCondition::LossOfView,
                    active: true,
                };
                self.engine.apply(now, unseen, &mut self.told);
            }
        }
        self.colour_deadlines.clear();
        self.dirty.extend(0..self.config.sources.len());
        effects.push(Effect::Configured {
            points: points as u64,
            alarms: alarms as u64,
        });
        self.follow(now, effects);
        let concerns = &self.concerns;
        self.ledger.configured(
            now,
            |alarm| known_before.find(alarm).is_some(),
            |alarm| concerns.find(alarm).is_some(),
        );
    }

    /// Takes over a configuration, and works out what follows from it alone.
    fn adopt(&mut self, files: &[SourceFile], config: Config) {
        self.files = files.to_vec();
        self.directory = Directory::new(&config);
        self.concerns = Arc::new(Concerns::new(&config));
        self.config = Arc::new(config);
    }

    fn message(&mut self, now: Timestamp, topic: &str, payload: &[u8], effects: &mut Vec<Effect>) {
        let mut taken = std::mem::take(&mut self.taken);
        self.gateways.take(
            now,
            topic,
            payload,
            &self.config,
            &self.directory,
            &mut taken,
        );
        let before = self.engine.counters().untimely;
        self.taken(now, &mut taken, effects);
        self.taken = taken;
        if let Some(found) = self.engine.counters().untimely.since(before) {
            self.gateways.count_untimely(topic, found);
        }
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut taken = std::mem::take(&mut self.taken);
        self.gateways.tick(now, &mut taken);
        self.taken(now, &mut taken, effects);
        self.taken = taken;
        self.engine.apply(now, alarm::Input::Tick, &mut self.told);
        self.tick_ledger(now, effects);
    }

    /// Hands what a message said on to the engine.
    fn taken(&mut self, now: Timestamp, taken: &mut Taken, effects: &mut Vec<Effect>) {
        effects.extend(taken.changes.drain(..).map(Effect::Link));
        for (subject, condition, active) in taken.system.drain(..) {
            let input = alarm::Input::System {
                subject: &subject,
                condition,
                active,
            };
            self.engine.apply(now, input, &mut self.told);
        }
        let turn = taken.turn;
        for (lane, readings) in taken.lanes() {
            if !readings.is_empty() {
                let input = alarm::Input::Readings {
                    lane,
                    turn,
                    readings,
                };
                self.engine.apply(now, input, &mut self.told);
            }
        }
        if let Some(gateway) = &taken.history_ends {
            let input = alarm::Input::HistoryEnds { gateway };
            self.engine.apply(now, input, &mut self.told);
        }
        taken.clear();
    }
}
