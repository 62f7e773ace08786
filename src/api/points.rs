//! Points: what they are, their latest value, and their trend.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use davy_core::alarm::{AlarmDefinition, Condition, Subject};
use davy_core::config::Config;
use davy_core::gateways::Gateway;
use davy_core::reading::{PointId, Quality, Reading, Timestamp};
use davy_core::watch::Watch;
use serde::Serialize;
use utoipa::ToSchema;

use super::defined::made;
use super::fault::{Code, Fault, Place};
use super::given::{FromGiven, Given, MOMENTS_MS, Path, Query, numbers};
use super::site::{Trust, Words, no_source};
use super::{Api, Problem};

/// Buckets of a trend, unless fewer are asked for.
const BUCKETS_MAX: usize = 2_000;

/// A point with its latest live value and its limits.
#[derive(Serialize, ToSchema)]
pub(super) struct Point {
    tag: String,
    name: Words,
    kind: String,
    position: Option<String>,
    unit: String,
    low: f64,
    high: f64,
    source: Option<String>,
    gateway: String,
    device: String,
    value: Option<f64>,
    #[schema(value_type = Trust)]
    quality: Quality,
    /// By its gateway's clock.
    sampled_at_ms: Option<i64>,
    /// Centre's clock minus its gateway's, while that is more than the configuration allows; else 0.
    /// What was measured of it at a moment of the centre's stands so much earlier in its trend.
    clock_off_by_ms: i64,
    limits: Vec<PointLimit>,
}

/// A limit of a point.
#[derive(Serialize, ToSchema)]
pub(super) struct PointLimit {
    alarm: String,
    setpoint: &'static str,
    limit: f64,
    reset: f64,
    priority: u8,
    figure_source: Words,
}

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Of this source only.
    source: Option<String>,
}

impl FromGiven for ListQuery {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        let source = given.text("source")?;
        Ok(Self { source })
    }
}

/// Points, of one source or of all.
#[utoipa::path(get, path = "/api/v1/points", operation_id = "points", params(ListQuery), responses((status = 200, body = Vec<Point>), (status = 404, body = Problem, description = "no such source")))]
pub(super) async fn list(
    State(shared): Api,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let source = query.source.clone();
    let known = shared.centre.ask(move |watch| {
        let wanted = source.as_deref();
        if let Some(fault) = wanted.and_then(|source| no_source(watch, source)) {
            return Err(fault);
        }
        let ids = (0..).map(PointId).take(watch.config().points.len());
        let seen: Vec<Seen> = ids.map(|id| seen(watch, id)).collect();
        Ok((Arc::clone(watch.config()), seen))
    });
    let (config, seen) = known.await??;
    made(move || -> Vec<Point> {
        let wanted = query.source.as_deref();
        let points = config.points.iter().zip(seen).zip(limits_by_point(&config));
        points
            .filter(|((point, _), _)| wanted.is_none() || point.source.as_deref() == wanted)
            .map(|((point, seen), limits)| shown(point, seen, limits))
            .collect()
    })
    .await
}

/// Which point.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ByTag {
    /// Its tag.
    tag: String,
}

impl FromGiven for ByTag {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        let tag = given.needed_text("tag")?;
        Ok(Self { tag })
    }
}

/// One point.
#[utoipa::path(get, path = "/api/v1/points/{tag}", operation_id = "point", params(ByTag), responses((status = 200, body = Point), (status = 404, body = Problem, description = "no such point")))]
pub(super) async fn one(
    State(shared): Api,
    Path(ByTag { tag }): Path<ByTag>,
) -> Result<Response, Problem> {
    let wanted = tag.clone();
    let found = shared.centre.ask(move |watch| {
        let id = watch.directory().find(&wanted)?;
        Some((Arc::clone(watch.config()), id, seen(watch, id)))
    });
    let (config, id, seen) = found.await?.ok_or_else(|| no_point(&tag))?;
    made(move || {
        let own = config
            .alarms
            .iter()
            .filter(|alarm| alarm.subject == Subject::Point(id));
        let limits = own.filter_map(limit_of).map(|(_, limit)| limit).collect();
        shown(&config.points[id.index()], seen, limits)
    })
    .await
}

pub(super) fn no_point(tag: &str) -> Problem {
    Problem::not_found(format!("no point `{tag}` in the configuration"))
}

/// What the loop alone knows of a point: its latest live reading, and what became of its quality.
type Seen = (Option<Reading>, Quality, i64);

fn seen(watch: &Watch, id: PointId) -> Seen {
    let gateway = &watch.config().points[id.index()].gateway;
    let off = clock_off_by(watch, gateway);
    (watch.engine().last(id), watch.engine().quality(id), off)
}

/// The limits of each point, in the order of the configuration.
fn limits_by_point(config: &Config) -> Vec<Vec<PointLimit>> {
    let mut limits: Vec<Vec<PointLimit>> = config.points.iter().map(|_| Vec::new()).collect();
    for (point, limit) in config.alarms.iter().filter_map(limit_of) {
        limits[point.index()].push(limit);
    }
    limits
}

/// The point that an alarm limits, and how.
fn limit_of(alarm: &AlarmDefinition) -> Option<(PointId, PointLimit)> {
    let (Subject::Point(point), Condition::Limit(limit)) = (&alarm.subject, alarm.condition) else {
        return None;
    };
    let shown = PointLimit {
        alarm: alarm.name.clone(),
        setpoint: limit.setpoint.word(),
        limit: limit.limit,
        reset: limit.reset,
        priority: alarm.priority.into(),
        figure_source: (&*alarm.figure_source).into(),
    };
    Some((*point, shown))
}

fn shown(
    point: &davy_core::point::Point,
    (last, quality, clock_off_by_ms): Seen,
    limits: Vec<PointLimit>,
) -> Point {
    let value = last.map(|reading| reading.value);
    Point {
        tag: point.tag.clone(),
        name: (&point.name).into(),
        kind: point.kind.clone(),
        position: point.position.clone(),
        unit: point.unit.clone(),
        low: point.range.low,
        high: point.range.high,
        source: point.source.clone(),
        gateway: point.gateway.clone(),
        device: point.device.clone(),
        value: value.filter(|value| value.is_finite()),
        quality,
        sampled_at_ms: last.map(|reading| reading.sampled_at.0),
        clock_off_by_ms,
        limits,
    }
}

/// By how much the clock of a gateway is off, where that is more than is allowed.
fn clock_off_by(watch: &Watch, gateway: &str) -> i64 {
    let gateway = watch.gateways().get(gateway);
    gateway.map_or(0, Gateway::clock_off_by_ms)
}

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TrendQuery {
    /// From this moment of its gateway's clock, in ms; an hour before `to_ms` unless said otherwise.
    from_ms: Option<i64>,
    /// Up to but without this moment of its gateway's clock, in ms; what that shows now unless said
    /// otherwise.
    to_ms: Option<i64>,
    /// In so many buckets, 1 to 2,000; 600 unless said otherwise.
    #[param(minimum = 1, maximum = 2_000)]
    buckets: Option<usize>,
}

impl FromGiven for TrendQuery {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        Ok(Self {
            from_ms: given.number("from_ms", MOMENTS_MS)?,
            to_ms: given.number("to_ms", MOMENTS_MS)?,
            buckets: given.number("buckets", 1..=BUCKETS_MAX)?,
        })
    }
}

/// The course of a point.
#[derive(Serialize, ToSchema)]
pub(super) struct Trend {
    tag: String,
    unit: String,
    buckets: Vec<Bucket>,
    /// Stretches that could not be read; their buckets lack what was in them.
    damaged: Vec<String>,
}

/// What was measured in one stretch of time. A count of 0 is a gap.
#[derive(Serialize, ToSchema)]
pub(super) struct Bucket {
    at_ms: i64,
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    /// Good and uncertain readings: those that the figures are made of.
    count: u64,
    bad: u64,
    /// Which qualities its readings had that were not good; left out when there is none. A value
    /// of calibration gas is in the figures: whoever draws them marks it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>, required = false)]
    not_good: Vec<Quality>,
}

/// The course of a point in buckets; gaps are gaps.
#[utoipa::path(get, path = "/api/v1/points/{tag}/trend", params(ByTag, TrendQuery), responses((status = 200, body = Trend), (status = 404, body = Problem, description = "no such point")))]
pub(super) async fn trend(
    State(shared): Api,
    Path(ByTag { tag }): Path<ByTag>,
    Query(query): Query<TrendQuery>,
) -> Result<Json<Trend>, Problem> {
    let wanted = tag.clone();
    let about = shared.centre.ask(move |watch| {
        let id = watch.directory().find(&wanted)?;
        let point = &watch.config().points[id.index()];
        let off = clock_off_by(watch, &point.gateway);
        Some((point.unit.clone(), off))
    });
    let (unit, off) = about.await?.ok_or_else(|| no_point(&tag))?;
    let now = shared.centre.now().0;
    let to = query.to_ms.unwrap_or(now.saturating_sub(off));
    let from = query.from_ms.unwrap_or(to.saturating_sub(3_600_000));
    let buckets = query.buckets.unwrap_or(600);
    if from >= to {
        let before = numbers(&(*MOMENTS_MS.start()..=to.saturating_sub(1)));
        let fault = Fault::new(Code::NotAllowed, Place::Query, "from_ms", before);
        return Err(fault.found(&from.to_string()).into());
    }
    let series = shared.sinks.series();
    let asked = tag.clone();
    let found = tokio::task::spawn_blocking(move || {
        series.buckets(&asked, Timestamp(from), Timestamp(to), buckets)
    });
    let found = match found.await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(Problem::internal("reading the series", &error)),
        Err(error) => return Err(Problem::internal("reading the series", &error)),
    };
    let shown = |value: f64| value.is_finite().then_some(value);
    Ok(Json(Trend {
        tag,
        unit,
        buckets: (found.items.iter())
            .map(|bucket| Bucket {
                at_ms: bucket.at.0,
                min: shown(bucket.min),
                max: shown(bucket.max),
                mean: shown(bucket.mean),
                count: bucket.count,
                bad: bucket.bad,
                not_good: bucket.seen.not_good().collect(),
            })
            .collect(),
        damaged: found.damaged.iter().map(ToString::to_string).collect(),
    }))
}
