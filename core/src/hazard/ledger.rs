//! The ledger: entries raised from alarms, kept until they are closed and can no longer recur.
//!
//! Every question is answered by an index, so that a flood that raises tens of thousands of
//! entries costs no more for each one than the first did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::step::{allowed, take};
use super::{
    Hazard, HazardChange, HazardCommand, HazardState, Judged, OCCURRENCES_MAX, Refused, Rule,
    StoryLine,
};
use crate::reading::Timestamp;

/// Moments kept of one alarm to count its repeats.
const REPEATS_MAX: usize = 32;

/// All entries that are open or may still recur.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Ledger {
    kept: Kept,
    /// The newest entry of a subject and rule, open or closed.
    newest: BTreeMap<(String, Rule), u64>,
    /// The open entry that an alarm belongs to.
    open_by_alarm: BTreeMap<String, u64>,
    /// Moments at which an entry becomes overdue.
    deadlines: BTreeSet<(Timestamp, u64)>,
    /// Moments at which a closed entry can no longer recur.
    forgettable: BTreeSet<(Timestamp, u64)>,
    /// Moments at which an alarm that lasts becomes an entry.
    due: BTreeSet<(Timestamp, String)>,
}

/// What a snapshot carries; the indexes follow from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    last_id: u64,
    hazards: BTreeMap<u64, Hazard>,
    waiting: BTreeMap<String, Waiting>,
    repeats: BTreeMap<String, Vec<Timestamp>>,
}

/// An alarm that becomes an entry once it has lasted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    since: Timestamp,
    occurrence: u64,
    judged: Judged,
}

impl Waiting {
    fn due(&self) -> Timestamp {
        self.since + self.judged.figures.after
    }
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
            .map(|(alarm, waiting)| (waiting.due(), alarm.clone()))
            .collect();
        ledger.kept = kept;
        ledger
    }
}

impl Ledger {
    /// An alarm was raised.
    pub fn raised(
        &mut self,
        now: Timestamp,
        occurrence: u64,
        judged: Judged,
        recurs_within: Duration,
        changes: &mut Vec<HazardChange>,
    ) {
        let alarm = judged.origin.alarm.clone();
        if let Some(hazard) = self.open_of(&alarm) {
            hazard.active_alarms.insert(alarm.clone());
            hazard.normal_since = None;
        }
        let often = self.comes_often(now, &alarm, &judged);
        if judged.figures.after.is_zero() || often {
            self.stop_waiting(&alarm);
            self.enter(now, occurrence, judged, recurs_within, changes);
            return;
        }
        self.stop_waiting(&alarm);
        let waiting = Waiting {
            since: now,
            occurrence,
            judged,
        };
        self.due.insert((waiting.due(), alarm.clone()));
        self.kept.waiting.insert(alarm, waiting);
    }

    /// An alarm returned to normal, or is no longer configured.
    pub fn returned(&mut self, now: Timestamp, alarm: &str) {
        self.stop_waiting(alarm);
        if let Some(hazard) = self.open_of(alarm) {
            hazard.active_alarms.remove(alarm);
            if hazard.active_alarms.is_empty() {
                hazard.normal_since.get_or_insert(now);
            }
        }
    }

    /// Time has passed.
    pub fn tick(
        &mut self,
        now: Timestamp,
        recurs_within: Duration,
        changes: &mut Vec<HazardChange>,
    ) {
        while let Some((at, alarm)) = self.due.first().cloned()
            && at <= now
        {
            self.due.pop_first();
            if let Some(waiting) = self.kept.waiting.remove(&alarm) {
                let Waiting {
                    occurrence, judged, ..
                } = waiting;
                self.enter(now, occurrence, judged, recurs_within, changes);
            }
        }
        while let Some((at, id)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(hazard) = self.kept.hazards.get_mut(&id) {
                hazard.overdue = true;
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
    /// journal.
    pub fn command(
        &mut self,
        now: Timestamp,
        number: u64,
        command: &HazardCommand,
        normal_before_close: Duration,
        changes: &mut Vec<HazardChange>,
    ) -> Result<(), Refused> {
        let Some(mut hazard) = self.kept.hazards.remove(&command.hazard) else {
            return Err(Refused {
                guard: format!("no open entry {}", command.hazard),
                satisfied_by: "the number of an entry that is not closed".into(),
            });
        };
        self.unindex(&hazard);
        let from = Some(hazard.state);
        let taken = take(&mut hazard, now, number, command, normal_before_close);
        if taken.is_ok() {
            hazard.overdue &= hazard.state.is_open() && now >= hazard.deadline;
            let (by, word, comment) = (&command.by, command.step.word(), &command.comment);
            changes.push(told(&mut hazard, now, by, word, comment, from));
        }
        self.index(&hazard);
        self.kept.hazards.insert(hazard.id, hazard);
        taken
    }

    /// One entry, while it is open or may still recur.
    pub fn hazard(&self, id: u64) -> Option<&Hazard> {
        self.kept.hazards.get(&id)
    }

    /// Every entry that is open or may still recur, oldest first.
    pub fn hazards(&self) -> impl DoubleEndedIterator<Item = &Hazard> {
        self.kept.hazards.values()
    }

    /// The words of the steps that an entry's state allows, guards aside.
    pub fn allowed(state: HazardState) -> &'static [&'static str] {
        allowed(state)
    }

    fn open_of(&mut self, alarm: &str) -> Option<&mut Hazard> {
        let id = self.open_by_alarm.get(alarm)?;
        self.kept.hazards.get_mut(id)
    }

    fn stop_waiting(&mut self, alarm: &str) {
        if let Some(waiting) = self.kept.waiting.remove(alarm) {
            self.due.remove(&(waiting.due(), alarm.to_owned()));
        }
    }

    /// Whether the alarm came as often as its rule allows within its window, this time included.
    fn comes_often(&mut self, now: Timestamp, alarm: &str, judged: &Judged) -> bool {
        if judged.figures.repeats == 0 {
            return false;
        }
        let times = self.kept.repeats.entry(alarm.to_owned()).or_default();
        times.retain(|at| now < *at + judged.figures.within);
        times.push(now);
        if times.len() > REPEATS_MAX {
            times.remove(0);
        }
        times.len() >= judged.figures.repeats as usize
    }

    /// Appends to the open entry of the same subject and rule, or makes a new one.
    fn enter(
        &mut self,
        now: Timestamp,
        occurrence: u64,
        judged: Judged,
        recurs_within: Duration,
        changes: &mut Vec<HazardChange>,
    ) {
        let key = (judged.origin.subject.clone(), judged.rule);
        let newest = self.newest.get(&key).copied();
        let mut repeats = None;
        if let Some(hazard) = newest.and_then(|id| self.kept.hazards.get_mut(&id)) {
            if hazard.state.is_open() {
                self.open_by_alarm
                    .insert(judged.origin.alarm.clone(), hazard.id);
                changes.extend(occur_again(hazard, now, occurrence, judged.origin.alarm));
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
            supervised: false,
            found_at: now,
            deadline: now + judged.figures.deadline,
            occurrences: vec![occurrence],
            occurrence_count: 1,
            active_alarms: BTreeSet::from([judged.origin.alarm.clone()]),
            normal_since: None,
            rectified_by: None,
            five_items: None,
            failed_rechecks: 0,
            repeats,
            evidence: BTreeMap::new(),
            story: Vec::new(),
            origin: judged.origin,
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

    fn index(&mut self, hazard: &Hazard) {
        let key = (hazard.origin.subject.clone(), hazard.rule);
        let newest = self.newest.entry(key).or_insert(hazard.id);
        *newest = (*newest).max(hazard.id);
        if !hazard.state.is_open() {
            self.forgettable.insert((last_moved(hazard), hazard.id));
            return;
        }
        for alarm in hazard.active_alarms.iter().chain([&hazard.origin.alarm]) {
            self.open_by_alarm.insert(alarm.clone(), hazard.id);
        }
        if !hazard.overdue {
            self.deadlines.insert((hazard.deadline, hazard.id));
        }
    }

    fn unindex(&mut self, hazard: &Hazard) {
        for alarm in hazard.active_alarms.iter().chain([&hazard.origin.alarm]) {
            if self.open_by_alarm.get(alarm) == Some(&hazard.id) {
                self.open_by_alarm.remove(alarm);
            }
        }
        self.deadlines.remove(&(hazard.deadline, hazard.id));
        self.forgettable.remove(&(last_moved(hazard), hazard.id));
    }

    /// Drops what is closed and can no longer recur; it stays in the journal.
    fn forget(&mut self, now: Timestamp, recurs_within: Duration) {
        while let Some((moved, id)) = self.forgettable.first().copied()
            && now >= moved + recurs_within
        {
            self.forgettable.pop_first();
            if let Some(hazard) = self.kept.hazards.remove(&id) {
                let key = (hazard.origin.subject, hazard.rule);
                if self.newest.get(&key) == Some(&id) {
                    self.newest.remove(&key);
                }
                self.kept.repeats.remove(&hazard.origin.alarm);
            }
        }
    }
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
fn told(
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
