//! Freezes the evidence of an entry of the ledger: the trend ten minutes before and after the
//! moment it was found, with the limits in force.
//!
//! Its place: it looks at what is committed, reads the series once that has come far enough, and
//! files what it read as a command. So the evidence is an input of the journal: in the chain, kept
//! when the readings themselves are pruned, and filed once however often the centre is killed.
//!
//! Invariants
//! - A half waits for the journal's number at which it was first seen to be due, never for the
//!   newest one: under load that runs ahead of every sink all the time.
//! - The series is kept by the clocks of gateways, so a trend is cut by them: around the reading that
//!   raised the alarm, or by what its gateway's clock showed when the entry was found. The moment at
//!   which something came, by the centre's clock, is never looked for in a series.
//! - A trend that lacks even the reading that raised the alarm was not read.
//! - A trend that cannot be read is not filed as an empty one: it is tried [`READ_TRIES`] times,
//!   and then filed with the reason.
//!
//! - A curve is thinned to what a drawing of it shows: of each part of the time its first, last,
//!   lowest and highest reading, as they were taken; and it says of how many.
//!
//! Limits: [`POINTS_MAX`] points; [`OWN_MAX`] readings of the own one and [`NEIGHBOUR_MAX`] of each
//! other in a half; [`FILED_MAX`] halves a pass. Evidence is kept for good: with both halves an
//! entry is 170 kB at most, whatever the rate (120 kB at 8 points of 1 s), so that 50,000 entries
//! of a flood are 8.5 GB and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use davy_core::alarm::{AlarmDefinition, Condition, Limit, Subject};
use davy_core::config::Config;
use davy_core::hazard::{EvidencePart, Hazard, HazardCommand, HazardStep, Rule};
use davy_core::reading::{Lane, PointId, Timestamp};
use davy_core::watch::{Concerns, Effect, Input, Watch};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::centre::{Centre, Unanswered};
use crate::journal::Reader;
use crate::sinks::Sinks;
use crate::sinks::series::{Sample, SeriesReader};

/// How far the evidence reaches to either side.
const REACH: Duration = Duration::from_mins(10);

/// Points of one entry: its own, then its neighbours of the same kind at the same source.
const POINTS_MAX: usize = 8;

/// Readings of the point that it is about in one half: all of them up to two a second.
const OWN_MAX: usize = 1_200;

/// Readings of each neighbour: four in 20 s, of which two are its lowest and highest.
const NEIGHBOUR_MAX: usize = 120;

/// Readings that are looked at of one point in one half: a hundred a second.
const READ_MAX: usize = 60_000;

/// Halves of one pass.
const FILED_MAX: usize = 50;

/// How often it looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Times that a half is read before it is filed without what cannot be read: with pauses of 1 s,
/// doubled up to [`RETRY_LONGEST`], some four minutes.
const READ_TRIES: u32 = 10;

/// Longest pause between two of them.
const RETRY_LONGEST: Duration = Duration::from_mins(1);

/// One half of one entry.
type Key = (u64, EvidencePart);

/// What one half waits for.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// The series must have come so far: the journal's number when the half was first due.
    number: u64,
    /// Reads that failed.
    failures: u32,
    /// Not read before this.
    not_before: Timestamp,
}

/// One half that is to be frozen.
struct Half {
    part: EvidencePart,
    /// When it was found, by the clock of the gateway whose readings it shows.
    found_at: Timestamp,
    /// The occurrence that it was found by.
    occurrence: Option<u64>,
    /// It was found as soon as a reading raised that.
    at_once: bool,
    /// A reading of the first of `tags` raised it, and no silence.
    by_value: bool,
    tags: Vec<String>,
    limits: Value,
    rule: Value,
}

/// What the loop hands out of one half.
struct Due {
    hazard: Hazard,
    part: EvidencePart,
    /// When it was found, by the clock of the gateway that its alarm is about.
    found_at: Timestamp,
}

impl Due {
    fn new(watch: &Watch, (id, part): Key) -> Option<Self> {
        let hazard = watch.ledger().hazard(id)?.clone();
        let config = watch.config();
        let alarm = watch.concerns().find(&hazard.origin.alarm);
        let gateway = match alarm.map(|place| &config.alarms[place].subject) {
            Some(Subject::Point(point)) => Some(&config.points[point.index()].gateway),
            Some(Subject::Unit(gateway, _) | Subject::Gateway(gateway)) => Some(gateway),
            // It concerns none, or is no longer configured.
            Some(Subject::Centre) | None => None,
        };
        let gateway = gateway.and_then(|gateway| watch.gateways().get(gateway));
        let found_at = gateway.map_or(hazard.found_at, |of| of.its_time(hazard.found_at));
        Some(Self {
            hazard,
            part,
            found_at,
        })
    }
}

/// What was read of one half.
struct Frozen {
    /// The moment that the evidence is around, by the clock of the series.
    moment: Timestamp,
    trend: Vec<Value>,
    /// The first thing that could not be read.
    unread: Option<String>,
}

/// Runs until cancelled or the centre ends. `folder` is the data folder.
pub async fn run(centre: Centre, sinks: Sinks, folder: PathBuf, cancel: CancellationToken) {
    let mut pause = tokio::time::interval(PAUSE);
    let mut freezer = Freezer::new(centre.clone(), sinks, folder);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = pause.tick() => {}
        }
        if let Err(Unanswered::Ended(_)) = freezer.pass(centre.now()).await {
            return;
        }
    }
}

/// What files evidence, and what it waits for. After a restart it waits from then on.
struct Freezer {
    centre: Centre,
    sinks: Sinks,
    folder: PathBuf,
    waiting: BTreeMap<Key, Wait>,
}

impl Freezer {
    fn new(centre: Centre, sinks: Sinks, folder: PathBuf) -> Self {
        Self {
            centre,
            sinks,
            folder,
            waiting: BTreeMap::new(),
        }
    }

    /// Files what is due at `now` and whose readings are in the series, oldest entries first.
    async fn pass(&mut self, now: Timestamp) -> Result<(), Unanswered> {
        let asked = self
            .centre
            .ask(move |watch| (lacking(watch, now), watch.number()));
        let (lacking, number) = asked.await?;
        let lacking: BTreeSet<Key> = lacking.into_iter().collect();
        self.waiting.retain(|key, _| lacking.contains(key));
        for key in lacking {
            self.waiting.entry(key).or_insert(Wait {
                number,
                failures: 0,
                not_before: now,
            });
        }
        let cursor = self.sinks.series_cursor();
        let is_ready = |wait: &Wait| wait.number <= cursor && wait.not_before <= now;
        let ready: Vec<Key> = (self.waiting.iter())
            .filter(|(_, wait)| is_ready(wait))
            .map(|(key, _)| *key)
            .take(FILED_MAX)
            .collect();
        if ready.is_empty() {
            return Ok(());
        }
        let found = self.centre.ask(move |watch| {
            let halves = ready.iter().filter_map(|key| Due::new(watch, *key));
            let halves: Vec<Due> = halves.collect();
            let defined = (Arc::clone(watch.config()), Arc::clone(watch.concerns()));
            (halves, defined)
        });
        let (halves, defined) = found.await?;
        for half in halves {
            self.freeze(half, defined.clone(), now).await?;
        }
        Ok(())
    }

    /// Reads one half and files it, or has it wait for another try.
    async fn freeze(
        &mut self,
        found: Due,
        (config, concerns): (Arc<Config>, Arc<Concerns>),
        now: Timestamp,
    ) -> Result<(), Unanswered> {
        let (hazard, part) = (found.hazard.id, found.part);
        let (series, folder) = (self.sinks.series(), self.folder.clone());
        let read = tokio::task::spawn_blocking(move || {
            let half = half(&config, &concerns, &found);
            let frozen = freeze(&series, &folder, &half);
            (half, frozen)
        });
        let Ok((half, frozen)) = read.await else {
            // Only a panic in there: the pass goes on, this half is tried again.
            self.failed((hazard, part), now);
            return Ok(());
        };
        if let Some(why) = &frozen.unread {
            let failures = self.failed((hazard, part), now);
            tracing::warn!(hazard, failures, why, "evidence cannot be read");
            if failures < READ_TRIES {
                return Ok(());
            }
        }
        let (from, to) = part_of(part, frozen.moment);
        let content = json!({
            "moment_ms": frozen.moment.0,
            "from_ms": from.0,
            "to_ms": to.0,
            "rule": half.rule,
            "limits": half.limits,
            "trend": frozen.trend,
        });
        let step = HazardStep::FileEvidence {
            part,
            content: Box::new(content),
        };
        let command = HazardCommand {
            hazard,
            by: "system".into(),
            comment: frozen.unread.unwrap_or_default(),
            step,
        };
        self.centre.command(Input::Hazard(command)).await?;
        Ok(())
    }

    /// Notes a read that failed, and when the next one is; how many there were.
    fn failed(&mut self, key: Key, now: Timestamp) -> u32 {
        let Some(wait) = self.waiting.get_mut(&key) else {
            return READ_TRIES;
        };
        let doubled = PAUSE.saturating_mul(1 << wait.failures.min(10));
        wait.not_before = now + doubled.min(RETRY_LONGEST);
        wait.failures += 1;
        wait.failures
    }
}

/// The halves that are due at `now` and not filed.
fn lacking(watch: &Watch, now: Timestamp) -> Vec<Key> {
    let hazards = watch.ledger().hazards();
    let halves = hazards.flat_map(|hazard| {
        let after = now >= hazard.found_at + REACH;
        let parts = [(EvidencePart::Before, true), (EvidencePart::After, after)];
        parts
            .into_iter()
            .filter(|(part, is_due)| *is_due && !hazard.evidence.contains_key(part))
            .map(|(part, _)| (hazard.id, part))
    });
    halves.collect()
}

/// From when to when a half reaches. The reading of the moment itself is in both.
fn part_of(part: EvidencePart, moment: Timestamp) -> (Timestamp, Timestamp) {
    match part {
        EvidencePart::Before => (
            Timestamp(moment.0.saturating_sub(REACH.as_millis() as i64)),
            moment + Duration::from_millis(1),
        ),
        EvidencePart::After => (moment, moment + REACH),
    }
}

/// What is to be read. The search for neighbours goes over all points, so it is not for the loop's
/// thread.
fn half(config: &Config, concerns: &Concerns, found: &Due) -> Half {
    let hazard = &found.hazard;
    let alarm = concerns.find(&hazard.origin.alarm);
    let points = points_of(config, alarm);
    let tags = points
        .iter()
        .map(|point| config.points[point.index()].tag.clone());
    let alarm = alarm.map(|place| &config.alarms[place]);
    Half {
        part: found.part,
        found_at: found.found_at,
        occurrence: hazard.occurrences.first().copied(),
        at_once: hazard.rule == Rule::LevelTwo,
        by_value: alarm.is_some_and(|alarm| matches!(alarm.condition, Condition::Limit(_))),
        tags: tags.collect(),
        limits: limits_of(config, &points),
        rule: serde_json::to_value(hazard.rule).unwrap_or_default(),
    }
}

/// The point itself and its neighbours; of a unit or gateway, its first points.
fn points_of(config: &Config, alarm: Option<usize>) -> Vec<PointId> {
    let all = || (0..).map(PointId).zip(&config.points);
    let subject = alarm.map(|place| &config.alarms[place].subject);
    let found: Vec<PointId> = match subject {
        Some(Subject::Point(own)) => {
            let centre = &config.points[own.index()];
            let neighbours = all().filter(|(id, point)| {
                id != own && point.kind == centre.kind && point.source == centre.source
            });
            std::iter::once(*own)
                .chain(neighbours.map(|(id, _)| id))
                .take(POINTS_MAX)
                .collect()
        }
        Some(Subject::Unit(gateway, unit)) => all()
            .filter(|(_, point)| point.gateway == *gateway && point.device == *unit)
            .map(|(id, _)| id)
            .take(POINTS_MAX)
            .collect(),
        Some(Subject::Gateway(gateway)) => all()
            .filter(|(_, point)| point.gateway == *gateway)
            .map(|(id, _)| id)
            .take(POINTS_MAX)
            .collect(),
        Some(Subject::Centre) | None => Vec::new(),
    };
    found
}

fn limits_of(config: &Config, points: &[PointId]) -> Value {
    let limits = (points.iter()).flat_map(|point| limits_at(&config.alarms, *point));
    limits
        .map(|(alarm, limit)| {
            json!({
                "alarm": alarm.name,
                "setpoint": limit.setpoint.word(),
                "limit": limit.limit,
                "reset": limit.reset,
                "priority": u8::from(alarm.priority),
                "figure_source": &*alarm.figure_source,
            })
        })
        .collect()
}

/// The limits of a point. They are found and not looked for: in a flood this runs for many points,
/// and the configuration has its limits first, in the order of the points.
fn limits_at(
    alarms: &[AlarmDefinition],
    own: PointId,
) -> impl Iterator<Item = (&AlarmDefinition, Limit)> {
    let limit = |alarm: &AlarmDefinition| match (&alarm.subject, alarm.condition) {
        (Subject::Point(point), Condition::Limit(limit)) => Some((*point, limit)),
        _ => None,
    };
    let before = |alarm: &AlarmDefinition| limit(alarm).is_some_and(|(point, _)| point < own);
    let from = alarms.partition_point(before);
    let rest = alarms.get(from..).unwrap_or_default().iter();
    rest.map_while(move |alarm| match limit(alarm) {
        Some((point, limit)) if point == own => Some((alarm, limit)),
        _ => None,
    })
}

/// Reads one half: the moment out of the journal, the trend out of the series.
fn freeze(series: &SeriesReader, folder: &Path, half: &Half) -> Frozen {
    let (raised_at, mut unread) = match raised_at(folder, half) {
        Ok(raised_at) => (raised_at, None),
        Err(why) => (None, Some(why)),
    };
    let moment = raised_at.unwrap_or(half.found_at);
    let holds_one = raised_at.is_some() && half.by_value && half.part == EvidencePart::Before;
    let (from, to) = part_of(half.part, moment);
    let mut trend = Vec::new();
    for (place, tag) in half.tags.iter().enumerate() {
        let kept = if place == 0 { OWN_MAX } else { NEIGHBOUR_MAX };
        trend.push(match series.range(tag, from, to, READ_MAX) {
            Ok(found) => {
                let thinned = thin(&found.items, kept);
                let readings = thinned.iter().map(|sample| {
                    let value = sample.value.is_finite().then_some(sample.value);
                    json!([sample.at.0, value, sample.quality])
                });
                let readings: Vec<Value> = readings.collect();
                let damaged = found.damaged.iter().map(ToString::to_string);
                let damaged: Vec<String> = damaged.collect();
                let of = found.items.len();
                if place == 0 && of == 0 && holds_one {
                    unread.get_or_insert("could not be read: the reading that raised it".into());
                }
                json!({ "tag": tag, "of": of, "readings": readings, "damaged": damaged })
            }
            Err(error) => {
                let why = format!("could not be read: {error}");
                let course = json!({ "tag": tag, "readings": [], "unread": why });
                unread.get_or_insert(why);
                course
            }
        });
    }
    Frozen {
        moment,
        trend,
        unread,
    }
}

/// No more than `kept` of some readings in the order of time: all, or of each of `kept / 4` equal
/// parts of their time the first, the last, the lowest and the highest.
fn thin(samples: &[Sample], kept: usize) -> Vec<Sample> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return Vec::new();
    };
    if samples.len() <= kept {
        return samples.to_vec();
    }
    let (from, parts) = (first.at, (kept / 4).max(1) as i64);
    let span = last.at.ms_since(from).saturating_add(1);
    let part = |sample: &Sample| sample.at.ms_since(from).saturating_mul(parts) / span;
    let mut thinned = Vec::with_capacity(kept);
    for of_part in samples.chunk_by(|one, next| part(one) == part(next)) {
        let values = || (0..of_part.len()).filter(|place| of_part[*place].value.is_finite());
        let by_value =
            |one: &usize, other: &usize| of_part[*one].value.total_cmp(&of_part[*other].value);
        let ends = [
            Some(0),
            values().min_by(by_value),
            values().max_by(by_value),
        ];
        let places: BTreeSet<usize> = ends
            .into_iter()
            .flatten()
            .chain([of_part.len() - 1])
            .collect();
        thinned.extend(places.into_iter().map(|place| of_part[place]));
    }
    thinned
}

/// When the occurrence was raised, by the gateway's clock, where that is when the entry was found:
/// of what came late, and of what is found at once.
fn raised_at(folder: &Path, half: &Half) -> Result<Option<Timestamp>, String> {
    let Some(occurrence) = half.occurrence else {
        return Ok(None);
    };
    let stored = Reader::open(folder).and_then(|reader| reader.last_change(occurrence));
    let stored = stored.map_err(|error| format!("could not be read: {error}"))?;
    let effects = stored.map(|stored| serde_json::from_slice::<Vec<Effect>>(&stored.effects));
    let effects = effects
        .transpose()
        .map_err(|error| format!("could not be read: {error}"))?;
    let change = effects
        .into_iter()
        .flatten()
        .rev()
        .find_map(|effect| match effect {
            Effect::Alarm(change) if change.occurrence == occurrence => Some(change),
            _ => None,
        });
    Ok(change
        .filter(|change| half.at_once || change.lane == Lane::Historical)
        .map(|change| change.raised_at))
}

#[cfg(test)]
mod tests;
