//! What the shell tells of units, gateways and the centre.
//!
//! A unit or gateway in loss of view takes its points out of view at once: their quality becomes
//! bad, and they raise no alarm of their own for it. Behind a lost gateway it is link down. Behind a
//! lost unit whose gateway lives it is no answer, or what the gateway said last of how the unit is
//! read wrongly: nobody need look for a cable.
//!
//! Limits: what is told of a subject that has neither points nor alarms is dropped, and so is
//! anything told of a point (the engine finds that out itself), so that memory stays bounded.

use super::Engine;
use crate::alarm::change::Effect;
use crate::alarm::definition::{Subject, SystemCondition};
use crate::reading::Timestamp;

impl Engine {
    /// Something about the system began or ended.
    pub(super) fn told(
        &mut self,
        now: Timestamp,
        (subject, condition): (&Subject, SystemCondition),
        active: bool,
        effects: &mut Vec<Effect>,
    ) {
        let key = (subject.clone(), condition);
        let takes_points = condition == SystemCondition::LossOfView;
        let known = self.by_condition.contains_key(&key)
            || (takes_points && self.links.contains_key(subject));
        let is_news = self.told.get(&key).is_some_and(|told| told.active) != active;
        if !known || !is_news {
            return;
        }
        let before = self.told.get(&key).filter(|told| told.active).copied();
        self.hold(now, key, |told| told.active = active, effects);
        if condition == SystemCondition::CutOff {
            self.cut_off = active;
            self.pass_over(now, before.map_or(now, |told| told.since));
        }
        if takes_points {
            self.view_of_link(subject, now, active, effects);
        }
    }

    fn view_of_link(
        &mut self,
        subject: &Subject,
        now: Timestamp,
        lost: bool,
        effects: &mut Vec<Effect>,
    ) {
        for point in self.links.get(subject).cloned().unwrap_or_default() {
            let Some(state) = self.points.get_mut(point as usize) else {
                continue;
            };
            match subject {
                Subject::Unit(..) => state.unit_lost = lost,
                _ => state.gateway_lost = lost,
            }
            let still_lost = state.unit_lost || state.gateway_lost;
            if lost {
                self.link_lost(point, now, effects);
            } else if !still_lost {
                self.link_restored(point, now, effects);
            }
        }
    }
}
