//! Freezes the evidence of an entry of the ledger: the trend ten minutes before and after the
//! moment it was found, with the limits in force.
//!
//! Its place: it looks at what is committed, reads the series once that has caught up, and files
//! what it read as a command. So the evidence is an input of the journal: in the chain, kept when
//! the readings themselves are pruned, and filed once however often the centre is killed.
//!
//! Limits: [`POINTS_MAX`] points and [`READINGS_MAX`] readings of each a half, [`FILED_MAX`]
//! entries a pass.

use std::time::Duration;

use davy_core::alarm::{AlarmDefinition, Condition, Limit, Subject};
use davy_core::hazard::{EvidencePart, Hazard, HazardCommand, HazardStep};
use davy_core::reading::{PointId, Timestamp};
use davy_core::watch::{Input, Watch};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::centre::{Centre, Ended};
use crate::sinks::Sinks;

/// How far the evidence reaches to either side.
const REACH: Duration = Duration::from_mins(10);

/// Points of one entry: its own, then its neighbours of the same kind at the same source.
const POINTS_MAX: usize = 8;

/// Readings of one point in one half: ten a second.
const READINGS_MAX: usize = 6_000;

/// Entries of one pass.
const FILED_MAX: usize = 50;

/// How often it looks.
const PAUSE: Duration = Duration::from_secs(1);

/// One half that is to be frozen.
struct Due {
    hazard: u64,
    part: EvidencePart,
    from: Timestamp,
    to: Timestamp,
    tags: Vec<String>,
    limits: Value,
    rule: Value,
    /// The series must have come so far.
    number: u64,
}

/// Runs until cancelled or the centre ends.
pub async fn run(centre: Centre, sinks: Sinks, cancel: CancellationToken) {
    let mut pause = tokio::time::interval(PAUSE);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = pause.tick() => {}
        }
        if pass(&centre, &sinks).await.is_err() {
            return;
        }
    }
}

async fn pass(centre: &Centre, sinks: &Sinks) -> Result<(), Ended> {
    let now = centre.now();
    let due = centre.ask(move |watch| due(watch, now)).await?;
    for half in due {
        if sinks.series_cursor() < half.number {
            // The readings are not all in the series yet: the next pass finds them.
            return Ok(());
        }
        let trend = trend(sinks, &half).await;
        let content = json!({
            "from_ms": half.from.0,
            "to_ms": half.to.0,
            "rule": half.rule,
            "limits": half.limits,
            "trend": trend,
        });
        let step = HazardStep::FileEvidence {
            part: half.part,
            content: Box::new(content),
        };
        let command = HazardCommand {
            hazard: half.hazard,
            by: "system".into(),
            comment: String::new(),
            step,
        };
        centre.command(Input::Hazard(command)).await?;
    }
    Ok(())
}

/// What is to be frozen now, oldest entries first.
fn due(watch: &Watch, now: Timestamp) -> Vec<Due> {
    let mut due = Vec::new();
    for hazard in watch.ledger().hazards() {
        if due.len() >= FILED_MAX {
            break;
        }
        let lacks = |part| !hazard.evidence.contains_key(&part);
        let found = hazard.found_at;
        let before = Timestamp(found.0 - REACH.as_millis() as i64);
        if lacks(EvidencePart::Before) {
            due.push(half(watch, hazard, EvidencePart::Before, before, found));
        } else if lacks(EvidencePart::After) && now >= found + REACH {
            let after = found + REACH;
            due.push(half(watch, hazard, EvidencePart::After, found, after));
        }
    }
    due
}

fn half(watch: &Watch, hazard: &Hazard, part: EvidencePart, from: Timestamp, to: Timestamp) -> Due {
    let points = points_of(watch, hazard);
    let config = watch.config();
    let tags = points
        .iter()
        .map(|point| config.points[point.index()].tag.clone());
    Due {
        hazard: hazard.id,
        part,
        from,
        to,
        tags: tags.collect(),
        limits: limits_of(watch, &points),
        rule: serde_json::to_value(hazard.rule).unwrap_or_default(),
        number: watch.number(),
    }
}

/// The point itself and its neighbours; of a unit or gateway, its first points.
fn points_of(watch: &Watch, hazard: &Hazard) -> Vec<PointId> {
    let config = watch.config();
    let all = || (0..).map(PointId).zip(&config.points);
    let alarm = watch.find_alarm(&hazard.origin.alarm);
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

fn limits_of(watch: &Watch, points: &[PointId]) -> Value {
    let alarms = &watch.config().alarms;
    let limits = points.iter().flat_map(|point| limits_at(alarms, *point));
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

/// The limits of a point. They are found and not looked for: in a flood this runs on the loop's
/// thread for many points, and the configuration has its limits first, in the order of the points.
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

async fn trend(sinks: &Sinks, half: &Due) -> Vec<Value> {
    let mut trend = Vec::new();
    for tag in &half.tags {
        let series = sinks.series();
        let (asked, from, to) = (tag.clone(), half.from, half.to);
        let read =
            tokio::task::spawn_blocking(move || series.range(&asked, from, to, READINGS_MAX));
        let readings: Vec<Value> = match read.await {
            Ok(Ok(found)) => (found.items.iter())
                .map(|sample| {
                    let value = sample.value.is_finite().then_some(sample.value);
                    json!([sample.at.0, value, sample.quality])
                })
                .collect(),
            Ok(Err(error)) => {
                tracing::error!(%error, tag, "evidence lacks a trend that cannot be read");
                Vec::new()
            }
            Err(error) => {
                tracing::error!(%error, tag, "evidence lacks a trend that cannot be read");
                Vec::new()
            }
        };
        trend.push(json!({ "tag": tag, "readings": readings }));
    }
    trend
}

#[cfg(test)]
mod tests {
    use davy_core::config::Config;

    use super::*;

    #[test]
    fn the_limits_of_every_point_of_the_demo_are_found() {
        let files = crate::demo::files(2).unwrap_or_default();
        let config = davy_core::config::check(&files).unwrap_or_else(|_| Config::empty());
        assert!(!config.points.is_empty());
        for own in (0..config.points.len() as u32).map(PointId) {
            let of_point = |alarm: &&AlarmDefinition| {
                alarm.subject == Subject::Point(own)
                    && matches!(alarm.condition, Condition::Limit(_))
            };
            let looked_for: Vec<_> = config.alarms.iter().filter(of_point).collect();
            let found: Vec<_> = limits_at(&config.alarms, own)
                .map(|(alarm, _)| alarm)
                .collect();
            assert_eq!(found, looked_for, "{own:?}");
        }
    }
}
