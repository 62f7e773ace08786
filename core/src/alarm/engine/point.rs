//! What is kept of a point beside what is hot of it, and what its silence and its quality mean.

use std::sync::Arc;

use crate::reading::{BadCause, Quality, Timestamp, UncertainCause};

/// Without a reading for three periods, but not sooner than this, a point is stale
/// (Davy's own figure).
const STALE_MS_MIN: i64 = 15_000;

/// Without a reading for this long, or twice what makes it stale, a point may be in loss of view
/// (Davy's own figure; IEC 61511 asks for a time to detect, without one).
const LOSS_OF_VIEW_MS_MIN: i64 = 30_000;

/// What is kept of a point beside what is hot.
#[derive(Clone, Debug)]
pub(super) struct PointState {
    pub(super) tag: Box<str>,
    /// The unit of its values.
    pub(super) measured_in: Arc<str>,
    /// Its alarms: this part of `Engine::of_point`.
    pub(super) alarms: (u32, u32),
    pub(super) period: i64,
    /// Place of its Modbus unit in `Engine::units`.
    pub(super) unit: u32,
    /// Its Modbus unit is in loss of view.
    pub(super) unit_lost: bool,
    /// Its gateway is in loss of view.
    pub(super) gateway_lost: bool,
    /// Centre's clock: since when there is nothing to see of it, calibration apart.
    pub(super) lost_since: Option<Timestamp>,
    /// Centre's clock: the same, calibration included.
    pub(super) unseen_since: Option<Timestamp>,
    /// Centre's clock: since when every reading has been good, while that matters.
    pub(super) good_since: Option<Timestamp>,
    /// Gateway's clock: the latest good reading, while the quality is not good.
    pub(super) good_at: Timestamp,
    /// The earliest entry in the heap that is this point's; later ones are void.
    pub(super) queued: Option<Timestamp>,
}

/// How long without a reading makes a point of this period stale, in milliseconds.
pub(super) fn stale_after(period: i64) -> i64 {
    period.saturating_mul(3).max(STALE_MS_MIN)
}

/// How long without a reading may be a loss of view, in milliseconds.
pub(super) fn loss_of_view_after(period: i64) -> i64 {
    stale_after(period)
        .saturating_mul(2)
        .max(LOSS_OF_VIEW_MS_MIN)
}

/// The time between two readings that counts for a delay. A longer hole is like silence, behind
/// which a point is stale: nothing is known of the value in it. So neither an outage nor a step of
/// the gateway's clock lets a delay end.
pub(super) fn counted_time(elapsed: i64, period: i64) -> i64 {
    if (0..=stale_after(period)).contains(&elapsed) {
        elapsed
    } else {
        0
    }
}

/// Calibration gas, not the plant's.
pub(super) const CALIBRATION: Quality = Quality::Uncertain(UncertainCause::Calibration);

/// Whether it is the way to the point that is gone, and not the point.
pub(super) fn is_by_link(quality: Quality) -> bool {
    matches!(
        quality,
        Quality::Bad(BadCause::NoAnswer | BadCause::LinkDown)
    )
}

/// Whether a point is read wrongly.
pub(super) fn is_wrong(quality: Quality) -> bool {
    matches!(
        quality,
        Quality::Bad(BadCause::NoAnswer | BadCause::Exception | BadCause::Garbled)
    )
}

/// Whether a quality is an answer of the instrument, and no sign that there is none.
pub(super) fn is_answer(quality: Quality) -> bool {
    let is_silence = matches!(
        quality,
        Quality::Bad(BadCause::LinkDown | BadCause::Unspecified)
            | Quality::Uncertain(UncertainCause::Stale)
    );
    !is_silence && !is_wrong(quality)
}

pub(super) fn never() -> Timestamp {
    Timestamp::MIN
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
pub(super) fn is_never(at: &Timestamp) -> bool {
    *at == never()
}
