//! What the log says of each unit: when it begins to fail, how, and when it is back.
//!
//! Once a change, and at most one line a unit in [`PAUSE`]: a unit that comes and goes does not
//! flood the log. What was left out is counted and told with the next line, which comes by itself
//! when the pause is over.

use std::time::Duration;

use davy_core::config::{Bus, Unit};
use tokio::time::Instant;

use crate::modbus::Failure;

/// Least time between two lines of one unit. Ours: an engineer at the log sees what happened
/// while it lasts, and a day of a unit that flaps is no more than 1,440 lines.
const PAUSE: Duration = Duration::from_mins(1);

/// Where a unit is found.
#[derive(Clone, Debug)]
pub(super) struct Place {
    unit: String,
    bus: String,
    address: String,
    number: u8,
}

impl Place {
    pub(super) fn new(bus: &Bus, unit: &Unit) -> Self {
        Self {
            unit: unit.id.clone(),
            bus: bus.name.clone(),
            address: bus.address.clone(),
            number: unit.number,
        }
    }
}

/// Of one unit.
#[derive(Debug)]
pub(super) struct UnitLog {
    place: Place,
    /// How it fails; none while it answers.
    trouble: Option<Failure>,
    /// Since when it has failed, in whatever way; once it answers again, how long it did not.
    failing_since: Option<Instant>,
    failed_for: Duration,
    /// Changes that have not been told.
    untold: u64,
    told_at: Option<Instant>,
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    trouble: Option<Failure>,
    failed_for: Duration,
    left_out: u64,
}

impl UnitLog {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            trouble: None,
            failing_since: None,
            failed_for: Duration::ZERO,
            untold: 0,
            told_at: None,
        }
    }

    /// A poll has shown how the unit stands.
    pub(super) fn see(&mut self, trouble: Option<Failure>, now: Instant) {
        if let Some(line) = self.note(trouble, now) {
            self.write(line);
        }
    }

    /// The unit stands as it stood: what had to wait may be told by now.
    pub(super) fn repeat(&mut self, now: Instant) {
        self.see(self.trouble, now);
    }

    /// Notes how the unit stands; what is to be said, if anything.
    fn note(&mut self, trouble: Option<Failure>, now: Instant) -> Option<Line> {
        if trouble != self.trouble {
            self.trouble = trouble;
            self.untold += 1;
            let since = *self.failing_since.get_or_insert(now);
            if trouble.is_none() {
                self.failed_for = now - since;
                self.failing_since = None;
            }
        }
        if self.untold == 0 || self.told_at.is_some_and(|at| now < at + PAUSE) {
            return None;
        }
        self.told_at = Some(now);
        let untold = std::mem::take(&mut self.untold);
        Some(Line {
            trouble,
            failed_for: self.failed_for,
            left_out: untold - 1,
        })
    }

    fn write(&self, line: Line) {
        let Place {
            unit,
            bus,
            address,
            number,
        } = &self.place;
        let left_out = line.left_out;
        if let Some(why) = line.trouble {
            tracing::warn!(unit, bus, address, number, left_out, "unit fails: {why}");
        } else {
            let back = format!("unit answers again after {} s", line.failed_for.as_secs());
            tracing::info!(unit, bus, address, number, left_out, "{back}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    const SILENT: Option<Failure> = Some(Failure::NoAnswer);
    const REFUSES: Option<Failure> = Some(Failure::Exception(2));

    /// Seconds, what a poll shows then, and the line that follows: trouble, how long the last one
    /// lasted, and how many changes were left out.
    type Step = (u64, Option<Failure>, Option<(Option<Failure>, u64, u64)>);

    fn check(steps: &[Step]) {
        let place = Place {
            unit: "u1".into(),
            bus: "bus".into(),
            address: "127.0.0.1:502".into(),
            number: 1,
        };
        let (mut log, start) = (UnitLog::new(place), monotonic());
        for (at, trouble, expected) in steps {
            let line = log.note(*trouble, start + Duration::from_secs(*at));
            let line = line.map(|it| (it.trouble, it.failed_for.as_secs(), it.left_out));
            assert_eq!(line, *expected, "at {at} s");
        }
    }

    #[test]
    fn each_change_is_told_once() {
        check(&[
            (0, None, None),
            (10, SILENT, Some((SILENT, 0, 0))),
            (11, SILENT, None),
            (100, SILENT, None),
            (200, REFUSES, Some((REFUSES, 0, 0))),
            (310, None, Some((None, 300, 0))),
            (900, None, None),
        ]);
    }

    #[test]
    fn a_unit_that_comes_and_goes_is_told_once_a_minute_with_a_count() {
        let mut steps = vec![(0, SILENT, Some((SILENT, 0, 0)))];
        for at in 1..60 {
            steps.push((at, if at % 2 == 1 { None } else { SILENT }, None));
        }
        // 59 changes by then; the last is told.
        steps.push((60, SILENT, Some((SILENT, 1, 59))));
        steps.push((61, None, None));
        // What waited comes by itself, and tells of the time that it was.
        steps.push((119, None, None));
        steps.push((120, None, Some((None, 1, 0))));
        check(&steps);
    }
}
