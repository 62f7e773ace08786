//! Which reading of a point is later: the one place that decides it, for both lanes.
//!
//! Invariants: readings are ordered, and time between them is counted, by the gateway's clock and
//! nothing else; no moment of the centre's clock is put in the place of a `sampled_at` here. The
//! numbers that a gateway gives its messages say more than its clock: what has the higher number was
//! measured later, so an earlier time is a clock that was set back, and no time has passed by it.
//! The centre's clock says only whether a stamp is to be believed when the next one is earlier.
//!
//! Limits: of a node that does not number its messages, an earlier reading is out of order unless the
//! one before was from the future or long ago; so such a node may be set back unseen for that long,
//! and in its store for good. Of a clock that leaps between any two readings no time is counted.

use crate::alarm::change::Turn;
use crate::reading::Timestamp;

/// A reading sampled later than this after `now` is from a clock that runs ahead. 5 s is
/// above what a gateway with a working NTP client drifts and waits (well under 1 s), and small
/// against every staleness limit (15 s and more).
pub(super) const FUTURE_MS_MAX: i64 = 5_000;

/// Whether a reading, judged at `now`, is from a clock that runs ahead.
pub(super) fn is_ahead(sampled_at: Timestamp, now: Timestamp) -> bool {
    sampled_at.ms_since(now) > FUTURE_MS_MAX
}

/// The latest reading that was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Latest {
    /// Gateway's clock.
    pub(super) sampled_at: Timestamp,
    /// It was from the future when it came, or nothing has come for so long that the gateway must
    /// be set back: an earlier one is no repeat.
    pub(super) yields: bool,
}

/// Where a reading stands among those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Later than the latest one, by so many milliseconds of the gateway's clock; 0 for the first.
    Later(i64),
    /// Later than the latest one, by a clock that was set back meanwhile: time begins anew.
    SetBack,
    /// Earlier, and not seen yet: its message closes a gap.
    InGap,
    /// The same or an earlier one again.
    OutOfOrder,
}

/// Where a reading stands that came in a message of this turn.
pub(super) fn place(latest: Option<Latest>, sampled_at: Timestamp, turn: Turn) -> Place {
    let Some(latest) = latest else {
        return Place::Later(0);
    };
    let elapsed = sampled_at.ms_since(latest.sampled_at);
    match turn {
        _ if elapsed > 0 => Place::Later(elapsed),
        // The same time again is a repeat, however late.
        _ if elapsed == 0 => Place::OutOfOrder,
        Turn::Next => Place::SetBack,
        Turn::Gap => Place::InGap,
        Turn::Unnumbered if latest.yields => Place::SetBack,
        Turn::Unnumbered => Place::OutOfOrder,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TURNS: [Turn; 3] = [Turn::Next, Turn::Gap, Turn::Unnumbered];

    fn at(latest: i64, yields: bool, sampled_at: i64, turn: Turn) -> Place {
        let sampled_at_latest = Timestamp(latest);
        let latest = Latest {
            sampled_at: sampled_at_latest,
            yields,
        };
        place(Some(latest), Timestamp(sampled_at), turn)
    }

    #[test]
    fn the_table_of_turns_and_times() {
        for yields in [false, true] {
            for turn in TURNS {
                assert_eq!(at(100, yields, 103, turn), Place::Later(3));
                assert_eq!(at(100, yields, 100, turn), Place::OutOfOrder);
            }
            assert_eq!(at(100, yields, 99, Turn::Next), Place::SetBack);
            assert_eq!(at(100, yields, 99, Turn::Gap), Place::InGap);
        }
        assert_eq!(at(100, false, 99, Turn::Unnumbered), Place::OutOfOrder);
        assert_eq!(at(100, true, 99, Turn::Unnumbered), Place::SetBack);
        for turn in TURNS {
            assert_eq!(
                place(None, Timestamp(5), turn),
                Place::Later(0),
                "the first"
            );
        }
    }

    proptest! {
        /// A stream in its turn, by a clock that is set now and then: nothing but repeats is left
        /// out, and never more time is counted than the gateway's clock says.
        #[test]
        fn whatever_the_clock_does_what_comes_in_turn_is_taken(
            stamps in prop::collection::vec(0i64..50_000, 1..60),
        ) {
            let (mut latest, mut counted, mut forward) = (None, 0, 0);
            for stamp in stamps {
                let sampled_at = Timestamp(stamp);
                let before: Option<Latest> = latest;
                match place(before, sampled_at, Turn::Next) {
                    Place::Later(elapsed) => counted += elapsed,
                    Place::SetBack => {}
                    Place::InGap => prop_assert!(false, "it is no gap"),
                    Place::OutOfOrder => {
                        prop_assert_eq!(before.map(|latest| latest.sampled_at), Some(sampled_at));
                        continue;
                    }
                }
                forward += before.map_or(0, |latest| sampled_at.ms_since(latest.sampled_at).max(0));
                latest = Some(Latest { sampled_at, yields: false });
            }
            prop_assert_eq!(counted, forward);
        }

        #[test]
        fn one_bad_stamp_hides_nothing_behind_it(bad in 1i64..i64::MAX / 2, turn in 0usize..3) {
            let now = Timestamp(1_000_000);
            let sampled_at = Timestamp(now.0 + FUTURE_MS_MAX + bad);
            prop_assert!(is_ahead(sampled_at, now));
            let latest = Latest { sampled_at, yields: is_ahead(sampled_at, now) };
            let found = place(Some(latest), now, TURNS[turn]);
            prop_assert!(found != Place::OutOfOrder);
        }
    }
}
