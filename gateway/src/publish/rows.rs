//! Sets of rows of the outbox, taken from their low end.

use davy_core::delivery::Ranges;

/// Rows that are to be sent, as ranges. Rows count from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows(Ranges);

impl Rows {
    /// Adds `first..=last`; an empty range adds nothing.
    pub(super) fn insert(&mut self, first: i64, last: i64) {
        if first >= 1 && first <= last {
            self.0
                .insert_range(first.cast_unsigned(), last.cast_unsigned());
        }
    }

    /// Adds all of another set, which is empty then.
    pub(super) fn take(&mut self, other: &mut Self) {
        for (first, last) in std::mem::take(&mut other.0).iter() {
            self.0.insert_range(first, last);
        }
    }

    /// The oldest rows without a gap.
    pub(super) fn first(&self) -> Option<(i64, i64)> {
        let (first, last) = self.0.iter().next()?;
        Some((first.cast_signed(), last.cast_signed()))
    }

    /// Takes out every row up to `row`.
    pub(super) fn drop_through(&mut self, row: i64) {
        let next = row.saturating_add(1).max(1).cast_unsigned();
        let mut kept = Ranges::default();
        for (first, last) in self.0.iter() {
            kept.insert_range(first.max(next), last);
        }
        self.0 = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_from_the_low_end() {
        let mut rows = Rows::default();
        rows.insert(5, 4);
        assert_eq!(rows.first(), None);
        rows.insert(1, 10);
        rows.insert(20, 30);
        rows.drop_through(4);
        assert_eq!(rows.first(), Some((5, 10)));
        rows.drop_through(10);
        assert_eq!(rows.first(), Some((20, 30)));
        let mut other = Rows::default();
        other.insert(2, 3);
        rows.take(&mut other);
        assert_eq!(rows.first(), Some((2, 3)));
        assert_eq!(other.first(), None);
    }
}
