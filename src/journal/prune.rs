//! One step of taking the bytes of old messages out of the journal.
//!
//! Invariants: oldest first; messages only, and never past the oldest snapshot, as a restart needs
//! what follows it; what is gone and the mark that says so are one transaction.
//!
//! Limits: [`PRUNE_ENTRIES_MAX`] entries and [`PRUNE_BYTES_MAX`] bytes a step.

use davy_core::reading::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction};

use super::{Kind, PRUNE_BYTES_MAX, PRUNE_ENTRIES_MAX, from_sql, to_sql};

const OLDEST_SNAPSHOT: &str = "SELECT min(number) FROM snapshot";
const PRUNED_THROUGH: &str = "SELECT pruned_through FROM mark WHERE id = 1";
/// Messages are kind 1. Of a blob that is not read its length costs nothing.
const OLDEST: &str = "SELECT number, now_ms, kind, coalesce(length(bytes), 0)
    FROM entry LEFT JOIN input USING (number) WHERE number > ?1 AND number <= ?2 ORDER BY number";
/// The first message after ?1 and up to ?2.
const FIRST_MESSAGE: &str = "SELECT number, now_ms FROM entry
    WHERE number > ?1 AND number <= ?2 AND kind = 1 ORDER BY number LIMIT 1";
const PRUNE: &str = "DELETE FROM input WHERE number IN
    (SELECT number FROM entry WHERE number > ?1 AND number <= ?2 AND kind = 1)";

/// What one call of [`super::Journal::prune_inputs`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Messages whose bytes went.
    pub inputs: u64,
    /// The bytes of messages up to this entry are gone.
    pub through: u64,
    /// Whether another call would find more.
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
    let done: i64 = transaction
        .prepare_cached(PRUNED_THROUGH)?
        .query_row([], |row| row.get(0))?;
    let oldest_snapshot: Option<i64> = transaction
        .prepare_cached(OLDEST_SNAPSHOT)?
        .query_row([], |row| row.get(0))?;
    let done = from_sql(done);
    let restart = oldest_snapshot.map_or(0, from_sql);
    let allowed = not_after.min(restart);
    let batch = allowed.min(done.saturating_add(PRUNE_ENTRIES_MAX));
    let (through, is_kept) = old_through(transaction, (done, batch), before)?;
    let inputs = if through > done {
        transaction
            .prepare_cached("UPDATE mark SET pruned_through = ?1 WHERE id = 1")?
            .execute([to_sql(through)])?;
        transaction
            .prepare_cached(PRUNE)?
            .execute([to_sql(done), to_sql(through)])?
    } else {
        0
    };
    let held = transaction
        .prepare_cached(FIRST_MESSAGE)?
        .query_row([to_sql(not_after.max(done)), to_sql(restart)], |row| {
            Ok((from_sql(row.get(0)?), row.get::<_, i64>(1)?))
        })
        .optional()?;
    Ok(Pruned {
        inputs: inputs as u64,
        through,
        more: !is_kept && through < allowed,
        held: held
            .filter(|(_, now_ms)| *now_ms < before.0)
            .map(|(number, _)| number),
    })
}

/// The last entry of a step after `done` and up to `batch`, and whether a message that is young
/// enough to keep ended it.
fn old_through(
    transaction: &Transaction<'_>,
    (done, batch): (u64, u64),
    before: Timestamp,
) -> rusqlite::Result<(u64, bool)> {
    let mut statement = transaction.prepare_cached(OLDEST)?;
    let mut rows = statement.query([to_sql(done), to_sql(batch)])?;
    let (mut through, mut bytes) = (done, 0);
    while bytes < PRUNE_BYTES_MAX {
        let Some(row) = rows.next()? else { break };
        let (now_ms, kind): (i64, i64) = (row.get(1)?, row.get(2)?);
        let is_message = Kind::from_code(kind) == Some(Kind::Message);
        if is_message && now_ms >= before.0 {
            return Ok((through, true));
        }
        through = from_sql(row.get(0)?);
        if is_message {
            bytes += from_sql(row.get(3)?);
        }
    }
    Ok((through, false))
}
