//! A definition, compiled for judging: what is watched, and what is the same for whatever is
//! watched: delays, latch, priority.

use super::condition::ValueCondition;
use crate::alarm::definition::{AlarmDefinition, Condition, Priority, Subject, SystemCondition};
use crate::reading::Quality;

/// What an alarm watches.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Watched {
    /// The values of a point.
    Values {
        /// Place of the point.
        point: u32,
        /// What they must be.
        condition: ValueCondition,
    },
    /// Whether a point can be seen. The engine finds this out by itself.
    View {
        /// Place of the point.
        point: u32,
        /// How long calibration is no loss of view, in milliseconds.
        calibration_max: i64,
    },
    /// What the shell tells of a unit, a gateway or the centre.
    Told(Box<(Subject, SystemCondition)>),
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
        let values = ValueCondition::new(definition.condition);
        let watch = match (&definition.subject, values, definition.condition) {
            (Subject::Point(id), ..) if id.index() >= points => Watched::Nothing,
            (Subject::Point(id), Some(condition), _) => Watched::Values {
                point: id.0,
                condition,
            },
            (Subject::Point(id), None, Condition::System(SystemCondition::LossOfView)) => {
                Watched::View {
                    point: id.0,
                    calibration_max: ms(definition.calibration_max),
                }
            }
            (
                Subject::Unit(..) | Subject::Gateway(_) | Subject::Centre,
                None,
                Condition::System(condition),
            ) => Watched::Told(Box::new((definition.subject.clone(), condition))),
            _ => Watched::Nothing,
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
            Watched::Values { point, .. } | Watched::View { point, .. } => Some(point),
            Watched::Told(..) | Watched::Nothing => None,
        }
    }

    /// The condition on values, if that is what it watches.
    pub(super) fn condition(&self) -> Option<&ValueCondition> {
        match &self.watch {
            Watched::Values { condition, .. } => Some(condition),
            Watched::View { .. } | Watched::Told(..) | Watched::Nothing => None,
        }
    }

    /// The value as its condition is judged by it, or none when the reading does not count.
    pub(super) fn counted(&self, value: f64, quality: Quality) -> Option<f64> {
        self.condition()?.counted(value, quality)
    }

    /// Whether a reading of this quality counts.
    pub(super) fn counts(&self, quality: Quality) -> bool {
        self.counted(0.0, quality).is_some()
    }
}
