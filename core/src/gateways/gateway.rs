//! One gateway: whether it is there, and what is wrong with it.
//!
//! Limits: a fault that is only seen when it happens is one alarm for as long as it is held, and
//! births are asked for once in [`REBIRTH_PAUSE`]. Of a node that does not number its messages and
//! says live values between stored ones, each of them ends what is stored: on-delays of the stored
//! ones begin anew behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arrivals::Arrivals;
use super::declared::{Declared, Unread};
use super::said::Said;
use super::{LinkEvent, Site, Taken};
use crate::alarm::{Subject, SystemCondition, Untimely};
use crate::delivery::{Missing, Stored};
use crate::reading::Timestamp;
use crate::sparkplug::{Birth, NodeData};

/// How long a fault that is only seen when it happens (a gap, an unusable message) is held, so
/// that a stream of them is one alarm and not thousands.
const FAULT_HOLD: Duration = Duration::from_mins(1);

/// How long two gateways under one identity are told after they last took turns.
const DUPLICATE_HOLD: Duration = Duration::from_mins(10);

/// Births are asked for again at most so often.
const REBIRTH_PAUSE: Duration = Duration::from_secs(10);

/// One gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    /// Born and not dead.
    pub online: bool,
    /// Since when, by the centre's clock.
    pub since: Timestamp,
    /// Units, each with the moment since when it is in sight by the centre's clock, less the time in
    /// which nobody watched; none while it is not.
    pub units: BTreeMap<String, Option<Timestamp>>,
    /// When anything of it last came, by the centre's clock; none before the first.
    pub heard_at: Option<Timestamp>,
    /// Numbered messages of it that were taken, each once.
    pub committed: u64,
    /// Readings of it that were taken, each once.
    pub readings: u64,
    /// Messages that it says its outbox had to drop.
    pub lost: u64,
    /// Messages that could not be used.
    pub unusable: u64,
    /// Metrics whose names or aliases nobody knows, and deaths of units that nobody knows.
    pub unknown: u64,
    /// Messages that a node which does not number them has skipped, by Sparkplug's `seq`.
    pub skipped: u64,
    /// Readings of it that the engine found out of their order in time.
    pub untimely: Untimely,
    /// Centre's clock minus the gateway's at its last live message, in ms.
    pub clock_offset_ms: i64,
    /// That is more than the configuration allowed, and was told.
    clock_is_off: bool,
    pub(super) declared: Declared,
    pub(super) arrivals: Arrivals,
    held: BTreeMap<SystemCondition, Timestamp>,
    rebirth_asked: Option<Timestamp>,
}

impl Gateway {
    /// One of which nothing has come yet.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            ..Self::default()
        }
    }

    /// Takes over its units from the configuration.
    pub(super) fn configure<'a>(&mut self, units: impl Iterator<Item = &'a str>) {
        let known = std::mem::take(&mut self.units);
        self.units = units
            .map(|unit| (unit.to_owned(), known.get(unit).copied().flatten()))
            .collect();
    }

    /// How many aliases are remembered.
    pub fn aliases(&self) -> usize {
        self.declared.len()
    }

    /// Centre's clock minus the gateway's, in ms, while that is more than the configuration allows;
    /// else 0.
    pub fn clock_off_by_ms(&self) -> i64 {
        if self.clock_is_off {
            self.clock_offset_ms
        } else {
            0
        }
    }

    /// About what its clock shows at a moment of the centre's, to look for its readings by.
    pub fn its_time(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_sub(self.clock_off_by_ms()))
    }

    /// What it says it still keeps.
    pub fn stored(&self) -> &[Stored] {
        self.arrivals.stored()
    }

    /// How many messages it says it still keeps.
    pub fn stored_messages(&self) -> u64 {
        let counts = self.stored().iter().map(|kept| {
            let next = kept.last.saturating_add(1);
            next.saturating_sub(kept.first)
        });
        counts.fold(0, u64::saturating_add)
    }

    /// Which outbox speaks; empty before the first birth of a Davy gateway.
    pub fn instance(&self) -> &str {
        self.arrivals.instance()
    }

    /// Messages that are missing for good.
    pub fn missing(&self) -> u64 {
        self.arrivals.missing()
    }

    /// Takes what it said. A birth that cannot be read changes nothing.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        said: &Said<'_>,
        site: Site<'_>,
        taken: &mut Taken,
    ) -> Result<(), String> {
        self.heard_at = Some(now);
        if let Said::Data {
            number: Some(number),
            ..
        } = said
        {
            if !self.arrivals.take(*number) {
                return Ok(());
            }
            self.committed += 1;
            while let Some(messages) = self.arrivals.give_up(number.run) {
                self.miss(now, site.id, messages, taken);
            }
        }
        let first = taken.readings();
        let mut unread = self.declared.read(now, said, site, taken)?;
        if !self.online {
            // It may have been born anew unheard, and then counts anew: one is missed at least.
            unread.skipped = unread.skipped.min(1);
        }
        self.readings += (taken.readings() - first) as u64;
        if let Said::Data {
            number: Some(number),
            ..
        } = said
        {
            let is_stored = !taken.historical.is_empty();
            taken.turn = self.arrivals.turn(*number, is_stored);
        }
        self.puzzled(now, site.id, &unread, taken);
        match said {
            Said::NodeBirth(birth) => {
                self.node_born(now, site.id, birth, taken);
                self.outbox(now, site.id, birth.lost, birth.stored.as_deref(), taken);
                self.in_sight_by_points(now, site, taken);
            }
            Said::NodeDeath(bd_seq) => self.node_dies(now, site.id, *bd_seq, taken),
            Said::Outbox(data) => {
                self.outbox(now, site.id, data.lost, data.stored.as_deref(), taken);
                self.gone(now, site.id, data, taken);
            }
            Said::UnitBirth(unit, birth) => {
                // A unit that is silent is born all the same, so that what is stored of it can be
                // read; it is in sight only when something of it is.
                if birth.metrics.iter().any(|metric| !metric.quality.is_bad()) {
                    self.in_sight(now, site.id, unit, taken);
                }
            }
            Said::UnitDeath {
                unit, unreadable, ..
            } => {
                self.unit_dies(site.id, unit, taken);
                if let Some(why) = unreadable {
                    self.unusable(now, site.id, why.clone(), taken);
                }
            }
            Said::Data { unit, walk, .. } => {
                self.read(now, site, *unit, walk.timestamp, taken);
            }
            Said::Nothing => {}
        }
        self.read_on(now, said, site.id, taken);
        Ok(())
    }

    fn node_born(&mut self, now: Timestamp, id: &str, birth: &Birth, taken: &mut Taken) {
        let met = birth.instance.as_ref().zip(birth.last);
        if let Some(taking_turns) =
            met.and_then(|(instance, last)| self.arrivals.meet(instance, last.run))
        {
            if taking_turns {
                let duplicate = SystemCondition::DuplicateIdentity;
                self.fault(now, id, duplicate, DUPLICATE_HOLD, taken);
            }
            taken.tell(id, None, LinkEvent::AnotherInstance { taking_turns });
        }
        self.online = true;
        self.since = now;
        taken.condition(gateway(id), SystemCondition::LossOfView, false);
    }

    fn node_dies(&mut self, now: Timestamp, id: &str, bd_seq: u64, taken: &mut Taken) {
        if self.online && self.declared.is_ended_by(bd_seq) {
            self.offline(now, id, taken);
            taken.tell(id, None, LinkEvent::Offline);
        }
    }

    fn offline(&mut self, now: Timestamp, id: &str, taken: &mut Taken) {
        self.online = false;
        self.since = now;
        for seen in self.units.values_mut() {
            *seen = None;
        }
        taken.condition(gateway(id), SystemCondition::LossOfView, true);
    }

    fn unit_dies(&mut self, id: &str, unit: &str, taken: &mut Taken) {
        if let Some(seen) = self.units.get_mut(unit) {
            *seen = None;
            let subject = Subject::Unit(id.to_owned(), unit.to_owned());
            taken.condition(subject, SystemCondition::LossOfView, true);
        } else {
            self.unknown = self.unknown.saturating_add(1);
        }
        taken.tell(id, Some(unit), LinkEvent::Offline);
    }

    /// A unit is seen; its loss of view ends.
    fn in_sight(&mut self, now: Timestamp, id: &str, unit: &str, taken: &mut Taken) {
        if let Some(seen) = self.units.get_mut(unit)
            && seen.is_none()
        {
            *seen = Some(now);
            let subject = Subject::Unit(id.to_owned(), unit.to_owned());
            taken.condition(subject, SystemCondition::LossOfView, false);
        }
    }

    /// A node that is not Davy's may say its points without their units, or under other names:
    /// whose point is seen, that unit is.
    fn in_sight_by_points(&mut self, now: Timestamp, site: Site<'_>, taken: &mut Taken) {
        let seen = taken.live.iter();
        let seen = seen.filter(|reading| !reading.quality.is_bad());
        let points = seen.filter_map(|reading| site.config.points.get(reading.point.index()));
        let units: BTreeSet<&str> = points.map(|point| point.device.as_str()).collect();
        for unit in units {
            self.in_sight(now, site.id, unit, taken);
        }
    }

    /// What its outbox has lost and still keeps.
    fn outbox(
        &mut self,
        now: Timestamp,
        id: &str,
        lost: Option<u64>,
        stored: Option<&[Stored]>,
        taken: &mut Taken,
    ) {
        if let Some(lost) = lost {
            if lost > self.lost {
                self.fault(now, id, SystemCondition::OutboxLoss, FAULT_HOLD, taken);
                taken.tell(id, None, LinkEvent::OutboxLoss { lost });
            }
            self.lost = lost;
        }
        if let Some(stored) = stored {
            for messages in self.arrivals.settle(stored) {
                self.miss(now, id, messages, taken);
            }
            self.arrived(now, id, taken);
        }
    }

    /// What was asked for again and cannot be sent is missing for good.
    fn gone(&mut self, now: Timestamp, id: &str, data: &NodeData, taken: &mut Taken) {
        for messages in self.arrivals.gone(data.gone.as_deref().unwrap_or_default()) {
            self.miss(now, id, messages, taken);
        }
        self.arrived(now, id, taken);
    }

    /// Not all of a message could be read by the births so far, or some were skipped before it.
    fn puzzled(&mut self, now: Timestamp, id: &str, unread: &Unread, taken: &mut Taken) {
        self.unknown = self.unknown.saturating_add(unread.unknown);
        if unread.births_help {
            self.fault(now, id, SystemCondition::Unusable, FAULT_HOLD, taken);
        }
        if !unread.unexplained.is_empty() {
            let aliases = unread.unexplained.clone();
            taken.tell(id, None, LinkEvent::Unexplained { aliases });
        }
        if unread.skipped > 0 {
            let messages = u64::from(unread.skipped);
            self.skipped = self.skipped.saturating_add(messages);
            self.fault(now, id, SystemCondition::Gap, FAULT_HOLD, taken);
            taken.tell(id, None, LinkEvent::Skipped { messages });
        }
        if unread.births_help || unread.skipped > 0 {
            self.want_rebirth(now, id, taken);
        }
    }

    /// Readings have been taken.
    fn read(
        &mut self,
        now: Timestamp,
        site: Site<'_>,
        unit: Option<&str>,
        published_at: Option<Timestamp>,
        taken: &mut Taken,
    ) {
        let id = site.id;
        if unit.is_some() && !self.online {
            self.want_rebirth(now, id, taken);
        }
        if let (true, Some(published_at)) = (taken.historical.is_empty(), published_at) {
            self.clock(now, site, published_at, taken);
        }
        match unit.filter(|unit| self.units.contains_key(*unit)) {
            Some(unit) if taken.live.iter().any(|reading| !reading.quality.is_bad()) => {
                self.in_sight(now, id, unit, taken);
            }
            Some(_) => {}
            None => self.in_sight_by_points(now, site, taken),
        }
    }

    /// What is stored goes on, or has come to its end. A node that does not number its messages
    /// does not say how much it has stored: that ends when the node says a value live.
    fn read_on(&mut self, now: Timestamp, said: &Said<'_>, id: &str, taken: &mut Taken) {
        if let Said::Data {
            number: Some(_), ..
        } = said
        {
            self.arrived(now, id, taken);
            return;
        }
        if !taken.historical.is_empty() {
            self.arrivals.open_history();
        }
        if !taken.live.is_empty() {
            self.arrived(now, id, taken);
        }
    }

    /// Whether the gateway's clock is near enough to the centre's.
    fn clock(
        &mut self,
        now: Timestamp,
        site: Site<'_>,
        published_at: Timestamp,
        taken: &mut Taken,
    ) {
        self.clock_offset_ms = now.ms_since(published_at);
        let offset = Duration::from_millis(self.clock_offset_ms.unsigned_abs());
        let is_off = offset > site.config.clock_offset_max;
        if is_off != self.clock_is_off {
            self.clock_is_off = is_off;
            taken.condition(gateway(site.id), SystemCondition::ClockOffset, is_off);
        }
    }

    /// Something has come of what is stored, perhaps the last of it.
    fn arrived(&mut self, now: Timestamp, id: &str, taken: &mut Taken) {
        if self.arrivals.history_ends(now) {
            taken.history_ends = Some(id.to_owned());
        }
    }

    /// A message cannot be used.
    pub(super) fn unusable(&mut self, now: Timestamp, id: &str, why: String, taken: &mut Taken) {
        self.unusable = self.unusable.saturating_add(1);
        self.fault(now, id, SystemCondition::Unusable, FAULT_HOLD, taken);
        taken.tell(id, None, LinkEvent::Unusable { why });
    }

    /// Messages will never come: told and alarmed.
    fn miss(&mut self, now: Timestamp, id: &str, messages: Missing, taken: &mut Taken) {
        self.fault(now, id, SystemCondition::Gap, FAULT_HOLD, taken);
        taken.tell(id, None, LinkEvent::Missing { messages });
    }

    fn want_rebirth(&mut self, now: Timestamp, id: &str, taken: &mut Taken) {
        let asked = self.rebirth_asked;
        if asked.is_none_or(|asked| now >= asked + REBIRTH_PAUSE) {
            self.rebirth_asked = Some(now);
            taken.tell(id, None, LinkEvent::RebirthWanted);
        }
    }

    /// Begins a fault that is only seen when it happens, or holds it longer.
    fn fault(
        &mut self,
        now: Timestamp,
        id: &str,
        condition: SystemCondition,
        hold: Duration,
        taken: &mut Taken,
    ) {
        if self.held.insert(condition, now + hold).is_none() {
            taken.condition(gateway(id), condition, true);
        }
    }

    /// Nobody watched for so long until `now`: that is no time in which its units were seen.
    pub(super) fn pass_over(&mut self, now: Timestamp, blind: Duration) {
        for seen in self.units.values_mut() {
            *seen = seen.map(|since| (since + blind).min(now));
        }
    }

    /// It is unseen until it is born again.
    pub(super) fn unsee(&mut self, now: Timestamp, id: &str, taken: &mut Taken) {
        if self.online {
            self.offline(now, id, taken);
        }
    }

    /// Ends what was held long enough, and asks again for gaps that stand.
    pub(super) fn tick(&mut self, now: Timestamp, id: &str, taken: &mut Taken) {
        self.held.retain(|condition, until| {
            let held = now < *until;
            if !held {
                taken.condition(gateway(id), *condition, false);
            }
            held
        });
        let messages = self.arrivals.standing(now);
        if self.online && !messages.is_empty() {
            taken.tell(id, None, LinkEvent::ResendWanted { messages });
        }
    }

    /// The next moment at which something is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let held = self.held.values().min().copied();
        held.into_iter().chain(self.arrivals.next_look()).min()
    }
}

fn gateway(id: &str) -> Subject {
    Subject::Gateway(id.to_owned())
}
