//! From registers or bits to the raw number.

use davy_core::point::{ByteOrder, Encoding, Register};

use crate::modbus::Values;

/// The raw number that stands `offset` registers (or bits) into a reply.
///
/// None when the reply does not reach that far, or when encoding and table do not fit (a `bit` in
/// registers, a number in bits). It may be not finite where the encoding is a float.
pub(super) fn raw(register: Register, offset: usize, values: &Values) -> Option<f64> {
    match values {
        Values::Bits(bits) => {
            let bit = *bits.get(offset)?;
            matches!(register.encoding, Encoding::Bit).then_some(f64::from(u8::from(bit)))
        }
        Values::Registers(words) => {
            let end = offset.checked_add(usize::from(register.encoding.width()))?;
            let words = words.get(offset..end)?;
            of_registers(register.encoding, ordered(register.order, words))
        }
    }
}

/// Up to four registers as one number, most significant byte first whatever the order was.
fn ordered(order: ByteOrder, words: &[u16]) -> u64 {
    let (lowest_first, swapped) = match order {
        ByteOrder::Abcd => (false, false),
        ByteOrder::Cdab => (true, false),
        ByteOrder::Badc => (false, true),
        ByteOrder::Dcba => (true, true),
    };
    let join = |number: u64, word: &u16| {
        let word = if swapped { word.swap_bytes() } else { *word };
        (number << 16) | u64::from(word)
    };
    if lowest_first {
        words.iter().rev().fold(0, join)
    } else {
        words.iter().fold(0, join)
    }
}

/// The number that `bits` mean; the low bits count, as many as the encoding has.
fn of_registers(encoding: Encoding, bits: u64) -> Option<f64> {
    Some(match encoding {
        Encoding::Bit => return None,
        Encoding::BitOf(place) => f64::from((bits as u16).checked_shr(u32::from(place))? & 1),
        Encoding::U8 => f64::from(bits as u8),
        Encoding::I8 => f64::from(bits as u8 as i8),
        Encoding::U16 => f64::from(bits as u16),
        Encoding::I16 => f64::from(bits as u16 as i16),
        Encoding::U32 => f64::from(bits as u32),
        Encoding::I32 => f64::from(bits as u32 as i32),
        Encoding::U64 => bits as f64,
        Encoding::I64 => bits as i64 as f64,
        Encoding::F16 => half(bits as u16),
        Encoding::F32 => f64::from(f32::from_bits(bits as u32)),
        Encoding::F64 => f64::from_bits(bits),
    })
}

/// IEEE 754 half precision: 1 sign, 5 exponent (bias 15), 10 fraction bits. Exact in f64.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((bits >> 10) & 0x1f);
    let fraction = f64::from(bits & 0x03ff);
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    }
}
