//! What a refused or failed request answers: problem details (RFC 9457), never a stack trace.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use davy_core::alarm::Refusal;
use davy_core::hazard::Refused;
use serde::Serialize;
use utoipa::ToSchema;

use super::fault::{Allowed, Code, Fault, Place};
use crate::centre::{Answer, Ended, Unanswered};

/// When to ask again of what cannot be answered now, in seconds.
const RETRY_AFTER_S: &str = "5";

/// A problem, as the client sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem; stable.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The same in words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What, which, found, allowed.
    pub detail: String,
    /// Of a step that the ledger refuses: the `code` of the guard and its arguments, to word it in
    /// another language. Moments end in `_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub refused: Option<Box<Refused>>,
    /// Of a call that cannot be used: which part of it, what was found there, what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Fault>)]
    pub fault: Option<Box<Fault>>,
}

impl Problem {
    /// A problem of `status`.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            refused: None,
            fault: None,
        }
    }

    /// With what is wrong with the call, in fields.
    pub(super) fn with(self, fault: Fault) -> Self {
        Self {
            fault: Some(Box::new(fault)),
            ..self
        }
    }

    /// Nothing of that name.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "not found", detail)
    }

    /// The request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "the request cannot be used",
            detail,
        )
    }

    /// Nobody has signed in.
    pub fn not_signed_in() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "not_signed_in",
            "sign in first",
            "this request needs a session: POST /api/v1/session",
        )
    }

    /// The disk is full.
    pub fn no_room() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_room",
            "the disk is full or fails: nothing can be committed",
            "no command is taken; one that was already given is carried out once there is room. \
             Questions are answered with the state last committed, if there is one",
        )
    }

    /// Something inside failed; the log has the cause.
    pub fn internal(deed: &'static str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "{deed}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the centre could not do it",
            deed,
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, kind, Json(self)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let after = HeaderValue::from_static(RETRY_AFTER_S);
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }
}

/// Makes problem details of what the framework refuses by itself: methods that are not allowed.
/// Whatever else it should say in its own words goes into the log and is told by its status alone.
pub(super) async fn worded(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    let status = response.status();
    let is_told = response.headers().contains_key(header::CONTENT_TYPE)
        && !response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || is_told {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let methods = allow.as_ref().and_then(|allow| allow.to_str().ok());
    if status != StatusCode::METHOD_NOT_ALLOWED {
        tracing::warn!(%status, "an answer without words");
        return Problem::new(
            status,
            if status.is_client_error() {
                "bad_request"
            } else {
                "internal"
            },
            "the request cannot be answered",
            status.to_string(),
        )
        .into_response();
    }
    let allowed = Allowed::one_of(methods.unwrap_or_default().split(',').map(str::trim));
    let fault = Fault::new(Code::NotAllowed, Place::Method, "", allowed).found(method.as_str());
    let title = "this path has no such method";
    let mut response = (fault.problem_of(status, "method_not_allowed", title)).into_response();
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

impl From<Unanswered> for Problem {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Ended(ended) => ended.into(),
            Unanswered::NoRoom => Self::no_room(),
            Unanswered::Broken => Self::internal("answering a question", &why),
        }
    }
}

impl From<Ended> for Problem {
    fn from(_: Ended) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ended",
            "the centre is stopping",
            "its loop has ended; see /readyz",
        )
    }
}

impl From<Refusal> for Problem {
    fn from(why: Refusal) -> Self {
        let (status, kind, detail) = match why {
            Refusal::UnknownOccurrence => (
                StatusCode::NOT_FOUND,
                "unknown_occurrence",
                "no occurrence of that number is in the list",
            ),
            Refusal::AlreadyAcknowledged => (
                StatusCode::CONFLICT,
                "already_acknowledged",
                "this occurrence has been acknowledged already",
            ),
            Refusal::StillActive => (
                StatusCode::CONFLICT,
                "still_active",
                "the condition still holds; a reset would hide it",
            ),
            Refusal::NotAcknowledged => (
                StatusCode::CONFLICT,
                "not_acknowledged",
                "it must be acknowledged before it can be reset",
            ),
            Refusal::NotLatched => (
                StatusCode::CONFLICT,
                "not_latched",
                "it is not latched, so there is nothing to reset",
            ),
            Refusal::Unseen => (
                StatusCode::CONFLICT,
                "unseen",
                "the point cannot be seen now (its quality is not good); reset it when it is back",
            ),
        };
        Self::new(status, kind, "the command was refused", detail)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let problem = Self::new(
            StatusCode::CONFLICT,
            "guard",
            "a guard of the ledger forbids this step",
            refused.to_string(),
        );
        Self {
            refused: Some(Box::new(refused)),
            ..problem
        }
    }
}

/// The number of a command's entry, or why it was refused.
pub(super) fn answered(answer: Answer) -> Result<u64, Problem> {
    match answer {
        Answer::Done(number) => Ok(number),
        Answer::RefusedAlarm(why) => Err(why.into()),
        Answer::RefusedHazard(refused) => Err(refused.into()),
        Answer::RefusedConfig(faults) => Err(Problem::bad_request(
            faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
        )),
    }
}
