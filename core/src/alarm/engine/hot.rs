//! What the ordinary reading of a point needs, in one cache line: its hot part.
//!
//! Invariant: while its value is in the band, a good reading in order cannot change any alarm of the
//! point. Whenever that is not so (a delay runs, the quality is not good, the point is not in
//! view), the band is empty and every reading is judged in full.

use super::band::Band;
use super::point::PointState;
use crate::reading::{Quality, Reading, Timestamp};

/// The latest accepted live reading of a point, and the band in which nothing can change.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct HotPoint {
    /// Good values at which nothing can change.
    pub(super) band: Band,
    /// By the gateway's clock, when the latest accepted reading was sampled.
    pub(super) sampled_at: Timestamp,
    /// By the centre's clock, when it was judged; for a point never seen, when the wait began.
    pub(super) seen: Timestamp,
    /// Its value; NaN before the first one.
    pub(super) value: f64,
    /// Its quality, or what became of it since (stale, link down).
    pub(super) quality: Quality,
    /// Whether there has been a reading at all.
    pub(super) ever: bool,
}

impl HotPoint {
    /// A point never seen.
    pub(super) fn new() -> Self {
        Self {
            band: Band::EMPTY,
            sampled_at: Timestamp::MIN,
            seen: Timestamp::MIN,
            value: f64::NAN,
            quality: Quality::Bad(crate::reading::BadCause::Unspecified),
            ever: false,
        }
    }

    /// Gateway's clock: the latest good reading; [`Timestamp::MIN`] while there was none. Readings
    /// of no other quality can say that a limit was not reached.
    pub(super) fn good_at(&self, state: &PointState) -> Timestamp {
        if self.quality.is_good() {
            self.sampled_at
        } else {
            state.good_at
        }
    }

    /// Takes `reading` if it is an ordinary one. `&` and not `&&`: one branch that is nearly
    /// always foreseen beats five.
    #[allow(
        clippy::needless_bitwise_bool,
        reason = "measured: lazy operators are five branches"
    )]
    #[inline]
    pub(super) fn takes(&mut self, reading: &Reading, now: Timestamp, horizon: Timestamp) -> bool {
        let ordinary = reading.quality.is_good()
            & self.band.contains(reading.value)
            & (reading.sampled_at > self.sampled_at)
            & (reading.sampled_at <= horizon);
        if ordinary {
            self.sampled_at = reading.sampled_at;
            self.value = reading.value;
            self.seen = now;
        }
        ordinary
    }
}

/// How many points are asked for before the first is judged. The loads of one such group wait for
/// memory side by side; more than the processor keeps in flight brings nothing.
const GATHER: usize = 32;

/// Takes ordinary readings from the front; returns how many it took. The next one, if any, must
/// be judged in full.
pub(super) fn take_ordinary(
    hot: &mut [HotPoint],
    readings: &[Reading],
    now: Timestamp,
    horizon: Timestamp,
) -> usize {
    let mut taken = 0;
    for group in readings.chunks(GATHER) {
        let mut touched = 0;
        for reading in group {
            if let Some(hot) = hot.get(reading.point.index()) {
                touched ^= hot.band.high.to_bits();
            }
        }
        // The sum is of no use; it keeps the loads above, which bring the points into the cache.
        std::hint::black_box(touched);
        for reading in group {
            let hot = hot.get_mut(reading.point.index());
            if !hot.is_some_and(|hot| hot.takes(reading, now, horizon)) {
                return taken;
            }
            taken += 1;
        }
    }
    taken
}
