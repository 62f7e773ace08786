//! Modbus TCP frames: what a request asks, what the answer is, and how a fault spoils it.
//!
//! Pure: bytes in, bytes out. Function codes 01–04 read any unit; 05 switches a coil of the
//! annunciator and nothing else. Every other code gets exception 1, an address outside the unit
//! exception 2, a count outside the limits of the specification (125 registers, 2000 bits)
//! exception 3. Invariant: no input panics, and every request gets exactly one answer.

use std::time::Duration;

use davy_core::point::Table;

use super::fault::Fault;
use super::image::Image;

/// Length of the header before the function code.
pub(super) const HEADER_BYTES: usize = 7;
/// A late reply is never later than this.
const LATE_MAX: Duration = Duration::from_mins(1);
/// Longest frame: the header and 253 bytes.
const LENGTH_MAX: u16 = 254;

/// Exception codes of the specification.
const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;
/// The unit behind this listener does not exist.
pub(super) const NO_SUCH_UNIT: u8 = 11;

/// A coil of the annunciator by number.
pub(super) type Coils = [bool; 16];

/// The header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) transaction: u16,
    pub(super) unit: u8,
    /// Bytes that follow the header: function code and data.
    pub(super) body: usize,
}

impl Header {
    /// Reads a header; nothing when it is not one of Modbus TCP.
    pub(super) fn read(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let [t1, t0, p1, p0, l1, l0, unit] = bytes;
        let length = u16::from_be_bytes([l1, l0]);
        let fits = (p1, p0) == (0, 0) && (2..=LENGTH_MAX).contains(&length);
        fits.then(|| Self {
            transaction: u16::from_be_bytes([t1, t0]),
            unit,
            body: usize::from(length) - 1,
        })
    }

    /// The header and `body` as one frame.
    fn frame(self, body: &[u8]) -> Vec<u8> {
        let length = body.len() as u16 + 1;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend(self.transaction.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.push(self.unit);
        bytes.extend(body);
        bytes
    }
}

/// An exception to the function code of `request`.
pub(super) fn exception(request: &[u8], code: u8) -> Vec<u8> {
    vec![request.first().copied().unwrap_or(0) | 0x80, code]
}

/// A sensor unit's answer: reads only.
pub(super) fn answer(request: &[u8], image: &Image) -> Vec<u8> {
    let read = |address, count, table: Table| {
        let limit = if table.holds_bits() { 2000 } else { 125 };
        if count == 0 || count > limit {
            return Err(ILLEGAL_VALUE);
        }
        image.get(table, address, count).ok_or(ILLEGAL_ADDRESS)
    };
    let done = match *request {
        [function @ 1..=4, a1, a0, c1, c0] => {
            let (address, count) = (u16::from_be_bytes([a1, a0]), u16::from_be_bytes([c1, c0]));
            let table = match function {
                1 => Table::Coils,
                2 => Table::DiscreteInputs,
                3 => Table::HoldingRegisters,
                _ => Table::InputRegisters,
            };
            read(address, count, table).map(|cells| read_reply(function, table, cells))
        }
        [1..=4, ..] => Err(ILLEGAL_VALUE),
        _ => Err(ILLEGAL_FUNCTION),
    };
    done.unwrap_or_else(|code| exception(request, code))
}

/// The body of a read's reply: function code, byte count, data.
fn read_reply(function: u8, table: Table, cells: &[u16]) -> Vec<u8> {
    let data: Vec<u8> = if table.holds_bits() {
        cells
            .chunks(8)
            .map(|bits| {
                bits.iter()
                    .zip(0..)
                    .fold(0, |byte, (bit, n)| byte | (u8::from(*bit != 0) << n))
            })
            .collect()
    } else {
        cells.iter().flat_map(|word| word.to_be_bytes()).collect()
    };
    let mut body = vec![function, data.len() as u8];
    body.extend(data);
    body
}

/// The annunciator's answer: its coils may be read (01) and switched one by one (05).
pub(super) fn annunciate(request: &[u8], coils: &mut Coils) -> Vec<u8> {
    match *request {
        [5, a1, a0, value, 0] if value == 0xFF || value == 0 => {
            let coil = usize::from(u16::from_be_bytes([a1, a0]));
            match coils.get_mut(coil) {
                Some(coil) => {
                    *coil = value == 0xFF;
                    request.to_vec()
                }
                None => exception(request, ILLEGAL_ADDRESS),
            }
        }
        [5, ..] => exception(request, ILLEGAL_VALUE),
        [1, ..] => {
            let mut image = Image::default();
            let words: Vec<u16> = coils.iter().map(|on| u16::from(*on)).collect();
            image.put(Table::Coils, 0, &words);
            answer(request, &image)
        }
        _ => exception(request, ILLEGAL_FUNCTION),
    }
}

/// What goes out on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// Wait so long first.
    pub(super) after: Duration,
    /// Then send these, if any.
    pub(super) bytes: Vec<u8>,
    /// Then close the connection.
    pub(super) close: bool,
}

/// The reply to a request, spoilt by `fault` if there is one.
pub(super) fn reply(header: Header, request: &[u8], body: &[u8], fault: Option<&Fault>) -> Reply {
    let mut reply = Reply {
        after: Duration::ZERO,
        bytes: header.frame(body),
        close: false,
    };
    match fault {
        Some(Fault::SilentUnit) => reply.bytes.clear(),
        Some(Fault::LateReply { by }) => reply.after = (*by).min(LATE_MAX),
        Some(Fault::Exception { code }) => reply.bytes = header.frame(&exception(request, *code)),
        Some(Fault::Garbage) => {
            // No protocol number is 0xA5C3, so this cannot be taken for a frame.
            reply.bytes = vec![0x5A, 0xA5, 0xA5, 0xC3, 0x00, 0x04, 0x13, 0x37, 0x0A, 0x5A];
        }
        Some(Fault::WrongTransactionId) => {
            let other = Header {
                transaction: header.transaction.wrapping_add(1),
                ..header
            };
            reply.bytes = other.frame(body);
        }
        Some(Fault::CutMidFrame) => {
            reply.bytes.truncate(reply.bytes.len() / 2);
            reply.close = true;
        }
        _ => {}
    }
    reply
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image() -> Image {
        let mut image = Image::default();
        image.put(Table::HoldingRegisters, 2, &[0x1234, 0x5678]);
        image.put(Table::DiscreteInputs, 9, &[1]);
        image.put(Table::InputRegisters, 299, &[7]);
        image.put(Table::Coils, 2999, &[1]);
        image
    }

    #[test]
    fn reads_answer_as_the_specification_writes_it() {
        let image = image();
        for (request, body) in [
            (&[3, 0, 2, 0, 2][..], &[3, 4, 0x12, 0x34, 0x56, 0x78][..]),
            (&[3, 0, 1, 0, 1], &[3, 2, 0, 0]),
            (&[2, 0, 0, 0, 10], &[2, 2, 0, 2]),
            (&[3, 0, 3, 0, 2], &[0x83, 2]),
            (&[4, 0, 0, 0, 126], &[0x84, 3]),
            (&[4, 0, 0, 0, 0], &[0x84, 3]),
            (&[4, 0, 0], &[0x84, 3]),
            (&[6, 0, 0, 0, 0], &[0x86, 1]),
            (&[5, 0, 0, 0xFF, 0], &[0x85, 1]),
            (&[1, 0x07, 0xD1, 0x07, 0xD1], &[0x81, 3]),
            (&[3, 0xFF, 0xFF, 0, 125], &[0x83, 2]),
        ] {
            assert_eq!(answer(request, &image), body, "{request:?}");
        }
        assert_eq!(answer(&[4, 0, 0, 0, 125], &image).len(), 252);
        assert_eq!(answer(&[1, 0, 0, 0x07, 0xD0], &image).len(), 252);
    }

    #[test]
    fn only_the_annunciator_can_be_switched() {
        let mut coils = [false; 16];
        let on = [5, 0, 3, 0xFF, 0];
        assert_eq!(annunciate(&on, &mut coils), on);
        assert!(coils[3]);
        assert_eq!(annunciate(&[1, 0, 0, 0, 8], &mut coils), [1, 1, 8]);
        assert_eq!(annunciate(&[5, 0, 3, 0, 0], &mut coils), [5, 0, 3, 0, 0]);
        assert_eq!(coils, [false; 16]);
        assert_eq!(annunciate(&[5, 0, 16, 0xFF, 0], &mut coils), [0x85, 2]);
        assert_eq!(annunciate(&[5, 0, 3, 1, 0], &mut coils), [0x85, 3]);
        assert_eq!(annunciate(&[15, 0, 3, 0, 0], &mut coils), [0x8F, 1]);
    }

    #[test]
    fn each_fault_spoils_the_reply_its_own_way() {
        let header = Header {
            transaction: 7,
            unit: 3,
            body: 5,
        };
        let request = [3, 0, 2, 0, 1];
        let body = [3, 2, 0x12, 0x34];
        let sound = [0, 7, 0, 0, 0, 5, 3, 3, 2, 0x12, 0x34];
        let with = |fault: Fault| reply(header, &request, &body, Some(&fault));
        assert_eq!(reply(header, &request, &body, None).bytes, sound);
        assert!(with(Fault::SilentUnit).bytes.is_empty());
        let late = with(Fault::LateReply {
            by: Duration::from_secs(3),
        });
        assert_eq!((late.after.as_secs(), &late.bytes[..]), (3, &sound[..]));
        assert_eq!(
            with(Fault::Exception { code: 4 }).bytes,
            [0, 7, 0, 0, 0, 3, 3, 0x83, 4]
        );
        assert_eq!(with(Fault::WrongTransactionId).bytes[..2], [0, 8]);
        let cut = with(Fault::CutMidFrame);
        assert_eq!((&cut.bytes[..], cut.close), (&sound[..5], true));
        assert_ne!(with(Fault::Garbage).bytes[2..4], [0, 0]);
    }

    proptest! {
        #[test]
        fn no_request_panics_and_each_gets_one_answer(request in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut coils = [false; 16];
            for body in [answer(&request, &image()), annunciate(&request, &mut coils)] {
                prop_assert!(body.len() >= 2 && body.len() <= 253);
            }
        }

        #[test]
        fn a_header_is_read_back_as_it_was_written(transaction: u16, unit: u8, body in prop::collection::vec(any::<u8>(), 1..253)) {
            let header = Header { transaction, unit, body: body.len() };
            let frame = header.frame(&body);
            let mut head = [0; HEADER_BYTES];
            let (front, rest) = frame.split_at(HEADER_BYTES);
            head.copy_from_slice(front);
            prop_assert_eq!(Header::read(head), Some(header));
            prop_assert_eq!(rest, &body[..]);
        }
    }
}
