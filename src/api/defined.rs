//! What answers say of alarms beside what the loop is asked for: names, limits, sources.
//!
//! It follows from the configuration alone, which is shared and never changed. So the loop hands
//! out only what it alone knows, and rows are made outside its thread: every reading waits for
//! what the loop is asked.

use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use davy_core::alarm::Subject;
use davy_core::config::Config;
use davy_core::watch::{Concerns, Watch};
use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;
use super::site::Words;

/// The configuration in force when the loop was asked.
pub(super) struct Defined {
    pub(super) config: Arc<Config>,
    pub(super) concerns: Arc<Concerns>,
}

impl From<&Watch> for Defined {
    fn from(watch: &Watch) -> Self {
        Self {
            config: Arc::clone(watch.config()),
            concerns: Arc::clone(watch.concerns()),
        }
    }
}

/// An alarm by name, and what it is about.
#[derive(Serialize, ToSchema)]
pub(super) struct Named {
    alarm: String,
    /// The point that it is about, if it is about one.
    pub(super) tag: Option<String>,
    /// Empty for an alarm that is no longer configured.
    pub(super) subject: Words,
}

impl Defined {
    /// The first source that an alarm concerns.
    pub(super) fn source_of(&self, alarm: usize) -> Option<&str> {
        let place = self.concerns.sources_of(alarm).first()?;
        let source = self.config.sources.get(*place)?;
        Some(&source.id)
    }

    /// An alarm by its name; it may be one that is no longer configured.
    pub(super) fn named(&self, alarm: &str) -> Named {
        let definition = self.concerns.find(alarm);
        let definition = definition.and_then(|place| self.config.alarms.get(place));
        let (subject, is_point) = definition
            .map(|definition| {
                let is_point = matches!(definition.subject, Subject::Point(_));
                (self.config.subject(definition), is_point)
            })
            .unwrap_or_default();
        Named {
            alarm: alarm.to_owned(),
            tag: is_point.then_some(subject.0),
            subject: (&subject.1).into(),
        }
    }
}

/// Makes a long answer on a thread of its own: tens of milliseconds, in which a thread of the
/// runtime would move nothing else.
pub(super) async fn made<T: Serialize>(
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, Problem> {
    let failed = |error: &dyn std::fmt::Display| Problem::internal("making an answer", error);
    let json = tokio::task::spawn_blocking(move || serde_json::to_vec(&make()));
    let json = json.await.map_err(|error| failed(&error))?;
    let json = json.map_err(|error| failed(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}
