//! What others may see of the engine: the list of alarms, and what colours and the ledger need.

use serde::Serialize;

use super::Engine;
use super::status::AlarmStatus;
use crate::alarm::definition::{Priority, Subject, SystemCondition};
use crate::alarm::state::{Axes, State};
use crate::reading::{BadCause, Lane, PointId, Quality, Reading, Timestamp};

/// How a unit can be out of view.
const WAYS_LOST: [BadCause; 4] = [
    BadCause::Exception,
    BadCause::Garbled,
    BadCause::LinkDown,
    BadCause::NoAnswer,
];

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

/// One alarm of the list, without its row: what the list is sorted and counted by. It costs a part
/// of a row, so that of a list of tens of thousands only one page need be worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Place of its definition.
    pub alarm: usize,
    /// Historical for a late one.
    pub lane: Lane,
    /// The occurrence; 0 for a hidden alarm that has had none.
    pub occurrence: u64,
    /// Gateway's clock: when this occurrence was raised.
    pub raised_at: Timestamp,
    /// Its priority.
    pub priority: Priority,
    /// What is shown.
    pub state: State,
    /// The condition holds.
    pub active: bool,
    /// An operator has acknowledged this occurrence, or none is owed.
    pub acknowledged: bool,
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
        self.keys()
            .filter_map(|(alarm, lane)| self.view(alarm, lane))
    }

    /// The same without the rows.
    pub fn listed(&self) -> impl Iterator<Item = Listed> {
        self.keys().filter_map(|key| self.place(key))
    }

    /// As [`Engine::occurrence`], without the row.
    pub fn listed_as(&self, occurrence: u64) -> Option<Listed> {
        self.place(*self.listed.get(&occurrence)?)
    }

    /// The row of one of the list.
    pub fn row(&self, listed: &Listed) -> Option<AlarmView<'_>> {
        self.view(listed.alarm as u32, listed.lane)
    }

    /// How long the list is.
    pub fn listed_count(&self) -> usize {
        self.keys().count()
    }

    /// The live alarms of one point whose condition holds, hidden ones too, in the order of
    /// judgement (HH before H).
    pub fn active_on(&self, point: PointId) -> impl Iterator<Item = AlarmView<'_>> {
        self.alarms_of(point.0)
            .map(|place| self.alarm_at(place))
            .filter(|alarm| {
                let status = self.live.get(*alarm as usize);
                status.is_some_and(|status| status.axes.active)
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
        let hot = self.hot.get(point.index()).filter(|hot| hot.ever)?;
        Some(Reading {
            point,
            value: hot.value,
            quality: hot.quality,
            sampled_at: hot.sampled_at,
        })
    }

    /// The quality of a point as it is now; bad before its first reading, and for a point that is
    /// not in the configuration.
    pub fn quality(&self, point: PointId) -> Quality {
        let hot = self.hot.get(point.index());
        hot.map_or(Quality::from_code(u8::MAX), |hot| hot.quality)
    }

    /// Centre's clock: since when every reading of a point has been good; none while its quality is
    /// not good, and before its first reading.
    pub fn good_since(&self, point: PointId) -> Option<Timestamp> {
        let state = self.points.get(point.index())?;
        state.good_since
    }

    /// Why a unit is out of view, as most of its points have it; none while it is in view.
    pub fn lost_by(&self, gateway: &str, unit: &str) -> Option<BadCause> {
        let subject = Subject::Unit(gateway.to_owned(), unit.to_owned());
        let points = self.links.get(&subject);
        let told = self.told.get(&(subject, SystemCondition::LossOfView));
        if !told.is_some_and(|told| told.holds()) {
            return None;
        }
        let places = points.into_iter().flatten();
        let qualities: Vec<_> = places
            .filter_map(|point| Some(self.hot.get(*point as usize)?.quality))
            .collect();
        let says = |way| {
            let same = qualities.iter().filter(|q| **q == Quality::Bad(way));
            same.count()
        };
        // Of as many, the last: that there is no answer is the most that can be said of nothing.
        WAYS_LOST.into_iter().max_by_key(|way| says(*way))
    }

    /// Centre's clock: since when nothing says that a unit or gateway is in loss of view, less the
    /// time in which nobody watched; none while something does. [`Timestamp::MIN`] when nothing
    /// has ever been told of it.
    pub fn not_lost_since(&self, subject: &Subject) -> Option<Timestamp> {
        match self
            .told
            .get(&(subject.clone(), SystemCondition::LossOfView))
        {
            Some(told) => (!told.holds()).then_some(told.since),
            None => Some(Timestamp::MIN),
        }
    }

    /// Where an alarm stands in the live lane, by its place in the definitions.
    pub fn standing(&self, alarm: usize) -> Option<Standing> {
        let status = self.live.get(alarm)?;
        let quality = self.quality_of((alarm as u32, Lane::Live));
        Some(Standing {
            active_since: status.axes.active.then_some(status.raised_now),
            occurrence: status.occurrence,
            acknowledged: status.axes.acknowledged,
            hidden: status.is_hidden(),
            unknown: !quality.is_good(),
        })
    }

    /// Alarms of the list, in its order.
    fn keys(&self) -> impl Iterator<Item = (u32, Lane)> {
        let is_normal = |alarm: &u32| {
            let status = self.live.get(*alarm as usize);
            status.is_some_and(|status| status.is_hidden() && !status.is_listed())
        };
        let hidden = self.hidden.iter().copied().filter(is_normal);
        let hidden = hidden.map(|alarm| (alarm, Lane::Live));
        self.listed.values().copied().chain(hidden)
    }

    fn place(&self, (alarm, lane): (u32, Lane)) -> Option<Listed> {
        let rule = self.rules.get(alarm as usize)?;
        let status = self.status(alarm, lane)?;
        Some(Listed {
            alarm: alarm as usize,
            lane,
            occurrence: status.occurrence,
            raised_at: status.raised_at,
            priority: rule.priority,
            state: self.axes(alarm, status)?.state(),
            active: status.axes.active,
            acknowledged: status.axes.acknowledged,
        })
    }

    /// The axes of a status: a late one is hidden with the live one of its alarm.
    fn axes(&self, alarm: u32, status: &AlarmStatus) -> Option<Axes> {
        let live = self.live.get(alarm as usize)?;
        Some(Axes {
            active: status.axes.active,
            acknowledged: status.axes.acknowledged,
            latched: status.axes.latched,
            ..live.axes
        })
    }

    fn view(&self, alarm: u32, lane: Lane) -> Option<AlarmView<'_>> {
        let rule = self.rules.get(alarm as usize)?;
        let status = self.status(alarm, lane)?;
        let axes = self.axes(alarm, status)?;
        let point = rule.point().map(PointId);
        let quality = self.quality_of((alarm, lane));
        let latest = point.and_then(|point| self.last(point));
        let value = match lane {
            Lane::Live => latest.map(|latest| latest.value).filter(|v| v.is_finite()),
            Lane::Historical => status.value,
        };
        Some(AlarmView {
            name: &rule.name,
            alarm: alarm as usize,
            point,
            occurrence: status.occurrence,
            axes,
            state: axes.state(),
            process_state: axes.process_state(),
            lane,
            priority: rule.priority,
            raised_at: status.raised_at,
            raised_now: status.raised_now,
            acknowledged_by: status.acknowledged_by.as_deref(),
            changed_at: status.changed_at,
            value,
            quality,
            unknown: !quality.is_good(),
            would_be_in_alarm: axes.active && axes.state() != axes.process_state(),
            sounds: status.sounds && axes.state().is_owed(),
        })
    }
}
