//! The outbox's books: every message that was ever produced is committed, stored or lost.

use std::time::Duration;

use rusqlite::OptionalExtension;

use super::schema::add;
use super::{Outbox, OutboxError, failure};

/// Where every message that was ever produced is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Messages numbered, or refused by the disk.
    pub produced: u64,
    /// Messages that the centre has committed.
    pub committed: u64,
    /// Messages that are in here.
    pub stored: u64,
    /// Messages that a limit freed before they were committed, or that the disk refused.
    pub lost: u64,
}

impl Account {
    /// Whether the books balance.
    pub fn balances(self) -> bool {
        self.produced == self.committed + self.stored + self.lost
    }
}

impl Outbox {
    /// Counts messages that could not be kept: produced and lost, without a number. The file is
    /// told when it can be written again.
    pub fn refused(&mut self, messages: u64) {
        self.account.produced += messages;
        self.account.lost += messages;
        self.unbooked += messages;
    }

    /// Writes into the file what it could not be told while the disk was full.
    pub(super) fn book(&mut self) -> Result<(), OutboxError> {
        if self.unbooked == 0 {
            return Ok(());
        }
        let path = &self.path;
        let failed = |error| failure("booking what was refused", path)(error);
        let count = self.unbooked.cast_signed();
        let transaction = self.database.transaction().map_err(failed)?;
        add(&transaction, "produced", count).map_err(failed)?;
        add(&transaction, "lost", count).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.unbooked = 0;
        Ok(())
    }

    /// Takes the account over from the file.
    pub(super) fn count(&mut self) -> rusqlite::Result<()> {
        let number = |name: &str| -> rusqlite::Result<u64> {
            self.database
                .query_row("SELECT value FROM number WHERE name = ?1", [name], |row| {
                    row.get(0)
                })
        };
        let (produced, committed, lost) =
            (number("produced")?, number("committed")?, number("lost")?);
        // What is stored is not counted row by row: it may be hours of a plant.
        let stored = produced.saturating_sub(committed.saturating_add(lost));
        let bytes = number("bytes")?;
        let newest: Option<i64> = self
            .database
            .query_row(
                "SELECT stored_at FROM message ORDER BY row DESC LIMIT 1",
                [],
                |row| row.get(0),
            )
            .optional()?;
        self.began_at = Duration::from_millis(newest.unwrap_or(0).max(0).cast_unsigned());
        self.account = Account {
            produced,
            committed,
            stored,
            lost,
        };
        self.bytes = bytes;
        Ok(())
    }
}
