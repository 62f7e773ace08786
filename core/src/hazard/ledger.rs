//! The ledger: entries raised from alarms, kept until they are closed and can no longer recur.
//!
//! Every question is answered by an index, so that a flood that raises tens of thousands of
//! entries costs no more for each one than the first did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guard::{Moment, check};
use super::lasting::{Lasting, Waiting};
use super::repeats::Repeats;
use super::step::{allowed, carry_out};
use super::{
    Class, Hazard, HazardChange, HazardCommand, HazardState, Judged, OCCURRENCES_MAX, Refused,
    Rule, Stand, StoryLine,
};
use crate::config::HazardRules;
use crate::reading::Timestamp;

/// Entries that time alone changes at once; of what a flood has found, all are due at one moment.
/// An entry is some 2 kB, and 60 kB with a long story in it: so one input of the journal stays
/// below what it may hold (64 MiB). The rest is due at once, in the next one.
pub(crate) const DUE_MAX: usize = 1_000;

/// An alarm was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurred {
    /// Which occurrence.
    pub occurrence: u64,
    /// Gateway's clock: when. Late ones are counted by it, in their own order.
    pub at: Timestamp,
}

/// An occurrence is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned<'a> {
    /// Its alarm.
    pub alarm: &'a str,
    /// Which occurrence.
    pub occurrence: u64,
    /// How long it lasted, by the gateway's clock.
    pub lasted: Duration,
    /// The live condition of the alarm does not hold. One out of a store says nothing about that.
    pub is_normal: bool,
}

/// All entries that are open or may still recur.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Ledger {
    pub(super) kept: Kept,
    /// The newest entry of a subject and rule, open or closed.
    pub(super) newest: BTreeMap<(String, Rule), u64>,
    /// The open entry that an alarm belongs to.
    open_by_alarm: BTreeMap<String, u64>,
    /// Open entries of each source that has any.
    open_by_source: BTreeMap<String, u32>,
    /// Moments at which an entry becomes overdue.
    deadlines: BTreeSet<(Timestamp, u64)>,
    /// Moments at which a closed entry can no longer recur.
    forgettable: BTreeSet<(Timestamp, u64)>,
    /// Moments at which an occurrence that lasts becomes an entry.
    pub(super) due: BTreeSet<(Timestamp, u64)>,
}

/// What a snapshot carries; the indexes follow from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    last_id: u64,
    pub(super) hazards: BTreeMap<u64, Hazard>,
    /// By occurrence: the live lane and the store of a gateway may each have one of an alarm.
    pub(super) waiting: BTreeMap<u64, Waiting>,
    repeats: Repeats,
}

impl PartialEq for Ledger {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept
    }
}

impl From<Ledger> for Kept {
    fn from(ledger: Ledger) -> Self {
        ledger.kept
    }
}

impl From<Kept> for Ledger {
    fn from(kept: Kept) -> Self {
        let mut ledger = Self::default();
        for hazard in kept.hazards.values() {
            ledger.index(hazard);
        }
        ledger.due = kept
            .waiting
            .iter()
            .map(|(occurrence, waiting)| (waiting.due, *occurrence))
            .collect();
        ledger.kept = kept;
        ledger
    }
}

impl Ledger {
    /// The number of the newest entry.
    pub fn last_id(&self) -> u64 {
        self.kept.last_id
    }

    /// Gives no entry a number up to this one any more.
    pub fn number_after(&mut self, id: u64) {
        self.kept.last_id = self.kept.last_id.max(id);
    }

    /// An alarm was raised, live or out of a store.
    pub fn raised(
        &mut self,
        now: Timestamp,
        occurred: Occurred,
        judged: Judged,
        recurs_within: Duration,
        changes: &mut Vec<HazardChange>,
    ) {
        let alarm = &judged.origin.alarm;
        if let Some(hazard) = open_of(&mut self.kept, &self.open_by_alarm, alarm) {
            hazard.active_alarms.insert(alarm.clone());
            hazard.normal_since = None;
        }
        let occurrence = occurred.occurrence;
        let often = self.kept.repeats.comes_often(now, occurred.at, &judged);
        if judged.figures.after.is_zero() || often {
            self.enter(now, occurrence, &judged, recurs_within, changes);
            self.wait_to_worsen(now, occurrence, judged);
        } else {
            let due = now + judged.figures.after;
            let entered = false;
            self.wait(
                occurrence,
                Waiting {
                    due,
                    judged,
                    entered,
                },
            );
        }
    }

    /// An occurrence is over: it waits no more, and is an entry if it has lasted as long as its
    /// rule says. Out of a store that is known only now.
    pub fn returned(
        &mut self,
        now: Timestamp,
        returned: &Returned<'_>,
        recurs_within: Duration,
        changes: &mut Vec<HazardChange>,
    ) {
        let waiting = self.kept.waiting.remove(&returned.occurrence);
        if let Some(Waiting {
            due,
            judged,
            entered,
        }) = waiting
        {
            self.due.remove(&(due, returned.occurrence));
            if !entered && returned.lasted >= judged.figures.after {
                self.enter(now, returned.occurrence, &judged, recurs_within, changes);
            }
            if let Some(worsens) = &judged.worsens
                && returned.lasted >= worsens.after
            {
                self.worsen(now, &judged, changes);
            }
        }
        let hazard = open_of(&mut self.kept, &self.open_by_alarm, returned.alarm);
        if let Some(hazard) = hazard.filter(|_| returned.is_normal) {
            hazard.active_alarms.remove(returned.alarm);
            if hazard.active_alarms.is_empty() {
                hazard.normal_since.get_or_insert(now);
            }
        }
    }

    /// Another configuration is in force. An entry of which it names nothing is unknown, and not
    /// normal; what it names and the one before did not is normal from now on at the earliest.
    pub fn configured(
        &mut self,
        now: Timestamp,
        was_known: impl Fn(&str) -> bool,
        is_known: impl Fn(&str) -> bool,
    ) {
        let open = self.kept.hazards.values_mut();
        for hazard in open.filter(|hazard| hazard.state.is_open()) {
            let mut known = hazard.alarms.iter().filter(|alarm| is_known(alarm));
            if known.clone().next().is_none() {
                hazard.normal_since = None;
            } else if hazard.active_alarms.is_empty() && known.any(|alarm| !was_known(alarm)) {
                hazard.normal_since = Some(now);
            }
        }
    }

    /// Nobody watched for so long until `now`: that is no time in which anything was normal.
    pub fn pass_over(&mut self, now: Timestamp, blind: Duration) {
        let open = self.kept.hazards.values_mut();
        for hazard in open.filter(|hazard| hazard.state.is_open()) {
            hazard.normal_since = hazard.normal_since.map(|since| (since + blind).min(now));
        }
    }

    /// Time has passed. `lasting` says what is known of an occurrence; none when it is not in the
    /// list.
    pub fn tick(
        &mut self,
        now: Timestamp,
        recurs_within: Duration,
        lasting: impl Fn(u64) -> Option<Lasting>,
        changes: &mut Vec<HazardChange>,
    ) {
        self.meet_due(now, recurs_within, &lasting, changes);
        while changes.len() < DUE_MAX
            && let Some((at, id)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(hazard) = self.kept.hazards.get_mut(&id) {
                (hazard.overdue, hazard.deadline_missed) = (true, true);
                let from = Some(hazard.state);
                changes.push(told(hazard, now, "system", "overdue", "", from));
            }
        }
        self.forget(now, recurs_within);
    }

    /// The next moment at which an entry is raised or becomes overdue.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let due = self.due.first().map(|(at, _)| *at);
        let overdue = self.deadlines.first().map(|(at, _)| *at);
        due.into_iter().chain(overdue).min()
    }

    /// Takes a person's step, or says which guard forbids it. `number` is the step's entry in the
    /// journal; `stand` is how the alarms of the entry stand, for the guards.
    pub fn command(
        &mut self,
        now: Timestamp,
        number: u64,
        command: &HazardCommand,
        stand: &Stand,
        rules: &HazardRules,
        changes: &mut Vec<HazardChange>,
    ) -> Result<(), Refused> {
        let Some(hazard) = self.kept.hazards.get(&command.hazard) else {
            return Err(Refused::NoEntry {
                hazard: command.hazard,
            });
        };
        let moment = Moment { now, stand, rules };
        check(hazard, &moment, command)?;
        let mut hazard = hazard.clone();
        self.unindex(&hazard);
        let from = Some(hazard.state);
        let by = command.by.trim();
        carry_out(&mut hazard, number, command, rules);
        hazard.overdue &= hazard.state.is_open();
        let (word, comment) = (command.step.word(), &command.comment);
        changes.push(told(&mut hazard, now, by, word, comment, from));
        self.index(&hazard);
        self.kept.hazards.insert(hazard.id, hazard);
        Ok(())
    }

    /// One entry, while it is open or may still recur.
    pub fn hazard(&self, id: u64) -> Option<&Hazard> {
        self.kept.hazards.get(&id)
    }

    /// Every entry that is open or may still recur, oldest first.
    pub fn hazards(&self) -> impl DoubleEndedIterator<Item = &Hazard> {
        self.kept.hazards.values()
    }

    /// Open entries of each source that has any.
    pub fn open_by_source(&self) -> &BTreeMap<String, u32> {
        &self.open_by_source
    }

    /// The words of the steps that an entry's state allows, guards aside.
    pub fn allowed(state: HazardState) -> &'static [&'static str] {
        allowed(state)
    }

    /// Appends to the open entry of the same subject and rule, or makes a new one.
    pub(super) fn enter(
        &mut self,
        now: Timestamp,
        occurrence: u64,
        judged: &Judged,
        recurs_within: Duration,
        changes: &mut Vec<HazardChange>,
    ) {
        let key = (judged.origin.subject.clone(), judged.rule);
        let newest = self.newest.get(&key).copied();
        let mut repeats = None;
        if let Some(hazard) = newest.and_then(|id| self.kept.hazards.get_mut(&id)) {
            if hazard.state.is_open() {
                let (id, alarm) = (hazard.id, judged.origin.alarm.clone());
                self.open_by_alarm.insert(alarm.clone(), id);
                let is_news = judged.class == Class::Major && hazard.class == Class::General;
                let was_found = hazard.state == HazardState::Found;
                changes.extend(occur_again(hazard, now, occurrence, alarm));
                if is_news && was_found {
                    let deadline = Some(judged.figures.deadline);
                    self.become_candidate(now, id, deadline, changes);
                }
                return;
            }
            let recurs =
                hazard.state == HazardState::Closed && now < last_moved(hazard) + recurs_within;
            repeats = recurs.then_some(hazard.id);
        }
        self.kept.last_id += 1;
        let mut hazard = Hazard {
            id: self.kept.last_id,
            rule: judged.rule,
            class: judged.class,
            state: HazardState::Found,
            overdue: false,
            deadline_missed: false,
            supervised: false,
            found_at: now,
            deadline: now + judged.figures.deadline,
            occurrences: vec![occurrence],
            occurrence_count: 1,
            alarms: BTreeSet::from([judged.origin.alarm.clone()]),
            active_alarms: BTreeSet::from([judged.origin.alarm.clone()]),
            normal_since: None,
            rectified_by: None,
            five_items: None,
            failed_rechecks: 0,
            extensions: 0,
            repeats,
            evidence: BTreeMap::new(),
            story: Vec::new(),
            origin: judged.origin.clone(),
        };
        let why = match hazard.rule {
            Rule::LevelTwo => "level 2 reached",
            Rule::LevelOne => "level 1 lasted or came back too often",
            Rule::LossOfView => "the process could not be seen",
        };
        changes.push(told(&mut hazard, now, "system", "found", why, None));
        self.index(&hazard);
        self.kept.hazards.insert(hazard.id, hazard);
    }

    pub(super) fn index(&mut self, hazard: &Hazard) {
        let key = (hazard.origin.subject.clone(), hazard.rule);
        let newest = self.newest.entry(key).or_insert(hazard.id);
        *newest = (*newest).max(hazard.id);
        if !hazard.state.is_open() {
            self.forgettable.insert((last_moved(hazard), hazard.id));
            return;
        }
        for alarm in &hazard.alarms {
            self.open_by_alarm.insert(alarm.clone(), hazard.id);
        }
        if let Some(source) = &hazard.origin.source {
            *self.open_by_source.entry(source.clone()).or_default() += 1;
        }
        if !hazard.deadline_missed {
            self.deadlines.insert((hazard.deadline, hazard.id));
        }
    }

    pub(super) fn unindex(&mut self, hazard: &Hazard) {
        let source = hazard.origin.source.as_ref();
        if let Some(source) = source.filter(|_| hazard.state.is_open())
            && let Some(open) = self.open_by_source.get_mut(source)
        {
            *open -= 1;
            if *open == 0 {
                self.open_by_source.remove(source);
            }
        }
        for alarm in &hazard.alarms {
            if self.open_by_alarm.get(alarm) == Some(&hazard.id) {
                self.open_by_alarm.remove(alarm);
            }
        }
        self.deadlines.remove(&(hazard.deadline, hazard.id));
        self.forgettable.remove(&(last_moved(hazard), hazard.id));
    }

    /// Drops what is closed and can no longer recur; it stays in the journal.
    fn forget(&mut self, now: Timestamp, recurs_within: Duration) {
        self.kept.repeats.forget(now);
        while let Some((moved, id)) = self.forgettable.first().copied()
            && now >= moved + recurs_within
        {
            self.forgettable.pop_first();
            if let Some(hazard) = self.kept.hazards.remove(&id) {
                let key = (hazard.origin.subject, hazard.rule);
                if self.newest.get(&key) == Some(&id) {
                    self.newest.remove(&key);
                }
            }
        }
    }
}

/// The open entry that an alarm belongs to.
fn open_of<'k>(
    kept: &'k mut Kept,
    open_by_alarm: &BTreeMap<String, u64>,
    alarm: &str,
) -> Option<&'k mut Hazard> {
    kept.hazards.get_mut(open_by_alarm.get(alarm)?)
}

fn last_moved(hazard: &Hazard) -> Timestamp {
    hazard.story.last().map_or(hazard.found_at, |line| line.at)
}

/// Another occurrence of an open entry; told as long as its story names occurrences.
fn occur_again(
    hazard: &mut Hazard,
    now: Timestamp,
    occurrence: u64,
    alarm: String,
) -> Option<HazardChange> {
    hazard.occurrence_count += 1;
    hazard.alarms.insert(alarm.clone());
    hazard.active_alarms.insert(alarm);
    hazard.normal_since = None;
    if hazard.occurrences.len() >= OCCURRENCES_MAX {
        return None;
    }
    hazard.occurrences.push(occurrence);
    let from = Some(hazard.state);
    Some(told(hazard, now, "system", "occurred_again", "", from))
}

/// Writes the line of the story and says what happened.
pub(super) fn told(
    hazard: &mut Hazard,
    now: Timestamp,
    by: &str,
    event: &str,
    comment: &str,
    from: Option<HazardState>,
) -> HazardChange {
    hazard.story.push(StoryLine {
        at: now,
        by: by.to_owned(),
        event: event.to_owned(),
        comment: comment.to_owned(),
    });
    HazardChange {
        event: event.to_owned(),
        by: by.to_owned(),
        from,
        hazard: Box::new(hazard.clone()),
    }
}
