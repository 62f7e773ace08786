//! The states of the engine that the journal keeps: to start from, and to replay from.
//!
//! The newest two are for a start: one, and one in case it is damaged. The others stand spread over
//! what is kept of the messages, so that pruning, which goes from one to the next
//! ([`super::prune`]), always leaves one where the kept messages begin: all of them can be replayed.
//!
//! Invariants: the newest two stay; so does the first one at or after the mark of pruning. Of the
//! rest the one goes that leaves the smallest hole, so that no hole is larger than some two parts in
//! [`SNAPSHOTS_KEPT`] of the journal.
//!
//! Limits: [`SNAPSHOTS_KEPT`] of [`super::SNAPSHOT_BYTES_MAX`] each.

use rusqlite::{Connection, Transaction, params};

use super::chain::Sum;
use super::{Broken, JournalError, SNAPSHOTS_KEPT, Snapshot, from_sql, storage, to_sql};

const INSERT: &str = "INSERT OR REPLACE INTO snapshot VALUES (?1, ?2, ?3)";
const DELETE: &str = "DELETE FROM snapshot WHERE number = ?1";
const NUMBERS: &str = "SELECT number FROM snapshot
    WHERE number >= (SELECT pruned_through FROM mark) ORDER BY number";
/// Before the mark nothing can be replayed any more. A start needs two all the same.
const DELETE_USELESS: &str = "DELETE FROM snapshot
    WHERE number < (SELECT pruned_through FROM mark) AND number NOT IN
        (SELECT number FROM snapshot ORDER BY number DESC LIMIT 2)";
const NEWEST: &str = "SELECT number, digest, bytes FROM snapshot ORDER BY number DESC";

/// Keeps the state after entry `number`, and lets go of one that is needed least.
pub(super) fn write(
    transaction: &Transaction<'_>,
    number: u64,
    bytes: &[u8],
) -> rusqlite::Result<()> {
    transaction.prepare_cached(INSERT)?.execute(params![
        to_sql(number),
        Sum::of(bytes).0,
        bytes
    ])?;
    transaction.prepare_cached(DELETE_USELESS)?.execute([])?;
    let mut numbers: Vec<u64> = transaction
        .prepare_cached(NUMBERS)?
        .query_map([], |row| row.get(0).map(from_sql))?
        .collect::<Result<_, _>>()?;
    while numbers.len() > SNAPSHOTS_KEPT
        && let Some(place) = needed_least(&numbers)
    {
        let number = numbers.remove(place);
        let number = to_sql(number);
        transaction.prepare_cached(DELETE)?.execute([number])?;
    }
    Ok(())
}

/// The place of the one between the first and the newest two that leaves the smallest hole.
fn needed_least(numbers: &[u64]) -> Option<usize> {
    let between = numbers.len().saturating_sub(3);
    let holes = numbers.windows(3).take(between).enumerate();
    let hole = |around: &[u64]| match around {
        [before, _, after] => after - before,
        _ => u64::MAX,
    };
    let least = holes.min_by_key(|(_, around)| hole(around))?;
    Some(least.0 + 1)
}

/// The newest one that is whole, and how many newer ones are not.
pub(super) fn newest(
    connection: &Connection,
    last: u64,
) -> Result<(Option<Snapshot>, u32), JournalError> {
    let failed = storage("reading the last snapshot");
    let mut statement = connection.prepare_cached(NEWEST).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut damaged = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        let number = from_sql(row.get(0).map_err(failed)?);
        if number > last {
            return Err(JournalError::Broken(Broken {
                number,
                what: "a snapshot of it",
                found: format!("the journal ends at {last}"),
                expected: "the entry".to_owned(),
            }));
        }
        let digest = Sum(row.get(1).map_err(failed)?);
        let bytes: Vec<u8> = row.get(2).map_err(failed)?;
        if Sum::of(&bytes) == digest {
            return Ok((Some(Snapshot { number, bytes }), damaged));
        }
        damaged += 1;
    }
    Ok((None, damaged))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the steps between snapshots: few are kept, the first and the newest two among
        /// them, and no hole is large.
        #[test]
        fn few_are_kept_and_leave_no_large_hole(
            steps in prop::collection::vec(1_u64..1_000, 40..300)
        ) {
            let (mut numbers, mut number) = (Vec::new(), 0);
            for step in &steps {
                number += step;
                numbers.push(number);
                if numbers.len() > SNAPSHOTS_KEPT {
                    numbers.remove(needed_least(&numbers).unwrap());
                }
            }
            prop_assert_eq!(numbers.len(), SNAPSHOTS_KEPT);
            prop_assert_eq!(numbers[0], steps[0]);
            let last_two = [number - steps[steps.len() - 1], number];
            prop_assert_eq!(&numbers[SNAPSHOTS_KEPT - 2..], &last_two[..]);
            let largest = numbers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            let allowed = (2 * number / (SNAPSHOTS_KEPT as u64 - 2)).max(1_000);
            prop_assert!(largest <= allowed, "{largest} of {number}, allowed are {allowed}");
        }
    }
}
