//! Whether the host answers for what it is sent.
//!
//! A host may hold its connection and commit nothing, with a full disk for one. Then it warns
//! nobody, and the edge must. What is owed outlives a connection: a new one proves nothing.

use std::time::Duration;

/// Messages are on their way and none was freed for so long: the host counts as away. Ours: longer
/// than any hold of a disk that still works, and less than the 30 s after which a message is sent
/// again and the centre itself would call a point lost.
pub const ANSWER_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Since when the host owes an answer; none when it owes none.
    owed_since: Option<Duration>,
    /// It has answered since this was last looked at.
    heard: bool,
}

impl Answers {
    /// A message has gone out.
    pub(super) fn owe(&mut self, now: Duration) {
        self.owed_since.get_or_insert(now);
    }

    /// The host has freed a message.
    pub(super) fn hear(&mut self) {
        self.heard = true;
    }

    /// Whether the host answers, while `more` is still on its way.
    pub(super) fn come(&mut self, now: Duration, more: bool) -> bool {
        if std::mem::take(&mut self.heard) {
            self.owed_since = more.then_some(now);
        }
        let waits = |since| now.saturating_sub(since) < ANSWER_WAIT;
        self.owed_since.is_none_or(waits)
    }
}
