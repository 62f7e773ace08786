//! What follows from a change of an alarm: for the ledger (`ledger.rs`), then for the colours
//! (`colour.rs`).

use super::{Effect, Watch};
use crate::alarm;
use crate::reading::Timestamp;

impl Watch {
    /// Follows what the engine said, until nothing more follows.
    pub(super) fn follow(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let told = std::mem::take(&mut self.told);
        for effect in told {
            match effect {
                alarm::Effect::Changed(change) => {
                    let place = self.concerns.find(&change.alarm);
                    if let Some(place) = place {
                        self.dirty.extend(&self.concerns.sources_of[place]);
                    }
                    // The alarm stands before what it brings about.
                    let at = effects.len();
                    effects.push(Effect::Alarm(change.clone()));
                    self.enter(now, place, &change, effects);
                    debug_assert!(matches!(effects[at], Effect::Alarm(_)));
                }
                alarm::Effect::Refused { command, why } => effects.push(Effect::AlarmRefused {
                    occurrence: command.occurrence(),
                    why,
                }),
            }
        }
        while let Some(source) = self.dirty.pop_first() {
            self.colour(now, source, effects);
        }
    }
}
