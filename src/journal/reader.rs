//! Reading on from a number; what happened to an alarm, and the ledger, for the API.
//!
//! A reader has a read-only connection of its own and may go to another thread. It sees what is
//! committed and never waits for the loop, nor the loop for it.
//!
//! Limits: each answer is bounded in rows and bytes by the caller, and by [`ROWS_MAX`].

use std::path::Path;

use davy_core::reading::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use super::chain::Sum;
use super::tables::HazardRow;
use super::{Broken, JournalError, Kind, Snapshot, from_sql, schema, storage, to_sql};

/// Rows of one answer, whatever the caller asks for.
pub const ROWS_MAX: usize = 10_000;

const LATEST: &str = "SELECT coalesce(max(number), 0) FROM entry";
const HIGHEST: &str = "SELECT (SELECT coalesce(max(occurrence), 0) FROM alarm),
    (SELECT coalesce(max(id), 0) FROM hazard)";
const ENTRIES: &str = "SELECT number, now_ms, kind, effects, hash, input.bytes
    FROM entry LEFT JOIN input USING (number)
    WHERE number > ?1 ORDER BY number LIMIT ?2";
const PRUNED_THROUGH: &str = "SELECT pruned_through FROM mark WHERE id = 1";
/// A configuration is kind 3, and always has effects.
const CONFIG_BEFORE: &str = "SELECT number FROM entry INDEXED BY entry_with_effects
    WHERE effects IS NOT NULL AND kind = 3 AND number < ?1 ORDER BY number DESC LIMIT 1";
const SNAPSHOT: &str = "SELECT number, digest, bytes FROM snapshot
    WHERE number >= ?1 ORDER BY number LIMIT 1";
const EFFECTS: &str = "SELECT number, now_ms, kind, effects
    FROM entry INDEXED BY entry_with_effects
    WHERE effects IS NOT NULL AND number > ?1 AND number <= ?2 ORDER BY number LIMIT ?3";
const STRETCH: &str = "SELECT raised_in, changed_in FROM alarm WHERE occurrence = ?1";
/// The inner question bounds what is looked through, the outer one what is handed out.
const ABOUT: &str = "SELECT number, now_ms, kind, effects FROM (
        SELECT number, now_ms, kind, effects FROM entry INDEXED BY entry_with_effects
        WHERE effects IS NOT NULL AND number >= ?1 AND number <= ?2 ORDER BY number LIMIT ?3
    ) WHERE instr(effects, ?4) > 0 LIMIT ?5";
const HAZARD: &str = "SELECT id, source, state, json FROM hazard WHERE id = ?1";
/// The newest first. A ledger is small: what does not match is passed over by number.
const HAZARDS: &str = "SELECT id, source, state, json FROM hazard
    WHERE id < ?1 AND (?3 IS NULL OR source = ?3)
        AND (?4 IS NULL OR state = ?4 OR (?4 = 'open' AND state NOT IN ('closed', 'rejected')))
    ORDER BY id DESC LIMIT ?2";

/// Entries that are looked through for what happened to one alarm.
const ABOUT_LOOKED_MAX: usize = 200_000;

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its number, from 1 without gaps.
    pub number: u64,
    /// The centre's clock at which the input was judged.
    pub now: Timestamp,
    /// What came in.
    pub kind: Kind,
    /// The input's bytes; none when they have been pruned (messages only).
    pub input: Option<Vec<u8>>,
    /// What followed, a JSON array; no bytes when nothing did.
    pub effects: Vec<u8>,
    /// Its hash.
    pub hash: Sum,
}

impl StoredEntry {
    /// Whether its bytes have been pruned.
    pub fn is_pruned(&self) -> bool {
        self.kind == Kind::Message && self.input.is_none()
    }
}

/// What followed from one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEffects {
    /// Number of the entry.
    pub number: u64,
    /// The centre's clock at which the input was judged.
    pub now: Timestamp,
    /// What came in.
    pub kind: Kind,
    /// What followed, a JSON array.
    pub effects: Vec<u8>,
}

/// The entries that something followed from, and how far the reader has looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectsRead {
    /// In order of their numbers.
    pub entries: Vec<StoredEffects>,
    /// Where to read on from: nothing up to here was left out.
    pub through: u64,
}

/// Which hazards, the newest first.
#[derive(Clone, Copy, Debug)]
pub struct HazardQuery<'a> {
    /// Of this source only.
    pub source: Option<&'a str>,
    /// In this state only; `open` for all that are neither closed nor rejected.
    pub state: Option<&'a str>,
    /// Only those with a smaller number, for the next page; 0 for the first.
    pub after: u64,
    /// At most so many.
    pub rows: usize,
}

/// Reads the journal of one folder.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens a journal's file, or the one in a data folder, for reading only.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let connection = schema::open_reader(&schema::file_of(path))?;
        Ok(Self { connection })
    }

    /// The last number; 0 when there is none.
    pub fn latest(&self) -> Result<u64, JournalError> {
        self.one(LATEST, [], |row| row.get(0).map(from_sql))
            .map(Option::unwrap_or_default)
            .map_err(storage("reading the last number"))
    }

    /// The highest number of an occurrence and of an entry of the ledger in the tables; 0 for none.
    pub fn highest(&self) -> Result<(u64, u64), JournalError> {
        let highest = self.one(HIGHEST, [], |row| {
            Ok((from_sql(row.get(0)?), from_sql(row.get(1)?)))
        });
        highest
            .map(Option::unwrap_or_default)
            .map_err(storage("reading the highest numbers"))
    }

    /// The bytes of messages up to this entry are gone; 0 when none are.
    pub fn pruned_through(&self) -> Result<u64, JournalError> {
        self.one(PRUNED_THROUGH, [], |row| row.get(0).map(from_sql))
            .map(Option::unwrap_or_default)
            .map_err(storage("reading how far the journal is pruned"))
    }

    /// The oldest snapshot of entry `number` or a later one that is whole.
    pub fn snapshot(&self, number: u64) -> Result<Option<Snapshot>, JournalError> {
        let mut from = number;
        loop {
            let found = self
                .one(SNAPSHOT, [to_sql(from)], |row| {
                    let digest = Sum(row.get(1)?);
                    Ok((from_sql(row.get(0)?), digest, row.get::<_, Vec<u8>>(2)?))
                })
                .map_err(storage("reading a snapshot"))?;
            let Some((number, digest, bytes)) = found else {
                return Ok(None);
            };
            if Sum::of(&bytes) == digest {
                return Ok(Some(Snapshot { number, bytes }));
            }
            from = number + 1;
        }
    }

    /// The last configuration before an entry, refused ones too.
    pub fn config_before(&self, number: u64) -> Result<Option<StoredEntry>, JournalError> {
        let found = self
            .one(CONFIG_BEFORE, [to_sql(number)], |row| {
                row.get(0).map(from_sql)
            })
            .map_err(storage("looking for a configuration"))?;
        let Some(number) = found else { return Ok(None) };
        let entries = self.read_on(number.saturating_sub(1), 1, 1)?;
        Ok(entries.into_iter().next())
    }

    /// Entries with a number greater than `after`, in order: at most `rows_max`, and no more once
    /// `bytes_max` is reached, but always one if there is one.
    pub fn read_on(
        &self,
        after: u64,
        bytes_max: usize,
        rows_max: usize,
    ) -> Result<Vec<StoredEntry>, JournalError> {
        let failed = storage("reading entries");
        let mut statement = self.connection.prepare_cached(ENTRIES).map_err(failed)?;
        let limits = [to_sql(after), rows_of(rows_max)];
        let mut rows = statement.query(limits).map_err(failed)?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max || entries.is_empty() {
            let Some(row) = rows.next().map_err(failed)? else {
                break;
            };
            let number = from_sql(row.get(0).map_err(failed)?);
            let entry = StoredEntry {
                number,
                now: Timestamp(row.get(1).map_err(failed)?),
                kind: kind_of(number, row.get(2).map_err(failed)?)?,
                effects: row
                    .get::<_, Option<Vec<u8>>>(3)
                    .map_err(failed)?
                    .unwrap_or_default(),
                hash: Sum(row.get(4).map_err(failed)?),
                input: row.get(5).map_err(failed)?,
            };
            bytes += entry.effects.len() + entry.input.as_ref().map_or(0, Vec::len);
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Entries with a number greater than `after` that something followed from, bounded as in
    /// [`Reader::read_on`].
    pub fn read_effects(
        &self,
        after: u64,
        bytes_max: usize,
        rows_max: usize,
    ) -> Result<EffectsRead, JournalError> {
        let failed = storage("reading effects");
        // Looked up first: an entry that comes in between is read the next time.
        let latest = self.latest()?;
        let mut statement = self.connection.prepare_cached(EFFECTS).map_err(failed)?;
        let limits = [to_sql(after), to_sql(latest), rows_of(rows_max)];
        let mut rows = statement.query(limits).map_err(failed)?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut is_all = false;
        while bytes < bytes_max || entries.is_empty() {
            let Some(row) = rows.next().map_err(failed)? else {
                is_all = entries.len() < rows_max.clamp(1, ROWS_MAX);
                break;
            };
            let number = from_sql(row.get(0).map_err(failed)?);
            let effects: Vec<u8> = row.get(3).map_err(failed)?;
            bytes += effects.len();
            entries.push(StoredEffects {
                number,
                now: Timestamp(row.get(1).map_err(failed)?),
                kind: kind_of(number, row.get(2).map_err(failed)?)?,
                effects,
            });
        }
        let through = match entries.last() {
            Some(last) if !is_all => last.number,
            _ => latest.max(after),
        };
        Ok(EffectsRead { entries, through })
    }

    /// The entry that last changed an occurrence of an alarm; none for one that never was.
    pub fn last_change(&self, occurrence: u64) -> Result<Option<StoredEntry>, JournalError> {
        let stretch = self.stretch(occurrence)?;
        let Some((_, last)) = stretch else {
            return Ok(None);
        };
        let entries = self.read_on(last.saturating_sub(1), 1, 1)?;
        Ok(entries.into_iter().next())
    }

    /// The entries that raised and last changed an occurrence.
    fn stretch(&self, occurrence: u64) -> Result<Option<(u64, u64)>, JournalError> {
        self.one(STRETCH, [to_sql(occurrence)], |row| {
            Ok((from_sql(row.get(0)?), from_sql(row.get(1)?)))
        })
        .map_err(storage("reading which entries changed an alarm"))
    }

    /// Every entry from the one that raised an occurrence to the last that changed it, as far as
    /// its effects name it: at most `rows_max`, out of the first [`ABOUT_LOOKED_MAX`] of the
    /// stretch. Empty for one that never was.
    pub fn about(
        &self,
        occurrence: u64,
        rows_max: usize,
    ) -> Result<Vec<StoredEffects>, JournalError> {
        let failed = storage("reading what happened to an alarm");
        let Some((first, last)) = self.stretch(occurrence)? else {
            return Ok(Vec::new());
        };
        // As a change is written; what else it may find, whoever decodes it leaves out.
        let named = format!("\"occurrence\":{occurrence},");
        let (looked_max, rows) = (ABOUT_LOOKED_MAX as i64, rows_of(rows_max));
        let found = self.many(
            ABOUT,
            params![
                to_sql(first),
                to_sql(last),
                looked_max,
                named.as_bytes(),
                rows
            ],
            |row| {
                let number = from_sql(row.get(0)?);
                Ok((number, row.get(1)?, row.get(2)?, row.get(3)?))
            },
        );
        let found = found.map_err(failed)?.into_iter();
        found
            .map(|(number, now, kind, effects)| {
                Ok(StoredEffects {
                    number,
                    now: Timestamp(now),
                    kind: kind_of(number, kind)?,
                    effects,
                })
            })
            .collect()
    }

    /// One entry of the ledger.
    pub fn hazard(&self, id: u64) -> Result<Option<HazardRow>, JournalError> {
        self.one(HAZARD, [to_sql(id)], hazard_of)
            .map_err(storage("reading a hazard"))
    }

    /// Entries of the ledger, by number.
    pub fn hazards(&self, query: &HazardQuery<'_>) -> Result<Vec<HazardRow>, JournalError> {
        let below = if query.after == 0 {
            i64::MAX
        } else {
            to_sql(query.after)
        };
        let rows = rows_of(query.rows);
        self.many(
            HAZARDS,
            params![below, rows, query.source, query.state],
            hazard_of,
        )
        .map_err(storage("reading hazards"))
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.connection
            .prepare_cached(sql)?
            .query_row(params, row)
            .optional()
    }

    fn many<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.connection
            .prepare_cached(sql)?
            .query_map(params, row)?
            .collect()
    }
}

fn rows_of(rows: usize) -> i64 {
    rows.clamp(1, ROWS_MAX) as i64
}

fn kind_of(number: u64, code: i64) -> Result<Kind, JournalError> {
    Kind::from_code(code).ok_or_else(|| {
        JournalError::Broken(Broken {
            number,
            what: "kind",
            found: code.to_string(),
            expected: super::KINDS.to_owned(),
        })
    })
}

fn hazard_of(row: &Row<'_>) -> rusqlite::Result<HazardRow> {
    Ok(HazardRow {
        id: from_sql(row.get(0)?),
        source: row.get(1)?,
        state: row.get(2)?,
        json: row.get(3)?,
    })
}
