//! Says once what fails each second, and again from time to time.

use std::time::Duration;

use crate::outbox::OutboxError;

/// How soon the same trouble is told again. Ours: one line is still on the screen, and a night of a
/// full disk is no more than some fifty.
const AGAIN: Duration = Duration::from_mins(10);

/// Trouble that has been away for less is not over, so that what comes and goes is one trouble: a disk
/// that is nearly full takes every other message. Ours.
const CALM: Duration = Duration::from_mins(1);

/// What one deed that is done again and again complains of. `elapsed` is a monotonic time.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    /// The trouble as it was last told, and when; none while the deed works.
    told: Option<(String, Duration)>,
    failed_at: Duration,
    left_out: u64,
}

impl Complaint {
    /// Logs what came of the deed, where that is news.
    pub(super) fn check<T>(
        &mut self,
        done: Result<T, OutboxError>,
        elapsed: Duration,
    ) -> Option<T> {
        match done {
            Ok(done) => {
                self.works(elapsed);
                Some(done)
            }
            Err(error) => {
                if let Some(left_out) = self.fails(&error.to_string(), elapsed) {
                    tracing::error!(%error, left_out, "the outbox failed");
                }
                None
            }
        }
    }

    /// The deed failed. How many complaints were left out since the last one; none if this one is,
    /// too.
    pub(super) fn fails(&mut self, trouble: &str, elapsed: Duration) -> Option<u64> {
        self.failed_at = elapsed;
        if let Some((told, at)) = &self.told
            && told == trouble
            && elapsed.saturating_sub(*at) < AGAIN
        {
            self.left_out += 1;
            return None;
        }
        self.told = Some((trouble.to_owned(), elapsed));
        Some(std::mem::take(&mut self.left_out))
    }

    /// The deed worked. How many complaints were left out, if that ends what was told.
    pub(super) fn works(&mut self, elapsed: Duration) -> Option<u64> {
        if self.stands(elapsed) {
            return None;
        }
        self.told.take()?;
        Some(std::mem::take(&mut self.left_out))
    }

    /// Whether there was trouble a moment ago.
    pub(super) fn stands(&self, elapsed: Duration) -> bool {
        self.told.is_some() && elapsed.saturating_sub(self.failed_at) < CALM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_once_a_change_and_each_ten_minutes_with_a_count() {
        let mut complaint = Complaint::default();
        let mut told = Vec::new();
        for second in 0..=1300 {
            let trouble = if second < 1250 { "full" } else { "broken" };
            let elapsed = Duration::from_secs(second);
            let left_out = complaint.fails(trouble, elapsed);
            told.extend(left_out.map(|left_out| (second, left_out)));
        }
        assert_eq!(told, [(0, 0), (600, 599), (1200, 599), (1250, 49)]);
    }

    #[test]
    fn trouble_is_over_after_a_minute_without_it() {
        let mut complaint = Complaint::default();
        let second = Duration::from_secs;
        assert_eq!(complaint.works(second(0)), None, "there was none");
        assert_eq!(complaint.fails("full", second(1)), Some(0));
        assert_eq!(complaint.works(second(2)), None);
        assert_eq!(
            complaint.fails("full", second(3)),
            None,
            "it comes and goes"
        );
        assert_eq!(complaint.works(second(62)), None);
        assert!(complaint.stands(second(62)));
        assert_eq!(complaint.works(second(63)), Some(1));
        assert!(!complaint.stands(second(63)));
        assert_eq!(complaint.works(second(64)), None, "told");
        assert_eq!(complaint.fails("full", second(65)), Some(0), "anew");
    }
}
