//! The engine: one input at a time, and what follows from it.
//!
//! The path of an ordinary reading ends in [`mod@hot`]: two comparisons against the band in which
//! nothing can change. All else is judged in full.
//!
//! The files stand in an order, the one of the modules below: each names, and calls, only those
//! above it.
//!
//! ```text
//! band                        at which values nothing can change      ┐
//! condition/ · rule · run     what makes an alarm active; its delays  │ what is kept,
//! point · order · hot         of a point, and which reading is later                             │ without the engine
//! status · history            of an alarm in a lane, of the store     │
//! told · unit                 of the system                           ┘
//! transition                  every change of an alarm
//! command                     by an operator
//! due                         when something is due, and the band of a point
//! system                      alarms about units, gateways and the centre
//! quality                     the quality of a point changes, and whether it is in view
//! handover                    where a store ends and the live lane goes on
//! live · late · link          inputs: as measured, out of a store, told by the shell
//! deadline                    time passes
//! snapshot · reconfigure      all of it kept, and put under another configuration
//! view                        what others may see
//! ```
//!
//! Invariants, beside those of the module above:
//! - Effects are a function of the inputs alone: no clock, no hashing, no thread, sorted maps.
//! - What is due is done before each input, so an input never meets a state that a tick would have
//!   changed, and after it, so `next_deadline` is later than the latest `now`; but for what is more
//!   at one moment than is met at once, which ticks of the same moment go on with.
//! - Memory is bounded by the configuration: at most two statuses an alarm (live and late).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::AddAssign;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod band;

mod condition;

mod rule;

mod run;

mod point;

mod order;

mod hot;

mod status;

mod history;

mod told;

mod unit;

mod transition;

mod command;

mod due;

mod system;

mod quality;

mod handover;

mod live;

mod late;

mod link;

mod deadline;

mod snapshot;

mod reconfigure;

mod view;

pub use snapshot::Snapshot;
pub use view::{AlarmView, Listed, Standing};

use condition::ValueCondition;
use due::Slot;
use history::LateLane;
use hot::HotPoint;
use point::PointState;
use rule::Rule;
use status::AlarmStatus;
use told::Told;
use unit::Unit;

use super::change::{Effect, Input};
use super::definition::{AlarmDefinition, Subject, SystemCondition};
use crate::point::Point;
use crate::reading::{Lane, Timestamp};

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
    /// Readings sampled more than 5 s after `now`.
    pub from_future: u64,
    /// Times that the order of a point's readings, in a lane, began anew since its gateway's clock
    /// was set back.
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

/// The alarm engine. See the contract in [`super`].
#[derive(Clone, Debug)]
pub struct Engine {
    /// One a point, same places as `points`: the only memory that ordinary readings touch.
    hot: Vec<HotPoint>,
    points: Vec<PointState>,
    /// One an alarm, same places as the definitions.
    rules: Vec<Rule>,
    live: Vec<AlarmStatus>,
    late: LateLane,
    /// Places of alarms, grouped by point, stronger setpoints first.
    of_point: Vec<u32>,
    /// Every occurrence in the list.
    listed: BTreeMap<u64, (u32, Lane)>,
    /// Every alarm that is hidden, whatever else holds of it.
    hidden: BTreeSet<u32>,
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
            if let rule::Watched::Told(key) = &rule.watch {
                by_condition.entry((**key).clone()).or_default().push(place);
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
        // A site has thousands of points and some units of measurement.
        let mut measures: BTreeMap<&str, Arc<str>> = BTreeMap::new();
        let states = points.iter().zip(ranges).zip(unit_of_point);
        let states = states.map(|((point, alarms), unit)| PointState {
            tag: point.tag.as_str().into(),
            measured_in: measures
                .entry(&point.unit)
                .or_insert_with(|| point.unit.as_str().into())
                .clone(),
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
            hot: points.iter().map(|_| HotPoint::new()).collect(),
            points: states.collect(),
            live: rules.iter().map(|_| AlarmStatus::default()).collect(),
            rules,
            late: LateLane::default(),
            of_point,
            listed: BTreeMap::new(),
            hidden: BTreeSet::new(),
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
                turn,
                readings,
            } => self.live_readings(now, (turn, readings), effects),
            Input::Readings {
                lane: Lane::Historical,
                turn,
                readings,
            } => self.late_readings(now, (turn, readings), effects),
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
        let Some(status) = self.live.get_mut(alarm as usize) else {
            return;
        };
        self.listed.remove(&status.occurrence);
        status.axes = axes;
        status.run.active = axes.active;
        status.run.held = None;
        self.hidden.remove(&alarm);
        if status.is_hidden() {
            self.hidden.insert(alarm);
        }
        if status.is_listed() {
            self.occurrences += 1;
            status.occurrence = self.occurrences;
            self.listed.insert(status.occurrence, (alarm, Lane::Live));
        }
        for point in 0..self.points.len() as u32 {
            self.settle(point);
        }
    }

    /// Bytes of the hot part of a point, which is to be one cache line.
    #[cfg(test)]
    pub(super) fn line_size() -> usize {
        size_of::<HotPoint>()
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
            for place in 0..self.hot.len() as u32 {
                self.start_waiting(place, now);
            }
        }
        self.meet_deadlines(now, effects);
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
    let condition = |place: u32| rules.get(place as usize).and_then(Rule::condition);
    for mut by_rank in groups {
        by_rank.sort_by_key(|place| condition(*place).map_or(u8::MAX, ValueCondition::rank));
        let mut group = Vec::with_capacity(by_rank.len());
        for place in by_rank {
            let covers = |other: &u32| {
                let pair = condition(place).zip(condition(*other));
                pair.is_some_and(|(own, other)| own.covers(other))
            };
            let before = group.iter().position(covers);
            group.insert(before.unwrap_or(group.len()), place);
        }
        let first = of_point.len() as u32;
        of_point.append(&mut group);
        ranges.push((first, of_point.len() as u32));
    }
    (of_point, ranges)
}

/// Links each alarm to the one of its point that covers its sound, the nearest if there are several.
fn find_stronger(rules: &mut [Rule], of_point: &[u32], ranges: &[(u32, u32)]) {
    for (first, end) in ranges {
        let group = of_point.get(*first as usize..*end as usize);
        for place in group.unwrap_or_default() {
            let condition = |place: u32| rules.get(place as usize).and_then(Rule::condition);
            let own = condition(*place);
            let covers = |other: &&u32| {
                let other = condition(**other);
                own.zip(other).is_some_and(|(own, other)| other.covers(own))
            };
            let found = group.unwrap_or_default().iter().rfind(covers).copied();
            if let Some(rule) = rules.get_mut(*place as usize) {
                rule.stronger = found;
            }
        }
    }
}
