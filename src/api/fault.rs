//! What is wrong with a call: which part of it, what was found there, what is allowed.
//!
//! The same is told twice: as words in the problem's `detail`, and as fields (`fault`), of which the
//! console makes words of the person's language. What was found is the caller's own and is cut to
//! [`FOUND_LETTERS_MAX`]; of long lists the first [`LISTED_MAX`] are told.

use std::fmt;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;

/// Letters of what was found, as it is told.
const FOUND_LETTERS_MAX: usize = 100;

/// Words of a list of what is allowed, as it is told.
const LISTED_MAX: usize = 50;

/// What is wrong with a call, in fields: to word it in another language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// What is wrong.
    pub code: Code,
    /// In which part of the call.
    pub place: Place,
    /// Which parameter, field or header; empty for a body as a whole.
    pub name: String,
    /// What was found there, its first 100 letters; left out when nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What is allowed there.
    pub allowed: Allowed,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Nothing of this name is known here.
    Unknown,
    /// It is needed and not there.
    Missing,
    /// It is given more than once.
    Twice,
    /// What was found is none of what is allowed.
    NotAllowed,
    /// What was found names nothing that there is.
    NotThere,
}

/// A part of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A part of the path.
    Path,
    /// A parameter of the query.
    Query,
    /// A header.
    Header,
    /// The method.
    Method,
    /// A field of the body; with its path in nested ones, `five_items.funds`.
    Field,
    /// The body as a whole.
    Body,
}

/// What is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    /// One of these; none when it is empty. Of long lists the first 50.
    OneOf(Vec<String>),
    /// Whole numbers from the first to the second, in digits: they may be larger than a double holds.
    Numbers(String, String),
    /// A text.
    Text,
    /// A person's name of 1 to so many letters, no control characters, not `system`.
    Name(usize),
    /// A JSON object.
    Object,
    /// At most so many bytes.
    Bytes(usize),
    /// Within so many seconds.
    Seconds(u64),
}

impl Allowed {
    /// One of `words`.
    pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self::OneOf(words.into_iter().take(LISTED_MAX).map(Into::into).collect())
    }
}

impl Fault {
    /// A fault in which nothing was found.
    pub(super) fn new(code: Code, place: Place, name: impl Into<String>, allowed: Allowed) -> Self {
        let name = name.into().chars().take(FOUND_LETTERS_MAX).collect();
        Self {
            code,
            place,
            name,
            found: None,
            allowed,
        }
    }

    /// With what was found.
    pub(super) fn found(self, found: &str) -> Self {
        let found = Some(found.chars().take(FOUND_LETTERS_MAX).collect());
        Self { found, ..self }
    }

    /// What is told of it: 404 for what names nothing, else 400.
    pub(super) fn problem(self) -> Problem {
        let problem = if self.code == Code::NotThere {
            Problem::not_found(self.to_string())
        } else {
            Problem::bad_request(self.to_string())
        };
        problem.with(self)
    }

    /// What is told of it under a status and a kind of its own.
    pub(super) fn problem_of(
        self,
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
    ) -> Problem {
        Problem::new(status, kind, title, self.to_string()).with(self)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        fault.problem()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.place {
            Place::Path => "part of the path",
            Place::Query => "query parameter",
            Place::Header => "header",
            Place::Method => "method",
            Place::Field => "field",
            Place::Body => "the body",
        })?;
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        f.write_str(match self.code {
            Code::Unknown => " is unknown",
            Code::Missing => " is missing",
            Code::Twice => " is given twice",
            Code::NotAllowed => "",
            Code::NotThere => " names nothing that there is",
        })?;
        if let Some(found) = &self.found {
            write!(f, ": found `{found}`")?;
        }
        write!(f, "; allowed: {}", self.allowed)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(words) if words.is_empty() => f.write_str("none"),
            Self::OneOf(words) => write!(f, "`{}`", words.join("`, `")),
            Self::Numbers(least, most) => write!(f, "whole numbers from {least} to {most}"),
            Self::Text => f.write_str("a text"),
            Self::Name(most) => write!(
                f,
                "1 to {most} letters, no control characters, not `system`"
            ),
            Self::Object => f.write_str("a JSON object"),
            Self::Bytes(most) => write!(f, "at most {most} bytes"),
            Self::Seconds(most) => write!(f, "all of it within {most} s"),
        }
    }
}
