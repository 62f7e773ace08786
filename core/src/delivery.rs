//! Which messages of a gateway have come: each once, holes known.
//!
//! A gateway numbers its messages without gaps as (`run`, `sequence`). `run` grows at each start
//! and is durable before the first message, so a number is never used again. Live messages go
//! before stored ones, so numbers do not come in order: what is kept is a set, written as ranges.
//!
//! Both ends use it: the centre to take each message once, the gateway to know what it may free.
//!
//! Limits: at most [`RUNS_MAX`] runs and [`RANGES_MAX`] ranges a run are told apart. Beyond that
//! the oldest hole is given up and reported as missing, so that memory stays bounded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Runs of one gateway that are told apart; older ones are taken to be over. A gateway that falls
/// and starts again every minute of an outage of 68 hours has as many.
pub const RUNS_MAX: usize = 4_096;

/// Ranges of one run that are told apart.
pub const RANGES_MAX: usize = 1024;

/// Messages that are asked for again at once, and looked for at once.
pub const RESEND_MESSAGES_MAX: u64 = 10_000;

/// The number of one message of one gateway. Both parts start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageNumber {
    /// Start of the gateway; grows at each one.
    pub run: u64,
    /// Message of that run, counted without gaps.
    pub sequence: u64,
}

/// Sequences as sorted ranges, ends included, which never touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Whether `sequence` is in it.
    pub fn contains(&self, sequence: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= sequence);
        after > 0 && self.0[after - 1].1 >= sequence
    }

    /// Adds one; `false` if it was there.
    pub fn insert(&mut self, sequence: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= sequence);
        if after > 0 && self.0[after - 1].1 >= sequence {
            return false;
        }
        let joins_left = after > 0 && self.0[after - 1].1.checked_add(1) == Some(sequence);
        let joins_right = after < self.0.len() && sequence.checked_add(1) == Some(self.0[after].0);
        match (joins_left, joins_right) {
            (true, true) => {
                self.0[after - 1].1 = self.0[after].1;
                self.0.remove(after);
            }
            (true, false) => self.0[after - 1].1 = sequence,
            (false, true) => self.0[after].0 = sequence,
            (false, false) => self.0.insert(after, (sequence, sequence)),
        }
        true
    }

    /// Adds `first..=last`; an empty range adds nothing.
    pub fn insert_range(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let from = self
            .0
            .partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = self
            .0
            .partition_point(|(start, _)| *start <= last.saturating_add(1));
        let mut merged = (first, last);
        if from < to {
            merged.0 = merged.0.min(self.0[from].0);
            merged.1 = merged.1.max(self.0[to - 1].1);
        }
        self.0.splice(from..to, [merged]);
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// The holes from 1 to the highest member, in order.
    pub fn holes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut next = 1;
        self.0.iter().filter_map(move |(first, last)| {
            let hole = (next < *first).then(|| (next, first - 1));
            next = last.saturating_add(1);
            hole
        })
    }

    /// The highest member; 0 when there is none.
    pub fn highest(&self) -> u64 {
        self.0.last().map_or(0, |(_, last)| *last)
    }

    /// How many ranges it takes to write it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What has come from one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    runs: BTreeMap<u64, Ranges>,
    /// Runs up to this one are over: nothing of them is taken any more.
    over: u64,
}

/// What a gateway still keeps of one run: nothing before `first`, nothing after `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The run.
    pub run: u64,
    /// Its first message still stored.
    pub first: u64,
    /// Its last message so far.
    pub last: u64,
}

/// Messages of one run that have not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The run.
    pub run: u64,
    /// The first that is missing.
    pub first: u64,
    /// The last that is missing.
    pub last: u64,
}

impl Received {
    /// Takes a message: `true` if it is new, `false` if it has come before.
    pub fn take(&mut self, number: MessageNumber) -> bool {
        if number.run <= self.over {
            return false;
        }
        let taken = self
            .runs
            .entry(number.run)
            .or_default()
            .insert(number.sequence);
        while self.runs.len() > RUNS_MAX {
            if let Some((run, _)) = self.runs.pop_first() {
                self.over = run;
            }
        }
        taken
    }

    /// Closes the oldest hole of a run that is written in more than [`RANGES_MAX`] ranges, and
    /// says which it was. To be called after [`Received::take`] until it answers none.
    pub fn give_up(&mut self, run: u64) -> Option<Missing> {
        let ranges = self.runs.get_mut(&run)?;
        if ranges.len() <= RANGES_MAX {
            return None;
        }
        let (first, last) = ranges.holes().next()?;
        ranges.insert_range(first, last);
        Some(Missing { run, first, last })
    }

    /// Whether a message has come, without taking it.
    pub fn has(&self, number: MessageNumber) -> bool {
        number.run <= self.over
            || self
                .runs
                .get(&number.run)
                .is_some_and(|ranges| ranges.contains(number.sequence))
    }

    /// Closes every hole that the gateway cannot fill any more, and says which those were.
    ///
    /// `stored` is what the gateway says it still keeps, one entry a run, its present run
    /// included. A run that it does not name is over, and so are those before [`RUNS_MAX`] others. What came before the first contact was
    /// somebody else's, and is not missing.
    pub fn settle(&mut self, stored: &[Stored]) -> Vec<Missing> {
        let first_contact = self.runs.is_empty() && self.over == 0;
        let mut missing = Vec::new();
        for (run, ranges) in &mut self.runs {
            let kept = stored.iter().find(|kept| kept.run == *run);
            let first_kept = kept.map_or(u64::MAX, |kept| kept.first);
            let holes: Vec<_> = ranges.holes().collect();
            for (first, last) in holes {
                let lost_to = last.min(first_kept.saturating_sub(1));
                if first <= lost_to {
                    ranges.insert_range(first, lost_to);
                    missing.push(Missing {
                        run: *run,
                        first,
                        last: lost_to,
                    });
                }
            }
        }
        for kept in stored.iter().filter(|kept| kept.run > self.over) {
            // Messages before the first one stored, of which nothing has come at all.
            let ranges = self.runs.entry(kept.run).or_default();
            let next = ranges.highest().saturating_add(1);
            if next < kept.first {
                ranges.insert_range(next, kept.first - 1);
                if !first_contact {
                    missing.push(Missing {
                        run: kept.run,
                        first: next,
                        last: kept.first - 1,
                    });
                }
            }
        }
        while self.runs.len() > RUNS_MAX {
            let Some((run, ranges)) = self.runs.pop_first() else {
                break;
            };
            self.over = run;
            let next = ranges.highest().saturating_add(1);
            let kept = stored.iter().find(|kept| kept.run == run);
            let tail = kept.filter(|kept| next <= kept.last);
            let tail = tail.map(|kept| (next, kept.last));
            let given_up = ranges.holes().chain(tail);
            missing.extend(given_up.map(|(first, last)| Missing { run, first, last }));
        }
        let oldest_stored = stored.iter().map(|kept| kept.run).min();
        if let Some(oldest) = oldest_stored {
            self.runs.retain(|run, _| *run >= oldest);
            self.over = self.over.max(oldest.saturating_sub(1));
        }
        missing.sort_by_key(|gap| (gap.run, gap.first));
        missing
    }

    /// Closes a hole: its messages will never come.
    pub fn close(&mut self, hole: Missing) {
        if let Some(ranges) = self.runs.get_mut(&hole.run) {
            ranges.insert_range(hole.first, hole.last);
        }
    }

    /// What has come of each run that is not over, for the gateway to free.
    pub fn runs(&self) -> impl Iterator<Item = (u64, &Ranges)> {
        self.runs.iter().map(|(run, ranges)| (*run, ranges))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn number(run: u64, sequence: u64) -> MessageNumber {
        MessageNumber { run, sequence }
    }

    proptest! {
        #[test]
        fn ranges_are_the_set_of_what_was_inserted(
            ops in prop::collection::vec((1u64..60, 0u64..6), 0..80),
        ) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (first, length) in ops {
                if length == 0 {
                    prop_assert_eq!(ranges.insert(first), model.insert(first));
                } else {
                    ranges.insert_range(first, first + length);
                    model.extend(first..=first + length);
                }
            }
            for sequence in 0..70 {
                prop_assert_eq!(ranges.contains(sequence), model.contains(&sequence));
            }
            let written: Vec<_> = ranges.iter().collect();
            prop_assert!(written.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            let holes: BTreeSet<_> = ranges.holes().flat_map(|(a, b)| a..=b).collect();
            let expected: BTreeSet<_> = (1..=ranges.highest())
                .filter(|sequence| !model.contains(sequence))
                .collect();
            prop_assert_eq!(holes, expected);
        }

        #[test]
        fn each_message_is_taken_once_in_whatever_order(
            order in prop::collection::vec((1u64..4, 1u64..30), 0..200),
        ) {
            let (mut received, mut model) = (Received::default(), BTreeSet::new());
            for (run, sequence) in order {
                let number = number(run, sequence);
                prop_assert_eq!(received.take(number), model.insert(number));
                prop_assert!(received.has(number));
            }
        }
    }

    #[test]
    fn live_before_backlog_leaves_no_hole_in_the_end() {
        let mut received = Received::default();
        assert!(received.take(number(1, 1)));
        assert!(received.take(number(1, 5)), "live goes first");
        let stored = [Stored {
            run: 1,
            first: 2,
            last: 5,
        }];
        assert_eq!(received.settle(&stored), vec![]);
        for sequence in 2..5 {
            assert!(received.take(number(1, sequence)));
        }
        assert!(!received.take(number(1, 3)));
        let runs: Vec<_> = received.runs().map(|(_, ranges)| ranges.len()).collect();
        assert_eq!(runs, vec![1]);
    }

    #[test]
    fn what_a_gateway_no_longer_stores_is_missing() {
        let mut received = Received::default();
        received.take(number(1, 1));
        received.take(number(1, 9));
        let stored = [Stored {
            run: 1,
            first: 4,
            last: 9,
        }];
        let missing = received.settle(&stored);
        assert_eq!(
            missing,
            vec![Missing {
                run: 1,
                first: 2,
                last: 3
            }]
        );
        assert_eq!(received.settle(&stored), vec![], "reported once");
    }

    #[test]
    fn messages_lost_before_the_first_one_of_a_run_came_are_missing() {
        let mut received = Received::default();
        received.take(number(6, 1));
        let stored = [Stored {
            run: 7,
            first: 3,
            last: 3,
        }];
        let missing = received.settle(&stored);
        assert_eq!(
            missing,
            vec![Missing {
                run: 7,
                first: 1,
                last: 2
            }]
        );
    }

    #[test]
    fn what_came_before_the_first_contact_is_not_missing() {
        let mut received = Received::default();
        let stored = [Stored {
            run: 7,
            first: 3,
            last: 5,
        }];
        assert_eq!(received.settle(&stored), vec![]);
        assert!(received.has(number(7, 2)) && !received.has(number(7, 3)));
    }

    #[test]
    fn what_more_runs_than_can_be_told_apart_still_keep_is_missing() {
        let mut received = Received::default();
        assert!(received.take(number(1, 1)));
        let runs = 1..=RUNS_MAX as u64 + 1;
        let stored: Vec<_> = runs
            .map(|run| Stored {
                run,
                first: 1,
                last: 3,
            })
            .collect();
        let (run, first, last) = (1, 2, 3);
        assert_eq!(received.settle(&stored), [Missing { run, first, last }]);
        assert!(received.take(number(2, 1)), "all others are still taken");
    }

    #[test]
    fn a_run_that_is_over_takes_nothing() {
        let mut received = Received::default();
        received.take(number(1, 1));
        let stored = [Stored {
            run: 2,
            first: 1,
            last: 1,
        }];
        received.settle(&stored);
        assert!(!received.take(number(1, 2)));
        assert!(received.take(number(2, 1)));
    }
}
