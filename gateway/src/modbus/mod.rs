//! The read-only Modbus client and the links that it runs over.
//!
//! Second step of a reading's path: a planned request goes out, registers or bits come back, or
//! one of the `Failure`s, whose causes are kept apart up to the quality of the reading.
//!
//! Invariants: nothing in here can write to a unit; after any failure but an exception the
//! connection is dropped, so a late reply can never be taken for another's.

mod link;
mod reader;

use davy_core::reading::BadCause;

pub use link::{Link, TcpLink};
pub use reader::Reader;

/// What a reply carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// Of holding or input registers.
    Registers(Vec<u16>),
    /// Of coils or discrete inputs.
    Bits(Vec<bool>),
}

/// Why a request has no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing came in time.
    #[error("no answer in time")]
    NoAnswer,
    /// The unit, or the gateway before it, said no with this code.
    #[error("answered with exception {0} ({what})", what = meaning(*.0))]
    Exception(u8),
    /// What came is not a valid reply to this request: header, function, length, or cut short.
    #[error("the answer is not a valid reply to the request")]
    Garbled,
    /// What came bears the id of another unit or of another request.
    #[error("the answer bears a wrong unit or transaction id")]
    Misaddressed,
    /// The connection was closed.
    #[error("the connection was closed")]
    LinkDown,
    /// No connection could be made, for this reason.
    #[error("no connection: {0}")]
    Unreachable(std::io::ErrorKind),
}

/// What an exception means, for a person (specification V1.1b3, 7).
fn meaning(code: u8) -> &'static str {
    match code {
        0x01 => "function not supported",
        0x02 => "no such register",
        0x03 => "value not allowed",
        0x04 => "device failure",
        0x05 => "accepted, not done yet",
        0x06 => "busy",
        0x08 => "memory parity error",
        0x0a => "the gateway before it has no path to it",
        0x0b => "the gateway before it got no answer from it",
        _ => "not in the specification",
    }
}

impl Failure {
    /// Whether the unit itself did not answer: in time, or so says the gateway before it (0x0a
    /// path unavailable, 0x0b target failed to respond; specification V1.1b3, 7).
    pub fn is_silence(self) -> bool {
        matches!(self, Self::NoAnswer | Self::Exception(0x0a | 0x0b))
    }

    /// Whether the unit refused the registers that it was asked for: one is not there (0x02), or
    /// they are too many (0x03).
    pub fn is_about_registers(self) -> bool {
        matches!(self, Self::Exception(0x02 | 0x03))
    }

    /// The cause that the readings get.
    pub fn cause(self) -> BadCause {
        match self {
            Self::Exception(_) if !self.is_silence() => BadCause::Exception,
            Self::Exception(_) | Self::NoAnswer => BadCause::NoAnswer,
            Self::Garbled | Self::Misaddressed => BadCause::Garbled,
            Self::LinkDown | Self::Unreachable(_) => BadCause::LinkDown,
        }
    }
}

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests;
