//! Reads the point table: CSV with a header, one point a row, as a spreadsheet writes it.
//!
//! | columns | what stands there |
//! |---|---|
//! | `tag`, `name_zh`, `name_en` | the point's id on the wire, and what it is called |
//! | `kind`, `position`, `unit` | what is measured and where; presets are found by the first two |
//! | `low`, `high` | measuring range in that unit |
//! | `source`, `gateway`, `device` | ids of the main file; `device` is a unit of the gateway |
//! | `period` | how often it is polled: `500ms`, `1s` |
//! | `table`, `address`, `type`, `order` | where the raw number stands; addresses from 0 |
//! | `signal`, `raw_low`, `raw_high` | `none`; `linear`, `4-20mA`: raw numbers at `low` and `high` |
//!
//! `position`, `source`, `order` of one register, and raw numbers of `none` may be empty. An
//! instrument that acts in reverse (20 mA is empty) has its greater raw number in `raw_low`.
//!
//! Every field of every row is looked at, whatever is wrong with the others. A byte order mark and
//! rows without any content, which spreadsheets like to add, are passed over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::SourceFile;
use super::duration;
use super::fault::{Faults, Lines, Place, quote};
use super::fields::{ID_ALLOWED, is_id};
use crate::point::{ByteOrder, Encoding, Point, Range, RawEnds, Register, Scaling, Table, Text};

/// The columns, in the order in which Davy writes them; a table may have them in any.
pub(super) const COLUMNS: [&str; 19] = [
    "tag", "name_zh", "name_en", "kind", "position", "unit", "low", "high", "source", "gateway",
    "device", "period", "table", "address", "type", "order", "signal", "raw_low", "raw_high",
];

/// Most points of a configuration; twenty times the city of the design point.
pub(super) const POINTS_MAX: usize = 1_000_000;

const PERIODS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_hours(1);

/// Reads a table, and adds its points to `points`, each with its place. False when rows could not
/// be read, so that what refers to them cannot be judged.
pub(super) fn read(
    file: &SourceFile,
    points: &mut Vec<(Place, Point)>,
    faults: &mut Faults,
) -> bool {
    let name: Arc<str> = Arc::from(file.name.as_str());
    let place = |line| Place {
        file: name.clone(),
        line,
    };
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let lines = Lines::of(text);
    let rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes())
        .into_records();
    let mut header: Option<(BTreeMap<&'static str, usize>, usize)> = None;
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                faults.add(&place(0), "syntax", error, "CSV in UTF-8");
                return false;
            }
        };
        let start = row
            .position()
            .map_or(0, |position| position.byte() as usize);
        let blank = text.get(start..).map_or(0, |rest| {
            rest.len() - rest.trim_start_matches(['\r', '\n']).len()
        });
        let place = place(lines.line(start + blank));
        let Some((columns, width)) = &header else {
            match read_header(&row, &place, faults) {
                Some(columns) => header = Some((columns, row.len())),
                None => return false,
            }
            continue;
        };
        if row.iter().all(str::is_empty) {
            continue;
        }
        if points.len() >= POINTS_MAX {
            faults.add(&place, "points", "more", format!("{POINTS_MAX} points"));
            return false;
        }
        if row.len() != *width {
            // A comma too many shifts the rest of the row: nothing after it means anything.
            let what = format!("point `{}`", row.get(0).unwrap_or_default());
            let allowed = format!("{width} fields (a comma inside a text needs quotes)");
            faults.add(&place, what, format!("{} fields", row.len()), allowed);
            continue;
        }
        let row = Row {
            columns,
            fields: &row,
            place: place.clone(),
        };
        let point = row.point(faults);
        points.push((place, point));
    }
    if header.is_none() {
        faults.add(&place(0), "header", "nothing", COLUMNS.join(","));
    }
    header.is_some()
}

/// Where each column stands; none when columns are missing, so that no row can be read.
fn read_header(
    row: &csv::StringRecord,
    place: &Place,
    faults: &mut Faults,
) -> Option<BTreeMap<&'static str, usize>> {
    let mut columns = BTreeMap::new();
    for (index, found) in row.iter().enumerate() {
        match COLUMNS.iter().find(|column| **column == found) {
            Some(column) if columns.insert(*column, index).is_some() => {
                faults.add(place, "header", quote(found), "each column once");
            }
            Some(_) => {}
            None => faults.add(place, "unknown column", quote(found), COLUMNS.join(",")),
        }
    }
    let missing: Vec<_> = COLUMNS
        .iter()
        .filter(|column| !columns.contains_key(**column))
        .copied()
        .collect();
    if !missing.is_empty() {
        let found = format!("no column {}", missing.join(", "));
        faults.add(place, "header", found, COLUMNS.join(","));
    }
    missing.is_empty().then_some(columns)
}

struct Row<'a> {
    columns: &'a BTreeMap<&'static str, usize>,
    fields: &'a csv::StringRecord,
    place: Place,
}

impl Row<'_> {
    fn get(&self, column: &str) -> &str {
        self.columns
            .get(column)
            .and_then(|index| self.fields.get(*index))
            .unwrap_or_default()
    }

    fn fault(&self, column: &str, allowed: &str, faults: &mut Faults) {
        let what = format!("point `{}`, column `{column}`", self.get("tag"));
        faults.add(&self.place, what, quote(self.get(column)), allowed);
    }

    /// The field of a column as `read` accepts it; none after a fault.
    fn need<T>(
        &self,
        column: &str,
        allowed: &str,
        faults: &mut Faults,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = read(self.get(column));
        if value.is_none() {
            self.fault(column, allowed, faults);
        }
        value
    }

    fn string(&self, column: &str, faults: &mut Faults) -> String {
        self.need(column, "text of 1 to 200 characters", faults, |text| {
            let fits = (1..=200).contains(&text.chars().count());
            fits.then(|| text.to_owned())
        })
        .unwrap_or_default()
    }

    fn id(&self, column: &str, faults: &mut Faults) -> String {
        let id = |text: &str| is_id(text).then(|| text.to_owned());
        self.need(column, ID_ALLOWED, faults, id)
            .unwrap_or_default()
    }

    fn optional_id(&self, column: &str, faults: &mut Faults) -> Option<String> {
        (!self.get(column).is_empty()).then(|| self.id(column, faults))
    }

    fn number(&self, column: &str, faults: &mut Faults) -> Option<f64> {
        self.need(column, "a finite number", faults, |text| {
            text.parse().ok().filter(|number: &f64| number.is_finite())
        })
    }

    /// The numbers of two columns; 0 and 1 after a fault.
    fn ends(&self, low: &str, high: &str, faults: &mut Faults) -> (f64, f64) {
        match (self.number(low, faults), self.number(high, faults)) {
            (Some(low), Some(high)) => (low, high),
            _ => (0.0, 1.0),
        }
    }

    fn range(&self, faults: &mut Faults) -> Range {
        let (low, high) = self.ends("low", "high", faults);
        let rises = low < high;
        if !rises {
            self.fault("high", &format!("more than low = {low}"), faults);
        }
        Range { low, high }
    }

    /// They may fall, but not be one: every value would be the same.
    fn raw_ends(&self, faults: &mut Faults) -> RawEnds {
        let (low, high) = self.ends("raw_low", "raw_high", faults);
        let ends = RawEnds { low, high };
        if ends.span() == 0.0 {
            self.fault("raw_high", &format!("other than raw_low = {low}"), faults);
        }
        ends
    }

    fn point(&self, faults: &mut Faults) -> Point {
        let period = self.need("period", "100ms to 1h, such as 1s", faults, |text| {
            duration::parse(text).filter(|period| PERIODS.contains(period))
        });
        let tag = self.id("tag", faults);
        Point {
            // A faulty tag is kept, so that further faults can name it.
            tag: if tag.is_empty() {
                self.get("tag").to_owned()
            } else {
                tag
            },
            name: Text {
                zh: self.string("name_zh", faults),
                en: self.string("name_en", faults),
            },
            kind: self.id("kind", faults),
            position: self.optional_id("position", faults),
            unit: self.string("unit", faults),
            range: self.range(faults),
            source: self.optional_id("source", faults),
            gateway: self.id("gateway", faults),
            device: self.id("device", faults),
            period: period.unwrap_or(Duration::from_secs(1)),
            register: self.register(faults),
        }
    }

    fn register(&self, faults: &mut Faults) -> Register {
        let words = "coils, discrete_inputs, holding_registers, input_registers";
        let table = self.need("table", words, faults, table);
        let encoding = self.need("type", TYPES, faults, encoding);
        let address = self.need("address", "0 to 65535", faults, |text| text.parse().ok());
        if let (Some(table), Some(encoding)) = (table, encoding)
            && table.holds_bits() != (encoding == Encoding::Bit)
        {
            let allowed = if table.holds_bits() {
                "bit, as the table holds bits"
            } else {
                "any but bit, as the table holds registers"
            };
            self.fault("type", allowed, faults);
        }
        let encoding = encoding.unwrap_or(Encoding::U16);
        let address: u16 = address.unwrap_or_default();
        if u32::from(address) + u32::from(encoding.width()) > 65_536 {
            let last = 65_536 - u32::from(encoding.width());
            self.fault("address", &format!("{last} or less for this type"), faults);
        }
        Register {
            table: table.unwrap_or(Table::InputRegisters),
            address,
            encoding,
            order: self.order(encoding, faults),
            scaling: self.scaling(encoding, faults),
        }
    }

    /// Modbus fixes the order of bytes in one register, but not the order of registers: an empty
    /// field means the standard's order where there is one register, and is refused otherwise.
    fn order(&self, encoding: Encoding, faults: &mut Faults) -> ByteOrder {
        let needed = encoding.width() > 1;
        let words = "ABCD, CDAB, BADC, DCBA; empty for one register";
        let order = self.need("order", words, faults, |text| match text {
            "ABCD" => Some(ByteOrder::Abcd),
            "CDAB" => Some(ByteOrder::Cdab),
            "BADC" => Some(ByteOrder::Badc),
            "DCBA" => Some(ByteOrder::Dcba),
            "" if !needed => Some(ByteOrder::Abcd),
            _ => None,
        });
        order.unwrap_or(ByteOrder::Abcd)
    }

    fn scaling(&self, encoding: Encoding, faults: &mut Faults) -> Scaling {
        let signal = self.get("signal");
        if signal == "none" {
            for column in ["raw_low", "raw_high"] {
                if !self.get(column).is_empty() {
                    self.fault(column, "empty for the signal none", faults);
                }
            }
            return Scaling::None;
        }
        if !matches!(signal, "linear" | "4-20mA") {
            self.fault("signal", "none, linear, 4-20mA", faults);
            return Scaling::None;
        }
        if matches!(encoding, Encoding::Bit | Encoding::BitOf(_)) {
            self.fault("signal", "none for a bit", faults);
        }
        let raw = self.raw_ends(faults);
        if let Some(possible) = raw_range(encoding) {
            let (low, high) = (possible.low, possible.high);
            for (column, value) in [("raw_low", raw.low), ("raw_high", raw.high)] {
                if !possible.contains(value) {
                    self.fault(column, &format!("{low} to {high} for this type"), faults);
                }
            }
        }
        if signal == "linear" {
            Scaling::Linear(raw)
        } else {
            Scaling::Loop(raw)
        }
    }
}

const TYPES: &str = "bit, bit0 to bit15, u8, i8, u16, i16, u32, i32, u64, i64, f16, f32, f64";

fn table(text: &str) -> Option<Table> {
    match text {
        "coils" => Some(Table::Coils),
        "discrete_inputs" => Some(Table::DiscreteInputs),
        "holding_registers" => Some(Table::HoldingRegisters),
        "input_registers" => Some(Table::InputRegisters),
        _ => None,
    }
}

fn encoding(text: &str) -> Option<Encoding> {
    Some(match text {
        "bit" => Encoding::Bit,
        "u8" => Encoding::U8,
        "i8" => Encoding::I8,
        "u16" => Encoding::U16,
        "i16" => Encoding::I16,
        "u32" => Encoding::U32,
        "i32" => Encoding::I32,
        "u64" => Encoding::U64,
        "i64" => Encoding::I64,
        "f16" => Encoding::F16,
        "f32" => Encoding::F32,
        "f64" => Encoding::F64,
        _ => {
            let number = text.strip_prefix("bit")?.parse().ok()?;
            let written = format!("bit{number}") == text;
            return (written && number <= 15).then_some(Encoding::BitOf(number));
        }
    })
}

/// The raw numbers that an integer type can hold; none for the others.
fn raw_range(encoding: Encoding) -> Option<Range> {
    let (low, high) = match encoding {
        Encoding::U8 => (0.0, f64::from(u8::MAX)),
        Encoding::I8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
        Encoding::U16 => (0.0, f64::from(u16::MAX)),
        Encoding::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        Encoding::U32 => (0.0, f64::from(u32::MAX)),
        Encoding::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => return None,
    };
    Some(Range { low, high })
}
