//! What others may see of the engine: the list of alarms, and what colours and the ledger need.

use serde::Serialize;

use super::Engine;
use super::entry::Entry;
use crate::alarm::definition::Priority;
use crate::alarm::state::{Axes, State};
use crate::reading::{Lane, PointId, Quality, Reading, Timestamp};

/// One row of the alarm list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlarmView<'a> {
    /// Name of the definition.
    pub name: &'a str,
    /// Its place in the definitions.
    pub alarm: usize,
    /// The point that it is about, if it is about one.
    pub point: Option<PointId>,
    /// The occurrence; 0 for a hidden alarm that has had none.
    pub occurrence: u64,
    /// All that is kept of it.
    pub axes: Axes,
    /// What is shown.
    pub state: State,
    /// What it is without overlays.
    pub process_state: State,
    /// Historical for a late one.
    pub lane: Lane,
    /// Its priority.
    pub priority: Priority,
    /// Gateway's clock: when this occurrence was raised.
    pub raised_at: Timestamp,
    /// Centre's clock: when this occurrence was raised. Its history in the journal begins there.
    pub raised_now: Timestamp,
    /// Who acknowledged this occurrence; none while nobody has.
    pub acknowledged_by: Option<&'a str>,
    /// Centre's clock: when anything of it last changed.
    pub changed_at: Timestamp,
    /// Live: the latest value of its point. Late: the value of its last change.
    pub value: Option<f64>,
    /// Quality of the latest reading of its lane.
    pub quality: Quality,
    /// It cannot be known whether the condition still holds: the quality is not good.
    pub unknown: bool,
    /// Hidden, and its condition holds.
    pub would_be_in_alarm: bool,
    /// The horn sounds for it: unanswered (also when it has returned), not hidden, and nothing said
    /// not to when it was raised.
    pub sounds: bool,
}

/// Where the live condition of an alarm stands: what colours and the ledger are worked out from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Centre's clock: since when the condition holds; none while it does not.
    pub active_since: Option<Timestamp>,
    /// Its latest occurrence; 0 for none yet.
    pub occurrence: u64,
    /// An operator has acknowledged that occurrence, or none is owed.
    pub acknowledged: bool,
    /// Shelved, suppressed or out of service.
    pub hidden: bool,
    /// The quality of its point is not good.
    pub unknown: bool,
}

impl Engine {
    /// Everything in the list: active, or unanswered, or latched, or hidden. In the order of
    /// occurrence numbers; hidden alarms that are normal come last, in that of their definitions.
    pub fn alarms(&self) -> impl Iterator<Item = AlarmView<'_>> {
        let listed = self
            .listed
            .values()
            .filter_map(|(alarm, lane)| self.view(*alarm, *lane));
        let hidden = (0..)
            .zip(&self.live)
            .filter(|(_, entry)| entry.is_hidden() && !entry.is_listed())
            .filter_map(|(alarm, _)| self.view(alarm, Lane::Live));
        listed.chain(hidden)
    }

    /// The live alarms of one point whose condition holds, hidden ones too, in the order of
    /// judgement (HH before H).
    pub fn active_on(&self, point: PointId) -> impl Iterator<Item = AlarmView<'_>> {
        self.alarms_of(point.0)
            .map(|place| self.alarm_at(place))
            .filter(|alarm| {
                let entry = self.live.get(*alarm as usize);
                entry.is_some_and(|entry| entry.axes.active)
            })
            .filter_map(|alarm| self.view(alarm, Lane::Live))
    }

    /// One occurrence, if it is in the list.
    pub fn occurrence(&self, occurrence: u64) -> Option<AlarmView<'_>> {
        let (alarm, lane) = self.listed.get(&occurrence)?;
        self.view(*alarm, *lane)
    }

    /// The latest accepted live reading of a point. Its quality is what became of it since: stale,
    /// link down. None before the first.
    pub fn last(&self, point: PointId) -> Option<Reading> {
        let line = self.lines.get(point.index()).filter(|line| line.ever)?;
        Some(Reading {
            point,
            value: line.value,
            quality: line.quality,
            sampled_at: line.sampled_at,
        })
    }

    /// The quality of a point as it is now; bad before its first reading, and for a point that is
    /// not in the configuration.
    pub fn quality(&self, point: PointId) -> Quality {
        let line = self.lines.get(point.index());
        line.map_or(Quality::from_code(u8::MAX), |line| line.quality)
    }

    /// Centre's clock: since when every reading of a point has been good; none while its quality is
    /// not good, and before its first reading.
    pub fn good_since(&self, point: PointId) -> Option<Timestamp> {
        let state = self.points.get(point.index())?;
        state.good_since
    }

    /// Where an alarm stands in the live lane, by its place in the definitions.
    pub fn standing(&self, alarm: usize) -> Option<Standing> {
        let entry = self.live.get(alarm)?;
        let quality = self.quality_of((alarm as u32, Lane::Live));
        Some(Standing {
            active_since: entry.axes.active.then_some(entry.raised_now),
            occurrence: entry.occurrence,
            acknowledged: entry.axes.acknowledged,
            hidden: entry.is_hidden(),
            unknown: !quality.is_good(),
        })
    }

    pub(super) fn entry(&self, alarm: u32, lane: Lane) -> Option<&Entry> {
        match lane {
            Lane::Live => self.live.get(alarm as usize),
            Lane::Historical => self.late.entries.get(&alarm),
        }
    }

    fn view(&self, alarm: u32, lane: Lane) -> Option<AlarmView<'_>> {
        let rule = self.rules.get(alarm as usize)?;
        let entry = self.entry(alarm, lane)?;
        let live = self.live.get(alarm as usize)?;
        let axes = Axes {
            active: entry.axes.active,
            acknowledged: entry.axes.acknowledged,
            latched: entry.axes.latched,
            ..live.axes
        };
        let point = rule.point().map(PointId);
        let quality = self.quality_of((alarm, lane));
        let latest = point.and_then(|point| self.last(point));
        let value = match lane {
            Lane::Live => latest.map(|latest| latest.value).filter(|v| v.is_finite()),
            Lane::Historical => entry.value,
        };
        Some(AlarmView {
            name: &rule.name,
            alarm: alarm as usize,
            point,
            occurrence: entry.occurrence,
            axes,
            state: axes.state(),
            process_state: axes.process_state(),
            lane,
            priority: rule.priority,
            raised_at: entry.raised_at,
            raised_now: entry.raised_now,
            acknowledged_by: entry.acknowledged_by.as_deref(),
            changed_at: entry.changed_at,
            value,
            quality,
            unknown: !quality.is_good(),
            would_be_in_alarm: axes.active && axes.state() != axes.process_state(),
            sounds: entry.sounds && axes.state().is_owed(),
        })
    }
}
