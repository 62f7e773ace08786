//! The alarm list: what is active or unanswered, one occurrence in full, acknowledge and reset.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use davy_core::alarm::{
    AlarmChange, AlarmView, Axes, Command, Condition, Limit, State as AlarmState,
};
use davy_core::reading::{Lane, Quality};
use davy_core::watch::{Effect, Input, Watch};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

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
#[utoipa::path(get, path = "/api/v1/alarms", params(ListQuery), responses((status = 200, body = Alarms), (status = 404, body = Problem, description = "the occurrence of `after` has left the list: begin again")))]
pub(super) async fn list(
    State(shared): Api,
    Query(query): Query<ListQuery>,
) -> Result<Json<Alarms>, Problem> {
    let limit = query.limit.unwrap_or(ROWS_MAX);
    let alarms = shared.centre.ask(move |watch| {
        let mut views: Vec<AlarmView<'_>> = watch.engine().alarms().collect();
        views.sort_by_key(|view| {
            let newest_first = std::cmp::Reverse((view.raised_at, view.occurrence));
            let never = view.occurrence == 0;
            (never, view.axes.acknowledged, view.priority, newest_first)
        });
        let skip = match query.after {
            None => 0,
            Some(after) => 1 + views.iter().position(|view| view.occurrence == after)?,
        };
        Some(Alarms {
            number: watch.number(),
            total: views.len(),
            alarms: (views.iter().skip(skip).take(limit))
                .map(|view| row(watch, view))
                .collect(),
        })
    });
    let gone = || Problem::not_found("the occurrence of `after` has left the list: begin again");
    alarms.await?.map(Json).ok_or_else(gone)
}

fn row(watch: &Watch, view: &AlarmView<'_>) -> Alarm {
    let config = watch.config();
    let definition = &config.alarms[view.alarm];
    let point = view.point.map(|point| &config.points[point.index()]);
    let (_, subject) = watch.subject(definition);
    let limit = limit_of(definition.condition);
    Alarm {
        occurrence: view.occurrence,
        alarm: view.name.to_owned(),
        tag: point.map(|point| point.tag.clone()),
        subject: (&subject).into(),
        source: watch.sources_of(view.alarm).next().map(str::to_owned),
        setpoint: word_of(definition.condition),
        priority: view.priority.into(),
        state: view.state,
        axes: view.axes,
        lane: view.lane,
        unknown: view.unknown,
        would_be_in_alarm: view.would_be_in_alarm,
        raised_at_ms: view.raised_at.0,
        changed_at_ms: view.changed_at.0,
        value: view.value,
        limit: limit.map(|limit| limit.limit),
        unit: point.map(|point| point.unit.clone()),
        quality: view.point.map(|_| view.quality),
        sounds: view.sounds,
        acknowledged_by: view.acknowledged_by.map(str::to_owned),
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
#[utoipa::path(get, path = "/api/v1/alarms/{occurrence}", params(ByOccurrence), responses((status = 200, body = AlarmDetail), (status = 404, body = Problem, description = "no such occurrence in the list")))]
pub(super) async fn one(
    State(shared): Api,
    Path(ByOccurrence { occurrence }): Path<ByOccurrence>,
) -> Result<Json<AlarmDetail>, Problem> {
    let found = shared.centre.ask(move |watch| {
        let view = watch.engine().occurrence(occurrence)?;
        Some(detail(watch, &view))
    });
    let mut found = found.await?.ok_or_else(|| {
        Problem::not_found(format!("no occurrence {occurrence} in the alarm list"))
    })?;
    found.history = history(&shared, occurrence).await?;
    Ok(Json(found))
}

fn detail(watch: &Watch, view: &AlarmView<'_>) -> AlarmDetail {
    let definition = &watch.config().alarms[view.alarm];
    let guidance = &definition.guidance;
    AlarmDetail {
        row: row(watch, view),
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
