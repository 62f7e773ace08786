//! The hash chain over the journal's entries, byte for byte.
//!
//! An independent program can check a journal with this page alone. The hash of an entry is
//! SHA-256 over these 131 bytes, integers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 18 | the ASCII text `davy.journal.v1`, then three zero bytes |
//! | 32 | hash of the entry before; 32 zero bytes for entry 1 |
//! | 8 | number, unsigned; the first is 1, and each is one more than the one before |
//! | 8 | now, signed: the centre's clock, milliseconds since 1970-01-01T00:00Z |
//! | 1 | kind: 1 message, 2 command, 3 config, 4 tick, 5 started, 6 quarantined, 7 centre |
//! | 32 | SHA-256 of the input's bytes |
//! | 32 | SHA-256 of the effects' bytes; of no bytes when nothing followed |
//!
//! Every part has a fixed width, so no two entries share these bytes. The input enters by its
//! digest: the bytes of a message can go after their time and the chain still stands.
//!
//! Limit: who can write the file can write a whole new chain. That is found only against an
//! [`Anchor`] that was noted elsewhere.

use std::fmt;
use std::str::FromStr;

use davy_core::reading::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Kind;

/// What the hash of an entry begins with, so that it is never the hash of something else.
const DOMAIN: &[u8; 18] = b"davy.journal.v1\0\0\0";

/// A SHA-256: of an entry, or of what stands in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sum(pub [u8; 32]);

impl Sum {
    /// What stands before entry 1.
    pub const NONE: Self = Self([0; 32]);

    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Sum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("hash `{text}`: 64 hexadecimal digits are allowed");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut sum = [0; 32];
        for (place, byte) in sum.iter_mut().enumerate() {
            let digits = text.get(2 * place..2 * place + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(sum))
    }
}

/// What the hash of one entry is taken over.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Hash of the entry before; [`Sum::NONE`] for entry 1.
    pub previous: Sum,
    /// Number of this entry.
    pub number: u64,
    /// The centre's clock at which the input was judged.
    pub now: Timestamp,
    /// What came in.
    pub kind: Kind,
    /// Digest of the input.
    pub input: Sum,
    /// Digest of the effects.
    pub effects: Sum,
}

impl Link {
    /// The hash of the entry.
    pub fn hash(&self) -> Sum {
        let mut hasher = Sha256::new();
        hasher.update(DOMAIN);
        hasher.update(self.previous.0);
        hasher.update(self.number.to_be_bytes());
        hasher.update(self.now.0.to_be_bytes());
        hasher.update([self.kind.code()]);
        hasher.update(self.input.0);
        hasher.update(self.effects.0);
        Sum(hasher.finalize().into())
    }
}

/// One entry's number and hash, noted outside the journal: `1042:9f3a…`.
///
/// What stands up to it cannot be cut off or written anew without `verify` finding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Number of the entry.
    pub number: u64,
    /// Its hash.
    pub hash: Sum,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.hash)
    }
}

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, hash) = text
            .split_once(':')
            .ok_or_else(|| format!("anchor `{text}`: `number:hash` is allowed"))?;
        let number = number
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| format!("anchor `{text}`: number `{number}`; 1 or more is allowed"))?;
        Ok(Self {
            number,
            hash: hash.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of the table above, put together by hand, without [`Link`].
    #[test]
    fn the_hash_is_over_the_bytes_of_the_table() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(b"davy.journal.v1\0\0\0");
        bytes.extend_from_slice(&[7; 32]);
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 2]);
        bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
        bytes.push(2);
        bytes.extend_from_slice(&Sum::of(b"in").0);
        bytes.extend_from_slice(&Sum::of(b"").0);
        assert_eq!(bytes.len(), 131);
        let link = Link {
            previous: Sum([7; 32]),
            number: 258,
            now: Timestamp(-2),
            kind: Kind::Command,
            input: Sum::of(b"in"),
            effects: Sum::of(b""),
        };
        assert_eq!(link.hash(), Sum::of(&bytes));
        assert_eq!(
            Sum::of(b"").to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn an_anchor_survives_its_text_and_bad_texts_are_refused() {
        let anchor = Anchor {
            number: 1042,
            hash: Sum::of(b"x"),
        };
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        for bad in [
            "",
            "7",
            "0:",
            "x:00",
            "1:00",
            &format!("1:{}", "ä".repeat(32)),
        ] {
            assert!(bad.parse::<Anchor>().is_err(), "{bad}");
        }
        let zero = format!("0:{}", Sum::NONE);
        assert!(zero.parse::<Anchor>().is_err());
    }
}
