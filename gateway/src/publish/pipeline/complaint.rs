//! Says once what fails each second, and again from time to time.

use std::time::Duration;

use crate::outbox::OutboxError;

/// How soon the same trouble is told again. Ours: one line is still on the screen, and a night of a
/// full disk is no more than some fifty.
const AGAIN: Duration = Duration::from_mins(10);

/// What one deed that is done again and again complains of. `elapsed` is a monotonic time.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    /// The trouble as it was last told, and when; none while the deed works.
    told: Option<(String, Duration)>,
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
                self.told = None;
                self.left_out = 0;
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

    /// How many complaints were left out since the last one; none if this one is, too.
    fn fails(&mut self, trouble: &str, elapsed: Duration) -> Option<u64> {
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
        complaint.check(Ok(()), Duration::from_secs(1301));
        let again = complaint.fails("broken", Duration::from_secs(1302));
        assert_eq!(again, Some(0), "it worked in between");
    }
}
