//! The rows that follow from the entries, `alarm` and `hazard`: how they are worked out, and how
//! `verify` holds them against the effects that the chain proves.
//!
//! Invariant: a row is what the last entry that changes it says, and says which one that was. So
//! each change that the walk meets has its row, and each row has its change: one that was altered,
//! taken away, put in, or put back to an older state is found. No replay is needed for it.
//!
//! Effects that cannot be read name nothing; the chain proves them all the same, and a row that
//! names them is found.
//!
//! Limits: memory for the effects of one entry and, of the numbers met, for the holes between them;
//! [`ROWS`] rows a read. A row that the running centre changes after the walk began is left out.

use std::collections::BTreeMap;

use davy_core::delivery::Ranges;
use davy_core::hazard::Hazard;
use rusqlite::{Connection, OptionalExtension as _};
use serde::Deserialize;

use super::verify::broken;
use super::{JournalError, from_sql, storage, to_sql};

/// Rows of one read.
const ROWS: usize = 10_000;

const ALARM: &str = "SELECT raised_in, changed_in FROM alarm WHERE occurrence = ?1";
const HAZARD: &str = "SELECT source, state, json, changed_in FROM hazard WHERE id = ?1";
const ALARMS: &str = "SELECT occurrence, changed_in FROM alarm
    WHERE occurrence > ?1 ORDER BY occurrence LIMIT ?2";
const HAZARDS: &str = "SELECT id, changed_in FROM hazard WHERE id > ?1 ORDER BY id LIMIT ?2";
const LAST: &str = "SELECT coalesce(max(number), 0) FROM entry";

/// One entry of the ledger, as last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HazardRow {
    /// Its number.
    pub id: u64,
    /// The major hazard source that it belongs to; empty for none.
    pub source: String,
    /// The word for its state.
    pub state: String,
    /// All of it, a JSON object.
    pub json: String,
}

impl HazardRow {
    /// The row of an entry.
    pub(super) fn of(hazard: &Hazard) -> Self {
        let state = serde_json::to_string(&hazard.state).unwrap_or_default();
        Self {
            id: hazard.id,
            source: hazard.origin.source.clone().unwrap_or_default(),
            state: state.trim_matches('"').to_owned(),
            json: serde_json::to_string(hazard).unwrap_or_default(),
        }
    }
}

/// What an effect names.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Named {
    Alarm {
        occurrence: u64,
    },
    Hazard {
        hazard: Box<Hazard>,
    },
    #[serde(other)]
    Nothing,
}

/// What the walk has met so far.
#[derive(Default)]
pub(super) struct Tables {
    /// Occurrences that some entry has changed.
    raised: Ranges,
    /// Occurrences whose row names an entry that does change them.
    alarms: Ranges,
    /// The same of entries of the ledger.
    hazards: Ranges,
}

impl Tables {
    /// Holds the rows that an entry changes against it.
    pub(super) fn entry(
        &mut self,
        connection: &Connection,
        number: u64,
        effects: &[u8],
    ) -> Result<(), JournalError> {
        if effects.is_empty() {
            return Ok(());
        }
        let effects: Vec<Named> = serde_json::from_slice(effects).unwrap_or_default();
        let (mut alarms, mut hazards) = (Vec::new(), BTreeMap::new());
        for effect in effects {
            match effect {
                Named::Alarm { occurrence } => alarms.push(occurrence),
                Named::Hazard { hazard } => drop(hazards.insert(hazard.id, hazard)),
                Named::Nothing => {}
            }
        }
        for occurrence in alarms {
            self.alarm(connection, number, occurrence)?;
        }
        for hazard in hazards.values() {
            self.hazard(connection, number, hazard)?;
        }
        Ok(())
    }

    fn alarm(
        &mut self,
        connection: &Connection,
        number: u64,
        occurrence: u64,
    ) -> Result<(), JournalError> {
        let row: Option<(i64, i64)> = connection
            .prepare_cached(ALARM)
            .and_then(|mut row| {
                row.query_row([to_sql(occurrence)], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .map_err(storage("reading an alarm"))?;
        let fault = |found: String, expected: String| {
            let found = format!("occurrence {occurrence}: {found}");
            broken(number, "row of the table `alarm`", &found, &expected)
        };
        let Some((raised_in, changed_in)) = row else {
            return Err(fault(
                "no row".into(),
                "one, as the entry changes it".into(),
            ));
        };
        if self.raised.insert(occurrence) && raised_in != to_sql(number) {
            let found = format!("raised in entry {raised_in}");
            return Err(fault(found, format!("raised in entry {number}")));
        }
        if changed_in < to_sql(number) {
            let found = format!("last changed in entry {changed_in}");
            return Err(fault(found, format!("last changed in entry {number}")));
        }
        if changed_in == to_sql(number) {
            self.alarms.insert(occurrence);
        }
        Ok(())
    }

    fn hazard(
        &mut self,
        connection: &Connection,
        number: u64,
        hazard: &Hazard,
    ) -> Result<(), JournalError> {
        let id = hazard.id;
        let row: Option<(HazardRow, i64)> = connection
            .prepare_cached(HAZARD)
            .and_then(|mut row| {
                row.query_row([to_sql(id)], |row| {
                    let (source, state, json) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    let found = HazardRow {
                        id,
                        source,
                        state,
                        json,
                    };
                    Ok((found, row.get(3)?))
                })
                .optional()
            })
            .map_err(storage("reading an entry of the ledger"))?;
        let fault = |found: &str, expected: &str| {
            let found = format!("number {id}: {found}");
            broken(number, "row of the table `hazard`", &found, &expected)
        };
        let Some((found, changed_in)) = row else {
            return Err(fault("no row", "one, as the entry changes it"));
        };
        if changed_in < to_sql(number) {
            let found = format!("last changed in entry {changed_in}");
            return Err(fault(&found, &format!("last changed in entry {number}")));
        }
        if changed_in == to_sql(number) {
            let expected = HazardRow::of(hazard);
            for (column, found, expected) in [
                ("source", &found.source, &expected.source),
                ("state", &found.state, &expected.state),
                ("json", &found.json, &expected.json),
            ] {
                if found != expected {
                    let (found, expected) = differing(found, expected);
                    let found = format!("column `{column}`: {found}");
                    return Err(fault(&found, &expected));
                }
            }
            self.hazards.insert(id);
        }
        Ok(())
    }

    /// Finds the rows that no entry up to `last` accounts for.
    pub(super) fn end(&self, connection: &Connection, last: u64) -> Result<(), JournalError> {
        for (rows, what, unit, met) in [
            (
                ALARMS,
                "row of the table `alarm`",
                "occurrence",
                &self.alarms,
            ),
            (
                HAZARDS,
                "row of the table `hazard`",
                "number",
                &self.hazards,
            ),
        ] {
            let mut from = i64::MIN;
            loop {
                let read = page(connection, rows, from).map_err(storage("reading a table"))?;
                for (id, changed_in) in &read.rows {
                    let is_later = *changed_in > to_sql(last) && *changed_in <= read.last;
                    if !is_later && !met.contains(from_sql(*id)) {
                        let found = format!("{unit} {id}: last changed in entry {changed_in}");
                        let expected = "no row, as that entry does not change it";
                        return Err(broken(from_sql(*changed_in), what, &found, &expected));
                    }
                    from = *id;
                }
                if read.rows.len() < ROWS {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Rows by their number, each with the entry that it names.
struct Page {
    rows: Vec<(i64, i64)>,
    /// The last entry at that moment.
    last: i64,
}

fn page(connection: &Connection, rows: &str, from: i64) -> rusqlite::Result<Page> {
    let transaction = connection.unchecked_transaction()?;
    let last = transaction.query_row(LAST, [], |row| row.get(0))?;
    let rows = transaction
        .prepare_cached(rows)?
        .query_map([from, ROWS as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    transaction.commit()?;
    Ok(Page { rows, last })
}

/// The stretch in which two texts differ, for faults.
pub(crate) fn differing(found: &str, expected: &str) -> (String, String) {
    const BEFORE: usize = 20;
    const SHOWN: usize = 100;
    let same = (found.chars().zip(expected.chars()))
        .take_while(|(one, other)| one == other)
        .count();
    let from = same.saturating_sub(BEFORE);
    let dots = if from > 0 { "…" } else { "" };
    let part = |text: &str| {
        let part: String = text.chars().skip(from).take(SHOWN).collect();
        format!("`{dots}{part}`")
    };
    (part(found), part(expected))
}
