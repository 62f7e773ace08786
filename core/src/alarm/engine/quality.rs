//! The quality of a point changes: what its alarms, its unit and its being in view make of it.
//!
//! A point is in view while its quality is good, or is beyond its range on a side where it has a
//! limit, which then counts as reached. Calibration is in view as well, for a limited time.
//!
//! Limits: an instrument that falls silent in calibration or beyond its range is found by
//! staleness like any other. A bad quality keeps its cause when it falls silent.

use super::Engine;
use super::point::{CALIBRATION, is_by_link, is_wrong};
use super::status::Sight;
use super::unit::is_units_matter;
use crate::alarm::change::Effect;
use crate::reading::{BadCause, Quality, Timestamp, UncertainCause};

impl Engine {
    /// The quality of a point is not what it was: tells its alarms, and notes whether it is in
    /// view. `lost_at` is the moment, by the centre's clock, from which it is what it is now.
    pub(super) fn quality_moved(
        &mut self,
        point: u32,
        before: Quality,
        lost_at: Timestamp,
        sight: Sight,
        effects: &mut Vec<Effect>,
    ) {
        let is_seen = self.is_seen(point, sight.quality);
        let unit = self.points.get(point as usize).map(|state| state.unit);
        let unit = unit.unwrap_or(u32::MAX);
        let was_behind = is_by_link(before) || is_units_matter(&self.units, unit, before);
        let is_behind =
            is_by_link(sight.quality) || is_units_matter(&self.units, unit, sight.quality);
        if let Some(state) = self.points.get_mut(point as usize) {
            // Behind a lost link or a wrong unit nothing was known of the point itself: its own
            // time begins when there is an answer.
            let link_answers = was_behind && !is_behind;
            let since = |before: Option<Timestamp>, still: bool| {
                let kept = before.filter(|_| !link_answers);
                still.then(|| kept.unwrap_or(lost_at))
            };
            let is_lost = !is_seen && sight.quality != CALIBRATION;
            state.lost_since = since(state.lost_since, is_lost);
            state.unseen_since = since(state.unseen_since, !is_seen);
            state.good_since = if sight.quality.is_good() {
                state.good_since.or(Some(lost_at))
            } else {
                None
            };
        }
        if before.is_good() != sight.quality.is_good() {
            self.quality_changed(point, sight, effects);
        }
        if before != sight.quality {
            self.weigh_point(unit, (before, sight.quality), sight.now, effects);
        }
    }

    /// Whether a quality tells where the process stands: good, or beyond the range on a side where
    /// the point has a limit.
    fn is_seen(&self, point: u32, quality: Quality) -> bool {
        let counts = |place| {
            let rule = self.rules.get(self.alarm_at(place) as usize);
            rule.is_some_and(|rule| rule.counts(quality))
        };
        quality.is_good() || self.alarms_of(point).any(counts)
    }

    /// Gives the point another quality without a reading: stale, or its link is down.
    pub(super) fn set_quality(
        &mut self,
        point: u32,
        quality: Quality,
        (lost_at, now): (Timestamp, Timestamp),
        effects: &mut Vec<Effect>,
    ) {
        let Some(hot) = self.hot.get_mut(point as usize) else {
            return;
        };
        if let Some(state) = self.points.get_mut(point as usize) {
            state.good_at = hot.good_at(state);
        }
        let before = std::mem::replace(&mut hot.quality, quality);
        let sight = Sight {
            now,
            sampled_at: hot.sampled_at,
            value: hot.value.is_finite().then_some(hot.value),
            quality,
        };
        self.quality_moved(point, before, lost_at, sight, effects);
        self.settle(point);
    }

    /// Points wait for their (next) first reading from `now` on.
    pub(super) fn start_waiting(&mut self, point: u32, now: Timestamp) {
        let place = point as usize;
        if let (Some(hot), Some(state)) = (self.hot.get_mut(place), self.points.get_mut(place))
            && hot.seen == Timestamp::MIN
        {
            hot.seen = now;
            (state.lost_since, state.unseen_since) = (Some(now), Some(now));
        }
        self.settle(point);
    }

    /// The link of a point is back: it waits anew for a reading, and is not good until one comes.
    pub(super) fn link_restored(&mut self, point: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        let place = point as usize;
        if let (Some(hot), Some(state)) = (self.hot.get_mut(place), self.points.get_mut(place))
            && (is_by_link(hot.quality) || is_wrong(hot.quality))
        {
            let before = hot.quality;
            hot.quality = if hot.ever && hot.value.is_finite() {
                Quality::Uncertain(UncertainCause::Stale)
            } else {
                Quality::Bad(BadCause::Unspecified)
            };
            hot.seen = now;
            (state.lost_since, state.unseen_since) = (Some(now), Some(now));
            let (unit, after) = (state.unit, hot.quality);
            self.weigh_point(unit, (before, after), now, effects);
        }
        self.settle(point);
    }

    /// The link of a point is gone: its quality says which, as exactly as is known.
    pub(super) fn link_lost(&mut self, point: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        let place = point as usize;
        let (Some(hot), Some(state)) = (self.hot.get(place), self.points.get(place)) else {
            return;
        };
        let quality = match hot.quality {
            _ if state.gateway_lost => Quality::Bad(BadCause::LinkDown),
            before if is_by_link(before) || is_wrong(before) => before,
            _ => Quality::Bad(BadCause::NoAnswer),
        };
        self.set_quality(point, quality, (now, now), effects);
    }
}
