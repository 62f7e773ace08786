//! Which messages of a gateway have come: each once, holes known.
//!
//! A gateway numbers its messages without gaps as (`run`, `sequence`). `run` grows at each start
//! and is durable before the first message, so a number is never used again. Live messages go
//! before stored ones, so numbers do not come in order: what is kept is a set, written as ranges.
//!
//! Both ends use it: the centre to take each message once, the gateway to know what it may free.
//!
//! A run is taken from the first word of it, by a message or by the gateway's list of what it
//! keeps, until that list names it no more.
//!
//! Limits: at most [`RUNS_MAX`] runs and [`RANGES_MAX`] ranges a run are told apart. A gateway keeps
//! no more runs; what comes of one more is not taken until its list has made room. Of more ranges
//! the oldest hole is given up and reported as missing, so that memory stays bounded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Runs of one gateway that are told apart, and that it keeps messages of. One that falls and starts
/// again every minute of an outage of 68 hours has as many.
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
    /// Takes a message: `true` if it is new, `false` if it has come before or is not taken.
    pub fn take(&mut self, number: MessageNumber) -> bool {
        if let Some(ranges) = self.runs.get_mut(&number.run) {
            return ranges.insert(number.sequence);
        }
        !self.refuses(number.run)
            && self
                .runs
                .entry(number.run)
                .or_default()
                .insert(number.sequence)
    }

    /// Whether a run that is not known is over, or one too many. What is refused is not said to
    /// have come, so its gateway keeps it and sends it again.
    fn refuses(&self, run: u64) -> bool {
        let newest = self.runs.last_key_value();
        let newest = newest.map_or(self.over, |(newest, _)| *newest);
        run <= newest || self.runs.len() >= RUNS_MAX
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

    /// Whether a message has come or would not be taken, without taking it.
    pub fn has(&self, number: MessageNumber) -> bool {
        match self.runs.get(&number.run) {
            Some(ranges) => ranges.contains(number.sequence),
            None => self.refuses(number.run),
        }
    }

    /// Closes every hole that the gateway cannot fill any more, and says which those were.
    ///
    /// `stored` is what the gateway says it still keeps, one entry a run, at most [`RUNS_MAX`], its
    /// present run included. A run before that one which it does not name is over; of later ones it
    /// did not know. A run that is over and named again (an outbox that was put back from a copy)
    /// has come, as far as it ever will, and is said to have. What came before the first contact
    /// was somebody else's, and is not missing.
    pub fn settle(&mut self, stored: &[Stored]) -> Vec<Missing> {
        let first_contact = self.runs.is_empty() && self.over == 0;
        let named: BTreeMap<u64, Stored> = stored.iter().map(|kept| (kept.run, *kept)).collect();
        let ends = named.first_key_value().zip(named.last_key_value());
        let Some(((oldest, _), (present, _))) = ends else {
            return Vec::new();
        };
        let mut missing = Vec::new();
        for (run, ranges) in self.runs.range_mut(..=present) {
            let first_kept = named.get(run).map_or(u64::MAX, |kept| kept.first);
            let holes: Vec<_> = ranges.holes().collect();
            for (first, last) in holes {
                let last = last.min(first_kept.saturating_sub(1));
                if first <= last {
                    ranges.insert_range(first, last);
                    missing.push(Missing {
                        run: *run,
                        first,
                        last,
                    });
                }
            }
        }
        for kept in named.values() {
            let ranges = self.runs.entry(kept.run).or_default();
            if kept.run <= self.over {
                ranges.insert_range(1, kept.last);
                continue;
            }
            // Messages before the first one stored, of which nothing has come at all.
            let (run, first) = (kept.run, ranges.highest().saturating_add(1));
            let last = kept.first.saturating_sub(1);
            if first <= last {
                ranges.insert_range(first, last);
                if !first_contact {
                    missing.push(Missing { run, first, last });
                }
            }
        }
        self.runs.retain(|run, _| run >= oldest);
        self.over = self.over.max(oldest.saturating_sub(1));
        self.make_room(&named, *present);
        missing.sort_by_key(|gap| (gap.run, gap.first));
        missing
    }

    /// Forgets runs that are over behind one that is not, the oldest first, where there are too
    /// many.
    fn make_room(&mut self, named: &BTreeMap<u64, Stored>, present: u64) {
        let surplus = self.runs.len().saturating_sub(RUNS_MAX);
        let known = self.runs.range(..present).map(|(run, _)| *run);
        let over = known.filter(|run| !named.contains_key(run));
        for run in over.take(surplus).collect::<Vec<_>>() {
            self.runs.remove(&run);
        }
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
            let (first, last) = (1, 30);
            received.settle(&[1, 2, 3].map(|run| Stored { run, first, last }));
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

    /// What a gateway keeps: messages `first..=last` of each run.
    #[derive(Default)]
    struct Kept(BTreeMap<u64, (u64, u64)>);

    impl Kept {
        fn stored(&self) -> Vec<Stored> {
            let runs = self.0.iter();
            runs.map(|(run, (first, last))| Stored {
                run: *run,
                first: *first,
                last: *last,
            })
            .collect()
        }

        /// Frees what is told, from the front of each run.
        fn free(&mut self, received: &Received) {
            for (run, ranges) in received.runs() {
                if let Some((first, _)) = self.0.get_mut(&run) {
                    while ranges.contains(*first) {
                        *first += 1;
                    }
                }
            }
            let present = self.0.last_key_value().map(|(run, _)| *run);
            self.0
                .retain(|run, (first, last)| first <= last || Some(*run) == present);
        }
    }

    #[test]
    fn a_gateway_that_started_thousands_of_times_loses_nothing() {
        let (mut received, mut kept) = (Received::default(), Kept::default());
        let mut missing = Vec::new();
        // Each start was seen for a moment: its second message came, its first and third did not.
        for run in 1..=RUNS_MAX as u64 {
            kept.0.insert(run, (1, 3));
            assert!(received.take(number(run, 2)));
        }
        missing.extend(received.settle(&kept.stored()));
        // And so on while the oldest are sent, as many as come and go.
        for run in RUNS_MAX as u64 + 1..RUNS_MAX as u64 + 50 {
            let oldest = *kept.0.first_key_value().expect("one").0;
            // The birth of this run is not heard at once: nothing goes by that.
            received.take(number(run, 1));
            for sequence in [1, 3] {
                assert!(received.take(number(oldest, sequence)), "{oldest}");
            }
            kept.0.insert(run, (1, 3));
            kept.free(&received);
            missing.extend(received.settle(&kept.stored()));
            assert!(received.runs().count() <= RUNS_MAX);
        }
        for (run, (first, last)) in kept.0.clone() {
            for sequence in first..=last {
                let number = number(run, sequence);
                assert!(received.has(number) || received.take(number));
            }
        }
        kept.free(&received);
        assert_eq!(missing, []);
        assert!(kept.0.values().all(|(first, last)| first > last));
    }

    #[test]
    fn runs_that_are_done_make_room_for_those_behind_one_that_is_not() {
        let mut received = Received::default();
        let of = |run, first| Stored {
            run,
            first,
            last: 1,
        };
        received.settle(&[of(1, 1)]);
        for run in 2..=RUNS_MAX as u64 {
            assert!(received.take(number(run, 1)));
        }
        for run in RUNS_MAX as u64..RUNS_MAX as u64 + 50 {
            // Run 1 stays stored; the last one is done with.
            for first in [1, 2] {
                assert_eq!(received.settle(&[of(1, 1), of(run, first)]), []);
                received.take(number(run, 1));
            }
        }
        assert!(received.runs().count() <= RUNS_MAX);
        let newest = received.runs().last();
        assert!(newest.is_some_and(|(_, ranges)| ranges.contains(1)));
        assert!(
            !received.take(number(2, 2)),
            "forgotten, and not taken anew"
        );
        assert!(received.take(number(1, 1)), "and yet nothing of it is lost");
    }

    #[test]
    fn a_list_does_not_speak_of_runs_after_its_last() {
        let mut received = Received::default();
        received.take(number(1, 1));
        received.take(number(2, 3));
        let (run, first, last) = (1, 2, 1);
        // Said before run 2 began, and late.
        assert_eq!(received.settle(&[Stored { run, first, last }]), []);
        assert!(received.take(number(2, 2)));
    }

    #[test]
    fn a_run_that_is_over_is_told_as_come_when_it_is_kept_again() {
        let mut received = Received::default();
        let of = |run| Stored {
            run,
            first: 1,
            last: 4,
        };
        received.settle(&[of(7)]);
        // Its outbox was put back from a copy, in which run 5 was still stored.
        assert_eq!(received.settle(&[of(5), of(8)]), []);
        assert!(!received.take(number(5, 2)), "it came, or was told missing");
        let told: Vec<_> = received.runs().map(|(run, _)| run).collect();
        assert_eq!(told, [5, 7, 8]);
        assert!(received.runs().next().is_some_and(|(_, of)| of.contains(4)));
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
