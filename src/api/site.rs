//! The site, its sources with their colours, and its gateways.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use davy_core::alarm::State as AlarmState;
use davy_core::config::Industry;
use davy_core::warning::Colour;
use davy_core::watch::Watch;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Api, Problem};

/// A text in two languages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Words {
    zh: String,
    en: String,
}

impl From<&davy_core::point::Text> for Words {
    fn from(text: &davy_core::point::Text) -> Self {
        Self {
            zh: text.zh.clone(),
            en: text.en.clone(),
        }
    }
}

/// The site as a whole.
#[derive(Serialize, ToSchema)]
pub(super) struct Site {
    name: Words,
    group: String,
    languages: [&'static str; 2],
    number: u64,
    now_ms: i64,
}

/// The site: its name, and how far the journal has come.
#[utoipa::path(get, path = "/api/v1/site", responses((status = 200, body = Site)))]
pub(super) async fn site(State(shared): Api) -> Result<Json<Site>, Problem> {
    let now_ms = shared.centre.now().0;
    let site = shared.centre.ask(move |watch| Site {
        name: (&watch.config().name).into(),
        group: watch.config().group.clone(),
        languages: ["zh", "en"],
        number: watch.number(),
        now_ms,
    });
    Ok(Json(site.await?))
}

/// A major hazard source, its colour and worst alarm.
#[derive(Serialize, ToSchema)]
pub(super) struct Source {
    id: String,
    name: Words,
    #[schema(value_type = String)]
    industry: Industry,
    level: Option<u8>,
    #[schema(value_type = Object)]
    owners: Value,
    #[schema(value_type = String)]
    colour: Colour,
    colour_since_ms: Option<i64>,
    why: Vec<String>,
    #[schema(value_type = Object)]
    worst: Option<Value>,
    points: u32,
    points_bad: usize,
    active: u32,
    unacknowledged: u32,
    hazards_open: u32,
}

/// Every major hazard source with its colour.
#[utoipa::path(get, path = "/api/v1/sources", responses((status = 200, body = Vec<Source>)))]
pub(super) async fn sources(State(shared): Api) -> Result<Json<Vec<Source>>, Problem> {
    Ok(Json(shared.centre.ask(all_sources).await?))
}

/// What a source's alarms come to.
#[derive(Default)]
struct Sum {
    active: u32,
    unacknowledged: u32,
    worst: Option<(u8, bool, u64, String, AlarmState)>,
}

fn all_sources(watch: &Watch) -> Vec<Source> {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for alarm in watch.engine().alarms() {
        for source in watch.sources_of(alarm.alarm) {
            let sum = sums.entry(source).or_default();
            sum.active += u32::from(alarm.axes.active);
            sum.unacknowledged += u32::from(!alarm.axes.acknowledged);
            // The highest priority first; of equal ones the unanswered, then the newest.
            let rank = (
                u8::from(alarm.priority),
                alarm.axes.acknowledged,
                u64::MAX - alarm.occurrence,
            );
            let better = sum
                .worst
                .as_ref()
                .is_none_or(|(priority, acked, occurrence, ..)| {
                    rank < (*priority, *acked, u64::MAX - occurrence)
                });
            if better {
                sum.worst = Some((
                    rank.0,
                    rank.1,
                    alarm.occurrence,
                    alarm.name.to_owned(),
                    alarm.state,
                ));
            }
        }
    }
    let mut hazards: BTreeMap<&str, u32> = BTreeMap::new();
    for hazard in watch.ledger().hazards() {
        if let (true, Some(source)) = (hazard.state.is_open(), &hazard.origin.source) {
            *hazards.entry(source).or_default() += 1;
        }
    }
    let config = watch.config();
    let warnings = watch.warnings().iter();
    (config.sources.iter().zip(warnings).enumerate())
        .map(|(place, (source, warning))| {
            let facts = watch.facts(place);
            let sum = sums.remove(source.id.as_str()).unwrap_or_default();
            Source {
                id: source.id.clone(),
                name: (&source.name).into(),
                industry: source.industry,
                level: source.level,
                owners: serde_json::to_value(&source.owners).unwrap_or_default(),
                colour: warning.colour,
                colour_since_ms: (warning.colour != Colour::None).then_some(warning.since.0),
                why: warning.why.clone(),
                worst: sum.worst.map(|(priority, _, occurrence, alarm, state)| {
                    json!({ "alarm": alarm, "occurrence": occurrence,
                            "priority": priority, "state": state })
                }),
                points: facts.points,
                points_bad: facts.unseen.len().min(facts.points as usize),
                active: sum.active,
                unacknowledged: sum.unacknowledged,
                hazards_open: hazards.get(source.id.as_str()).copied().unwrap_or(0),
            }
        })
        .collect()
}

/// A gateway, and what became of its messages.
#[derive(Serialize, ToSchema)]
pub(super) struct Gateway {
    id: String,
    name: Words,
    online: bool,
    since_ms: i64,
    units: Vec<Unit>,
    stored: u64,
    lost: u64,
    gap: u64,
    unusable: u64,
    unknown: u64,
    clock_offset_ms: i64,
}

/// A Modbus unit behind a gateway.
#[derive(Serialize, ToSchema)]
pub(super) struct Unit {
    id: String,
    online: bool,
}

/// Every gateway and its units.
#[utoipa::path(get, path = "/api/v1/gateways", responses((status = 200, body = Vec<Gateway>)))]
pub(super) async fn gateways(State(shared): Api) -> Result<Json<Vec<Gateway>>, Problem> {
    let gateways = shared.centre.ask(|watch| {
        let configured = watch.config().gateways.iter();
        let linked = configured.filter_map(|gateway| {
            let link = watch.links().get(&gateway.id)?;
            let units = link.units.iter();
            Some(Gateway {
                id: gateway.id.clone(),
                name: (&gateway.name).into(),
                online: link.online,
                since_ms: link.since.0,
                units: units
                    .map(|(id, online)| Unit {
                        id: id.clone(),
                        online: *online,
                    })
                    .collect(),
                stored: (link.stored.iter())
                    .map(|kept| (kept.last + 1).saturating_sub(kept.first))
                    .sum(),
                lost: link.lost,
                gap: link.missing,
                unusable: link.unusable,
                unknown: link.unknown,
                clock_offset_ms: link.clock_offset_ms,
            })
        });
        linked.collect()
    });
    Ok(Json(gateways.await?))
}
