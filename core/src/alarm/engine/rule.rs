//! A definition, compiled for judging: what is watched, the delays, and the step of one reading.
//!
//! Invariants: a [`Run`] moves only when [`Run::step`] is given a value that counts for it, so
//! whatever does not count freezes the delay and holds the condition.

use serde::{Deserialize, Serialize};

use crate::alarm::definition::{
    AlarmDefinition, Condition, Priority, Setpoint, Subject, SystemCondition,
};
use crate::reading::{Quality, UncertainCause};

/// What an alarm watches.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Watched {
    /// The values of a point, against a limit.
    Limit {
        /// Place of the point.
        point: u32,
        /// Which limit of the point it is.
        setpoint: Setpoint,
        /// Where the condition begins.
        limit: f64,
        /// What must be passed for it to end.
        reset: f64,
    },
    /// Whether a point can be seen. The engine finds this out by itself.
    View {
        /// Place of the point.
        point: u32,
        /// How long calibration is no loss of view, in milliseconds.
        calibration_max: i64,
    },
    /// What the shell tells of a unit, a gateway or the centre.
    Told(Subject, SystemCondition),
    /// A definition that makes no sense (a limit on a gateway). Config refuses it; here it is
    /// simply never in alarm.
    Nothing,
}

/// One alarm definition, compiled.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Name of the definition.
    pub(super) name: Box<str>,
    /// What it watches.
    pub(super) watch: Watched,
    /// How long the condition must hold, in milliseconds.
    pub(super) on_delay: i64,
    /// How long it must be gone, in milliseconds.
    pub(super) off_delay: i64,
    /// Whether it stays after return until it is reset.
    pub(super) latch: bool,
    /// Its priority.
    pub(super) priority: Priority,
    /// The alarm of the same point whose sound covers this one's: HH for H.
    pub(super) stronger: Option<u32>,
}

impl Rule {
    /// Compiles `definition`; `points` is how many points there are.
    pub(super) fn new(definition: &AlarmDefinition, points: usize) -> Self {
        let ms = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let watch = match (&definition.subject, definition.condition) {
            (Subject::Point(id), _) if id.index() >= points => Watched::Nothing,
            (Subject::Point(id), Condition::Limit(limit)) => Watched::Limit {
                point: id.0,
                setpoint: limit.setpoint,
                limit: limit.limit,
                reset: limit.reset,
            },
            (Subject::Point(id), Condition::System(SystemCondition::LossOfView)) => Watched::View {
                point: id.0,
                calibration_max: ms(definition.calibration_max),
            },
            (Subject::Point(_), Condition::System(_)) | (_, Condition::Limit(_)) => {
                Watched::Nothing
            }
            (subject, Condition::System(condition)) => Watched::Told(subject.clone(), condition),
        };
        Self {
            name: definition.name.as_str().into(),
            watch,
            on_delay: ms(definition.on_delay),
            off_delay: ms(definition.off_delay),
            latch: definition.latch,
            priority: definition.priority,
            stronger: None,
        }
    }

    /// The point that it is about, if it is about one.
    pub(super) fn point(&self) -> Option<u32> {
        match self.watch {
            Watched::Limit { point, .. } | Watched::View { point, .. } => Some(point),
            Watched::Told(..) | Watched::Nothing => None,
        }
    }

    /// Which limit it is, if it is one.
    pub(super) fn setpoint(&self) -> Option<Setpoint> {
        match self.watch {
            Watched::Limit { setpoint, .. } => Some(setpoint),
            _ => None,
        }
    }

    /// The value as this limit is judged by it, or none when it does not count.
    ///
    /// Only good values count, with one exception on the safe side: an instrument driven beyond
    /// its range has reached every limit on that side, so a saturated one cannot stay silent.
    pub(super) fn counted(&self, value: f64, quality: Quality) -> Option<f64> {
        let setpoint = self.setpoint()?;
        match quality {
            Quality::Good => Some(value),
            Quality::Uncertain(cause) if reaches(cause, setpoint) => {
                let high = setpoint.is_high();
                Some(if high {
                    f64::INFINITY
                } else {
                    f64::NEG_INFINITY
                })
            }
            _ => None,
        }
    }
}

/// Whether a value beyond the range on the side that `cause` names has reached this limit.
fn reaches(cause: UncertainCause, setpoint: Setpoint) -> bool {
    match cause {
        UncertainCause::OverRange => setpoint.is_high(),
        UncertainCause::UnderRange => !setpoint.is_high(),
        _ => false,
    }
}

/// The setpoint whose alarm covers the sound of this one on the same point.
pub(super) fn stronger_than(setpoint: Setpoint) -> Option<Setpoint> {
    match setpoint {
        Setpoint::H => Some(Setpoint::Hh),
        Setpoint::L => Some(Setpoint::Ll),
        Setpoint::Gas1 => Some(Setpoint::Gas2),
        Setpoint::MineAlarm => Some(Setpoint::MineCut),
        Setpoint::Hh | Setpoint::Ll | Setpoint::Gas2 | Setpoint::MineCut => None,
    }
}

/// What a step brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// The condition has held for the on-delay.
    Raised,
    /// It has been gone for the off-delay.
    Returned,
}

/// Where the condition of one limit stands in one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The condition holds, after the delays.
    pub(super) active: bool,
    /// The delay that runs (on-delay while inactive, else off-delay): milliseconds counted so far.
    pub(super) held: Option<i64>,
}

impl Run {
    /// Judges `value`, which is `elapsed` milliseconds of counted time after the one before.
    pub(super) fn step(&mut self, rule: &Rule, value: f64, elapsed: i64) -> Option<Edge> {
        let Watched::Limit {
            setpoint,
            limit,
            reset,
            ..
        } = rule.watch
        else {
            return None;
        };
        let leaves = match (self.active, setpoint.is_high()) {
            (false, true) => value >= limit,
            (false, false) => value <= limit,
            (true, true) => value < reset,
            (true, false) => value > reset,
        };
        if !leaves {
            self.held = None;
            return None;
        }
        let held = self.held.map_or(0, |held| held.saturating_add(elapsed));
        let (delay, edge) = if self.active {
            (rule.off_delay, Edge::Returned)
        } else {
            (rule.on_delay, Edge::Raised)
        };
        if held < delay {
            self.held = Some(held);
            return None;
        }
        self.active = !self.active;
        self.held = None;
        Some(edge)
    }
}
