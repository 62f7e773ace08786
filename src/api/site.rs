//! The site, its sources with their colours, and its gateways.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use davy_core::alarm::Listed;
use davy_core::config::Industry;
use davy_core::reading::{BadCause, PointId, Quality};
use davy_core::warning::{Colour, Warning};
use davy_core::watch::Watch;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::defined::{Defined, Named, made};
use super::fault::{Allowed, Code, Fault, Place};
use super::{Api, Problem};

/// A text in two languages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Words {
    zh: String,
    en: String,
}

/// How far a value can be trusted: `"good"`, or `{"uncertain": cause}` or `{"bad": cause}`.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "it only describes the core's own type")]
pub(super) enum Trust {
    Good,
    Uncertain(String),
    Bad(String),
}

impl From<&davy_core::point::Text> for Words {
    fn from(text: &davy_core::point::Text) -> Self {
        Self {
            zh: text.zh.clone(),
            en: text.en.clone(),
        }
    }
}

/// That a list is asked for of a source which is not configured.
pub(super) fn no_source(watch: &Watch, wanted: &str) -> Option<Fault> {
    let sources = || watch.config().sources.iter().map(|source| &*source.id);
    if sources().any(|id| id == wanted) {
        return None;
    }
    let allowed = Allowed::one_of(sources());
    Some(Fault::new(Code::NotThere, Place::Query, "source", allowed).found(wanted))
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
    /// The alarms that ask for the colour; while it is held, that last asked for it.
    why: Vec<Named>,
    /// Nothing asks for the colour any more. It is held until then at least, and goes down a step.
    held_until_ms: Option<i64>,
    #[schema(value_type = Option<Object>)]
    worst: Option<Value>,
    points: u32,
    /// Points whose latest reading is not good, or is no longer true.
    points_bad: u32,
    /// Points of which nothing has ever come. They are in neither of the other two states.
    points_unknown: u32,
    active: u32,
    unacknowledged: u32,
    hazards_open: u32,
}

/// Every major hazard source with its colour.
#[utoipa::path(get, path = "/api/v1/sources", responses((status = 200, body = Vec<Source>)))]
pub(super) async fn sources(State(shared): Api) -> Result<Response, Problem> {
    let known = shared.centre.ask(known).await?;
    made(move || all_sources(&known)).await
}

/// What the loop alone knows of the sources.
struct Known {
    defined: Defined,
    warnings: Vec<Warning>,
    alarms: Vec<Listed>,
    /// By point: the quality of its latest reading; none before the first.
    qualities: Vec<Option<Quality>>,
    /// By source: open entries of the ledger.
    hazards: BTreeMap<String, u32>,
}

fn known(watch: &Watch) -> Known {
    let points = (0..).map(PointId).take(watch.config().points.len());
    let quality = |id| watch.engine().last(id).map(|reading| reading.quality);
    Known {
        defined: watch.into(),
        warnings: watch.warnings().to_vec(),
        alarms: watch.engine().listed().collect(),
        qualities: points.map(quality).collect(),
        hazards: watch.ledger().open_by_source().clone(),
    }
}

/// What a source's alarms come to.
#[derive(Clone, Copy, Default)]
struct Sum {
    active: u32,
    unacknowledged: u32,
    worst: Option<Listed>,
}

impl Sum {
    fn add(&mut self, alarm: Listed) {
        self.active += u32::from(alarm.active);
        self.unacknowledged += u32::from(!alarm.acknowledged);
        // The highest priority first; of equal ones the unanswered, then the newest.
        let rank = |alarm: &Listed| {
            let newest_first = Reverse(alarm.occurrence);
            (alarm.priority, alarm.acknowledged, newest_first)
        };
        if self.worst.is_none_or(|worst| rank(&alarm) < rank(&worst)) {
            self.worst = Some(alarm);
        }
    }
}

fn all_sources(known: &Known) -> Vec<Source> {
    let config = &known.defined.config;
    let mut sums = vec![Sum::default(); config.sources.len()];
    for alarm in &known.alarms {
        for source in known.defined.concerns.sources_of(alarm.alarm) {
            sums[*source].add(*alarm);
        }
    }
    let mut sights = sights(known);
    (config.sources.iter().zip(&known.warnings).zip(sums))
        .map(|((source, warning), sum)| {
            let sight = sights.remove(source.id.as_str()).unwrap_or_default();
            let why = warning.why.iter();
            Source {
                id: source.id.clone(),
                name: (&source.name).into(),
                industry: source.industry,
                level: source.level,
                owners: serde_json::to_value(&source.owners).unwrap_or_default(),
                colour: warning.colour,
                colour_since_ms: (warning.colour != Colour::None).then_some(warning.since.0),
                why: why.map(|alarm| known.defined.named(alarm)).collect(),
                held_until_ms: warning.held_until(&config.warning).map(|until| until.0),
                worst: sum.worst.map(|alarm| worst(&known.defined, &alarm)),
                points: sight.points,
                points_bad: sight.bad,
                points_unknown: sight.unknown,
                active: sum.active,
                unacknowledged: sum.unacknowledged,
                hazards_open: known.hazards.get(&source.id).copied().unwrap_or(0),
            }
        })
        .collect()
}

fn worst(defined: &Defined, alarm: &Listed) -> Value {
    let name = &defined.config.alarms[alarm.alarm].name;
    let named = defined.named(name);
    json!({ "alarm": name, "tag": named.tag, "subject": named.subject,
            "occurrence": alarm.occurrence, "priority": alarm.priority, "state": alarm.state })
}

/// How many points of a source can be seen.
#[derive(Default)]
struct Sight {
    points: u32,
    bad: u32,
    unknown: u32,
}

/// By source. The points of one mostly stand together, so that most names are compared once.
fn sights(known: &Known) -> BTreeMap<&str, Sight> {
    let points = &known.defined.config.points;
    let mut sights: BTreeMap<&str, Sight> = BTreeMap::new();
    let mut qualities = known.qualities.iter();
    for together in points.chunk_by(|one, next| one.source == next.source) {
        let qualities = qualities.by_ref().take(together.len());
        let Some(source) = together.first().and_then(|point| point.source.as_deref()) else {
            qualities.for_each(drop);
            continue;
        };
        let sight = sights.entry(source).or_default();
        for quality in qualities {
            sight.points += 1;
            sight.unknown += u32::from(quality.is_none());
            sight.bad += u32::from(quality.is_some_and(|quality| !quality.is_good()));
        }
    }
    sights
}

/// A gateway, and what became of its messages. What it has produced is what is committed here,
/// still stored there, or lost.
#[derive(Serialize, ToSchema)]
pub(super) struct Gateway {
    id: String,
    name: Words,
    online: bool,
    since_ms: i64,
    /// When anything of it last came; null before the first.
    heard_at_ms: Option<i64>,
    units: Vec<Unit>,
    /// Messages that are kept here, each once.
    committed: u64,
    /// Messages that it still kept when it last said so.
    stored: u64,
    /// Messages that its full store had to drop.
    lost: u64,
    /// Messages that never came and cannot come any more.
    gap: u64,
    /// Messages that a sender which does not number them has skipped, by Sparkplug's `seq`.
    skipped: u64,
    /// Messages that could not be read.
    unusable: u64,
    /// Metrics that nobody knows.
    unknown: u64,
    /// Readings left out since one of their point was as late or later.
    out_of_order: u64,
    /// Readings sampled more than 5 s ahead of the centre's clock.
    from_future: u64,
    /// Times that the order of a point's readings began anew, since its clock was set back.
    clock_steps_back: u64,
    /// The centre's clock minus the gateway's at its last live message.
    clock_offset_ms: i64,
    /// Beyond so much, either way, it is alarmed.
    clock_offset_max_ms: u64,
}

/// A Modbus unit behind a gateway.
#[derive(Serialize, ToSchema)]
pub(super) struct Unit {
    id: String,
    /// It answers, rightly or not.
    online: bool,
    /// Why it is out of view, as most of its points have it; null while it is in view.
    #[schema(value_type = Option<String>)]
    lost_by: Option<BadCause>,
}

/// The units of a gateway.
fn units(watch: &Watch, gateway: &str, link: &davy_core::gateways::Gateway) -> Vec<Unit> {
    let unseen = if link.online {
        BadCause::NoAnswer
    } else {
        BadCause::LinkDown
    };
    let units = link.units.iter().map(|(id, seen_since)| Unit {
        id: id.clone(),
        online: seen_since.is_some(),
        lost_by: (watch.engine().lost_by(gateway, id)).or(seen_since.is_none().then_some(unseen)),
    });
    units.collect()
}

/// Every gateway and its units.
#[utoipa::path(get, path = "/api/v1/gateways", responses((status = 200, body = Vec<Gateway>)))]
pub(super) async fn gateways(State(shared): Api) -> Result<Json<Vec<Gateway>>, Problem> {
    let gateways = shared.centre.ask(|watch| {
        let clock_offset_max = watch.config().clock_offset_max.as_millis();
        let clock_offset_max_ms = u64::try_from(clock_offset_max).unwrap_or(u64::MAX);
        let configured = watch.config().gateways.iter();
        let linked = configured.filter_map(|gateway| {
            let link = watch.gateways().get(&gateway.id)?;
            Some(Gateway {
                id: gateway.id.clone(),
                name: (&gateway.name).into(),
                online: link.online,
                since_ms: link.since.0,
                heard_at_ms: link.heard_at.map(|at| at.0),
                committed: link.committed,
                units: units(watch, &gateway.id, link),
                stored: link.stored_messages(),
                lost: link.lost,
                gap: link.missing(),
                skipped: link.skipped,
                unusable: link.unusable,
                unknown: link.unknown,
                out_of_order: link.untimely.out_of_order,
                from_future: link.untimely.from_future,
                clock_steps_back: link.untimely.backwards_steps,
                clock_offset_ms: link.clock_offset_ms,
                clock_offset_max_ms,
            })
        });
        linked.collect()
    });
    Ok(Json(gateways.await?))
}
