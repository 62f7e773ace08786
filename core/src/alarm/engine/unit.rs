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

use super::Engine;
use crate::alarm::change::Effect;
use crate::alarm::definition::{Subject, SystemCondition};
use crate::reading::{BadCause, Quality, Timestamp, UncertainCause};

/// Of four points of a unit, so many must be read wrongly before it is the unit's matter
/// (Davy's own figure: a clear majority).
const WRONG_OF_FOUR: u32 = 3;

/// How a unit can be out of view.
const WAYS_LOST: [BadCause; 4] = [
    BadCause::Exception,
    BadCause::Garbled,
    BadCause::LinkDown,
    BadCause::NoAnswer,
];

/// What is known of a unit by its points.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    subject: Subject,
    /// It has an alarm that can speak for its points.
    speaks: bool,
    points: u32,
    /// Points that are read wrongly.
    wrong: u32,
    /// Points that answer, whatever they answer.
    answering: u32,
    /// It is the unit that is wrong, not its points.
    pub(super) is_wrong: bool,
}

/// Whether a point is read wrongly.
pub(super) fn is_wrong(quality: Quality) -> bool {
    matches!(
        quality,
        Quality::Bad(BadCause::NoAnswer | BadCause::Exception | BadCause::Garbled)
    )
}

/// Whether a quality is an answer of the instrument, and no sign that there is none.
fn is_answer(quality: Quality) -> bool {
    let is_silence = matches!(
        quality,
        Quality::Bad(BadCause::LinkDown | BadCause::Unspecified)
            | Quality::Uncertain(UncertainCause::Stale)
    );
    !is_silence && !is_wrong(quality)
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
    fn add(&mut self, quality: Quality) {
        self.points += 1;
        self.count(quality);
    }

    fn count(&mut self, quality: Quality) {
        self.wrong += u32::from(is_wrong(quality));
        self.answering += u32::from(is_answer(quality));
    }

    fn uncount(&mut self, quality: Quality) {
        self.wrong = self.wrong.saturating_sub(is_wrong(quality).into());
        self.answering = self.answering.saturating_sub(is_answer(quality).into());
    }

    /// Whether it is the unit that is wrong, by what its points are now.
    fn judged(&self) -> bool {
        if !self.speaks || self.points < 2 {
            false
        } else if self.is_wrong {
            self.answering * 2 <= self.points
        } else {
            self.wrong * 4 >= self.points * WRONG_OF_FOUR
        }
    }
}

impl Engine {
    /// Whether the unit of a point, and not the point, is what is wrong with this quality.
    pub(super) fn is_units_matter(&self, unit: u32, quality: Quality) -> bool {
        let unit = self.units.get(unit as usize);
        is_wrong(quality) && unit.is_some_and(|unit| unit.is_wrong)
    }

    /// A point has another quality: its unit may be wrong now, or right again.
    pub(super) fn weigh_point(
        &mut self,
        unit: u32,
        (before, after): (Quality, Quality),
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(unit) = self.units.get_mut(unit as usize) {
            unit.uncount(before);
            unit.count(after);
        }
        self.weigh(unit, now, effects);
    }

    /// Tells when a unit has become wrong, or right again.
    pub(super) fn weigh(&mut self, unit: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(unit) = self.units.get_mut(unit as usize) else {
            return;
        };
        let judged = unit.judged();
        if judged == unit.is_wrong {
            return;
        }
        unit.is_wrong = judged;
        let subject = unit.subject.clone();
        if !judged {
            self.release(&subject, now);
        }
        let key = (subject, SystemCondition::LossOfView);
        self.hold(now, key, |told| told.by_points = judged, effects);
    }

    /// Behind a wrong unit nothing was known of its points: the time of those that are still lost
    /// begins now.
    fn release(&mut self, unit: &Subject, now: Timestamp) {
        for point in self.links.get(unit).cloned().unwrap_or_default() {
            let place = point as usize;
            let (Some(line), Some(state)) = (self.lines.get(place), self.points.get_mut(place))
            else {
                continue;
            };
            if is_wrong(line.quality) {
                (state.lost_since, state.unseen_since) = (Some(now), Some(now));
                self.settle(point);
            }
        }
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
            .filter_map(|point| Some(self.lines.get(*point as usize)?.quality))
            .collect();
        let says = |way| {
            let same = qualities.iter().filter(|q| **q == Quality::Bad(way));
            same.count()
        };
        // Of as many, the last: that there is no answer is the most that can be said of nothing.
        WAYS_LOST.into_iter().max_by_key(|way| says(*way))
    }

    /// Works out what is known of each unit, after a snapshot was read.
    pub(super) fn count_units(&mut self) {
        for unit in &mut self.units {
            (unit.points, unit.wrong, unit.answering) = (0, 0, 0);
            let key = (unit.subject.clone(), SystemCondition::LossOfView);
            unit.is_wrong = self.told.get(&key).is_some_and(|told| told.by_points);
        }
        for (line, state) in self.lines.iter().zip(&self.points) {
            if let Some(unit) = self.units.get_mut(state.unit as usize) {
                unit.add(line.quality);
            }
        }
    }

    /// Whether a subject is a unit that has points.
    pub(super) fn is_unit(&self, subject: &Subject) -> bool {
        matches!(subject, Subject::Unit(..)) && self.links.contains_key(subject)
    }
}
