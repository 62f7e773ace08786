//! What happens to rows after they are stored: merged from `recent` into `blocks`, deleted when old.

use davy_core::reading::Timestamp;
use rusqlite::{Transaction, params};

use super::columns::Columns;
use super::row::{self, Place};
use super::{Quantities, SeriesError};

/// Rows that one call of `prune` deletes: 3 MB of full ones.
pub(super) const PRUNE_ROWS: i64 = 256;

/// What the merges of a commit changed.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) points: Vec<u32>,
    pub(super) bytes: usize,
    pub(super) damaged: u64,
}

/// Moves what lies in `recent` of a point into `blocks`; what is damaged moves as it is.
pub(super) fn merge_point(
    transaction: &Transaction<'_>,
    point: u32,
    tag: &str,
    merged: &mut Merged,
) -> Result<(), SeriesError> {
    let doing = SeriesError::store("merging blocks");
    let sql = "SELECT first, last, count, bad, data FROM recent WHERE point = ?1 ORDER BY id";
    let rows = transaction
        .prepare_cached(sql)
        .and_then(|mut select| {
            select
                .query_map([point], |row| {
                    let span: (i64, i64) = (row.get(0)?, row.get(1)?);
                    let counts: (i64, i64) = (row.get(2)?, row.get(3)?);
                    Ok((span, counts, row.get::<_, Vec<u8>>(4)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        })
        .map_err(&doing)?;
    let mut all = Columns::default();
    for (span, (count, bad), data) in rows {
        if let Ok(readings) = row::decode(&data) {
            all.extend(&readings);
            continue;
        }
        // Kept as it is: queries name it, and a repair may still read the rest of it.
        merged.damaged += 1;
        let known = Quantities {
            count: count as u64,
            bad: bad as u64,
            ..Quantities::default()
        };
        row::insert_raw(transaction, Place::Blocks, point, span, &known, &data)?;
    }
    all.settle();
    merged.bytes += row::insert(transaction, Place::Blocks, point, tag, &all)?;
    transaction
        .prepare_cached("DELETE FROM recent WHERE point = ?1")
        .and_then(|mut delete| delete.execute([point]))
        .map_err(&doing)?;
    Ok(())
}

/// Deletes up to `rows` rows of a point; returns rows and readings.
pub(super) fn prune_rows(
    transaction: &Transaction<'_>,
    place: Place,
    point: usize,
    before: Timestamp,
    rows: i64,
) -> rusqlite::Result<(i64, u64)> {
    let sql = format!(
        "DELETE FROM {table} WHERE id IN (SELECT id FROM {table}
             WHERE point = ?1 AND last < ?2 ORDER BY last LIMIT ?3)
         RETURNING count + bad",
        table = place.table()
    );
    let mut delete = transaction.prepare_cached(&sql)?;
    let counts = delete
        .query_map(params![point as i64, before.0, rows], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    Ok((counts.len() as i64, counts.iter().sum::<i64>() as u64))
}
