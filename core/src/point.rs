//! What is measured, and the register that it is read from.
//!
//! A point is a tag plus where it is read. One table (CSV) holds all points of a site; the gateway
//! reads its registers by it, the centre knows units, ranges and sources by it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A text in the two languages of the house. Chinese first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// 中文.
    pub zh: String,
    /// English.
    pub en: String,
}

/// One measured quantity of the site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its name, unique in the configuration, such as `TF1.GT-101`. Also the Sparkplug metric.
    pub tag: String,
    /// What it is called on screens.
    pub name: Text,
    /// What is measured: `cl2`, `nh3`, `ch4`, `level`, … Presets are found by it.
    pub kind: String,
    /// Where it hangs, when a standard tells positions apart: `T0` … `T4` of a mine.
    pub position: Option<String>,
    /// Unit of the value and of every limit on it, such as `mg/m3`, `%CH4`, `MPa`.
    pub unit: String,
    /// Measuring range in that unit.
    pub range: Range,
    /// The major hazard source that it belongs to, by id.
    pub source: Option<String>,
    /// The gateway that reads it: the Sparkplug edge node.
    pub gateway: String,
    /// The Modbus unit that it is read from: the Sparkplug device.
    pub device: String,
    /// How often it is polled.
    pub period: Duration,
    /// Where the value stands in the unit.
    pub register: Register,
}

/// How far a 4–20 mA loop measures beyond its range, as shares of its span: from 3.8 to 20.5 mA
/// (NAMUR NE 43).
const LOOP_BELOW: f64 = 0.2 / 16.0;
const LOOP_ABOVE: f64 = 0.5 / 16.0;

impl Point {
    /// Values that may be good: the measuring range, of a loop what NE 43 lets it measure. A value
    /// that travels as a single is rounded, so the ends are as far out as that may bring it.
    pub fn trusted(&self) -> Range {
        let (mut low, mut high) = (self.range.low, self.range.high);
        if let Scaling::Loop(raw) = self.register.scaling {
            let (below, above) = if raw.is_reversed() {
                (LOOP_ABOVE, LOOP_BELOW)
            } else {
                (LOOP_BELOW, LOOP_ABOVE)
            };
            low -= below * self.range.span();
            high += above * self.range.span();
        }
        Range {
            low: low - low.abs() * f64::from(f32::EPSILON),
            high: high + high.abs() * f64::from(f32::EPSILON),
        }
    }
}

/// A closed range of values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Lower end.
    pub low: f64,
    /// Upper end, above `low`.
    pub high: f64,
}

impl Range {
    /// Its width.
    pub fn span(self) -> f64 {
        self.high - self.low
    }

    /// Whether `value` lies in it, ends included. Never true of a value that is not a number.
    pub fn contains(self, value: f64) -> bool {
        value >= self.low && value <= self.high
    }
}

/// Where a value stands in a Modbus unit, and how its registers become the value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// Which of the four tables; it decides the function code (01–04).
    pub table: Table,
    /// First register or bit, as on the wire: from 0.
    pub address: u16,
    /// How the registers make up a raw number.
    pub encoding: Encoding,
    /// In which order the bytes stand.
    pub order: ByteOrder,
    /// From the raw number to the value.
    pub scaling: Scaling,
}

/// The four tables of Modbus, each with its read function code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Read by function code 01.
    Coils,
    /// Read by function code 02.
    DiscreteInputs,
    /// Read by function code 03.
    HoldingRegisters,
    /// Read by function code 04.
    InputRegisters,
}

impl Table {
    /// Whether it holds single bits rather than registers of 16.
    pub fn holds_bits(self) -> bool {
        matches!(self, Self::Coils | Self::DiscreteInputs)
    }
}

/// How registers (or a bit) make up a raw number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// A coil or discrete input: 0 or 1.
    Bit,
    /// Bit `0..=15` of a register, 0 the least: 0 or 1.
    BitOf(u8),
    /// Low byte of a register.
    U8,
    /// Low byte of a register, signed.
    I8,
    /// One register.
    U16,
    /// One register, signed.
    I16,
    /// Two registers.
    U32,
    /// Two registers, signed.
    I32,
    /// Four registers.
    U64,
    /// Four registers, signed.
    I64,
    /// One register, IEEE 754 half.
    F16,
    /// Two registers, IEEE 754 single.
    F32,
    /// Four registers, IEEE 754 double.
    F64,
}

impl Encoding {
    /// How many registers (or bits of a bit table) it takes.
    pub fn width(self) -> u16 {
        match self {
            Self::Bit
            | Self::BitOf(_)
            | Self::U8
            | Self::I8
            | Self::U16
            | Self::I16
            | Self::F16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
        }
    }
}

/// The order of bytes in registers, written for a value `ABCD` whose highest byte is `A`.
///
/// For four registers the pattern goes on: `ABCD` is most significant first throughout, `CDAB`
/// least significant register first, `BADC` bytes swapped in each register, `DCBA` both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ByteOrder {
    /// As Modbus says: highest register first, highest byte first.
    Abcd,
    /// Lowest register first, bytes as Modbus says.
    Cdab,
    /// Highest register first, bytes swapped.
    Badc,
    /// Lowest register first, bytes swapped.
    Dcba,
}

/// From the raw number to the value in the point's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// The raw number is the value.
    None,
    /// Two points of a line.
    Linear(RawEnds),
    /// A 4–20 mA loop whose raw number rises with the current: the smaller end stands for 4 mA, the
    /// greater for 20 mA. The NAMUR NE 43 bands of the current decide the quality.
    Loop(RawEnds),
}

/// The raw numbers at both ends of a point's range. They differ; where `low` is the greater, the
/// instrument acts in reverse: the raw number falls while the value rises.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawEnds {
    /// At the range's low end.
    pub low: f64,
    /// At its high end.
    pub high: f64,
}

impl RawEnds {
    /// From the low end to the high one; negative where the instrument acts in reverse.
    pub fn span(self) -> f64 {
        self.high - self.low
    }

    /// Whether the raw number falls while the value rises.
    pub fn is_reversed(self) -> bool {
        self.high < self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(low: f64, high: f64, scaling: Scaling) -> Range {
        let text = Text::default();
        let register = Register {
            table: Table::InputRegisters,
            address: 0,
            encoding: Encoding::F32,
            order: ByteOrder::Abcd,
            scaling,
        };
        let point = Point {
            tag: String::new(),
            name: text,
            kind: String::new(),
            position: None,
            unit: String::new(),
            range: Range { low, high },
            source: None,
            gateway: String::new(),
            device: String::new(),
            period: Duration::from_secs(1),
            register,
        };
        point.trusted()
    }

    #[test]
    fn a_single_at_the_end_of_the_range_may_be_good() {
        for end in [0.1, 1.3, 40.7, 1e9, 1e-9] {
            let trusted = trusted(-end, end, Scaling::None);
            let single = f64::from(end as f32);
            assert!(
                trusted.contains(single) && trusted.contains(-single),
                "{end}"
            );
            assert!(!trusted.contains(end * 1.000_001), "{end}");
        }
        assert!(!trusted(0.0, 1.0, Scaling::None).contains(-1e-9));
    }

    #[test]
    fn a_loop_measures_from_3_8_to_20_5_ma() {
        let raw = RawEnds {
            low: 0.0,
            high: 27_648.0,
        };
        let trusted = trusted(0.0, 160.0, Scaling::Loop(raw));
        let value = |current: f64| (current - 4.0) * 10.0;
        for (current, is_trusted) in [(3.79, false), (3.8, true), (20.5, true), (20.51, false)] {
            assert_eq!(trusted.contains(value(current)), is_trusted, "{current}");
        }
    }

    #[test]
    fn a_loop_that_acts_in_reverse_measures_from_20_5_to_3_8_ma() {
        let raw = RawEnds {
            low: 27_648.0,
            high: 0.0,
        };
        let trusted = trusted(0.0, 160.0, Scaling::Loop(raw));
        let value = |current: f64| (20.0 - current) * 10.0;
        for (current, is_trusted) in [(3.79, false), (3.8, true), (20.5, true), (20.51, false)] {
            assert_eq!(trusted.contains(value(current)), is_trusted, "{current}");
        }
    }
}
