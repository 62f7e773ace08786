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
//! A call that cannot be used is refused with what was found and what is allowed (`fault`): 400 when
//! the call itself shows it, 404 when it names nothing that there is. Nothing of a call is passed over.
//!
//! Limits: [`BODY_BYTES_MAX`] and `given::BODY_TIME_MAX` a body, [`ROWS_MAX`] rows a list,
//! `live::SEATS_MAX` listeners; of connections, those of `door`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;

use crate::centre::Centre;
use crate::door::DoorCounters;
use crate::ingest;
use crate::journal::{JournalError, Reader};
use crate::sinks::Sinks;

mod alarms;
mod console;
mod defined;
mod document;
mod door;
mod fault;
mod given;
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

pub use document::openapi;
pub use door::{CONNECTIONS_MAX, open};
pub use fault::{Allowed, Code, Fault, Place};
pub use live::LiveSeats;
pub use problem::Problem;
pub use session::Sessions;

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Rows of a list, unless fewer are asked for.
pub const ROWS_MAX: usize = 10_000;

/// Header of an answer that shows an earlier state, since nothing can be committed: when it was
/// committed, in ms.
const AS_OF_MS: HeaderName = HeaderName::from_static("x-davy-as-of-ms");

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
    /// Connections, for the metrics.
    pub door: Arc<DoorCounters>,
}

impl Shared {
    /// The person behind a request.
    fn user(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let user = self.sessions.user(headers, self.centre.now());
        user.ok_or_else(Problem::not_signed_in)
    }
}

type Api = State<Arc<Shared>>;

/// Every route.
pub fn router(shared: Arc<Shared>) -> Router {
    let (interface, _) = document::interface().split_for_parts();
    interface
        .layer(middleware::from_fn(known_names))
        .fallback(console::serve)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard))
        .layer(middleware::from_fn(problem::worded))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

/// Refuses parameters of a query that the description of the interface does not list. Whoever
/// scrapes or watches (`/metrics`, `/healthz`, `/readyz`) may add what they like.
async fn known_names(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let path = request.extensions().get::<MatchedPath>();
    let Some(path) = path.filter(|path| path.as_str().starts_with("/api/")) else {
        return next.run(request).await;
    };
    let names = document::names(path.as_str(), request.method());
    match given::Given::query(query).and_then(|given| given.only(names)) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.problem().into_response(),
    }
}

/// Refuses foreign host names, and commands without a session or from another page.
async fn guard(State(shared): Api, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_loopback(host) {
        let allowed = Allowed::one_of(["localhost", "127.0.0.1", "[::1]"]);
        let fault = Fault::new(Code::NotAllowed, Place::Header, "host", allowed).found(host);
        return Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign_host",
            "this centre answers on loopback only",
            fault.to_string(),
        )
        .with(fault)
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
    let is_told = request.uri().path() == "/api/v1/live" || signs_in;
    if is_told || !request.uri().path().starts_with("/api/v1/") {
        return next.run(request).await;
    }
    let mut full = shared.centre.full();
    if tells {
        // No command waits for room on the disk: whoever gives one is told that there is none.
        return tokio::select! {
            biased;
            Ok(_) = full.wait_for(|full| *full) => Problem::no_room().into_response(),
            response = next.run(request) => response,
        };
    }
    let was_full = *full.borrow();
    let mut response = next.run(request).await;
    if was_full || *full.borrow() {
        let at_ms = shared.centre.health().alive_at_ms.load(Ordering::Acquire);
        response.headers_mut().insert(AS_OF_MS, at_ms.into());
    }
    response
}

/// Whether a `Host` header names this machine, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
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
