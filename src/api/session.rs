//! Who sits at the console.
//!
//! A session names the person who acknowledges and decides. On loopback a name is enough for now;
//! nothing listens beyond loopback until there are users with passwords, roles and TLS.
//!
//! Limits: [`SESSIONS_MAX`] sessions; the oldest goes.

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, Problem};
use crate::secret;

/// Sessions at once.
const SESSIONS_MAX: usize = 1_000;

/// Letters of a name.
const NAME_MAX: usize = 64;

/// Name of the cookie.
const COOKIE: &str = "davy_session";

/// Who has signed in.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<VecDeque<(String, String)>>,
}

impl Sessions {
    /// The person behind a request, by its cookie.
    pub fn user(&self, headers: &HeaderMap) -> Option<String> {
        let token = token(headers)?;
        let open = self.open.lock().ok()?;
        let found = open.iter().find(|(known, _)| *known == token);
        found.map(|(_, user)| user.clone())
    }

    fn open(&self, user: &str) -> Option<String> {
        let token = secret::random::<32>().ok()?;
        let mut open = self.open.lock().ok()?;
        if open.len() >= SESSIONS_MAX {
            open.pop_front();
        }
        open.push_back((token.clone(), user.to_owned()));
        Some(token)
    }

    fn close(&self, headers: &HeaderMap) {
        if let (Some(token), Ok(mut open)) = (token(headers), self.open.lock()) {
            open.retain(|(known, _)| *known != token);
        }
    }
}

fn token(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let found = cookies.split(';').find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    });
    found.map(str::to_owned)
}

/// Who signs in.
#[derive(Deserialize, ToSchema)]
pub(super) struct SignIn {
    user: String,
}

/// Who has signed in, and what they may do.
#[derive(Serialize, ToSchema)]
pub(super) struct Who {
    user: String,
    roles: Vec<&'static str>,
}

fn who_is(user: String) -> Who {
    Who {
        user,
        roles: vec!["operator"],
    }
}

/// Opens a session; the cookie is `HttpOnly` and `SameSite=Strict`.
#[utoipa::path(post, path = "/api/v1/session", request_body = SignIn, responses((status = 200, body = Who), (status = 400, body = Problem)))]
pub(super) async fn sign_in(
    State(shared): Api,
    Json(body): Json<SignIn>,
) -> Result<Response, Problem> {
    let user = body.user.trim();
    let letters = user.chars().count();
    if letters == 0 || letters > NAME_MAX || user == "system" || user.contains(char::is_control) {
        return Err(Problem::bad_request(format!(
            "user of {letters} letters; allowed: 1 to {NAME_MAX}, no control characters, not `system`"
        )));
    }
    let token = shared.sessions.open(user);
    let token =
        token.ok_or_else(|| Problem::internal("opening a session", &"no randomness or no lock"))?;
    let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
    let who = Json(who_is(user.to_owned()));
    Ok(([(header::SET_COOKIE, cookie)], who).into_response())
}

/// Who has signed in.
#[utoipa::path(get, path = "/api/v1/session", responses((status = 200, body = Who), (status = 401, body = Problem)))]
pub(super) async fn who(State(shared): Api, headers: HeaderMap) -> Result<Json<Who>, Problem> {
    let user = shared.sessions.user(&headers);
    let user = user.ok_or_else(Problem::not_signed_in)?;
    Ok(Json(who_is(user)))
}

/// Closes the session.
#[utoipa::path(delete, path = "/api/v1/session", responses((status = 204)))]
pub(super) async fn sign_out(State(shared): Api, headers: HeaderMap) -> Response {
    shared.sessions.close(&headers);
    let gone = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    let status = axum::http::StatusCode::NO_CONTENT;
    (status, [(header::SET_COOKIE, gone)]).into_response()
}
