//! The engine: one input at a time, and what follows from it.
//!
//! The path of an ordinary reading ends in [`mod@line`]: two comparisons against the band in which
//! nothing can change. All else is judged in full: [`live`] for readings as measured, [`late`] for
//! those out of a store, [`handover`] for where that ends, [`system`] for what the shell tells,
//! [`entry`] for commands and for every change of an alarm.
//!
//! Invariants, beside those of the module above:
//! - Effects are a function of the inputs alone: no clock, no hashing, no thread, sorted maps.
//! - What is due is done before each input, so an input never meets a state that a tick would have
//!   changed, and after it, so `next_deadline` is later than the latest `now`; but for what is more
//!   at one moment than is met at once, which ticks of the same moment go on with.
//! - Memory is bounded by the configuration: at most two entries an alarm (live and late).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

mod deadline;
mod entry;
mod handover;
mod late;
mod line;
mod live;
mod reconfigure;
mod rule;
mod snapshot;
mod system;
mod unit;
mod view;

pub use snapshot::Snapshot;
pub use view::{AlarmView, Standing};

use deadline::Slot;
use entry::Entry;
use line::Line;
use rule::Rule;
use system::Told;
use unit::Unit;

use super::change::{Effect, Input};
use super::definition::{AlarmDefinition, Subject, SystemCondition};
use crate::point::Point;
use crate::reading::{Lane, Quality, Timestamp};

/// A reading sampled later than this after `now` is from a clock that runs ahead. 5 s is
/// above what a gateway with a working NTP client drifts and waits (well under 1 s), and small
/// against every staleness limit (15 s and more).
const FUTURE_MS_MAX: i64 = 5_000;

/// What was counted since the engine was made. Part of the snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Readings whose time was out of order.
    #[serde(flatten)]
    pub untimely: Untimely,
    /// Readings that came by the historical lane.
    pub late: u64,
    /// Readings of a point that is not in the configuration.
    pub unknown_point: u64,
    /// Times that `now` itself stepped back.
    pub centre_steps_back: u64,
}

/// Readings whose time was out of order: of the whole site, or of one gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untimely {
    /// Readings skipped because one of the same point and lane was as late or later.
    pub out_of_order: u64,
    /// Readings sampled more than 5 s after `now`; judged as if sampled at `now`, and out of a
    /// store as if no time had passed since the one before.
    pub from_future: u64,
    /// Times that the order of a point's readings began anew since its gateway's clock stepped
    /// back.
    pub backwards_steps: u64,
}

impl Untimely {
    /// What was counted after `before`, if anything was.
    pub fn since(self, before: Self) -> Option<Self> {
        (self != before).then(|| Self {
            out_of_order: self.out_of_order - before.out_of_order,
            from_future: self.from_future - before.from_future,
            backwards_steps: self.backwards_steps - before.backwards_steps,
        })
    }
}

impl AddAssign for Untimely {
    fn add_assign(&mut self, found: Self) {
        self.out_of_order += found.out_of_order;
        self.from_future += found.from_future;
        self.backwards_steps += found.backwards_steps;
    }
}

/// What is kept of a point beside its line.
#[derive(Clone, Debug)]
struct PointState {
    tag: Box<str>,
    /// The unit of its values.
    measured_in: Box<str>,
    /// Its alarms: this part of `Engine::of_point`.
    alarms: (u32, u32),
    period: i64,
    /// Place of its Modbus unit in `Engine::units`.
    unit: u32,
    /// Its Modbus unit is in loss of view.
    unit_lost: bool,
    /// Its gateway is in loss of view.
    gateway_lost: bool,
    /// Centre's clock: since when there is nothing to see of it, calibration apart.
    lost_since: Option<Timestamp>,
    /// Centre's clock: the same, calibration included.
    unseen_since: Option<Timestamp>,
    /// Centre's clock: since when every reading has been good, while that matters.
    good_since: Option<Timestamp>,
    /// Gateway's clock: the latest good reading, while the quality is not good.
    good_at: Timestamp,
    /// The earliest entry in the heap that is this point's; later ones are void.
    queued: Option<Timestamp>,
}

/// The historical lane: only what has something to remember.
#[derive(Clone, Debug, Default)]
struct LateLane {
    points: BTreeMap<u32, late::LatePoint>,
    entries: BTreeMap<u32, Entry>,
}

/// The alarm engine. See the contract in [`super`].
#[derive(Clone, Debug)]
pub struct Engine {
    /// One a point, same places as `points`: the only memory that ordinary readings touch.
    lines: Vec<Line>,
    points: Vec<PointState>,
    /// One an alarm, same places as the definitions.
    rules: Vec<Rule>,
    live: Vec<Entry>,
    late: LateLane,
    /// Places of alarms, grouped by point, stronger setpoints first.
    of_point: Vec<u32>,
    /// Every occurrence in the list.
    listed: BTreeMap<u64, (u32, Lane)>,
    /// The latest occurrence number given.
    occurrences: u64,
    /// Modbus units, by what their points are.
    units: Vec<Unit>,
    /// Points of each unit and gateway.
    links: BTreeMap<Subject, Vec<u32>>,
    /// Alarms by what the shell tells.
    by_condition: BTreeMap<(Subject, SystemCondition), Vec<u32>>,
    told: BTreeMap<(Subject, SystemCondition), Told>,
    deadlines: BinaryHeap<Reverse<(Timestamp, Slot)>>,
    /// How many are met at once.
    deadlines_max: usize,
    now: Timestamp,
    /// The centre is cut off from its broker: that nothing comes in is no fault of a point.
    cut_off: bool,
    /// Some point has not begun to wait for its first reading.
    unstarted: bool,
    counters: Counters,
}

impl Engine {
    /// An engine to which nothing has happened. `alarms` name points by their place in `points`.
    ///
    /// Points begin to wait for their first reading at the first input.
    pub fn new(points: &[Point], alarms: &[AlarmDefinition]) -> Self {
        let mut rules: Vec<_> = alarms
            .iter()
            .map(|definition| Rule::new(definition, points.len()))
            .collect();
        let (of_point, ranges) = by_point(&rules, points.len());
        find_stronger(&mut rules, &of_point, &ranges);
        let mut by_condition: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for (place, rule) in (0..).zip(&rules) {
            if let rule::Watched::Told(subject, condition) = &rule.watch {
                let key = (subject.clone(), *condition);
                by_condition.entry(key).or_default().push(place);
            }
        }
        let mut links: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for (place, point) in (0..).zip(points) {
            let unit = Subject::Unit(point.gateway.clone(), point.device.clone());
            let gateway = Subject::Gateway(point.gateway.clone());
            links.entry(unit).or_default().push(place);
            links.entry(gateway).or_default().push(place);
        }
        let (units, unit_of_point) = unit::all(&links, &by_condition, points.len());
        let states = points.iter().zip(ranges).zip(unit_of_point);
        let states = states.map(|((point, alarms), unit)| PointState {
            tag: point.tag.as_str().into(),
            measured_in: point.unit.as_str().into(),
            alarms,
            period: i64::try_from(point.period.as_millis()).unwrap_or(i64::MAX),
            unit,
            unit_lost: false,
            gateway_lost: false,
            lost_since: None,
            unseen_since: None,
            good_since: None,
            good_at: Timestamp::MIN,
            queued: None,
        });
        let mut engine = Self {
            lines: points.iter().map(|_| Line::new()).collect(),
            points: states.collect(),
            live: rules.iter().map(|_| Entry::default()).collect(),
            rules,
            late: LateLane::default(),
            of_point,
            listed: BTreeMap::new(),
            occurrences: 0,
            units,
            links,
            by_condition,
            told: BTreeMap::new(),
            deadlines: BinaryHeap::new(),
            deadlines_max: deadline::DEADLINES_MAX,
            now: Timestamp::MIN,
            cut_off: false,
            unstarted: true,
            counters: Counters::default(),
        };
        engine.count_units();
        engine
    }

    /// Takes one input at `now` (the centre's clock) and appends what followed to `effects`. Of what
    /// time makes due it does only as much as leaves `effects` bounded; so give it an empty list,
    /// or the one of what is to be kept together.
    pub fn apply(&mut self, now: Timestamp, input: Input<'_>, effects: &mut Vec<Effect>) {
        if let Input::Blind { since } = input {
            // Before anything is due by a silence that was none.
            self.pass_over(now, since);
        }
        self.move_to(now, effects);
        match input {
            Input::Readings {
                lane: Lane::Live,
                readings,
            } => self.live_readings(now, readings, effects),
            Input::Readings {
                lane: Lane::Historical,
                readings,
            } => self.late_readings(now, readings, effects),
            Input::HistoryEnds { gateway } => self.history_ends(now, gateway, effects),
            Input::System {
                subject,
                condition,
                active,
            } => self.told(now, (subject, condition), active, effects),
            Input::Command(command) => self.command(now, command, effects),
            Input::Blind { .. } | Input::Tick => {}
        }
        // What an input made due at once (a delay of zero, a link that is back) need not wait for
        // a tick.
        self.meet_deadlines(now, effects);
    }

    /// Puts an alarm in a given state, for tests of states that no command reaches yet.
    #[cfg(test)]
    pub(super) fn set_axes(&mut self, alarm: u32, axes: super::state::Axes) {
        let Some(entry) = self.live.get_mut(alarm as usize) else {
            return;
        };
        self.listed.remove(&entry.occurrence);
        entry.axes = axes;
        entry.run.active = axes.active;
        entry.run.held = None;
        if entry.is_listed() {
            self.occurrences += 1;
            entry.occurrence = self.occurrences;
            self.listed.insert(entry.occurrence, (alarm, Lane::Live));
        }
        for point in 0..self.points.len() as u32 {
            self.settle(point);
        }
    }

    /// Bytes of a point's line.
    #[cfg(test)]
    pub(super) fn line_size() -> usize {
        size_of::<Line>()
    }

    /// Makes it meet fewer deadlines at once.
    #[cfg(test)]
    pub(super) fn set_deadlines_max(&mut self, max: usize) {
        self.deadlines_max = max;
    }

    /// Entries in the heap of deadlines.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.deadlines.len()
    }

    /// Whether the centre is cut off from its broker: no silence is a point's own meanwhile.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// The number of the newest occurrence.
    pub fn last_occurrence(&self) -> u64 {
        self.occurrences
    }

    /// Gives no occurrence a number up to this one any more.
    pub fn number_after(&mut self, occurrence: u64) {
        self.occurrences = self.occurrences.max(occurrence);
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Brings everything to `now`: points begin to wait, deadlines that have passed are met.
    fn move_to(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if now < self.now {
            self.counters.centre_steps_back += 1;
            self.now = now;
            self.step_back(now);
        }
        self.now = now;
        if self.unstarted {
            self.unstarted = false;
            for place in 0..self.lines.len() as u32 {
                self.start_waiting(place, now);
            }
        }
        self.meet_deadlines(now, effects);
    }

    /// Which part of `of_point` holds the alarms of a point.
    fn alarms_of(&self, point: u32) -> std::ops::Range<usize> {
        let range = self.points.get(point as usize).map(|state| state.alarms);
        let (first, end) = range.unwrap_or_default();
        first as usize..end as usize
    }

    /// The alarm at a place of `of_point`.
    fn alarm_at(&self, place: usize) -> u32 {
        self.of_point.get(place).copied().unwrap_or(u32::MAX)
    }

    /// The quality by which an alarm is shown in a lane.
    fn quality_of(&self, (alarm, lane): (u32, Lane)) -> Quality {
        let point = self.rules.get(alarm as usize).and_then(Rule::point);
        let Some(point) = point else {
            return Quality::Good;
        };
        let live = self.lines.get(point as usize).map(|line| line.quality);
        let stored = self.late.points.get(&point).map(|stored| stored.quality);
        let kept = self.late.entries.get(&alarm).map(|entry| entry.quality);
        match lane {
            Lane::Live => live.unwrap_or_default(),
            // Once the history has ended, what it ended with is all that is known.
            Lane::Historical => stored.or(kept).unwrap_or_default(),
        }
    }
}

/// Places of alarms grouped by point, and each point's part of them. Stronger setpoints stand
/// before those that they cover, so that one excursion sounds once.
fn by_point(rules: &[Rule], points: usize) -> (Vec<u32>, Vec<(u32, u32)>) {
    let mut groups: Vec<Vec<u32>> = vec![Vec::new(); points];
    for (place, rule) in (0..).zip(rules) {
        let point = rule.point().map(|point| point as usize);
        if let Some(group) = point.and_then(|point| groups.get_mut(point)) {
            group.push(place);
        }
    }
    let (mut of_point, mut ranges) = (Vec::new(), Vec::with_capacity(points));
    for mut group in groups {
        group.sort_by_key(|place| {
            let rule = rules.get(*place as usize);
            let setpoint = rule.and_then(Rule::setpoint);
            setpoint.is_none_or(|setpoint| rule::stronger_than(setpoint).is_some())
        });
        let first = of_point.len() as u32;
        of_point.append(&mut group);
        ranges.push((first, of_point.len() as u32));
    }
    (of_point, ranges)
}

/// Links each limit to the one of its point that covers its sound.
fn find_stronger(rules: &mut [Rule], of_point: &[u32], ranges: &[(u32, u32)]) {
    for (first, end) in ranges {
        let group = of_point.get(*first as usize..*end as usize);
        let group = group.unwrap_or_default();
        let with = |rules: &[Rule], setpoint| {
            group.iter().copied().find(|place| {
                let rule = rules.get(*place as usize);
                rule.and_then(Rule::setpoint) == Some(setpoint)
            })
        };
        for place in group {
            let own = rules.get(*place as usize).and_then(Rule::setpoint);
            let stronger = own.and_then(rule::stronger_than);
            let found = stronger.and_then(|setpoint| with(rules, setpoint));
            if let Some(rule) = rules.get_mut(*place as usize) {
                rule.stronger = found;
            }
        }
    }
}
