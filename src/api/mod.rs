//! HTTP: what the console and other programs ask of the centre, and what they tell it.
//!
//! `/api/v1/…` is JSON described by `/api/v1/openapi.json`; errors are problem details;
//! `/api/v1/live` is the stream of what is committed. `/metrics`, `/healthz` and `/readyz` are for
//! machines. Everything else is the console.
//!
//! Invariants: every answer shows committed state only; a command needs a session and the header
//! `x-davy-csrf`; requests under a foreign host name are refused, so that no web page of elsewhere
//! can reach a centre on loopback.
//!
//! Limits: [`BODY_BYTES_MAX`] a request, [`ROWS_MAX`] rows a list, `live::SEATS_MAX` listeners.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::centre::Centre;
use crate::ingest;
use crate::journal::{JournalError, Reader};
use crate::sinks::Sinks;

mod alarms;
mod console;
mod hazards;
mod health;
mod live;
mod points;
mod problem;
mod session;
mod site;
mod steps;

#[cfg(test)]
mod tests;

pub use live::LiveSeats;
pub use problem::Problem;
pub use session::Sessions;

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Rows of a list, unless fewer are asked for.
pub const ROWS_MAX: usize = 10_000;

/// What the handlers share.
pub struct Shared {
    /// The loop.
    pub centre: Centre,
    /// Folder of the journal.
    pub folder: PathBuf,
    /// Sinks: the series for trends, and how far each has come.
    pub sinks: Sinks,
    /// The MQTT side, for health.
    pub ingest: Arc<ingest::Counters>,
    /// Who has signed in.
    pub sessions: Sessions,
    /// Ends the live streams with the centre.
    pub closing: CancellationToken,
    /// Who listens to the live stream.
    pub live: LiveSeats,
}

impl Shared {
    /// The person behind a request.
    fn user(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let user = self.sessions.user(headers, self.centre.now());
        user.ok_or_else(Problem::not_signed_in)
    }
}

type Api = State<Arc<Shared>>;

#[derive(OpenApi)]
#[openapi(info(
    title = "Davy",
    description = "Early warning for major hazard sources: the centre's interface"
))]
struct Document;

/// The description of the interface.
pub fn openapi() -> utoipa::openapi::OpenApi {
    parts().1
}

fn parts() -> (Router<Arc<Shared>>, utoipa::openapi::OpenApi) {
    let (router, mut document) = interface().split_for_parts();
    // Whatever is wrong with a call is said in one form.
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    let problem = ResponseBuilder::new()
        .description("It was refused, or could not be done")
        .content("application/problem+json", content);
    let problem = RefOr::T(problem.build());
    for path in document.paths.paths.values_mut() {
        let calls = [&mut path.get, &mut path.post, &mut path.delete];
        for call in calls.into_iter().flatten() {
            let responses = &mut call.responses.responses;
            responses.insert("default".into(), problem.clone());
        }
    }
    (router, document)
}

fn interface() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(site::site))
        .routes(routes!(site::sources))
        .routes(routes!(site::gateways))
        .routes(routes!(alarms::list))
        .routes(routes!(alarms::one))
        .routes(routes!(alarms::acknowledge))
        .routes(routes!(alarms::reset))
        .routes(routes!(points::list))
        .routes(routes!(points::one))
        .routes(routes!(points::trend))
        .routes(routes!(hazards::list))
        .routes(routes!(hazards::one))
        .routes(routes!(hazards::step))
        .routes(routes!(live::live))
        .routes(routes!(session::sign_in, session::who, session::sign_out))
}

/// Every route.
pub fn router(shared: Arc<Shared>) -> Router {
    let (interface, document) = parts();
    let document = serde_json::to_string(&document).unwrap_or_default();
    let described = move || {
        let document = document.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], document) }
    };
    interface
        .route("/api/v1/openapi.json", get(described))
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(console::serve)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard))
        .layer(middleware::map_response(problem::worded))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

/// Refuses foreign host names, and commands without a session or from another page.
async fn guard(State(shared): Api, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_loopback(host) {
        return Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign_host",
            "this centre answers on loopback only",
            format!("host `{host}`; allowed: localhost, 127.0.0.1, [::1]"),
        )
        .into_response();
    }
    let tells = !matches!(*request.method(), Method::GET | Method::HEAD);
    if tells && request.headers().get("x-davy-csrf").is_none() {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "csrf",
            "commands carry a header that no other page can set",
            "header `x-davy-csrf` is missing; any value will do",
        )
        .into_response();
    }
    let signs_in = request.uri().path() == "/api/v1/session";
    if tells
        && !signs_in
        && let Err(problem) = shared.user(request.headers())
    {
        return problem.into_response();
    }
    // Nothing waits for room on the disk: whoever asks is told that there is none.
    if !request.uri().path().starts_with("/api/v1/") || request.uri().path() == "/api/v1/live" {
        return next.run(request).await;
    }
    let mut full = shared.centre.full();
    tokio::select! {
        biased;
        Ok(_) = full.wait_for(|full| *full) => Problem::no_room().into_response(),
        response = next.run(request) => response,
    }
}

/// Whether a `Host` header names this machine, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// How many rows are asked for.
fn rows(limit: Option<usize>) -> Result<usize, Problem> {
    let rows = limit.unwrap_or(ROWS_MAX);
    if (1..=ROWS_MAX).contains(&rows) {
        return Ok(rows);
    }
    Err(Problem::bad_request(format!(
        "limit {rows}; allowed: 1 to {ROWS_MAX}"
    )))
}

/// Reads the journal on a thread of its own, so that no request holds others up.
async fn read<T: Send + 'static>(
    shared: &Shared,
    question: impl FnOnce(&Reader) -> Result<T, JournalError> + Send + 'static,
) -> Result<T, Problem> {
    let folder = shared.folder.clone();
    let read = tokio::task::spawn_blocking(move || question(&Reader::open(&folder)?));
    match read.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Problem::internal("reading the journal", &error)),
        Err(error) => Err(Problem::internal("reading the journal", &error)),
    }
}
