//! The rows of alarms and entries that the API reads, as they follow from a group.

use std::collections::BTreeSet;

use davy_core::reading::Timestamp;
use davy_core::watch::{Effect, Watch};

use crate::journal::Projection;

/// A row of the tables that the API reads.
pub(super) enum Shown<'a> {
    Alarm {
        change: &'a davy_core::alarm::AlarmChange,
        source: Option<&'a str>,
        changed_at: Timestamp,
        state: String,
        json: String,
    },
    Hazard {
        hazard: &'a davy_core::hazard::Hazard,
        state: String,
        json: String,
    },
}

/// The rows that follow from a group: of each alarm and entry the newest.
pub(super) fn shown<'a>(
    watch: &'a Watch,
    entries: impl DoubleEndedIterator<Item = (Timestamp, &'a [Effect])>,
) -> Vec<Shown<'a>> {
    let word = |json: String| json.trim_matches('"').to_owned();
    let mut seen = BTreeSet::new();
    let mut shown = Vec::new();
    for (now, effects) in entries.rev() {
        for effect in effects.iter().rev() {
            match effect {
                Effect::Alarm(change) if seen.insert((false, change.occurrence)) => {
                    let place = watch.find_alarm(&change.alarm);
                    shown.push(Shown::Alarm {
                        source: place.and_then(|place| watch.sources_of(place).next()),
                        changed_at: now,
                        state: word(serde_json::to_string(&change.to).unwrap_or_default()),
                        json: serde_json::to_string(change).unwrap_or_default(),
                        change,
                    });
                }
                Effect::Hazard(change) if seen.insert((true, change.hazard.id)) => {
                    let hazard = &change.hazard;
                    shown.push(Shown::Hazard {
                        state: word(serde_json::to_string(&hazard.state).unwrap_or_default()),
                        json: serde_json::to_string(hazard).unwrap_or_default(),
                        hazard,
                    });
                }
                _ => {}
            }
        }
    }
    shown
}

impl Shown<'_> {
    pub(super) fn projection(&self) -> Projection<'_> {
        match self {
            Self::Alarm {
                change,
                source,
                changed_at,
                state,
                json,
            } => Projection::Alarm {
                occurrence: change.occurrence,
                alarm: &change.alarm,
                source: *source,
                raised_at: change.raised_at,
                changed_at: *changed_at,
                state,
                json,
            },
            Self::Hazard {
                hazard,
                state,
                json,
            } => Projection::Hazard {
                id: hazard.id,
                source: hazard.origin.source.as_deref().unwrap_or_default(),
                state,
                deadline: Some(hazard.deadline),
                json,
            },
        }
    }
}
