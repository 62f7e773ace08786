//! The ledger: its entries, one in full with its evidence, and the steps that people take.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use davy_core::hazard::{
    Class, EvidencePart, Hazard, HazardCommand, HazardState, HazardStep, Ledger, Rule, StoryLine,
};
use davy_core::watch::Input;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::alarms::{Done, history};
use super::fault::{Code, Fault, Place};
use super::given::{Body, FromGiven, Given, Path, Query, numbers};
use super::problem::answered;
use super::site::{Words, no_source};
use super::steps::{self, StepBody};
use super::{Api, Problem, ROWS_MAX, Shared, read};
use crate::entry;
use crate::journal::reader::HazardQuery;

/// One row of the ledger.
#[derive(Serialize, ToSchema)]
pub(super) struct Row {
    id: String,
    source: Option<String>,
    subject: String,
    title: Words,
    alarm: String,
    #[schema(value_type = String)]
    rule: Rule,
    #[schema(value_type = String)]
    class: Class,
    #[schema(value_type = String)]
    state: HazardState,
    overdue: bool,
    supervised: bool,
    found_at_ms: i64,
    deadline_ms: i64,
    occurrences: Vec<u64>,
    occurrence_count: u64,
    repeats: Option<u64>,
}

impl From<&Hazard> for Row {
    fn from(hazard: &Hazard) -> Self {
        Self {
            id: hazard.id.to_string(),
            source: hazard.origin.source.clone(),
            subject: hazard.origin.subject.clone(),
            title: (&hazard.origin.title).into(),
            alarm: hazard.origin.alarm.clone(),
            rule: hazard.rule,
            class: hazard.class,
            state: hazard.state,
            overdue: hazard.overdue,
            supervised: hazard.supervised,
            found_at_ms: hazard.found_at.0,
            deadline_ms: hazard.deadline.0,
            occurrences: hazard.occurrences.clone(),
            occurrence_count: hazard.occurrence_count,
            repeats: hazard.repeats,
        }
    }
}

/// States by which the ledger is filtered.
const STATES: [&str; 7] = [
    "found",
    "registered",
    "rectifying",
    "submitted",
    "closed",
    "rejected",
    "open",
];

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// In this state only: `found`, `registered`, `rectifying`, `submitted`, `closed` or
    /// `rejected`; `open` for all but the last two.
    #[param(schema_with = states)]
    state: Option<&'static str>,
    /// Of this source only.
    source: Option<String>,
    /// Only entries older than this one, for the next page: the last `id` of the page before.
    #[param(minimum = 1)]
    after: Option<u64>,
    /// At most so many, 1 to 10,000; 10,000 unless said otherwise.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
}

impl FromGiven for ListQuery {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        Ok(Self {
            state: given.one_of("state", &STATES.map(|state| (state, state)))?,
            source: given.text("source")?,
            after: given.number("after", 1..=u64::MAX)?,
            limit: given.number("limit", 1..=ROWS_MAX)?,
        })
    }
}

fn states() -> Object {
    words(&STATES)
}

fn events() -> Object {
    words(&steps::NAMES)
}

/// One of these, for the description.
fn words(words: &[&str]) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.enum_values(Some(words.iter().copied())).build()
}

/// Entries of the ledger, the newest first; closed ones too. A page that is shorter than `limit`
/// is the last.
#[utoipa::path(get, path = "/api/v1/hazards", operation_id = "hazards", params(ListQuery), responses((status = 200, body = Vec<Row>), (status = 404, body = Problem, description = "no such source, or no entry `after`")))]
pub(super) async fn list(
    State(shared): Api,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<Row>>, Problem> {
    let rows = query.limit.unwrap_or(ROWS_MAX);
    if let Some(after) = query.after {
        is_there(&shared, after).await?;
    }
    let source = query.source.clone();
    let stored = read(&shared, move |reader| {
        reader.hazards(&HazardQuery {
            source: query.source.as_deref(),
            state: query.state,
            after: query.after.unwrap_or(0),
            rows,
        })
    });
    let mut found = Vec::new();
    for stored in stored.await? {
        let hazard: Hazard = serde_json::from_str(&stored.json)
            .map_err(|error| Problem::internal("reading an entry of the ledger", &error))?;
        found.push(Row::from(&hazard));
    }
    if let (true, Some(source)) = (found.is_empty(), source) {
        is_known(&shared, source).await?;
    }
    Ok(Json(found))
}

/// Refuses a page that begins after an entry which never was.
async fn is_there(shared: &Shared, after: u64) -> Result<(), Problem> {
    let (newest, found) = read(shared, move |reader| {
        let newest = reader.hazards(&HazardQuery {
            source: None,
            state: None,
            after: 0,
            rows: 1,
        })?;
        Ok((newest, reader.hazard(after)?))
    })
    .await?;
    if found.is_some() {
        return Ok(());
    }
    let newest = newest.first().map_or(0, |newest| newest.id);
    let fault = Fault::new(
        Code::NotThere,
        Place::Query,
        "after",
        numbers(&(1..=newest)),
    );
    Err(fault.found(&after.to_string()).into())
}

/// Refuses a source that is not configured and of which the ledger has nothing either: one that is
/// no longer configured keeps its entries.
async fn is_known(shared: &Shared, source: String) -> Result<(), Problem> {
    let wanted = source.clone();
    let fault = shared.centre.ask(move |watch| no_source(watch, &wanted));
    let Some(fault) = fault.await? else {
        return Ok(());
    };
    let kept = read(shared, move |reader| {
        reader.hazards(&HazardQuery {
            source: Some(&source),
            state: None,
            after: 0,
            rows: 1,
        })
    });
    if kept.await?.is_empty() {
        return Err(fault.into());
    }
    Ok(())
}

/// Which entry.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ById {
    /// Its number in the ledger.
    id: u64,
}

impl FromGiven for ById {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        let id = given.needed_number("id", 0..=u64::MAX)?;
        Ok(Self { id })
    }
}

/// Which entry, and which step.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct StepPath {
    /// Its number in the ledger.
    id: u64,
    /// The step's name.
    #[param(schema_with = events)]
    event: &'static str,
}

impl FromGiven for StepPath {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        let ById { id } = ById::read(given)?;
        let event = given.one_of("event", &steps::NAMES.map(|name| (name, name)))?;
        // Without one the path would have led elsewhere.
        let event = event.unwrap_or_default();
        Ok(Self { id, event })
    }
}

/// One entry with its evidence, its story, and the steps that its state allows.
#[derive(Serialize, ToSchema)]
pub(super) struct Entry {
    #[serde(flatten)]
    row: Row,
    /// Its alarms that are active now.
    active_alarms: Vec<String>,
    /// Its alarms that are no longer configured: closing it needs a comment that says why it can be
    /// closed though nobody measures them.
    gone_alarms: Vec<String>,
    /// Since when none of the others is active, seen to be so without a break; null while one is, or
    /// cannot be seen, and when there are no others.
    normal_since_ms: Option<i64>,
    rectified_by: Option<String>,
    #[schema(value_type = Option<Object>)]
    five_items: Value,
    failed_rechecks: u32,
    evidence: Evidence,
    story: Vec<Line>,
    allowed: &'static [&'static str],
}

/// What was frozen when it was found, and ten minutes later.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct Evidence {
    /// What the trend is around: when it was found, or of what came late when it was taken.
    moment_ms: Option<i64>,
    #[schema(value_type = Vec<Object>)]
    trend: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    limits: Value,
    rule: String,
    #[schema(value_type = Vec<Object>)]
    actions: Vec<Value>,
    /// Journal entries that hold it: provable by the chain.
    entries: Vec<u64>,
}

/// One line of an entry's story.
#[derive(Serialize, ToSchema)]
pub(super) struct Line {
    at_ms: i64,
    by: String,
    event: String,
    comment: Option<String>,
}

impl From<&StoryLine> for Line {
    fn from(line: &StoryLine) -> Self {
        Self {
            at_ms: line.at.0,
            by: line.by.clone(),
            event: line.event.clone(),
            comment: (!line.comment.is_empty()).then(|| line.comment.clone()),
        }
    }
}

/// One entry of the ledger in full.
#[utoipa::path(get, path = "/api/v1/hazards/{id}", operation_id = "hazard", params(ById), responses((status = 200, body = Entry), (status = 404, body = Problem, description = "no such entry")))]
pub(super) async fn one(
    State(shared): Api,
    Path(ById { id }): Path<ById>,
) -> Result<Json<Entry>, Problem> {
    let (hazard, gone_alarms) = find(&shared, id).await?;
    let mut evidence = evidence(&shared, &hazard).await?;
    if let Some(occurrence) = hazard.occurrences.first() {
        let changes = history(&shared, *occurrence).await?;
        let values = changes.iter().map(serde_json::to_value);
        evidence.actions = values.filter_map(Result::ok).collect();
    }
    Ok(Json(Entry {
        row: (&hazard).into(),
        active_alarms: hazard.active_alarms.iter().cloned().collect(),
        gone_alarms,
        normal_since_ms: hazard.normal_since.map(|at| at.0),
        rectified_by: hazard.rectified_by.clone(),
        five_items: serde_json::to_value(&hazard.five_items).unwrap_or_default(),
        failed_rechecks: hazard.failed_rechecks,
        evidence,
        story: hazard.story.iter().map(Line::from).collect(),
        allowed: Ledger::allowed(hazard.state),
    }))
}

/// An entry, and its alarms that are no longer configured; of a closed one nobody asks for those.
async fn find(shared: &Shared, id: u64) -> Result<(Hazard, Vec<String>), Problem> {
    let live = shared.centre.ask(move |watch| {
        let mut hazard = watch.ledger().hazard(id).cloned()?;
        // The time in which the point could not be seen does not count.
        hazard.normal_since = watch.normal_since(&hazard);
        let gone = if hazard.state.is_open() {
            watch.gone_alarms(&hazard).cloned().collect()
        } else {
            Vec::new()
        };
        Some((hazard, gone))
    });
    if let Some(found) = live.await? {
        return Ok(found);
    }
    let stored = read(shared, move |reader| reader.hazard(id)).await?;
    let stored =
        stored.ok_or_else(|| Problem::not_found(format!("no entry {id} in the ledger")))?;
    let hazard = serde_json::from_str(&stored.json)
        .map_err(|error| Problem::internal("reading an entry of the ledger", &error))?;
    Ok((hazard, Vec::new()))
}

/// The halves that are filed, out of the journal entries that hold them.
async fn evidence(shared: &Shared, hazard: &Hazard) -> Result<Evidence, Problem> {
    let mut evidence = Evidence {
        rule: serde_json::to_string(&hazard.rule).unwrap_or_default(),
        ..Evidence::default()
    };
    evidence.rule = evidence.rule.trim_matches('"').to_owned();
    for (part, number) in &hazard.evidence {
        let number = *number;
        evidence.entries.push(number);
        let stored = read(shared, move |reader| {
            reader.read_on(number.saturating_sub(1), usize::MAX, 1)
        });
        let stored = stored.await?;
        let bytes = stored.first().and_then(|entry| {
            let input = entry.input.as_deref()?;
            entry::decode(entry.kind, input).ok()
        });
        let Some(Input::Hazard(HazardCommand {
            step: HazardStep::FileEvidence { content, .. },
            ..
        })) = bytes
        else {
            continue;
        };
        evidence.moment_ms = content["moment_ms"].as_i64();
        if *part == EvidencePart::Before {
            evidence.limits = content["limits"].clone();
        }
        join_trends(&mut evidence.trend, &content["trend"]);
    }
    Ok(evidence)
}

/// Appends the readings of each point to those that are there.
fn join_trends(trend: &mut Vec<Value>, more: &Value) {
    for course in more.as_array().into_iter().flatten() {
        let known = trend.iter_mut().find(|one| one["tag"] == course["tag"]);
        let readings = known.and_then(|one| one["readings"].as_array_mut());
        match (readings, course["readings"].as_array()) {
            (Some(readings), Some(more)) => readings.extend(more.iter().cloned()),
            _ => trend.push(course.clone()),
        }
    }
}

/// Takes a step with an entry: `verify`, `reject`, `notice`, `fix_on_the_spot`, `extend`, `submit`,
/// `fail_recheck`, `pass_recheck` or `supervise`. Which of them its state allows, the entry says
/// itself (`allowed`); what a guard forbids is refused with what would satisfy it.
#[utoipa::path(post, path = "/api/v1/hazards/{id}/{event}", params(StepPath), request_body = StepBody, responses((status = 200, body = Done), (status = 404, body = Problem, description = "no such entry"), (status = 409, body = Problem, description = "a guard forbids it: `refused`")))]
pub(super) async fn step(
    State(shared): Api,
    Path(StepPath { id, event }): Path<StepPath>,
    headers: HeaderMap,
    Body(mut given): Body<Given>,
) -> Result<Json<Done>, Problem> {
    let by = shared.user(&headers)?;
    let (step, comment) = steps::read(event, &mut given)?;
    let command = HazardCommand {
        hazard: id,
        by,
        comment,
        step,
    };
    // Of an entry that never was it is said so; the guards speak of those that are closed.
    find(&shared, id).await?;
    let answer = shared.centre.command(Input::Hazard(command)).await?;
    let number = answered(answer)?;
    Ok(Json(Done { number }))
}
