//! The proof of the chain: walks a journal's file and works every hash out again.
//!
//! It reads the file alone: no configuration, no engine. It works while the centre runs, on a
//! backup, and on a machine that has never seen the plant.
//!
//! It finds a byte changed in any column of an entry or in an input, an entry removed, put in or
//! moved, an input gone that must not be, and a damaged file. A chain written anew from some entry
//! on, or a tail cut off, it finds against an [`Anchor`] noted outside: note one each day.
//!
//! It holds the rows of `alarm` and `hazard`, which follow from the entries, against them
//! ([`super::tables`]), and a snapshot against its own digest.
//!
//! What it does not prove: that a snapshot is the state after its entry, and that the effects follow
//! from the inputs; a replay does.
//!
//! Limits: memory for one entry at a time; a read transaction of [`BATCH_ENTRIES`] entries, so that
//! the running centre's log can go back in between; entries that come after the start are left out.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use davy_core::reading::Timestamp;
use rusqlite::{Connection, Row};

use super::chain::{Anchor, Link, Sum};
use super::tables::Tables;
use super::{Broken, JournalError, Kind, from_sql, schema, storage, to_sql};

/// Entries of one read transaction.
const BATCH_ENTRIES: u64 = 1_000;

const ENDS: &str = "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM entry";
const PRUNED_THROUGH: &str = "SELECT pruned_through FROM mark";
const BATCH: &str = "SELECT number, now_ms, kind, input_digest, effects, hash, input.bytes
    FROM entry LEFT JOIN input USING (number)
    WHERE number > ?1 AND number <= ?2 ORDER BY number LIMIT ?3";
const SNAPSHOTS: &str = "SELECT number, digest, bytes FROM snapshot ORDER BY number";
/// What names an entry after the last one, or before the first.
const STRAYS: &str = "SELECT min(number) FROM
    (SELECT number FROM
        (SELECT min(number) AS number FROM input UNION ALL SELECT min(number) FROM entry)
     WHERE number < 1
     UNION ALL SELECT number FROM
        (SELECT max(number) AS number FROM input UNION ALL SELECT max(number) FROM snapshot
         UNION ALL SELECT pruned_through FROM mark)
     WHERE number > (SELECT coalesce(max(number), 0) FROM entry))";

/// A chain that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries there are.
    pub entries: u64,
    /// The first; 0 when there is none.
    pub first: u64,
    /// The last; 0 when there is none.
    pub last: u64,
    /// Hash of the last: with its number, the anchor to note.
    pub last_hash: Sum,
    /// Messages whose bytes have been pruned. Their digest is proven, their text is not there.
    pub pruned: u64,
}

impl Verified {
    /// What to note outside, so that this part can never be written anew. None when empty.
    pub fn anchor(&self) -> Option<Anchor> {
        (self.last > 0).then_some(Anchor {
            number: self.last,
            hash: self.last_hash,
        })
    }
}

/// Why a chain is not proven.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It does not hold.
    #[error("`{}`: the journal is broken at {broken}", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// Where, and how.
        broken: Broken,
    },
    /// The file cannot be read to its end.
    #[error("`{}`: after entry {after}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The last entry that was proven.
        after: u64,
        /// What was in the way.
        source: JournalError,
    },
}

/// Proves the chain of a journal's file, or of the one in a data folder.
///
/// `progress` hears the entries done and how many there are, after each batch.
pub fn verify(
    path: &Path,
    anchors: &[Anchor],
    progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let file = schema::file_of(path);
    let mut walk = Walk::new(anchors);
    match walk.run(&file, progress) {
        Ok(()) => Ok(walk.verified),
        Err(JournalError::Broken(broken)) => Err(VerifyError::Broken { file, broken }),
        Err(source) => Err(VerifyError::Unreadable {
            file,
            after: walk.verified.last,
            source,
        }),
    }
}

/// How far the walk has come.
struct Walk<'a> {
    anchors: &'a [Anchor],
    verified: Verified,
    tables: Tables,
}

impl<'a> Walk<'a> {
    fn new(anchors: &'a [Anchor]) -> Self {
        let verified = Verified {
            entries: 0,
            first: 0,
            last: 0,
            last_hash: Sum::NONE,
            pruned: 0,
        };
        Self {
            anchors,
            verified,
            tables: Tables::default(),
        }
    }

    fn run(&mut self, file: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), JournalError> {
        let connection = schema::open_reader(file)?;
        let failed = storage("reading the journal");
        let (first, total) = connection
            .query_row(ENDS, [], |row| {
                Ok((from_sql(row.get(0)?), from_sql(row.get(1)?)))
            })
            .map_err(failed)?;
        self.verified.first = first;
        while self.verified.last < total {
            let transaction = connection.unchecked_transaction().map_err(failed)?;
            self.batch(&transaction, total)?;
            transaction.commit().map_err(failed)?;
            progress(self.verified.last, total);
        }
        self.check_end(&connection)?;
        check_snapshots(&connection)?;
        self.tables.end(&connection, self.verified.last)
    }

    /// One read transaction: what it sees of pruning holds for all of its entries.
    fn batch(&mut self, connection: &Connection, total: u64) -> Result<(), JournalError> {
        let failed = storage("reading entries");
        let pruned_through: i64 = connection
            .prepare_cached(PRUNED_THROUGH)
            .and_then(|mut mark| mark.query_row([], |row| row.get(0)))
            .map_err(failed)?;
        let before = self.verified.last;
        let mut statement = connection.prepare_cached(BATCH).map_err(failed)?;
        let limits = [to_sql(before), to_sql(total), to_sql(BATCH_ENTRIES)];
        let mut rows = statement.query(limits).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            self.entry(connection, row, from_sql(pruned_through))?;
        }
        if self.verified.last == before {
            // Only a number that SQLite counts but does not find again can bring this about.
            return Err(broken(before + 1, "number", &"no entry", &(before + 1)));
        }
        Ok(())
    }

    /// Checks one entry. As each number up to the last is found, no input is without an entry.
    fn entry(
        &mut self,
        connection: &Connection,
        row: &Row<'_>,
        pruned_through: u64,
    ) -> Result<(), JournalError> {
        let expected = self.verified.last + 1;
        let at = |source| column(expected, source);
        let number = from_sql(row.get(0).map_err(at)?);
        if number != expected {
            return Err(broken(expected, "number", &number, &expected));
        }
        let code = row.get(2).map_err(at)?;
        let Some(kind) = Kind::from_code(code) else {
            return Err(broken(number, "kind", &code, &super::KINDS));
        };
        let effects = row.get_ref(4).map_err(at)?.as_blob_or_null();
        let effects = effects.map_err(|error| column(number, error.into()))?;
        let link = Link {
            previous: self.verified.last_hash,
            number,
            now: Timestamp(row.get(1).map_err(at)?),
            kind,
            input: Sum(row.get(3).map_err(at)?),
            effects: Sum::of(effects.unwrap_or_default()),
        };
        let input = row.get_ref(6).map_err(at)?.as_blob_or_null();
        let input = input.map_err(|error| column(number, error.into()))?;
        let is_pruned = kind == Kind::Message && number <= pruned_through;
        match input {
            None if is_pruned => self.verified.pruned += 1,
            None => return Err(broken(number, "input", &"none", &"its bytes, never pruned")),
            Some(_) if is_pruned => {
                return Err(broken(number, "input", &"bytes", &"none, as pruned"));
            }
            Some(bytes) if Sum::of(bytes) != link.input => {
                return Err(broken(
                    number,
                    "digest of the input",
                    &Sum::of(bytes),
                    &link.input,
                ));
            }
            Some(_) => {}
        }
        let hash = Sum(row.get(5).map_err(at)?);
        if link.hash() != hash {
            return Err(broken(number, "hash", &hash, &link.hash()));
        }
        for anchor in self.anchors.iter().filter(|anchor| anchor.number == number) {
            if anchor.hash != hash {
                return Err(broken(number, "hash noted as anchor", &hash, &anchor.hash));
            }
        }
        self.tables
            .entry(connection, number, effects.unwrap_or_default())?;
        self.verified.entries += 1;
        self.verified.last = number;
        self.verified.last_hash = hash;
        Ok(())
    }

    /// What points past the end shows that a tail was cut off.
    fn check_end(&self, connection: &Connection) -> Result<(), JournalError> {
        let last = self.verified.last;
        if let Some(anchor) = self.anchors.iter().find(|anchor| anchor.number > last) {
            let found = format!("the journal ends at {last}");
            return Err(broken(
                anchor.number,
                "entry noted as anchor",
                &found,
                &anchor.hash,
            ));
        }
        let stray: Option<i64> = connection
            .query_row(STRAYS, [], |row| row.get(0))
            .map_err(storage("reading the end of the journal"))?;
        match stray {
            None => Ok(()),
            Some(number) => Err(broken(
                from_sql(number),
                "entry named by a snapshot, an input or the mark of pruning",
                &"no entry",
                &number,
            )),
        }
    }
}

/// A snapshot is what was written.
fn check_snapshots(connection: &Connection) -> Result<(), JournalError> {
    let failed = storage("reading the snapshots");
    let mut statement = connection.prepare(SNAPSHOTS).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let number = from_sql(row.get(0).map_err(failed)?);
        let at = |source| column(number, source);
        let digest = Sum(row.get(1).map_err(at)?);
        let bytes = row.get_ref(2).map_err(at)?.as_blob();
        let found = Sum::of(bytes.map_err(|error| column(number, error.into()))?);
        if found != digest {
            return Err(broken(number, "digest of its snapshot", &found, &digest));
        }
    }
    Ok(())
}

pub(super) fn broken(
    number: u64,
    what: &'static str,
    found: &dyn Display,
    expected: &dyn Display,
) -> JournalError {
    JournalError::Broken(Broken {
        number,
        what,
        found: found.to_string(),
        expected: expected.to_string(),
    })
}

/// A column of another type or size than was written is a broken entry, not a failing disk.
fn column(number: u64, source: rusqlite::Error) -> JournalError {
    match source {
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => broken(
            number,
            "column",
            &source,
            &"the type and size that are written",
        ),
        _ => storage("reading an entry")(source),
    }
}
