//! The engine's state, written by names, so that it can be read back under the same configuration
//! whatever the places of points and alarms.
//!
//! It holds only what cannot be worked out: latest readings, running delays, axes, occurrence
//! numbers. Bands and deadlines are worked out again. Restoring and going on gives the same
//! effects as never having stopped.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::history::LatePoint;
use super::hot::HotPoint;
use super::point::{is_never, never};
use super::status::AlarmStatus;
use super::told::Told;
use super::{Counters, Engine};
use crate::alarm::definition::{AlarmDefinition, Subject, SystemCondition};
use crate::point::Point;
use crate::reading::{Lane, Quality, Timestamp};

/// The state of an [`Engine`]. Names may be added to it, never changed in meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    now: Timestamp,
    occurrences: u64,
    counters: Counters,
    /// By tag.
    pub(super) points: BTreeMap<String, PointSnapshot>,
    /// By name; only alarms to which something has happened.
    pub(super) alarms: BTreeMap<String, AlarmStatus>,
    /// By name.
    pub(super) late_alarms: BTreeMap<String, AlarmStatus>,
    /// By tag.
    pub(super) late_points: BTreeMap<String, LatePoint>,
    /// By tag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) late_gaps: BTreeMap<String, LatePoint>,
    told: Vec<(Subject, SystemCondition, Told)>,
}

/// What is kept of a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PointSnapshot {
    sampled_at: Timestamp,
    seen: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    quality: Quality,
    ever: bool,
    unit_lost: bool,
    gateway_lost: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unseen_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    good_since: Option<Timestamp>,
    #[serde(default = "never", skip_serializing_if = "is_never")]
    good_at: Timestamp,
}

impl Engine {
    /// All that cannot be worked out again.
    pub fn snapshot(&self) -> Snapshot {
        let points = self.hot.iter().zip(&self.points);
        let points = points.filter(|(hot, _)| hot.seen != Timestamp::MIN);
        let tag = |point: &u32| self.points.get(*point as usize).map(|s| s.tag.to_string());
        let name = |alarm: &u32| self.rules.get(*alarm as usize).map(|r| r.name.to_string());
        let alarms = self.live.iter().zip(&self.rules);
        let late = &self.late;
        let by_tag = |points: &BTreeMap<u32, LatePoint>| {
            let points = points.iter();
            points
                .filter_map(|(point, kept)| Some((tag(point)?, *kept)))
                .collect()
        };
        Snapshot {
            now: self.now,
            occurrences: self.occurrences,
            counters: self.counters,
            points: points
                .map(|(hot, state)| {
                    let kept = PointSnapshot {
                        sampled_at: hot.sampled_at,
                        seen: hot.seen,
                        value: hot.value.is_finite().then_some(hot.value),
                        quality: hot.quality,
                        ever: hot.ever,
                        unit_lost: state.unit_lost,
                        gateway_lost: state.gateway_lost,
                        lost_since: state.lost_since,
                        unseen_since: state.unseen_since,
                        good_since: state.good_since,
                        good_at: state.good_at,
                    };
                    (state.tag.to_string(), kept)
                })
                .collect(),
            alarms: alarms
                .filter(|(status, _)| !status.is_idle())
                .map(|(status, rule)| (rule.name.to_string(), status.clone()))
                .collect(),
            late_alarms: late
                .alarms
                .iter()
                .filter_map(|(alarm, status)| Some((name(alarm)?, status.clone())))
                .collect(),
            late_points: by_tag(&late.points),
            late_gaps: by_tag(&late.gaps),
            told: self
                .told
                .iter()
                .map(|((subject, condition), told)| (subject.clone(), *condition, *told))
                .collect(),
        }
    }

    /// The engine of `snapshot`. What it holds of points and alarms that are not given is dropped
    /// without an effect; to change the configuration, restore under the old one and call
    /// [`Engine::reconfigure`].
    pub fn restore(points: &[Point], alarms: &[AlarmDefinition], snapshot: &Snapshot) -> Self {
        let mut engine = Self::new(points, alarms);
        engine.now = snapshot.now;
        engine.occurrences = snapshot.occurrences;
        engine.counters = snapshot.counters;
        engine.restore_points(snapshot);
        engine.restore_alarms(snapshot);
        for (subject, condition, told) in &snapshot.told {
            let key = (subject.clone(), *condition);
            let takes_points = *condition == SystemCondition::LossOfView;
            let known = engine.by_condition.contains_key(&key)
                || (takes_points && engine.links.contains_key(subject));
            if known {
                engine.cut_off |= *condition == SystemCondition::CutOff && told.active;
                let by_points = told.by_points && engine.is_unit(subject);
                engine.told.insert(key, Told { by_points, ..*told });
            }
        }
        engine.count_units();
        for point in 0..engine.points.len() as u32 {
            engine.settle(point);
        }
        engine.rebuild_deadlines();
        engine
    }

    fn restore_points(&mut self, snapshot: &Snapshot) {
        self.unstarted = false;
        for (place, (hot, state)) in (0..).zip(self.hot.iter_mut().zip(&mut self.points)) {
            if let Some(late) = snapshot.late_points.get(&*state.tag) {
                self.late.points.insert(place, *late);
            }
            if let Some(late) = snapshot.late_gaps.get(&*state.tag) {
                self.late.gaps.insert(place, *late);
            }
            let Some(kept) = snapshot.points.get(&*state.tag) else {
                self.unstarted = true;
                continue;
            };
            *hot = HotPoint {
                sampled_at: kept.sampled_at,
                seen: kept.seen,
                value: kept.value.unwrap_or(f64::NAN),
                quality: kept.quality,
                ever: kept.ever,
                ..HotPoint::new()
            };
            state.unit_lost = kept.unit_lost;
            state.gateway_lost = kept.gateway_lost;
            state.lost_since = kept.lost_since;
            state.unseen_since = kept.unseen_since;
            state.good_since = kept.good_since;
            state.good_at = kept.good_at;
        }
    }

    fn restore_alarms(&mut self, snapshot: &Snapshot) {
        for (place, (status, rule)) in (0..).zip(self.live.iter_mut().zip(&self.rules)) {
            if let Some(kept) = snapshot.alarms.get(&*rule.name) {
                *status = kept.clone();
                if status.is_hidden() {
                    self.hidden.insert(place);
                }
                if status.is_listed() {
                    self.listed.insert(status.occurrence, (place, Lane::Live));
                }
            }
            if let Some(kept) = snapshot.late_alarms.get(&*rule.name) {
                if kept.is_listed() {
                    let key = (place, Lane::Historical);
                    self.listed.insert(kept.occurrence, key);
                }
                self.late.alarms.insert(place, kept.clone());
            }
        }
    }
}

impl Engine {
    /// Of [`Engine::snapshot`] only what alarms that are active need to go on: it stays small
    /// however many points there are, and whatever is not in it begins anew when it is restored.
    pub fn snapshot_of_active(&self) -> Snapshot {
        let mut snapshot = self.snapshot();
        let alarms = self.live.iter().zip(&self.rules);
        let active = alarms.filter(|(kept, _)| kept.axes.active);
        let points = active.filter_map(|(_, rule)| self.points.get(rule.point()? as usize));
        let tags: BTreeSet<&str> = points.map(|point| &*point.tag).collect();
        snapshot.alarms.retain(|_, kept| kept.axes.active);
        snapshot
            .points
            .retain(|tag, kept| kept.unit_lost || kept.gateway_lost || tags.contains(tag.as_str()));
        snapshot.late_alarms.clear();
        snapshot.late_points.clear();
        snapshot
    }
}
