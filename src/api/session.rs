//! Who sits at the console.
//!
//! A session names the person who acknowledges and decides. On loopback a name is enough for now;
//! nothing listens beyond loopback until there are users with passwords, roles and TLS.
//!
//! Sessions outlive a restart of the centre: they stand in [`FILE`] of the data folder, each by the
//! digest of its token, so that the file opens no door. A file that cannot be read means that
//! everybody signs in again; one that cannot be written, that they do after the next restart.
//!
//! Whoever asks who a person is never waits for the disk: the file is written beside the list, by
//! threads that may wait, and what several changed meanwhile is written once.
//!
//! Limits: [`SESSIONS_MAX`] sessions, the oldest goes; each ends [`SESSION_MS_MAX`] after it began;
//! [`SIGN_INS_MAX`] begin in a minute, more are refused.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use davy_core::reading::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::{Allowed, Code, Fault, Place};
use super::given::{Body, FromGiven, Given};
use super::{Api, Problem};
use crate::journal::Sum;
use crate::secret;

/// Sessions at once.
const SESSIONS_MAX: usize = 1_000;

/// How long a session lasts: longer than any shift, short enough that no seat stays taken.
const SESSION_MS_MAX: i64 = 24 * 3_600_000;

/// Sessions that begin within [`SIGN_INS_MS`]: a shift that changes fits in many times, and whoever
/// loops keeps neither the disk busy nor others from their seats for long.
const SIGN_INS_MAX: usize = 60;

/// Over which time they are counted.
const SIGN_INS_MS: i64 = 60_000;

/// Letters of a name.
const NAME_MAX: usize = 64;

/// Name of the cookie.
const COOKIE: &str = "davy_session";

/// The sessions' file in the data folder.
const FILE: &str = "sessions.json";

/// Bytes of the file that are read: more than [`SESSIONS_MAX`] of the longest names.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One person at one seat, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    /// SHA-256 of the token, in hexadecimal digits.
    digest: String,
    user: String,
    /// By the centre's clock.
    began_at_ms: i64,
}

impl Session {
    fn lasts(&self, now: Timestamp) -> bool {
        now.0 < self.began_at_ms.saturating_add(SESSION_MS_MAX)
    }
}

/// Who has signed in.
#[derive(Debug)]
pub struct Sessions {
    file: PathBuf,
    /// Held for moments only.
    list: Mutex<List>,
    /// The version of the list that stands in the file; held while that is written.
    kept: Mutex<u64>,
}

#[derive(Debug, Default)]
struct List {
    open: VecDeque<Session>,
    /// When the latest began.
    begun: VecDeque<Timestamp>,
    /// Grows with each change.
    version: u64,
}

/// Why a session does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NotBegun {
    #[error("{SIGN_INS_MAX} have signed in within a minute; allowed: {SIGN_INS_MAX}")]
    TooMany,
    #[error("no randomness or no lock")]
    Broken,
}

impl Sessions {
    /// The sessions of a data folder.
    pub fn open(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let open = read(&file).unwrap_or_else(|error| {
            tracing::warn!(%error, file = %file.display(), "everybody must sign in again");
            VecDeque::new()
        });
        let list = List {
            open,
            ..List::default()
        };
        Self {
            file,
            list: Mutex::new(list),
            kept: Mutex::new(0),
        }
    }

    /// The person behind a request at `now`, by its cookie.
    pub fn user(&self, headers: &HeaderMap, now: Timestamp) -> Option<String> {
        let digest = digest(&token(headers)?);
        let list = self.list.lock().ok()?;
        let found = list.open.iter().find(|session| session.digest == digest);
        found
            .filter(|session| session.lasts(now))
            .map(|session| session.user.clone())
    }

    /// Begins a session; its token. To be kept then.
    fn begin(&self, user: &str, now: Timestamp) -> Result<String, NotBegun> {
        let token = secret::random::<32>().map_err(|_| NotBegun::Broken)?;
        let mut list = self.list.lock().map_err(|_| NotBegun::Broken)?;
        let is_recent = |at: &Timestamp| (0..SIGN_INS_MS).contains(&now.ms_since(*at));
        list.begun.retain(is_recent);
        if list.begun.len() >= SIGN_INS_MAX {
            return Err(NotBegun::TooMany);
        }
        list.begun.push_back(now);
        list.open.retain(|session| session.lasts(now));
        while list.open.len() >= SESSIONS_MAX {
            list.open.pop_front();
        }
        list.open.push_back(Session {
            digest: digest(&token),
            user: user.to_owned(),
            began_at_ms: now.0,
        });
        list.version += 1;
        Ok(token)
    }

    /// Closes a session. To be kept then.
    fn close(&self, headers: &HeaderMap) {
        if let (Some(token), Ok(mut list)) = (token(headers), self.list.lock()) {
            let digest = digest(&token);
            let many = list.open.len();
            list.open.retain(|session| session.digest != digest);
            list.version += u64::from(list.open.len() != many);
        }
    }

    /// Writes the file anew, if the list is another one; waits for the disk. A full disk must not
    /// keep anybody from signing in.
    fn keep(&self) {
        let Ok(mut kept) = self.kept.lock() else {
            return;
        };
        let (version, open) = match self.list.lock() {
            Ok(list) if list.version != *kept => (list.version, list.open.clone()),
            _ => return,
        };
        let written = serde_json::to_vec(&open)
            .map_err(std::io::Error::from)
            .and_then(|bytes| replace(&self.file, &bytes));
        match written {
            Ok(()) => *kept = version,
            Err(error) => {
                tracing::warn!(%error, file = %self.file.display(), "sessions end with the process");
            }
        }
    }
}

fn read(file: &Path) -> std::io::Result<VecDeque<Session>> {
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(VecDeque::new()),
        Ok(found) if found.len() > FILE_BYTES_MAX => Err(std::io::Error::other(format!(
            "{} bytes; allowed: {FILE_BYTES_MAX}",
            found.len()
        ))),
        _ => Ok(serde_json::from_slice(&std::fs::read(file)?)?),
    }
}

/// A crash leaves the old file or the new one.
fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    let mut new = std::fs::File::create(&beside)?;
    new.write_all(bytes)?;
    new.sync_all()?;
    std::fs::rename(&beside, file)
}

fn digest(token: &str) -> String {
    Sum::of(token.as_bytes()).to_string()
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
#[derive(ToSchema)]
pub(super) struct SignIn {
    /// 1 to 64 letters, no control characters, not `system`; the name that stands with every answer.
    user: String,
}

impl FromGiven for SignIn {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        given.only(["user"])?;
        let user = given.needed_text("user")?.trim().to_owned();
        let letters = user.chars().count();
        let is_name = (1..=NAME_MAX).contains(&letters)
            && user != "system"
            && !user.contains(char::is_control);
        if is_name {
            return Ok(Self { user });
        }
        let allowed = Allowed::Name(NAME_MAX);
        Err(Fault::new(Code::NotAllowed, Place::Field, "user", allowed).found(&user))
    }
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

/// Opens a session of 24 hours, which outlives a restart of the centre; the cookie is `HttpOnly`
/// and `SameSite=Strict`.
#[utoipa::path(post, path = "/api/v1/session", request_body = SignIn, responses((status = 200, body = Who), (status = 429, body = Problem, description = "too many have signed in within a minute")))]
pub(super) async fn sign_in(
    State(shared): Api,
    Body(SignIn { user }): Body<SignIn>,
) -> Result<Response, Problem> {
    let who = Json(who_is(user.clone()));
    let now = shared.centre.now();
    let token = shared.sessions.begin(&user, now)?;
    let shared = Arc::clone(&shared);
    let kept = tokio::task::spawn_blocking(move || shared.sessions.keep());
    kept.await
        .map_err(|error| Problem::internal("keeping a session", &error))?;
    let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
    Ok(([(header::SET_COOKIE, cookie)], who).into_response())
}

impl From<NotBegun> for Problem {
    fn from(why: NotBegun) -> Self {
        match why {
            NotBegun::TooMany => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_sign_ins",
                "too many sign-ins; try again in a minute",
                why.to_string(),
            ),
            NotBegun::Broken => Self::internal("opening a session", &why),
        }
    }
}

/// Who has signed in.
#[utoipa::path(get, path = "/api/v1/session", responses((status = 200, body = Who), (status = 401, body = Problem, description = "nobody has signed in")))]
pub(super) async fn who(State(shared): Api, headers: HeaderMap) -> Result<Json<Who>, Problem> {
    Ok(Json(who_is(shared.user(&headers)?)))
}

/// Closes the session.
#[utoipa::path(delete, path = "/api/v1/session", responses((status = 204, description = "closed")))]
pub(super) async fn sign_out(State(shared): Api, headers: HeaderMap) -> Response {
    shared.sessions.close(&headers);
    let shared = Arc::clone(&shared);
    let kept = tokio::task::spawn_blocking(move || shared.sessions.keep());
    if kept.await.is_err() {
        return Problem::internal("closing a session", &"its task broke").into_response();
    }
    let gone = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    let status = StatusCode::NO_CONTENT;
    (status, [(header::SET_COOKIE, gone)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn with(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let cookie = format!("other=1; {COOKIE}={token}").parse().unwrap();
        headers.insert(header::COOKIE, cookie);
        headers
    }

    #[test]
    fn a_session_outlives_a_restart_and_ends_after_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path());
        let token = sessions.begin("李娜", Timestamp(5)).unwrap();
        sessions.keep();
        let again = Sessions::open(folder.path());
        let user = |at| again.user(&with(&token), Timestamp(at));
        assert_eq!(user(5).as_deref(), Some("李娜"));
        assert_eq!(user(DAY + 4).as_deref(), Some("李娜"));
        assert_eq!(user(DAY + 5), None);
        assert_eq!(again.user(&with("guessed"), Timestamp(5)), None);
        // The file does not open the door.
        let kept = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(!kept.contains(&token), "{kept}");
        let digest = digest(&token);
        assert!(kept.contains(&digest), "{kept}");
        assert_eq!(again.user(&with(&digest), Timestamp(5)), None);
        // A closed one does not come back.
        again.close(&with(&token));
        again.keep();
        let third = Sessions::open(folder.path());
        assert_eq!(third.user(&with(&token), Timestamp(5)), None);
    }

    #[test]
    fn the_file_is_bounded_and_a_broken_one_is_no_session() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), b"{").unwrap();
        let sessions = Sessions::open(folder.path());
        let first = sessions.begin("a", Timestamp(0)).unwrap();
        for _ in 0..SESSIONS_MAX {
            // Straight into the list: a thousand files would test the disk.
            let mut list = sessions.list.lock().unwrap();
            let digest = digest(&list.open.len().to_string());
            list.open.push_back(Session {
                digest,
                user: "名".repeat(NAME_MAX),
                began_at_ms: 0,
            });
        }
        sessions.begin("b", Timestamp(1)).unwrap();
        sessions.keep();
        assert_eq!(sessions.user(&with(&first), Timestamp(1)), None);
        let again = Sessions::open(folder.path());
        assert_eq!(again.list.lock().unwrap().open.len(), SESSIONS_MAX);
        // A day later all of them have ended and make room.
        again.begin("c", Timestamp(DAY + 2)).unwrap();
        assert_eq!(again.list.lock().unwrap().open.len(), 1);
    }

    #[test]
    fn nobody_waits_for_the_disk_and_what_changed_meanwhile_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path());
        let first = sessions.begin("a", Timestamp(0)).unwrap();
        // A disk that is slow to sync: a write goes on all the while.
        let writing = sessions.kept.lock().unwrap();
        let second = sessions.begin("b", Timestamp(1)).unwrap();
        let user = |token: &str| sessions.user(&with(token), Timestamp(2));
        assert_eq!(user(&first).as_deref(), Some("a"));
        assert_eq!(user(&second).as_deref(), Some("b"));
        sessions.close(&with(&first));
        assert_eq!(user(&first), None);
        drop(writing);
        sessions.keep();
        let file = folder.path().join(FILE);
        assert!(!std::fs::read_to_string(&file).unwrap().contains("\"a\""));
        // With nothing new, nothing is written; nor by whoever closes what is no session.
        std::fs::remove_file(&file).unwrap();
        sessions.close(&with("guessed"));
        sessions.keep();
        assert!(!file.exists());
        // What could not be written is tried again.
        std::fs::create_dir(file.with_extension("new")).unwrap();
        sessions.close(&with(&second));
        sessions.keep();
        std::fs::remove_dir(file.with_extension("new")).unwrap();
        sessions.keep();
        assert!(file.exists());
    }

    #[test]
    fn so_many_may_sign_in_within_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path());
        for place in 0..SIGN_INS_MAX {
            let at = Timestamp(i64::try_from(place).unwrap() * 100);
            assert!(sessions.begin("a", at).is_ok(), "{place}");
        }
        let begin = |at| sessions.begin("b", Timestamp(at)).map(drop);
        assert_eq!(begin(SIGN_INS_MS - 1), Err(NotBegun::TooMany));
        assert_eq!(begin(SIGN_INS_MS), Ok(()), "the first is a minute ago");
        assert_eq!(begin(SIGN_INS_MS), Err(NotBegun::TooMany));
    }
}
