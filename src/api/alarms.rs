//! The alarm list: what is active or unanswered, one occurrence in full, acknowledge and reset.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use davy_core::alarm::{AlarmChange, Axes, Command, Condition, Limit, Listed, State as AlarmState};
use davy_core::reading::{Lane, PointId, Quality, Timestamp};
use davy_core::watch::{Effect, Input, Watch};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::defined::{Defined, made};
use super::fault::Fault;
use super::given::{Body, FromGiven, Given, Path, Query};
use super::problem::answered;
use super::site::{Trust, Words};
use super::{Api, Problem, ROWS_MAX, Shared, read};

/// Entries of the history of one occurrence; the first ones.
const HISTORY_ENTRIES_MAX: usize = 1_000;

/// One row of the list.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the interface")]
pub(super) struct Alarm {
    occurrence: u64,
    alarm: String,
    tag: Option<String>,
    subject: Words,
    source: Option<String>,
    setpoint: &'static str,
    priority: u8,
    #[schema(value_type = String)]
    state: AlarmState,
    #[schema(value_type = Object)]
    axes: Axes,
    #[schema(value_type = String)]
    lane: Lane,
    unknown: bool,
    would_be_in_alarm: bool,
    raised_at_ms: i64,
    changed_at_ms: i64,
    value: Option<f64>,
    limit: Option<f64>,
    unit: Option<String>,
    /// Null for an alarm that is about no point.
    #[schema(value_type = Option<Trust>)]
    quality: Option<Quality>,
    /// The horn sounds for it: until somebody acknowledges it, also when it has returned.
    sounds: bool,
    acknowledged_by: Option<String>,
}

/// The list, and the journal's number at which it was true.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the interface")]
pub(super) struct Alarms {
    number: u64,
    total: usize,
    alarms: Vec<Alarm>,
}

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// At most so many, 1 to 10,000; 10,000 unless said otherwise.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
    /// Only what comes after this occurrence in the list, for the next page. The list may have
    /// changed meanwhile: compare `number`.
    after: Option<u64>,
}

impl FromGiven for ListQuery {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        Ok(Self {
            limit: given.number("limit", 1..=ROWS_MAX)?,
            after: given.number("after", 0..=u64::MAX)?,
        })
    }
}

/// What is active, unanswered, latched or hidden: the unanswered first, of those the highest
/// priority, of those the newest. Hidden ones that never were in alarm come last.
#[utoipa::path(get, path = "/api/v1/alarms", operation_id = "alarms", params(ListQuery), responses((status = 200, body = Alarms), (status = 404, body = Problem, description = "the occurrence of `after` has left the list: begin again")))]
pub(super) async fn list(
    State(shared): Api,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(ROWS_MAX);
    let page = shared
        .centre
        .ask(move |watch| page(watch, query.after, limit));
    let gone = || Problem::not_found("the occurrence of `after` has left the list: begin again");
    let page = page.await?.ok_or_else(gone)?;
    made(move || Alarms {
        number: page.number,
        total: page.total,
        alarms: (page.seen.into_iter())
            .map(|seen| row(&page.defined, seen))
            .collect(),
    })
    .await
}

/// What the loop hands out of one page of the list.
struct Page {
    number: u64,
    total: usize,
    seen: Vec<Seen>,
    defined: Defined,
}

/// What the loop alone knows of one alarm; the rest of its row follows from the configuration.
struct Seen {
    listed: Listed,
    point: Option<PointId>,
    axes: Axes,
    unknown: bool,
    would_be_in_alarm: bool,
    changed_at: Timestamp,
    value: Option<f64>,
    quality: Quality,
    sounds: bool,
    acknowledged_by: Option<String>,
}

/// One page, on the loop's thread: only the alarms of the page are put in order and looked at.
/// `None` when the occurrence of `after` has left the list.
fn page(watch: &Watch, after: Option<u64>, limit: usize) -> Option<Page> {
    let engine = watch.engine();
    let mut listed: Vec<Listed> = engine.listed().collect();
    let total = listed.len();
    if let Some(after) = after {
        let last = place(listed.iter().find(|one| one.occurrence == after)?);
        listed.retain(|one| place(one) > last);
    }
    if listed.len() > limit {
        listed.select_nth_unstable_by_key(limit, place);
        listed.truncate(limit);
    }
    listed.sort_unstable_by_key(place);
    Some(Page {
        number: watch.number(),
        total,
        seen: (listed.into_iter())
            .filter_map(|one| seen(watch, one))
            .collect(),
        defined: watch.into(),
    })
}

/// Where an alarm stands in the list.
fn place(listed: &Listed) -> impl Ord + use<> {
    let newest_first = Reverse((listed.raised_at, listed.occurrence));
    (
        listed.occurrence == 0,
        listed.acknowledged,
        listed.priority,
        newest_first,
        listed.alarm,
    )
}

fn seen(watch: &Watch, listed: Listed) -> Option<Seen> {
    let view = watch.engine().row(&listed)?;
    Some(Seen {
        listed,
        point: view.point,
        axes: view.axes,
        unknown: view.unknown,
        would_be_in_alarm: view.would_be_in_alarm,
        changed_at: view.changed_at,
        value: view.value,
        quality: view.quality,
        sounds: view.sounds,
        acknowledged_by: view.acknowledged_by.map(str::to_owned),
    })
}

fn row(defined: &Defined, seen: Seen) -> Alarm {
    let config = &defined.config;
    let listed = seen.listed;
    let definition = &config.alarms[listed.alarm];
    let point = seen.point.map(|point| &config.points[point.index()]);
    let (_, subject) = config.subject(definition);
    let limit = limit_of(definition.condition);
    Alarm {
        occurrence: listed.occurrence,
        alarm: definition.name.clone(),
        tag: point.map(|point| point.tag.clone()),
        subject: (&subject).into(),
        source: defined.source_of(listed.alarm).map(str::to_owned),
        setpoint: word_of(definition.condition),
        priority: listed.priority.into(),
        state: listed.state,
        axes: seen.axes,
        lane: listed.lane,
        unknown: seen.unknown,
        would_be_in_alarm: seen.would_be_in_alarm,
        raised_at_ms: listed.raised_at.0,
        changed_at_ms: seen.changed_at.0,
        value: seen.value,
        limit: limit.map(|limit| limit.limit),
        unit: point.map(|point| point.unit.clone()),
        quality: seen.point.map(|_| seen.quality),
        sounds: seen.sounds,
        acknowledged_by: seen.acknowledged_by,
    }
}

fn limit_of(condition: Condition) -> Option<Limit> {
    match condition {
        Condition::Limit(limit) => Some(limit),
        Condition::System(_) => None,
    }
}

fn word_of(condition: Condition) -> &'static str {
    match condition {
        Condition::Limit(limit) => limit.setpoint.word(),
        Condition::System(system) => system.word(),
    }
}

/// One occurrence with its guidance and everything that happened to it.
#[derive(Serialize, ToSchema)]
pub(super) struct AlarmDetail {
    #[serde(flatten)]
    row: Alarm,
    guidance: Guidance,
    figure_source: Words,
    on_delay_s: f64,
    off_delay_s: f64,
    latch: bool,
    reset: Option<f64>,
    #[schema(value_type = Vec<Object>)]
    history: Vec<Happened>,
}

/// A change, and when it was judged. A person's answer has no other time: the change's own times
/// are those of the process.
#[derive(Serialize)]
pub(super) struct Happened {
    /// By the centre's clock.
    at_ms: i64,
    #[serde(flatten)]
    change: AlarmChange,
}

/// What an operator is told.
#[derive(Serialize, ToSchema)]
pub(super) struct Guidance {
    cause: Words,
    consequence: Words,
    action: Words,
    time_to_respond_s: u64,
}

/// Which occurrence.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ByOccurrence {
    /// Its number.
    occurrence: u64,
}

impl FromGiven for ByOccurrence {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        let occurrence = given.needed_number("occurrence", 0..=u64::MAX)?;
        Ok(Self { occurrence })
    }
}

/// One occurrence in the list.
#[utoipa::path(get, path = "/api/v1/alarms/{occurrence}", operation_id = "alarm", params(ByOccurrence), responses((status = 200, body = AlarmDetail), (status = 404, body = Problem, description = "no such occurrence in the list")))]
pub(super) async fn one(
    State(shared): Api,
    Path(ByOccurrence { occurrence }): Path<ByOccurrence>,
) -> Result<Json<AlarmDetail>, Problem> {
    let found = shared.centre.ask(move |watch| {
        let listed = watch.engine().listed_as(occurrence)?;
        Some((Defined::from(watch), seen(watch, listed)?))
    });
    let (defined, seen) = found.await?.ok_or_else(|| {
        Problem::not_found(format!("no occurrence {occurrence} in the alarm list"))
    })?;
    let mut found = detail(&defined, seen);
    found.history = history(&shared, occurrence).await?;
    Ok(Json(found))
}

fn detail(defined: &Defined, seen: Seen) -> AlarmDetail {
    let definition = &defined.config.alarms[seen.listed.alarm];
    let guidance = &definition.guidance;
    AlarmDetail {
        row: row(defined, seen),
        guidance: Guidance {
            cause: (&guidance.cause).into(),
            consequence: (&guidance.consequence).into(),
            action: (&guidance.action).into(),
            time_to_respond_s: guidance.time_to_respond.as_secs(),
        },
        figure_source: (&*definition.figure_source).into(),
        on_delay_s: definition.on_delay.as_secs_f64(),
        off_delay_s: definition.off_delay.as_secs_f64(),
        latch: definition.latch,
        reset: limit_of(definition.condition).map(|limit| limit.reset),
        history: Vec::new(),
    }
}

/// Every change of one occurrence, oldest first, out of the journal: from the entry that raised it.
pub(super) async fn history(shared: &Shared, occurrence: u64) -> Result<Vec<Happened>, Problem> {
    read(shared, move |reader| {
        let entries = reader.about(occurrence, HISTORY_ENTRIES_MAX)?;
        let happened = entries.iter().flat_map(|entry| {
            let changes = changes_of(&entry.effects, occurrence).into_iter();
            changes.map(|change| Happened {
                at_ms: entry.now.0,
                change,
            })
        });
        Ok(happened.collect())
    })
    .await
}

/// The changes of one occurrence among an entry's effects.
fn changes_of(effects: &[u8], occurrence: u64) -> Vec<AlarmChange> {
    let effects: Vec<Value> = serde_json::from_slice(effects).unwrap_or_default();
    let alarms = effects.into_iter().filter(|effect| {
        effect["kind"] == "alarm" && effect["occurrence"].as_u64() == Some(occurrence)
    });
    alarms
        .filter_map(|effect| match serde_json::from_value(effect) {
            Ok(Effect::Alarm(change)) => Some(change),
            _ => None,
        })
        .collect()
}

/// Why, in words.
#[derive(ToSchema)]
pub(super) struct Comment {
    comment: Option<String>,
}

impl FromGiven for Comment {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        given.only(["comment"])?;
        let comment = given.text("comment")?;
        Ok(Self { comment })
    }
}

/// The number of the command's entry in the journal.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    pub(super) number: u64,
}

/// The operator has seen this occurrence and answers for it.
#[utoipa::path(post, path = "/api/v1/alarms/{occurrence}/acknowledge", params(ByOccurrence), request_body = Comment, responses((status = 200, body = Done), (status = 404, body = Problem, description = "no such occurrence in the list"), (status = 409, body = Problem, description = "its state does not allow it")))]
pub(super) async fn acknowledge(
    State(shared): Api,
    Path(ByOccurrence { occurrence }): Path<ByOccurrence>,
    headers: HeaderMap,
    Body(body): Body<Comment>,
) -> Result<Json<Done>, Problem> {
    let by = shared.user(&headers)?;
    let comment = body.comment;
    let command = Command::Acknowledge {
        occurrence,
        by,
        comment,
    };
    give(&shared, command).await
}

/// The operator releases a latched alarm that has returned and was acknowledged.
#[utoipa::path(post, path = "/api/v1/alarms/{occurrence}/reset", params(ByOccurrence), request_body = Comment, responses((status = 200, body = Done), (status = 404, body = Problem, description = "no such occurrence in the list"), (status = 409, body = Problem, description = "its state does not allow it")))]
pub(super) async fn reset(
    State(shared): Api,
    Path(ByOccurrence { occurrence }): Path<ByOccurrence>,
    headers: HeaderMap,
    Body(body): Body<Comment>,
) -> Result<Json<Done>, Problem> {
    let by = shared.user(&headers)?;
    let comment = body.comment;
    let command = Command::Reset {
        occurrence,
        by,
        comment,
    };
    give(&shared, command).await
}

async fn give(shared: &Shared, command: Command) -> Result<Json<Done>, Problem> {
    let answer = shared.centre.command(Input::Alarm(command)).await?;
    let number = answered(answer)?;
    Ok(Json(Done { number }))
}
