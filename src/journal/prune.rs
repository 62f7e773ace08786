//! One step of taking the bytes of old messages out of the journal.
//!
//! It goes from one snapshot to the next: when all messages up to a snapshot are old enough, their
//! bytes go. So a snapshot always stands where the kept messages begin, and all of them can be
//! replayed.
//!
//! Invariants: oldest first; messages only, and never past the older one of the newest two
//! snapshots, as a restart needs what follows it; what is gone and the mark that says so are one
//! transaction; the mark moves only when the bytes of a message go.
//!
//! Limits: [`PRUNE_ENTRIES_MAX`] entries and [`PRUNE_BYTES_MAX`] bytes a step.

use davy_core::reading::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{PRUNE_BYTES_MAX, PRUNE_ENTRIES_MAX, from_sql, to_sql};

const PRUNED_THROUGH: &str = "SELECT pruned_through FROM mark WHERE id = 1";
/// The newest snapshot up to which everything is old enough, as time never goes back in the journal.
const OLD_THROUGH: &str = "SELECT number FROM snapshot JOIN entry USING (number)
    WHERE number > ?1 AND now_ms < ?2
        AND number <= (SELECT min(number) FROM
            (SELECT number FROM snapshot ORDER BY number DESC LIMIT 2))
    ORDER BY number DESC LIMIT 1";
const NEXT_SNAPSHOT: &str = "SELECT min(number) FROM snapshot WHERE number >= ?1";
/// The first message after ?1 and up to ?2. Messages are kind 1.
const FIRST_MESSAGE: &str = "SELECT number FROM entry
    WHERE number > ?1 AND number <= ?2 AND kind = 1 ORDER BY number LIMIT 1";
/// Of a blob that is not read its length costs nothing.
const LENGTHS: &str = "SELECT number, coalesce(length(bytes), 0)
    FROM entry LEFT JOIN input USING (number)
    WHERE number > ?1 AND number <= ?2 AND kind = 1 ORDER BY number";
const PRUNE: &str = "DELETE FROM input WHERE number IN
    (SELECT number FROM entry WHERE number > ?1 AND number <= ?2 AND kind = 1)";

/// What one call of [`super::Journal::prune_inputs`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Messages whose bytes went.
    pub inputs: u64,
    /// The bytes of messages up to this entry are gone.
    pub through: u64,
    /// Whether another call may find more.
    pub more: bool,
    /// The first message that is old enough to go and is kept only because it comes after
    /// `not_after`.
    pub held: Option<u64>,
}

/// Takes one step, as [`super::Journal::prune_inputs`] says.
pub(super) fn step(
    transaction: &Transaction<'_>,
    before: Timestamp,
    not_after: u64,
) -> rusqlite::Result<Pruned> {
    let done = number(transaction, PRUNED_THROUGH, &[])?.unwrap_or(0);
    let mut pruned = Pruned {
        inputs: 0,
        through: done,
        more: false,
        held: None,
    };
    let Some((first, next)) = stretch(transaction, done, before)? else {
        return Ok(pruned);
    };
    pruned.held = number(transaction, FIRST_MESSAGE, &[not_after.max(done), next])?;
    if pruned.held.is_none() {
        let batch = next.min(first.saturating_add(PRUNE_ENTRIES_MAX - 1));
        pruned.through = through(transaction, done, batch)?;
        transaction
            .prepare_cached("UPDATE mark SET pruned_through = ?1 WHERE id = 1")?
            .execute([to_sql(pruned.through)])?;
        let inputs = transaction
            .prepare_cached(PRUNE)?
            .execute([to_sql(done), to_sql(pruned.through)])?;
        pruned.inputs = inputs as u64;
        pruned.more = true;
    }
    Ok(pruned)
}

/// The first message after `done`, and the snapshot up to which the bytes of messages go next.
fn stretch(
    transaction: &Transaction<'_>,
    done: u64,
    before: Timestamp,
) -> rusqlite::Result<Option<(u64, u64)>> {
    let old = transaction
        .prepare_cached(OLD_THROUGH)?
        .query_row(params![to_sql(done), before.0], |row| {
            row.get(0).map(from_sql)
        })
        .optional()?;
    let Some(old) = old else { return Ok(None) };
    let Some(first) = number(transaction, FIRST_MESSAGE, &[done, old])? else {
        return Ok(None);
    };
    let next = number(transaction, NEXT_SNAPSHOT, &[first])?;
    Ok(next.map(|next| (first, next)))
}

/// The last entry of a step after `done` and up to `batch`.
fn through(transaction: &Transaction<'_>, done: u64, batch: u64) -> rusqlite::Result<u64> {
    let mut statement = transaction.prepare_cached(LENGTHS)?;
    let mut rows = statement.query([to_sql(done), to_sql(batch)])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        bytes += from_sql(row.get(1)?);
        if bytes >= PRUNE_BYTES_MAX {
            return row.get(0).map(from_sql);
        }
    }
    Ok(batch)
}

/// The number that a question has for an answer, if any.
fn number(
    transaction: &Transaction<'_>,
    sql: &str,
    params: &[u64],
) -> rusqlite::Result<Option<u64>> {
    let params = rusqlite::params_from_iter(params.iter().copied().map(to_sql));
    let number: Option<Option<i64>> = transaction
        .prepare_cached(sql)?
        .query_row(params, |row| row.get(0))
        .optional()?;
    Ok(number.flatten().map(from_sql))
}
