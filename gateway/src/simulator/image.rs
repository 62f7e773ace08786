//! The memory of one Modbus unit: four tables, from address 0 to the last one in use.
//!
//! Invariant: every address up to the last one of a table can be read (0 where no point stands),
//! and none after it; so a gateway may read across a gap but not past the end.

use davy_core::point::Table;

/// Four tables; bit tables hold 0 or 1 in each place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    tables: [Vec<u16>; 4],
}

impl Image {
    /// Puts `words` at `address`. Bits of a shared register add up.
    pub(super) fn put(&mut self, table: Table, address: u16, words: &[u16]) {
        let Some(cells) = self.tables.get_mut(place(table)) else {
            return;
        };
        let start = usize::from(address);
        let end = (start + words.len()).min(usize::from(u16::MAX) + 1);
        if cells.len() < end {
            cells.resize(end, 0);
        }
        for (cell, word) in cells.iter_mut().skip(start).zip(words) {
            *cell |= word;
        }
    }

    /// `count` words or bits from `address`, or nothing when they are not all there.
    pub(super) fn get(&self, table: Table, address: u16, count: u16) -> Option<&[u16]> {
        let start = usize::from(address);
        self.tables
            .get(place(table))?
            .get(start..start + usize::from(count))
    }
}

fn place(table: Table) -> usize {
    match table {
        Table::Coils => 0,
        Table::DiscreteInputs => 1,
        Table::HoldingRegisters => 2,
        Table::InputRegisters => 3,
    }
}
