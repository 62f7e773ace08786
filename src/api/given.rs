//! What a call carries: path, query and body, read field by field in the interface's own words.
//!
//! Every name and value is either taken or refused with a [`Fault`]; nothing is passed over. The
//! names of a query are checked against the description of the interface before a handler runs
//! (`document::names`), those of a body by whoever reads it ([`Given::only`]).
//!
//! Limits: `BODY_BYTES_MAX` a body, which must be there within [`BODY_TIME_MAX`].

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use super::fault::{Allowed, Code, Fault, Place};
use super::{BODY_BYTES_MAX, Problem};

/// How long a body may take to come: an operator's answer on the slowest line of a plant.
pub(super) const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// A moment, in ms since 1970 UTC: up to the end of the year 9999.
pub(super) const MOMENTS_MS: RangeInclusive<i64> = 0..=253_402_300_799_999;

/// The path of a call.
pub(super) struct Path<T>(pub(super) T);

/// The query of a call.
pub(super) struct Query<T>(pub(super) T);

/// The JSON body of a call.
pub(super) struct Body<T>(pub(super) T);

/// Something that is read from a path, a query or a body.
pub(super) trait FromGiven: Sized {
    /// Takes what is known, or refuses it.
    fn read(given: &mut Given) -> Result<Self, Fault>;
}

/// Names and values of one part of a call, until they are read.
pub(super) struct Given {
    place: Place,
    /// What stands before each name: `five_items.`.
    within: &'static str,
    fields: Map<String, Value>,
}

impl Given {
    /// Of a query.
    pub(super) fn query(query: &str) -> Result<Self, Fault> {
        let mut fields = Map::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let (name, value) = (name.into_owned(), value.into_owned());
            if fields.insert(name.clone(), Value::String(value)).is_some() {
                let allowed = Allowed::Numbers("0".into(), "1".into());
                return Err(Fault::new(Code::Twice, Place::Query, name, allowed));
            }
        }
        Ok(Self {
            place: Place::Query,
            within: "",
            fields,
        })
    }

    /// Refuses every name but these.
    pub(super) fn only<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Result<(), Fault> {
        let is_known = |name: &str| names.clone().into_iter().any(|known| known == name);
        match self.fields.keys().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(name) => Err(self.fault(Code::Unknown, name, Allowed::one_of(names))),
        }
    }

    /// A whole number, if it is given.
    pub(super) fn number<N>(
        &mut self,
        name: &'static str,
        allowed: RangeInclusive<N>,
    ) -> Result<Option<N>, Fault>
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        // Paths and queries are texts; a body says what is a number.
        let written = match &value {
            Value::String(text) if self.place != Place::Field => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let number = written.and_then(|text| text.parse().ok());
        match number.filter(|number| allowed.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.not_allowed(name, &value, numbers(&allowed))),
        }
    }

    /// A whole number that must be given.
    pub(super) fn needed_number<N>(
        &mut self,
        name: &'static str,
        allowed: RangeInclusive<N>,
    ) -> Result<N, Fault>
    where
        N: FromStr + PartialOrd + Display + Clone,
    {
        let found = self.number(name, allowed.clone())?;
        found.ok_or_else(|| self.missing(name, numbers(&allowed)))
    }

    /// A text, if it is given.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.not_allowed(name, &other, Allowed::Text)),
        }
    }

    /// A text that must be given.
    pub(super) fn needed_text(&mut self, name: &'static str) -> Result<String, Fault> {
        let found = self.text(name)?;
        found.ok_or_else(|| self.missing(name, Allowed::Text))
    }

    /// One of a list of words, if it is given.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Fault> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        if let Some((_, one)) = words.iter().find(|(word, _)| value == *word) {
            return Ok(Some(*one));
        }
        let allowed = Allowed::one_of(words.iter().map(|(word, _)| *word));
        Err(self.not_allowed(name, &value, allowed))
    }

    /// An object that must be given; its names are told with `within` before them.
    pub(super) fn needed_object(
        &mut self,
        name: &'static str,
        within: &'static str,
    ) -> Result<Self, Fault> {
        match self.take(name) {
            None => Err(self.missing(name, Allowed::Object)),
            Some(Value::Object(fields)) => Ok(Self {
                place: self.place,
                within,
                fields,
            }),
            Some(other) => Err(self.not_allowed(name, &other, Allowed::Object)),
        }
    }

    /// That something needed is not given.
    pub(super) fn missing(&self, name: &str, allowed: Allowed) -> Fault {
        self.fault(Code::Missing, name, allowed)
    }

    /// What is given as `null` is left out.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    fn not_allowed(&self, name: &str, found: &Value, allowed: Allowed) -> Fault {
        let fault = self.fault(Code::NotAllowed, name, allowed);
        match found {
            Value::String(text) => fault.found(text),
            other => fault.found(&other.to_string()),
        }
    }

    fn fault(&self, code: Code, name: &str, allowed: Allowed) -> Fault {
        let name = format!("{}{name}", self.within);
        Fault::new(code, self.place, name, allowed)
    }
}

/// A range, as it is told.
pub(super) fn numbers<N: Display>(range: &RangeInclusive<N>) -> Allowed {
    Allowed::Numbers(range.start().to_string(), range.end().to_string())
}

impl<S: Send + Sync, T: FromGiven> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = RawPathParams::from_request_parts(parts, state).await;
        let Ok(found) = found else {
            let fault = Fault::new(Code::NotAllowed, Place::Path, "", Allowed::Text);
            return Err(fault.found(parts.uri.path()).problem());
        };
        let fields = found
            .iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let mut given = Given {
            place: Place::Path,
            within: "",
            fields,
        };
        Ok(Self(T::read(&mut given)?))
    }
}

impl<S: Send + Sync, T: FromGiven> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut given = Given::query(parts.uri.query().unwrap_or_default())?;
        Ok(Self(T::read(&mut given)?))
    }
}

impl<S: Send + Sync, T: FromGiven> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let mut given = Given::body(request, state).await?;
        Ok(Self(T::read(&mut given)?))
    }
}

/// A body whose names depend on something else of the call.
impl FromGiven for Given {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        Ok(Self {
            place: given.place,
            within: given.within,
            fields: std::mem::take(&mut given.fields),
        })
    }
}

impl Given {
    async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Self, Problem> {
        is_json(request.headers())?;
        let whole = |allowed| Fault::new(Code::NotAllowed, Place::Body, "", allowed);
        let coming = Bytes::from_request(request, state);
        let Ok(come) = tokio::time::timeout(BODY_TIME_MAX, coming).await else {
            let fault = whole(Allowed::Seconds(BODY_TIME_MAX.as_secs()));
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(fault.problem_of(status, "too_slow", "the body takes too long to come"));
        };
        let bytes = come.map_err(|refused| {
            if refused.status() != StatusCode::PAYLOAD_TOO_LARGE {
                return whole(Allowed::Object).found("a broken body").problem();
            }
            let fault = whole(Allowed::Bytes(BODY_BYTES_MAX));
            fault.problem_of(refused.status(), "too_large", "the body is too large")
        })?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self {
                place: Place::Field,
                within: "",
                fields,
            }),
            Ok(other) => Err(whole(Allowed::Object).found(&other.to_string()).into()),
            Err(error) => {
                let at = format!(
                    "no JSON at line {}, column {}",
                    error.line(),
                    error.column()
                );
                Err(whole(Allowed::Object).found(&at).into())
            }
        }
    }
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    const JSON: &str = "application/json";
    let found = headers.get(header::CONTENT_TYPE);
    let kind = found.map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let essence = kind.as_deref().and_then(|kind| kind.split(';').next());
    if essence.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON)) {
        return Ok(());
    }
    let code = if kind.is_some() {
        Code::NotAllowed
    } else {
        Code::Missing
    };
    let fault = Fault::new(code, Place::Header, "content-type", Allowed::one_of([JSON]));
    let fault = match &kind {
        Some(kind) => fault.found(kind),
        None => fault,
    };
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(fault.problem_of(status, "media_type", "the body is not declared as JSON"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_body(fields: Value) -> Given {
        let Value::Object(fields) = fields else {
            panic!("no object");
        };
        Given {
            place: Place::Field,
            within: "",
            fields,
        }
    }

    proptest! {
        /// Every text is the number that it says, or refused as it was found.
        #[test]
        fn a_number_is_taken_or_refused(text in "[-+0-9a-f.]{0,6}|\\PC{0,200}") {
            let query: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("limit", &text)
                .finish();
            let mut given = Given::query(&query).unwrap();
            match (text.parse::<u16>(), given.number("limit", 1..=10_000_u16)) {
                (Ok(number), Ok(Some(taken))) => prop_assert_eq!(number, taken),
                (number, Err(fault)) => {
                    prop_assert!(!number.is_ok_and(|number| (1..=10_000).contains(&number)));
                    let found: String = text.chars().take(100).collect();
                    prop_assert_eq!(fault.found, Some(found));
                }
                (number, taken) => prop_assert!(false, "{:?} {:?}", number, taken),
            }
        }

        /// No query breaks it, and none of its names is passed over.
        #[test]
        fn no_name_is_passed_over(query in "\\PC{0,80}|(limit|after|x|%|&|=|[+]){0,9}") {
            let names = ["limit", "after"];
            if let Ok(given) = Given::query(&query) && given.only(names).is_ok() {
                prop_assert!(given.fields.keys().all(|name| names.contains(&name.as_str())));
            }
        }
    }

    #[test]
    fn a_body_says_what_is_a_number_and_what_a_text() {
        let body = || of_body(serde_json::json!({ "a": "5", "b": 5, "c": 5.5, "d": null }));
        let number = |name| body().number(name, 0..=9_i64);
        assert_eq!(number("b"), Ok(Some(5)));
        assert_eq!((number("d"), number("e")), (Ok(None), Ok(None)));
        assert_eq!(number("a").unwrap_err().found.as_deref(), Some("5"));
        assert_eq!(number("c").unwrap_err().found.as_deref(), Some("5.5"));
        assert_eq!(body().text("a"), Ok(Some("5".into())));
        assert_eq!(body().text("b").unwrap_err().allowed, Allowed::Text);
        assert_eq!(body().needed_text("d").unwrap_err().code, Code::Missing);
    }
}
