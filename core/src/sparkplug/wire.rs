//! A cursor over protobuf bytes, and all that can be wrong with them.
//!
//! Strict and total: every byte string gives values or an error that names the offset from the
//! start of the payload; nothing panics and nothing is allocated.

use thiserror::Error;

/// Why bytes are not a message of this wire.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The bytes end within something.
    #[error("{what} at byte {offset}: the bytes end within it")]
    Truncated {
        /// Where it begins.
        offset: usize,
        /// What it is.
        what: &'static str,
    },
    /// A varint of more than 64 bits.
    #[error("{what} at byte {offset}: varint longer than 64 bits; at most 10 bytes allowed")]
    Varint {
        /// Where it begins.
        offset: usize,
        /// What it is.
        what: &'static str,
    },
    /// A field in another wire type than the schema has, or one that is no wire type.
    #[error("{what} at byte {offset}: wire type {found}; allowed: {allowed}")]
    Kind {
        /// Where the value begins.
        offset: usize,
        /// Which field.
        what: &'static str,
        /// As it stands.
        found: u8,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A length that goes beyond the end.
    #[error("{what} at byte {offset}: length {found}; at most {allowed} bytes are left")]
    Length {
        /// Where the content begins.
        offset: usize,
        /// Which field.
        what: &'static str,
        /// The length that stands there.
        found: u64,
        /// Bytes that are left.
        allowed: usize,
    },
    /// A field number that protobuf does not have.
    #[error("field at byte {offset}: number {found}; allowed: 1 to 536870911")]
    Field {
        /// Where its value begins.
        offset: usize,
        /// As it stands.
        found: u64,
    },
    /// A text that is not UTF-8.
    #[error("{what} at byte {offset}: not valid UTF-8")]
    Text {
        /// Where it begins.
        offset: usize,
        /// What it is.
        what: &'static str,
    },
    /// A number beyond its range, or more of something than is read.
    #[error("{what} at byte {offset}: {found}; at most {allowed} allowed")]
    Range {
        /// Where it ends.
        offset: usize,
        /// What it is.
        what: &'static str,
        /// As it stands.
        found: u64,
        /// The most there may be.
        allowed: u64,
    },
    /// Property keys and values that do not pair, or a second set of them.
    #[error(
        "properties at byte {offset}: {keys} keys and {values} values; as many of each allowed"
    )]
    Properties {
        /// Where the set begins.
        offset: usize,
        /// Keys found.
        keys: usize,
        /// Values found.
        values: usize,
    },
    /// A set of properties twice in one metric.
    #[error("properties at byte {offset}: found twice in one metric; allowed: once")]
    Twice {
        /// Where the second one begins.
        offset: usize,
    },
    /// A rare message that prost cannot read.
    #[error("{what}: {reason}")]
    Message {
        /// Which message.
        what: &'static str,
        /// What prost says of it.
        reason: String,
    },
    /// Something that must be there is not.
    #[error("{what}: missing")]
    Missing {
        /// What it is.
        what: &'static str,
    },
    /// A JSON text inside a metric, or the STATE message, that cannot be read.
    #[error("{what}: {reason}")]
    Json {
        /// Which.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Wire type 0.
pub(super) const VARINT: u8 = 0;
/// Wire type 1.
pub(super) const EIGHT: u8 = 1;
/// Wire type 2.
pub(super) const LENGTH: u8 = 2;
/// Wire type 5.
pub(super) const FOUR: u8 = 5;

/// Reads forward. Offsets count from the start of the payload, also inside a metric: a cursor
/// over a part keeps the whole front of the payload and only ends earlier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// Goes to the end, so that nothing is read after an error.
    pub(super) fn close(&mut self) {
        self.at = self.bytes.len();
    }

    /// What lies between an earlier offset and here.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// A varint of up to 64 bits.
    #[inline]
    pub(super) fn varint(&mut self, what: &'static str) -> Result<u64, WireError> {
        let rest = self.rest();
        match rest.first() {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.varint_long(rest, what),
        }
    }

    /// Two bytes and more. Up to eight bytes at once when so many are there: the lowest byte
    /// without its high bit ends the varint, then groups of 7 bits move together in three steps.
    #[inline]
    fn varint_long(&mut self, rest: &'a [u8], what: &'static str) -> Result<u64, WireError> {
        if let Some(chunk) = rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            let ends = !word & 0x8080_8080_8080_8080;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                let word = (word & (u64::MAX >> (64 - bits))) & 0x7f7f_7f7f_7f7f_7f7f;
                let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
                let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
                let word = (word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4);
                self.at += (bits / 8) as usize;
                return Ok(word);
            }
        }
        self.varint_slow(rest, what)
    }

    #[cold]
    fn varint_slow(&mut self, rest: &'a [u8], what: &'static str) -> Result<u64, WireError> {
        let offset = self.at;
        let mut value = 0u64;
        for (index, byte) in rest.iter().take(10).enumerate() {
            // The tenth byte holds the 64th bit and nothing else.
            if index == 9 && *byte > 1 {
                return Err(WireError::Varint { offset, what });
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.at += index + 1;
                return Ok(value);
            }
        }
        Err(WireError::Truncated { offset, what })
    }

    /// A field's key: its number and wire type, not yet checked.
    #[inline]
    pub(super) fn key(&mut self) -> Result<u64, WireError> {
        self.varint("field key")
    }

    /// A length, then so many bytes.
    #[inline]
    pub(super) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let part = self.part(what)?;
        Ok(part.rest())
    }

    /// A length, then a cursor over so many bytes.
    #[inline]
    pub(super) fn part(&mut self, what: &'static str) -> Result<Self, WireError> {
        let length = self.varint(what)?;
        let left = self.left();
        let fits = usize::try_from(length).ok().filter(|bytes| *bytes <= left);
        let end = fits.and_then(|length| self.at.checked_add(length));
        let part = end.and_then(|end| self.bytes.get(..end).map(|bytes| (bytes, end)));
        let Some((bytes, end)) = part else {
            return Err(WireError::Length {
                offset: self.at,
                what,
                found: length,
                allowed: left,
            });
        };
        let part = Self { bytes, at: self.at };
        self.at = end;
        Ok(part)
    }

    /// A length, then a text.
    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, WireError> {
        let bytes = self.bytes(what)?;
        let offset = self.at - bytes.len();
        std::str::from_utf8(bytes).map_err(|_| WireError::Text { offset, what })
    }

    /// So many bytes as they are.
    #[inline]
    pub(super) fn fixed<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], WireError> {
        let Some(chunk) = self.rest().first_chunk::<N>() else {
            return Err(WireError::Truncated {
                offset: self.at,
                what,
            });
        };
        self.at += N;
        Ok(*chunk)
    }

    /// Passes over the value of a field that is not read. `known` names the field and its wire
    /// types when the schema has it: then the key that came here has a wrong one.
    pub(super) fn skip(
        &mut self,
        key: u64,
        known: Option<(&'static str, u8)>,
    ) -> Result<(), WireError> {
        let (field, kind) = (key >> 3, (key & 7) as u8);
        if field == 0 || field > 0x1fff_ffff {
            return Err(WireError::Field {
                offset: self.at,
                found: field,
            });
        }
        let what = known.map_or("unknown field", |(what, _)| what);
        if let Some((_, allowed)) = known.filter(|(_, allowed)| *allowed != kind) {
            return Err(self.wrong_kind(what, kind, kind_name(allowed)));
        }
        match kind {
            VARINT => self.varint(what).map(|_| ()),
            EIGHT => self.fixed::<8>(what).map(|_| ()),
            LENGTH => self.part(what).map(|_| ()),
            FOUR => self.fixed::<4>(what).map(|_| ()),
            // Groups left protobuf long ago; no Sparkplug message has them.
            _ => Err(self.wrong_kind(what, kind, "0, 1, 2 or 5")),
        }
    }

    fn wrong_kind(&self, what: &'static str, found: u8, allowed: &'static str) -> WireError {
        WireError::Kind {
            offset: self.at,
            what,
            found,
            allowed,
        }
    }
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        VARINT => "0 (varint)",
        EIGHT => "1 (8 bytes)",
        LENGTH => "2 (length)",
        _ => "5 (4 bytes)",
    }
}

/// Appends a varint.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A moment for the wire, which counts from 1970 without a sign.
pub(super) fn wire_ms(at: crate::reading::Timestamp) -> u64 {
    at.0.max(0) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_varint_reads_as_written(shift in 0u32..64, seed: u64, tail in 0usize..9) {
            let value = seed >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let length = bytes.len();
            bytes.resize(length + tail, 0xff);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.varint("x"), Ok(value));
            prop_assert_eq!(cursor.offset(), length);
        }
    }

    #[test]
    fn a_varint_beyond_64_bits_or_cut_short_is_an_error() {
        let long = [0xff; 12];
        let error = Cursor::new(&long).varint("alias").expect_err("long");
        assert_eq!(
            error.to_string(),
            "alias at byte 0: varint longer than 64 bits; at most 10 bytes allowed"
        );
        for length in 0..9 {
            let error = Cursor::new(&long[..length]).varint("alias");
            let expected = WireError::Truncated {
                offset: 0,
                what: "alias",
            };
            assert_eq!(error, Err(expected));
        }
    }
}
