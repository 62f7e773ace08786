//! What is lost: what is over a limit, oldest first, and what cannot be read.

use std::time::Duration;

use davy_core::delivery::RUNS_MAX;

use super::{Outbox, OutboxError, failure};

impl Outbox {
    /// Frees what is over a limit, oldest first, and says how many messages that was: lost.
    /// `elapsed` is the monotonic time since the outbox was opened.
    pub fn trim(&mut self, elapsed: Duration) -> Result<u64, OutboxError> {
        self.book()?;
        let path = self.path.clone();
        let failed = |error| failure("looking for the oldest", &path)(error);
        let age_max = i64::try_from(self.limits.age_max.as_millis()).unwrap_or(i64::MAX);
        let oldest_allowed = self.age_clock(elapsed).saturating_sub(age_max);
        // From the oldest on, and no further than the first that may stay: a store of gigabytes is
        // not read through each second.
        let mut last = None;
        {
            let mut query = self
                .database
                .prepare_cached("SELECT row, stored_at FROM message ORDER BY row")
                .map_err(failed)?;
            let mut rows = query.query([]).map_err(failed)?;
            while let Some(row) = rows.next().map_err(failed)?
                && row.get::<_, i64>(1).map_err(failed)? < oldest_allowed
            {
                last = Some(row.get(0).map_err(failed)?);
            }
        }
        if self.bytes > self.limits.bytes_max {
            let mut over = self.bytes - self.limits.bytes_max;
            let mut query = self
                .database
                .prepare_cached("SELECT row, length(payload) FROM message ORDER BY row")
                .map_err(failed)?;
            let mut rows = query.query([]).map_err(failed)?;
            while let Some(row) = rows.next().map_err(failed)?
                && over > 0
            {
                let (number, length): (i64, u64) =
                    (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
                over = over.saturating_sub(length);
                last = last.max(Some(number));
            }
        }
        let Some(last) = last else { return Ok(0) };
        self.lose(0, last)
    }

    /// At the start: frees the oldest runs when there are more than a host tells apart.
    pub(super) fn trim_runs(&mut self) -> Result<(), OutboxError> {
        let runs = self.runs();
        let runs = runs.map_err(failure("looking for the oldest run", &self.path))?;
        let surplus = runs.len().saturating_sub(RUNS_MAX);
        if let Some((_, base)) = runs.get(surplus).filter(|_| surplus > 0) {
            let lost = self.lose(0, *base)?;
            tracing::error!(lost, "the outbox keeps too many runs: the oldest are lost");
        }
        Ok(())
    }

    /// Frees rows `from..=to` that can never be committed, and says how many messages that was:
    /// lost.
    pub fn lose(&mut self, from: i64, to: i64) -> Result<u64, OutboxError> {
        let freed = self.free(&[(from, to)], "lost")?;
        self.account.lost += freed;
        Ok(freed)
    }
}
