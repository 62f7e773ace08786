//! The description of the interface (OpenAPI), and what is checked against it.
//!
//! Invariants: every route comes in by [`interface`] and so is described; a query takes the names
//! that its description lists and no others; the statuses that any route can answer, whatever it
//! does, are added here to those that its handler names.

use std::sync::LazyLock;

use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{Content, Ref, RefOr, Required, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Shared, alarms, hazards, health, live, points, session, site};

#[derive(OpenApi)]
#[openapi(info(
    title = "Davy",
    description = "Early warning for major hazard sources: the centre's interface. While the disk is full no command is taken (`no_room`), and questions are answered with the state last committed; such an answer carries the header `x-davy-as-of-ms`, when that was"
))]
struct Document;

static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(described);

/// The description of the interface.
pub fn openapi() -> utoipa::openapi::OpenApi {
    DOCUMENT.clone()
}

/// Every route but the console's files, each with its description.
pub(super) fn interface() -> OpenApiRouter<std::sync::Arc<Shared>> {
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
        .routes(routes!(document))
        .routes(routes!(health::metrics))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200, body = Object, description = "OpenAPI 3.1")))]
async fn document() -> Response {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| serde_json::to_string(&*DOCUMENT).unwrap_or_default());
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, TEXT.as_str()).into_response()
}

/// The paths that there are.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    DOCUMENT.paths.paths.keys().map(String::as_str)
}

/// The names that the query of a call may have.
pub(super) fn names(path: &str, method: &Method) -> impl Iterator<Item = &'static str> + Clone {
    let calls = DOCUMENT.paths.paths.get(path);
    let call = calls.and_then(|calls| match *method {
        Method::POST => calls.post.as_ref(),
        Method::DELETE => calls.delete.as_ref(),
        _ => calls.get.as_ref(),
    });
    let parameters = call.and_then(|call| call.parameters.as_ref());
    parameters
        .into_iter()
        .flatten()
        .filter_map(|one| match one {
            RefOr::T(one) if one.parameter_in == ParameterIn::Query => Some(one.name.as_str()),
            _ => None,
        })
}

fn described() -> utoipa::openapi::OpenApi {
    let (_, mut document) = interface().split_for_parts();
    for (path, calls) in &mut document.paths.paths {
        for (call, tells) in [
            (&mut calls.get, false),
            (&mut calls.post, true),
            (&mut calls.delete, true),
        ] {
            if let Some(call) = call {
                add_common(path, tells, call);
                for one in call.parameters.iter_mut().flatten() {
                    if let RefOr::T(one) = one
                        && one.parameter_in == ParameterIn::Path
                    {
                        // Also of one whose schema is made by hand.
                        one.required = Required::True;
                    }
                }
                for answer in call.responses.responses.values_mut() {
                    if let RefOr::T(answer) = answer
                        && answer.description.is_empty()
                    {
                        // The standard wants words.
                        answer.description = "the answer".into();
                    }
                }
            }
        }
    }
    document
}

/// What any call of a path can be answered, each in the one form that problems have.
fn add_common(path: &str, tells: bool, call: &mut Operation) {
    add(call, "421", "not a host name of this machine");
    if !path.starts_with("/api/") {
        return;
    }
    add(
        call,
        "400",
        "it cannot be used: `fault` says what is wrong with it",
    );
    if path != "/api/v1/openapi.json" {
        add(call, "500", "it failed; the centre's log says why");
    }
    add(
        call,
        "503",
        "the disk is full, or the centre is stopping; `Retry-After` says when to ask again",
    );
    for own in ["401", "404", "409", "429"] {
        if call.responses.responses.contains_key(own) {
            add(call, own, "");
        }
    }
    if tells {
        add(call, "403", "the header `x-davy-csrf` is missing");
    }
    if tells && path != "/api/v1/session" {
        add(call, "401", "nobody has signed in");
    }
    if call.request_body.is_some() {
        add(call, "408", "the body was not there within 10 s");
        add(call, "413", "the body is larger than 64 KiB");
        add(
            call,
            "415",
            "the body is not declared as `application/json`",
        );
    }
}

/// Adds a problem; what the handler itself says of that status stays.
fn add(call: &mut Operation, status: &str, words: &str) {
    let responses = &mut call.responses.responses;
    let words = match responses.get(status) {
        Some(RefOr::T(own)) if !own.description.is_empty() => own.description.clone(),
        _ => words.to_owned(),
    };
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    let problem = ResponseBuilder::new()
        .description(words)
        .content("application/problem+json", content);
    responses.insert(status.into(), RefOr::T(problem.build()));
}
