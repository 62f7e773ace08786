//! A unit that answers wrongly: refusals, garbage, another unit's replies, or nothing.
//!
//! A silent unit is told by its gateway. One that answers wrongly is found here, by its points:
//! when most of them are lost by the way they are read, it is the unit's alarm and not one of each
//! point. Where few are (a register that does not exist), each point speaks for itself.
//!
//! Invariants: no data is never recovery, so it ends when most points answer again, whatever they
//! answer, and not when they fall silent. A unit of one point and one without an alarm are never
//! told apart from their points.
//!
//! Limit: points polled less often than the others are found out later; until then the others may
//! have told of themselves.

use std::collections::BTreeMap;

use super::point::{is_answer, is_wrong};
use crate::alarm::definition::{Subject, SystemCondition};
use crate::reading::Quality;

/// Of four points of a unit, so many must be read wrongly before it is the unit's matter
/// (Davy's own figure: a clear majority).
const WRONG_OF_FOUR: u32 = 3;

/// What is known of a unit by its points.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) subject: Subject,
    /// It has an alarm that can speak for its points.
    speaks: bool,
    pub(super) points: u32,
    /// Points that are read wrongly.
    pub(super) wrong: u32,
    /// Points that answer, whatever they answer.
    pub(super) answering: u32,
    /// It is the unit that is wrong, not its points.
    pub(super) is_wrong: bool,
}

/// Every unit that has points, and of each point the place of its unit in them.
pub(super) fn all(
    links: &BTreeMap<Subject, Vec<u32>>,
    by_condition: &BTreeMap<(Subject, SystemCondition), Vec<u32>>,
    points: usize,
) -> (Vec<Unit>, Vec<u32>) {
    let (mut units, mut of_point) = (Vec::new(), vec![u32::MAX; points]);
    let subjects = links.iter();
    for (subject, places) in subjects.filter(|(subject, _)| matches!(subject, Subject::Unit(..))) {
        for place in places {
            if let Some(unit) = of_point.get_mut(*place as usize) {
                *unit = units.len() as u32;
            }
        }
        let key = (subject.clone(), SystemCondition::LossOfView);
        units.push(Unit {
            subject: subject.clone(),
            speaks: by_condition.contains_key(&key),
            points: 0,
            wrong: 0,
            answering: 0,
            is_wrong: false,
        });
    }
    (units, of_point)
}

impl Unit {
    /// Counts a point of this quality in.
    pub(super) fn add(&mut self, quality: Quality) {
        self.points += 1;
        self.count(quality);
    }

    pub(super) fn count(&mut self, quality: Quality) {
        self.wrong += u32::from(is_wrong(quality));
        self.answering += u32::from(is_answer(quality));
    }

    pub(super) fn uncount(&mut self, quality: Quality) {
        self.wrong = self.wrong.saturating_sub(is_wrong(quality).into());
        self.answering = self.answering.saturating_sub(is_answer(quality).into());
    }

    /// Whether it is the unit that is wrong, by what its points are now.
    pub(super) fn judged(&self) -> bool {
        if !self.speaks || self.points < 2 {
            false
        } else if self.is_wrong {
            self.answering * 2 <= self.points
        } else {
            self.wrong * 4 >= self.points * WRONG_OF_FOUR
        }
    }
}

/// Whether the unit of a point, and not the point, is what is wrong with this quality.
pub(super) fn is_units_matter(units: &[Unit], unit: u32, quality: Quality) -> bool {
    let unit = units.get(unit as usize);
    is_wrong(quality) && unit.is_some_and(|unit| unit.is_wrong)
}
