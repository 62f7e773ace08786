//! Values at which nothing can change, so that an ordinary reading costs two comparisons.

/// Nothing can change while `low <= value < high`. Half open, so that "below a limit" and "at a
/// reset or above" need no rounding; NaN is in no band.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Band {
    /// Inside the band.
    pub(super) low: f64,
    /// Outside the band.
    pub(super) high: f64,
}

impl Band {
    /// No value: every reading has to be judged.
    pub(super) const EMPTY: Self = Self {
        low: f64::INFINITY,
        high: f64::NEG_INFINITY,
    };

    /// Every value but +∞, which is judged.
    pub(super) const ALL: Self = Self {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
    };

    /// `value < bound`.
    pub(super) fn below(bound: f64) -> Self {
        Self {
            high: bound,
            ..Self::ALL
        }
    }

    /// `value >= bound`.
    pub(super) fn not_below(bound: f64) -> Self {
        Self {
            low: bound,
            ..Self::ALL
        }
    }

    /// `value > bound`.
    pub(super) fn above(bound: f64) -> Self {
        Self::not_below(bound.next_up())
    }

    /// `value <= bound`.
    pub(super) fn not_above(bound: f64) -> Self {
        Self::below(bound.next_up())
    }

    /// What is in both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            low: self.low.max(other.low),
            high: self.high.min(other.high),
        }
    }

    /// `&` and not `&&`: in the hot loop one branch beats two.
    #[allow(
        clippy::needless_bitwise_bool,
        reason = "measured: lazy operators are more branches"
    )]
    #[inline]
    pub(super) fn contains(self, value: f64) -> bool {
        (value >= self.low) & (value < self.high)
    }
}
