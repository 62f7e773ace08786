//! What the births of a gateway declared, and its data read by them.
//!
//! Everything that turns a message into readings is here, and nothing else: who follows the
//! journal reads it again with a [`Reader`], without minding which messages have come.
//!
//! Invariants: aliases of a Davy gateway hold for good; those of a node that does not number its
//! messages hold from its birth to its death, its next birth, or until the centre loses sight of it,
//! whichever comes first. What births were asked for and did not explain is not asked for again.
//! A value that a node calls good and that lies outside its point's range is uncertain here: the
//! configuration decides, not the node.
//!
//! Limits: [`ALIASES_MAX`] aliases of one gateway, [`READINGS_MAX`] readings of one message.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::alias::{Aliases, Meant};
use super::said::Said;
use super::{Directory, LinkEvent, Site, Taken, sender};
use crate::config::Config;
use crate::point::Point;
use crate::reading::{BadCause, PointId, READINGS_MAX, Reading, Timestamp};
use crate::sparkplug::{Birth, DataType, Metric, Topic, Walk};

/// Aliases of one gateway that are remembered. A birth that goes beyond makes all others forgotten:
/// births are asked for again when data needs them.
pub const ALIASES_MAX: usize = 1 << 18;

/// Aliases for which births are waited for at once; others have their turn after them.
const ASKED_MAX: usize = 1_024;

/// Names of a birth that are listed; more are only counted.
const LISTED_MAX: usize = 10;

/// What the births of one gateway declared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Declared {
    bd_seq: Option<u64>,
    born: BTreeMap<u64, Born>,
    /// Aliases that hold for a while only, by unit; those of the node itself under no name.
    passing: BTreeMap<String, BTreeSet<u64>>,
    /// Aliases that stand for nothing here: declared for a tag that is no point of this gateway,
    /// or not declared by the births that were asked for.
    strange: BTreeSet<u64>,
    /// Aliases that births were asked for, and whether some have come since.
    asked: BTreeMap<u64, bool>,
    /// Sparkplug's `seq` of the last message, of a node that does not number its messages.
    seq: Option<u8>,
    /// Worked out from `born` and the configuration.
    #[serde(skip)]
    aliases: Aliases,
}

/// What a birth said of an alias.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Born {
    tag: String,
    datatype: u32,
}

/// What of a message could not be read by the births so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unread {
    /// Metrics that stand for no point of this gateway.
    pub(super) unknown: u64,
    /// Births may explain some of them.
    pub(super) births_help: bool,
    /// Aliases that births have not explained; told once, the first few.
    pub(super) unexplained: Vec<u64>,
    /// Messages that were skipped by `seq` before this one.
    pub(super) skipped: u8,
}

impl Declared {
    /// How many aliases are remembered.
    pub(super) fn len(&self) -> usize {
        self.born.len()
    }

    /// Whether a death ends the present birth, and not one that was replaced.
    pub(super) fn is_ended_by(&self, bd_seq: u64) -> bool {
        self.bd_seq == Some(bd_seq)
    }

    /// Works out which point each alias stands for in a configuration.
    pub(super) fn resolve(&mut self, site: Site<'_>) {
        self.aliases = Aliases::default();
        for (alias, born) in &self.born {
            let datatype = DataType::from_number(born.datatype);
            if let Some(meant) = site.meant(&born.tag, datatype) {
                self.aliases.set(*alias, meant);
            }
        }
    }

    /// Another configuration: what stood for nothing may stand for a point now.
    pub(super) fn reconsider(&mut self) {
        self.strange.clear();
        self.asked.clear();
    }

    /// Forgets all that holds from birth to death.
    fn forget_all(&mut self) {
        self.seq = None;
        self.lose_sight();
    }

    /// Forgets what may mean something else when the node is heard again. Not where it was: that
    /// tells whether something was missed meanwhile.
    pub(super) fn lose_sight(&mut self) {
        for alias in std::mem::take(&mut self.passing).into_values().flatten() {
            self.forget(alias);
        }
    }

    fn forget_unit(&mut self, unit: &str) {
        for alias in self.passing.remove(unit).into_iter().flatten() {
            self.forget(alias);
        }
    }

    fn forget(&mut self, alias: u64) {
        self.aliases.unset(alias);
        self.born.remove(&alias);
    }

    /// Messages skipped before one with this `seq`. A repeated one is none.
    fn step(&mut self, found: Option<u8>) -> u8 {
        let (Some(last), Some(found)) = (self.seq, found) else {
            return 0;
        };
        self.seq = Some(found);
        found.wrapping_sub(last).saturating_sub(1)
    }

    /// Takes over what a message declares, and reads its readings into `taken`. Nothing of a
    /// message is taken when any of it does not decode.
    pub(super) fn read(
        &mut self,
        now: Timestamp,
        said: &Said<'_>,
        site: Site<'_>,
        taken: &mut Taken,
    ) -> Result<Unread, String> {
        let mut unread = Unread::default();
        if let Said::NodeBirth(birth) | Said::UnitBirth(_, birth) = said {
            check_birth(birth, site)?;
        }
        match said {
            Said::NodeBirth(birth) => {
                self.bd_seq = birth.bd_seq;
                self.asked.values_mut().for_each(|born| *born = true);
                if birth.last.is_none() {
                    self.forget_all();
                }
                self.register(None, birth, site, taken);
                self.seq = birth.seq.filter(|_| birth.last.is_none());
            }
            Said::UnitBirth(unit, birth) => {
                unread.skipped = self.step(birth.seq);
                self.forget_unit(unit);
                self.register(Some(unit), birth, site, taken);
            }
            Said::NodeDeath(bd_seq) => {
                if self.is_ended_by(*bd_seq) {
                    self.forget_all();
                }
            }
            Said::UnitDeath { unit, seq, .. } => {
                unread.skipped = self.step(*seq);
                self.forget_unit(unit);
            }
            Said::Data { walk, .. } => {
                let skipped = self.step(walk.seq);
                unread = self.readings(now, walk, site, taken)?;
                unread.skipped = skipped;
            }
            Said::Outbox(_) | Said::Nothing => {}
        }
        Ok(unread)
    }

    /// Remembers what a birth says of its metrics.
    fn register(&mut self, unit: Option<&str>, birth: &Birth, site: Site<'_>, taken: &mut Taken) {
        if self.born.len() + birth.metrics.len() > ALIASES_MAX {
            self.born.clear();
            self.passing.clear();
            self.aliases = Aliases::default();
        }
        if self.strange.len() + birth.metrics.len() > ALIASES_MAX {
            self.strange.clear();
        }
        let mut passing = BTreeSet::new();
        let (mut known, mut unknown, mut differing) = (0, Vec::new(), Vec::new());
        for metric in &birth.metrics {
            let Some(meant) = site.meant(&metric.name, metric.datatype) else {
                if unknown.len() < LISTED_MAX {
                    unknown.push(metric.name.clone());
                }
                if let Some(alias) = metric.alias {
                    // It may have stood for a point before: nothing of it may go there now.
                    self.aliases.unset(alias);
                    self.born.remove(&alias);
                    self.strange.insert(alias);
                }
                continue;
            };
            known += 1;
            let expected = &site.config.points[meant.point.index()];
            let unit_differs = metric.unit.as_ref().is_some_and(|u| *u != expected.unit);
            if unit_differs && differing.len() < LISTED_MAX {
                differing.push(metric.name.clone());
            }
            if let Some(alias) = metric.alias {
                self.aliases.set(alias, meant);
                let born = Born {
                    tag: metric.name.clone(),
                    datatype: metric.datatype.number(),
                };
                self.born.insert(alias, born);
                self.strange.remove(&alias);
                self.asked.remove(&alias);
                if birth.last.is_none() {
                    passing.insert(alias);
                }
            }
            if birth.last.is_none()
                && let Some(sampled_at) = metric.timestamp.or(birth.timestamp)
            {
                // A host that reports only on change has said its values here.
                let (value, quality) = (metric.value, metric.quality);
                let reading = Reading::new(meant.point, value, quality, sampled_at);
                taken.live.push(reading.within(meant.trusted));
            }
        }
        if !passing.is_empty() {
            let unit = unit.unwrap_or_default().to_owned();
            self.passing.insert(unit, passing);
        }
        let event = LinkEvent::Online {
            known,
            unknown,
            differing,
        };
        taken.tell(site.id, unit, event);
    }

    fn readings(
        &mut self,
        now: Timestamp,
        walk: &Walk<'_>,
        site: Site<'_>,
        taken: &mut Taken,
    ) -> Result<Unread, String> {
        let first = (taken.live.len(), taken.historical.len());
        let mut unread = Unread::default();
        for metric in walk {
            let metric = metric.map_err(|error| {
                taken.truncate(first);
                error.to_string()
            })?;
            if is_own(&metric) {
                continue;
            }
            let Some(meant) = self.find(&metric, site) else {
                unread.unknown += 1;
                if let Some(alias) = metric.alias {
                    self.stranger(alias, &mut unread);
                }
                continue;
            };
            if taken.readings() - (first.0 + first.1) >= READINGS_MAX {
                taken.truncate(first);
                return Err(too_many("more"));
            }
            let lane = if metric.is_historical {
                &mut taken.historical
            } else {
                &mut taken.live
            };
            let sampled_at = metric.timestamp.unwrap_or(now);
            let point = meant.point;
            lane.push(match metric.measured(meant.datatype) {
                Some((value, quality)) => {
                    let reading = Reading::new(point, value, quality, sampled_at);
                    reading.within(meant.trusted)
                }
                None => Reading::without_value(point, BadCause::NotANumber, sampled_at),
            });
        }
        Ok(unread)
    }

    /// An alias that stands for no point: births may explain it, unless they have not before.
    fn stranger(&mut self, alias: u64, unread: &mut Unread) {
        if self.strange.contains(&alias) {
            return;
        }
        match self.asked.get(&alias) {
            Some(true) => {
                self.asked.remove(&alias);
                if self.strange.len() >= ALIASES_MAX {
                    self.strange.clear();
                }
                self.strange.insert(alias);
                if unread.unexplained.len() < LISTED_MAX {
                    unread.unexplained.push(alias);
                }
            }
            asked => {
                unread.births_help = true;
                if asked.is_none() && self.asked.len() < ASKED_MAX {
                    self.asked.insert(alias, false);
                }
            }
        }
    }

    #[inline]
    fn find(&self, metric: &Metric<'_>, site: Site<'_>) -> Option<Meant> {
        match (metric.alias, metric.name) {
            (Some(alias), _) => self.aliases.get(alias),
            (None, Some(name)) => site.meant(name, metric.datatype?),
            (None, None) => None,
        }
    }
}

/// A birth whose values are readings holds no more of them than a message may.
fn check_birth(birth: &Birth, site: Site<'_>) -> Result<(), String> {
    if birth.last.is_some() || birth.metrics.len() <= READINGS_MAX {
        return Ok(());
    }
    let metrics = birth.metrics.iter();
    let readings = metrics.filter(|metric| site.point(&metric.name).is_some());
    match readings.count() {
        found if found > READINGS_MAX => Err(too_many(&found.to_string())),
        _ => Ok(()),
    }
}

fn too_many(found: &str) -> String {
    format!("readings of one message: found {found}; allowed are {READINGS_MAX}")
}

/// Whether a metric is about the gateway itself.
fn is_own(metric: &Metric<'_>) -> bool {
    metric.alias.is_none() && metric.name.is_some_and(|name| name.starts_with("davy/"))
}

impl Site<'_> {
    /// The point of a tag, if it is this gateway's.
    fn point(&self, tag: &str) -> Option<(PointId, &Point)> {
        let point = self.directory.find(tag)?;
        let of = self.config.points.get(point.index())?;
        (of.gateway == self.id).then_some((point, of))
    }

    /// What a metric of this name is read by.
    fn meant(&self, tag: &str, datatype: DataType) -> Option<Meant> {
        let (point, of) = self.point(tag)?;
        Some(Meant::new(point, of, datatype))
    }
}

/// Reads the messages of all gateways out of the journal, as they were read when they came.
///
/// Each was new when it was journaled, so their numbers are not looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reader {
    declared: BTreeMap<String, Declared>,
}

impl Reader {
    /// One that goes on from what the births of these gateways declared.
    pub(super) fn after<'a>(declared: impl Iterator<Item = (&'a String, &'a Declared)>) -> Self {
        Self {
            declared: declared
                .map(|(id, declared)| (id.clone(), declared.clone()))
                .collect(),
        }
    }

    /// Takes over the gateways of a configuration, and works out every alias again.
    pub fn configure(&mut self, config: &Config, directory: &Directory) {
        self.declared
            .retain(|id, _| config.gateways.iter().any(|gateway| gateway.id == *id));
        for gateway in &config.gateways {
            let declared = self.declared.entry(gateway.id.clone()).or_default();
            declared.reconsider();
            declared.resolve(Site {
                id: &gateway.id,
                config,
                directory,
            });
        }
    }

    /// Nothing is seen of the gateways: see [`super::Gateways::lose_sight`].
    pub fn lose_sight(&mut self) {
        self.declared.values_mut().for_each(Declared::forget_all);
    }

    /// Reads the next message; its readings are appended to `taken`. One that could not be used
    /// has none.
    pub fn read(
        &mut self,
        now: Timestamp,
        topic: &str,
        payload: &[u8],
        config: &Config,
        directory: &Directory,
        taken: &mut Taken,
    ) {
        let Ok(topic) = Topic::parse(topic) else {
            return;
        };
        let Some((_, id)) = sender(&topic).filter(|(group, _)| *group == config.group) else {
            return;
        };
        let site = Site {
            id,
            config,
            directory,
        };
        if let Some(declared) = self.declared.get_mut(id)
            && let Ok(said) = Said::read(&topic, payload)
        {
            // What cannot be read was told when it came.
            drop(declared.read(now, &said, site, taken));
        }
    }
}
