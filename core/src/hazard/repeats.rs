//! How often an alarm came: its latest occurrences, by its gateway's clock.
//!
//! Limits: so many are kept of each alarm, and for so long after the last of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Judged;
use crate::reading::Timestamp;

/// Moments kept of one alarm to count its repeats, if its rule does not ask for more.
const REPEATS_KEPT: usize = 16;

/// How long they are kept beyond the window of the rule after the alarm came last: a store may hold
/// older ones that are still to come (72 h by default, and as long again until it is read).
const REPEATS_KEPT_FOR: Duration = Duration::from_hours(30 * 24);

/// The latest occurrences of each alarm.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Latest>", into = "BTreeMap<String, Latest>")]
pub(super) struct Repeats {
    by_alarm: BTreeMap<String, Latest>,
    /// Moments at which those of an alarm can no longer count.
    quiet: BTreeSet<(Timestamp, String)>,
}

/// The latest occurrences of one alarm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Latest {
    /// Centre's clock: from when on they can no longer count.
    until: Timestamp,
    /// Gateway's clock: when they were raised, in order.
    at: Vec<Timestamp>,
}

impl PartialEq for Repeats {
    fn eq(&self, other: &Self) -> bool {
        self.by_alarm == other.by_alarm
    }
}

impl From<Repeats> for BTreeMap<String, Latest> {
    fn from(repeats: Repeats) -> Self {
        repeats.by_alarm
    }
}

impl From<BTreeMap<String, Latest>> for Repeats {
    fn from(by_alarm: BTreeMap<String, Latest>) -> Self {
        let all = by_alarm.iter();
        Self {
            quiet: all
                .map(|(alarm, kept)| (kept.until, alarm.clone()))
                .collect(),
            by_alarm,
        }
    }
}

impl Repeats {
    /// Whether the alarm came as often as its rule allows within a window around `at`, this time
    /// included.
    pub(super) fn comes_often(&mut self, now: Timestamp, at: Timestamp, judged: &Judged) -> bool {
        let repeats = judged.figures.repeats as usize;
        if repeats == 0 {
            return false;
        }
        self.forget(now);
        let alarm = judged.origin.alarm.clone();
        let kept = self.by_alarm.entry(alarm.clone()).or_default();
        self.quiet.remove(&(kept.until, alarm.clone()));
        kept.until = now + judged.figures.within + REPEATS_KEPT_FOR;
        self.quiet.insert((kept.until, alarm));
        let times = &mut kept.at;
        let place = times.partition_point(|other| *other <= at);
        times.insert(place, at);
        let mut starts = place.saturating_sub(repeats - 1)..=place;
        let often = starts.any(|start| {
            let (first, last) = (times.get(start), times.get(start + repeats - 1));
            let within =
                |(first, last): (&Timestamp, &Timestamp)| *last < *first + judged.figures.within;
            first.zip(last).is_some_and(within)
        });
        if times.len() > REPEATS_KEPT.max(repeats) {
            times.remove(0);
        }
        often
    }

    /// Drops occurrences that can no longer count as repeats.
    pub(super) fn forget(&mut self, now: Timestamp) {
        while let Some((until, _)) = self.quiet.first()
            && now >= *until
        {
            if let Some((_, alarm)) = self.quiet.pop_first() {
                self.by_alarm.remove(&alarm);
            }
        }
    }
}
