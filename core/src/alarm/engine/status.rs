//! What is kept of an alarm in one lane.

use serde::{Deserialize, Serialize};

use super::point::{is_never, never};
use super::rule::Rule;
use super::run::{Edge, Run};
use crate::alarm::state::{Axes, State};
use crate::reading::{Quality, Timestamp};

/// Excursions of the live lane that are remembered of an alarm, to know them again in a store.
/// Of more than that between an outage and its backlog, the oldest may be told a second time.
const SPANS_MAX: usize = 8;

/// From when to when the live lane saw a condition hold, by the gateway's clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_field_names, reason = "all of them are moments")]
pub(super) struct Span {
    /// The last good reading before it.
    pub(super) quiet_at: Timestamp,
    /// Its first reading.
    pub(super) began_at: Timestamp,
    /// The reading that ended it; none while it holds.
    pub(super) ended_at: Option<Timestamp>,
    /// The first reading that counts behind the latest hole in it, through which it was taken to
    /// hold.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub(super) resumed_at: Timestamp,
}

impl Span {
    /// Whether it lies around a moment.
    pub(super) fn is_around(&self, at: Timestamp) -> bool {
        self.began_at < at && self.ended_at.is_none_or(|ended_at| at < ended_at)
    }
}

/// How an alarm stands in one lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AlarmStatus {
    /// What is kept of it for the operator.
    pub(super) axes: Axes,
    /// Where its condition stands. In the live lane `run.active` is `axes.active`; in the
    /// historical one it can be active without an occurrence, when the live lane has that one.
    pub(super) run: Run,
    /// Its latest occurrence; 0 for none yet.
    pub(super) occurrence: u64,
    /// Gateway's clock: when the latest occurrence was raised.
    pub(super) raised_at: Timestamp,
    /// Centre's clock: when the latest occurrence was raised.
    pub(super) raised_now: Timestamp,
    /// Gateway's clock: when the condition last changed.
    pub(super) condition_at: Timestamp,
    /// Centre's clock: when anything last changed.
    pub(super) changed_at: Timestamp,
    /// The value by which the condition last changed.
    pub(super) value: Option<f64>,
    /// The quality when anything last changed.
    pub(super) quality: Quality,
    /// Who acknowledged the latest occurrence; none while nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acknowledged_by: Option<Box<str>>,
    /// Whether the horn was to sound when the latest occurrence was raised or carried on.
    #[serde(default)]
    pub(super) sounds: bool,
    /// Historical lane: too old to sound when it was raised, whatever else would have kept the
    /// horn silent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_too_old: bool,
    /// Gateway's clock: the first reading of the condition that holds, or is on its way to.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub(super) began_at: Timestamp,
    /// Gateway's clock: the last good reading before that one.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub(super) quiet_at: Timestamp,
    /// Live lane: the latest excursions, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) spans: Vec<Span>,
    /// Live lane: the reading of the store by which it ended while the live lane could not see it.
    /// The next live reading that counts ends it by that, before it is judged itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone: Option<Box<Sight>>,
    /// Historical lane: raised, but not told yet, since it may be one that the live lane has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Box<Pending>>,
    /// Historical lane: the store ended with it active and the live lane did not know better, so
    /// the next live reading that counts decides.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_handed_over: bool,
}

impl Default for AlarmStatus {
    fn default() -> Self {
        Self {
            axes: Axes::NORMAL,
            run: Run::default(),
            occurrence: 0,
            raised_at: Timestamp(0),
            raised_now: Timestamp(0),
            condition_at: Timestamp(0),
            changed_at: Timestamp(0),
            value: None,
            quality: Quality::Good,
            acknowledged_by: None,
            sounds: false,
            is_too_old: false,
            began_at: Timestamp::MIN,
            quiet_at: Timestamp::MIN,
            spans: Vec::new(),
            gone: None,
            pending: None,
            is_handed_over: false,
        }
    }
}

impl AlarmStatus {
    /// Whether nothing has to be kept of it.
    pub(super) fn is_idle(&self) -> bool {
        self.axes == Axes::NORMAL && self.run == Run::default() && self.occurrence == 0
    }

    /// Whether an operator still owes something, or the condition holds.
    pub(super) fn is_listed(&self) -> bool {
        self.axes.process_state() != State::Normal
    }

    /// Judges a value; notes where the condition began, `before` being the last good reading.
    pub(super) fn step(
        &mut self,
        rule: &Rule,
        value: f64,
        elapsed: i64,
        (before, at): (Timestamp, Timestamp),
    ) -> Option<Edge> {
        let was_quiet = self.run.is_quiet();
        let edge = self.run.step(rule, value, elapsed);
        if was_quiet && !self.run.is_quiet() {
            (self.quiet_at, self.began_at) = (before, at);
        }
        edge
    }

    /// The live lane has it active from now on. What is no excursion of readings is none here.
    pub(super) fn open_span(&mut self) {
        if !is_never(&self.began_at) {
            self.keep_span(Span {
                quiet_at: self.quiet_at,
                began_at: self.began_at,
                ended_at: None,
                resumed_at: never(),
            });
        }
    }

    /// Remembers an excursion, the latest one.
    pub(super) fn keep_span(&mut self, span: Span) {
        if self.spans.len() >= SPANS_MAX {
            self.spans.remove(0);
        }
        self.spans.push(span);
    }

    /// Whether an overlay hides it.
    pub(super) fn is_hidden(&self) -> bool {
        self.axes.state() != self.axes.process_state()
    }
}

/// The moment and the reading by which something was judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sight {
    /// Centre's clock.
    pub(super) now: Timestamp,
    /// Gateway's clock.
    pub(super) sampled_at: Timestamp,
    /// The value, if there is one.
    pub(super) value: Option<f64>,
    /// Quality of the last reading.
    pub(super) quality: Quality,
}

/// An excursion of the store that may be one of the live lane, and when that one began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) sight: Sight,
    pub(super) runs_into: Timestamp,
}
