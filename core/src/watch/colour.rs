//! The colours of the sources: what is known of one, judged when that has changed or time is up.
//!
//! Invariant: a point counts once, by however many alarms it is called unseen.

use std::collections::BTreeMap;

use super::concerns::Watched;
use super::{Effect, Watch};
use crate::reading::Timestamp;
use crate::warning::{ActiveLimit, Facts, Warning};

impl Watch {
    /// What is known of a source now, as its warning is judged by.
    pub fn facts(&self, source: usize) -> Facts<'_> {
        let Some(watched) = self.concerns.watched.get(source) else {
            return Facts::default();
        };
        let name = |alarm: usize| self.config.alarms[alarm].name.as_str();
        let active = watched
            .limits
            .iter()
            .filter_map(|(alarm, setpoint, point)| {
                Some(ActiveLimit {
                    alarm: name(*alarm),
                    setpoint: *setpoint,
                    point: *point,
                    kind: &self.config.points[*point].kind,
                    since: self.active_since(*alarm)?,
                })
            });
        Facts {
            level: self.config.sources[source].level,
            active: active.collect(),
            points: watched.points,
            unseen: (self.unseen(watched).into_values())
                .map(|(since, alarm)| (alarm, since))
                .collect(),
        }
    }

    /// Points of a source that cannot be seen. Of several alarms that hide one (its own, its
    /// unit's) the first one counts.
    fn unseen(&self, watched: &Watched) -> BTreeMap<usize, (Timestamp, &str)> {
        let mut unseen: BTreeMap<usize, (Timestamp, &str)> = BTreeMap::new();
        for (alarm, points) in &watched.sights {
            let Some(since) = self.active_since(*alarm) else {
                continue;
            };
            let one = (since, self.config.alarms[*alarm].name.as_str());
            for point in points {
                let first = unseen.entry(*point).or_insert(one);
                *first = one.min(*first);
            }
        }
        unseen
    }

    /// Share of the points of a source that cannot be seen (0–1).
    pub(super) fn unseen_share(&self, source: usize) -> f64 {
        let watched = self.concerns.watched.get(source);
        watched.map_or(0.0, |watched| {
            self.unseen(watched).len() as f64 / f64::from(watched.points.max(1))
        })
    }

    fn active_since(&self, alarm: usize) -> Option<Timestamp> {
        let standing = self.engine.standing(alarm)?;
        standing.active_since
    }

    /// Judges the colour of a source, and notes when time alone may change it.
    pub(super) fn colour(&mut self, now: Timestamp, source: usize, effects: &mut Vec<Effect>) {
        let Some(mut warning) = self.warnings.get(source).cloned() else {
            return;
        };
        let facts = self.facts(source);
        let rules = &self.config.warning;
        let id = &self.config.sources[source].id;
        let change = warning.judge(id, now, &facts, rules);
        let next = Warning::next_deadline(&warning, now, &facts, rules);
        drop(facts);
        self.warnings[source] = warning;
        self.colour_deadlines.retain(|(_, other)| *other != source);
        if let Some(next) = next {
            self.colour_deadlines.insert((next, source));
        }
        effects.extend(change.map(Effect::Warning));
    }
}
