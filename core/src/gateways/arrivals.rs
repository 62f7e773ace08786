//! Which messages of a gateway have come: each once, of which outbox, and which never will.
//!
//! Invariants: numbers belong to one outbox (its *instance*); those of a replaced outbox say
//! nothing of its replacement's. What is missing for good is counted once.
//!
//! Limits: [`FORMER_MAX`] former outboxes, and those of `crate::delivery`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::Turn;
use crate::delivery::{MessageNumber, Missing, RESEND_MESSAGES_MAX, Ranges, Received, Stored};
use crate::reading::Timestamp;
use crate::sparkplug::RunRanges;

/// A gap that has stood unchanged for so long is asked for again, and so again until it is closed.
/// A backlog on its way changes its gap all the time.
pub(super) const RESEND_PAUSE: Duration = Duration::from_secs(10);

/// Gaps that are asked for at once.
const RESEND_GAPS_MAX: usize = 64;

/// Former outboxes of one gateway that are remembered.
const FORMER_MAX: usize = 4;

/// The messages of one gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Arrivals {
    instance: String,
    /// Its present run; 0 before the first birth.
    run: u64,
    received: Received,
    /// The highest number that came as measured, and out of the store.
    latest: (Option<MessageNumber>, Option<MessageNumber>),
    former: Vec<(String, u64, Received)>,
    stored: Vec<Stored>,
    missing: u64,
    history_open: bool,
    /// When gaps are looked at next, and those that stood at the last look.
    look_at: Option<Timestamp>,
    stood: Vec<Missing>,
}

impl Arrivals {
    /// Takes a message: `true` if it is new, `false` if it has come before.
    pub(super) fn take(&mut self, number: MessageNumber) -> bool {
        self.received.take(number)
    }

    /// How a message that was taken follows those before it in its lane.
    pub(super) fn turn(&mut self, number: MessageNumber, is_stored: bool) -> Turn {
        let (live, stored) = &mut self.latest;
        let latest = if is_stored { stored } else { live };
        if latest.is_some_and(|latest| number < latest) {
            return Turn::Gap;
        }
        *latest = Some(number);
        Turn::Next
    }

    /// Gives up the oldest hole of a run that has too many, until it answers none.
    pub(super) fn give_up(&mut self, run: u64) -> Option<Missing> {
        self.received.give_up(run).inspect(|gap| self.count(*gap))
    }

    /// Whether a message has come.
    pub(super) fn has(&self, number: MessageNumber) -> bool {
        self.received.has(number)
    }

    /// What has come of each run that is not over.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, &Ranges)> {
        self.received.runs()
    }

    /// Which outbox speaks; empty before the first birth of a Davy gateway.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// What the gateway says that it still keeps.
    pub(super) fn stored(&self) -> &[Stored] {
        &self.stored
    }

    /// Messages that are missing for good.
    pub(super) fn missing(&self) -> u64 {
        self.missing
    }

    /// Which outbox speaks, in which run. None when it is the one as before, or that one started
    /// again; `Some(true)` when it is one that had been replaced: two take turns.
    ///
    /// Runs of one outbox only grow. One that goes back is a copy of it: two gateways made of one
    /// image, or one that was restored beside the other.
    pub(super) fn meet(&mut self, instance: &str, run: u64) -> Option<bool> {
        let mut former = self.former.iter();
        let known = former.position(|(name, of, _)| name == instance && *of == run);
        let goes_back = self.instance == instance && run < self.run;
        if self.instance == instance && !goes_back && known.is_none() {
            self.run = run;
            return None;
        }
        let before = std::mem::replace(&mut self.instance, instance.to_owned());
        let of = std::mem::replace(&mut self.run, run);
        if before.is_empty() {
            return None;
        }
        (self.look_at, self.stood) = (None, Vec::new());
        self.latest = (None, None);
        let received = known.map(|place| self.former.remove(place).2);
        let received = std::mem::replace(&mut self.received, received.unwrap_or_default());
        self.former.push((before, of, received));
        if self.former.len() > FORMER_MAX {
            self.former.remove(0);
        }
        Some(known.is_some() || goes_back)
    }

    /// The gateway says what it still keeps; which messages are missing by that.
    pub(super) fn settle(&mut self, stored: &[Stored]) -> Vec<Missing> {
        let missing = self.received.settle(stored);
        for gap in &missing {
            self.count(*gap);
        }
        self.stored = stored.to_vec();
        self.stored.sort_unstable_by_key(|kept| kept.run);
        missing
    }

    fn count(&mut self, gap: Missing) {
        let count = (gap.last - gap.first).saturating_add(1);
        self.missing = self.missing.saturating_add(count);
    }

    /// The gateway says what it does not keep any more of what it was asked for; which messages are
    /// missing by that.
    pub(super) fn gone(&mut self, runs: &[RunRanges]) -> Vec<Missing> {
        let mut missing = Vec::new();
        for gap in self.gaps() {
            let of_run = runs.iter().filter(|of| of.run == gap.run);
            missing.extend(of_run.flat_map(|of| of.ranges.iter()).filter_map(|gone| {
                let (first, last) = (gap.first.max(gone.0), gap.last.min(gone.1));
                let run = gap.run;
                (first <= last).then_some(Missing { run, first, last })
            }));
        }
        for gap in &missing {
            self.received.close(*gap);
            self.count(*gap);
        }
        missing
    }

    /// Something stored has come of a node that does not say how much there is.
    pub(super) fn open_history(&mut self) {
        self.history_open = true;
    }

    /// Whether what was stored has come to its end since the last time. While it has not, gaps are
    /// looked at again and again.
    pub(super) fn history_ends(&mut self, now: Timestamp) -> bool {
        let open = self.gaps().next().is_some();
        if !open {
            (self.look_at, self.stood) = (None, Vec::new());
        } else if self.look_at.is_none() {
            self.look(now);
        }
        std::mem::replace(&mut self.history_open, open) && !open
    }

    /// When gaps are looked at next.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        self.look_at
    }

    /// Looks at the gaps if it is time: those that stood at the last look already are to be asked
    /// for again, the oldest first, no more than [`RESEND_MESSAGES_MAX`] messages.
    pub(super) fn standing(&mut self, now: Timestamp) -> Vec<Missing> {
        if self.look_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let before = std::mem::take(&mut self.stood);
        self.look(now);
        let mut room = RESEND_MESSAGES_MAX;
        let mut asked = Vec::new();
        for gap in self.stood.iter().filter(|gap| before.contains(gap)) {
            if room == 0 {
                break;
            }
            let last = gap.last.min(gap.first.saturating_add(room - 1));
            room -= last - gap.first + 1;
            asked.push(Missing { last, ..*gap });
        }
        asked
    }

    fn look(&mut self, now: Timestamp) {
        self.stood = self.gaps().take(RESEND_GAPS_MAX).collect();
        self.look_at = Some(now + RESEND_PAUSE);
    }

    /// What is still to come: behind newer messages, or the last of a run.
    fn gaps(&self) -> impl Iterator<Item = Missing> {
        self.received.runs().flat_map(|(run, ranges)| {
            let place = self.stored.binary_search_by_key(&run, |kept| kept.run);
            let kept = place.ok().and_then(|place| self.stored.get(place));
            let next = ranges.highest().saturating_add(1);
            let tail = kept.filter(|kept| next <= kept.last);
            let tail = tail.map(|kept| (next, kept.last));
            let holes = ranges.holes().chain(tail);
            holes.map(move |(first, last)| Missing { run, first, last })
        })
    }
}
