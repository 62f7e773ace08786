//! The ledger: its entries, one in full with its evidence, and the steps that people take.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use davy_core::hazard::{
    Class, EvidencePart, Hazard, HazardCommand, HazardState, HazardStep, Ledger, Rule, StoryLine,
};
use davy_core::watch::Input;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::alarms::{Done, history};
use super::problem::answered;
use super::site::Words;
use super::steps::StepBody;
use super::{Api, Problem, Shared, read, rows};
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

#[derive(Deserialize, utoipa::IntoParams)]
pub(super) struct ListQuery {
    /// In this state only: `found`, `registered`, `rectifying`, `submitted`, `closed` or
    /// `rejected`; `open` for all but the last two.
    state: Option<String>,
    /// Of this source only.
    source: Option<String>,
    /// Only entries older than this one, for the next page: the last `id` of the page before.
    after: Option<u64>,
    /// At most so many, 1 to 10,000; 10,000 unless said otherwise.
    limit: Option<usize>,
}

/// Entries of the ledger, the newest first; closed ones too. A page that is shorter than `limit`
/// is the last.
#[utoipa::path(get, path = "/api/v1/hazards", params(ListQuery), responses((status = 200, body = Vec<Row>)))]
pub(super) async fn list(
    State(shared): Api,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<Row>>, Problem> {
    let rows = rows(query.limit)?;
    let stored = read(&shared, move |reader| {
        reader.hazards(&HazardQuery {
            source: query.source.as_deref(),
            state: query.state.as_deref(),
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
    Ok(Json(found))
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
#[utoipa::path(get, path = "/api/v1/hazards/{id}", responses((status = 200, body = Entry), (status = 404, body = Problem)))]
pub(super) async fn one(State(shared): Api, Path(id): Path<u64>) -> Result<Json<Entry>, Problem> {
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
#[utoipa::path(post, path = "/api/v1/hazards/{id}/{event}", request_body = StepBody, responses((status = 200, body = Done), (status = 409, body = Problem)))]
pub(super) async fn step(
    State(shared): Api,
    Path((id, event)): Path<(u64, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Json<Done>, Problem> {
    let by = shared.user(&headers)?;
    let Value::Object(mut fields) = body else {
        return Err(Problem::bad_request("the body is not a JSON object"));
    };
    if event == "file_evidence" {
        return Err(Problem::bad_request(
            "step `file_evidence` is the system's own; no person takes it",
        ));
    }
    fields.insert("step".into(), event.into());
    fields.insert("hazard".into(), id.into());
    fields.insert("by".into(), by.into());
    let command: HazardCommand = serde_json::from_value(Value::Object(fields))
        .map_err(|error| Problem::bad_request(format!("the step cannot be read: {error}")))?;
    // Of an entry that never was it is said so; the guards speak of those that are closed.
    find(&shared, id).await?;
    let answer = shared.centre.command(Input::Hazard(command)).await?;
    let number = answered(answer)?;
    Ok(Json(Done { number }))
}
