//! A row of `recent` or `blocks`: the chunks of one point in order of time, and its index columns.
//!
//! The bytes are the number of chunks, the length of each, and the chunks. Chunks of one row never
//! overlap in time; rows may.

use rusqlite::{Connection, params};

use super::chunk::{self, CHUNK_READINGS, Input};
use super::columns::Columns;
use super::{Quantities, SeriesError};

/// Chunks of a full row. Four make some 10 kB of the kinds that pack best, so that the part of a
/// database page that a row leaves empty weighs little; and a row is still quick to fetch.
const ROW_CHUNKS: usize = 4;

/// Readings of a full row.
pub(super) const ROW_READINGS: usize = ROW_CHUNKS * CHUNK_READINGS;

/// Where rows lie, in the order in which readings come to them: what lies in a later one is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Blocks,
    Recent,
}

impl Place {
    pub(super) const ALL: [Self; 2] = [Self::Blocks, Self::Recent];

    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Recent => "recent",
        }
    }
}

/// Stores settled readings of one point in as many rows as they need; returns bytes written.
pub(super) fn insert(
    connection: &Connection,
    place: Place,
    point: u32,
    tag: &str,
    readings: &Columns,
) -> Result<usize, SeriesError> {
    let mut written = 0;
    for piece in readings.pieces(ROW_READINGS) {
        let Some((first, last)) = piece.span() else {
            continue;
        };
        let data = encode(&piece).map_err(|why| SeriesError::Pack {
            tag: tag.to_owned(),
            why,
        })?;
        written += data.len();
        let all = piece.quantities();
        insert_raw(connection, place, point, (first, last), &all, &data)?;
    }
    Ok(written)
}

/// Stores a row as it is.
pub(super) fn insert_raw(
    connection: &Connection,
    place: Place,
    point: u32,
    (first, last): (i64, i64),
    all: &Quantities,
    data: &[u8],
) -> Result<(), SeriesError> {
    let sql = format!(
        "INSERT INTO {} (point, first, last, count, bad, seen, min, max, sum, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        place.table()
    );
    let (count, bad) = (all.count as i64, all.bad as i64);
    connection
        .prepare_cached(&sql)
        .and_then(|mut insert| {
            insert.execute(params![
                point, first, last, count, bad, all.seen.0, all.min, all.max, all.sum, data
            ])
        })
        .map_err(SeriesError::store("storing a block"))?;
    Ok(())
}

fn encode(readings: &Columns) -> Result<Vec<u8>, String> {
    let chunks = readings
        .pieces(CHUNK_READINGS)
        .map(|piece| chunk::encode(&piece))
        .collect::<Result<Vec<_>, _>>()?;
    let mut bytes = (chunks.len() as u16).to_le_bytes().to_vec();
    for chunk in &chunks {
        bytes.extend((chunk.len() as u32).to_le_bytes());
    }
    bytes.extend(chunks.iter().flatten());
    Ok(bytes)
}

/// The bytes of each chunk of a row.
pub(super) fn chunks(data: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut input = Input(data);
    let lengths = (0..input.u16()?)
        .map(|_| input.u32())
        .collect::<Result<Vec<_>, _>>()?;
    let chunks = lengths
        .into_iter()
        .map(|length| input.bytes(length as usize))
        .collect::<Result<Vec<_>, _>>()?;
    if input.0.is_empty() {
        Ok(chunks)
    } else {
        Err(format!("{} bytes after the last chunk", input.0.len()))
    }
}

/// All readings of a row.
pub(super) fn decode(data: &[u8]) -> Result<Columns, String> {
    let mut all = Columns::default();
    for bytes in chunks(data)? {
        all.extend(&chunk::open(bytes)?.decode()?);
    }
    Ok(all)
}
