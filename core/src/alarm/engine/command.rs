//! What operators do: one command, refused with a reason or done and told.
//!
//! A command that is refused changes nothing. Each command is a method of its own that moves axes
//! and gives the state that was shown before; how it is told is the same for all. An overlay
//! (shelved, suppressed, out of service) is of the alarm and not of a lane: it is kept in the live
//! status alone, and [`Engine::status_mut`] shows it in the other.

use super::Engine;
use super::status::Sight;
use crate::alarm::change::{Cause, Command, Effect, Refusal};
use crate::alarm::state::State;
use crate::reading::{Lane, Timestamp};

impl Engine {
    /// An operator's command.
    pub(super) fn command(&mut self, now: Timestamp, command: &Command, effects: &mut Vec<Effect>) {
        if let Err(why) = self.obey(now, command, effects) {
            effects.push(Effect::Refused {
                command: command.clone(),
                why,
            });
        }
    }

    fn obey(
        &mut self,
        now: Timestamp,
        command: &Command,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let key = self.listed.get(&command.occurrence());
        let key = *key.ok_or(Refusal::UnknownOccurrence)?;
        let (from, cause) = match command {
            Command::Acknowledge { by, comment, .. } => {
                let from = self.acknowledge(key, by)?;
                let (by, comment) = (by.clone(), comment.clone());
                (from, Cause::Acknowledged { by, comment })
            }
            Command::Reset { by, comment, .. } => {
                let from = self.reset(key)?;
                let (by, comment) = (by.clone(), comment.clone());
                (from, Cause::Reset { by, comment })
            }
        };
        self.tell_obeyed(now, key, (from, cause), effects);
        Ok(())
    }

    /// Answers for an occurrence; gives the state that was shown before.
    fn acknowledge(&mut self, key: (u32, Lane), by: &str) -> Result<State, Refusal> {
        let status = self.status_mut(key.0, key.1);
        let status = status.ok_or(Refusal::UnknownOccurrence)?;
        if status.axes.acknowledged {
            return Err(Refusal::AlreadyAcknowledged);
        }
        let from = status.axes.state();
        status.axes.acknowledged = true;
        status.acknowledged_by = Some(by.into());
        Ok(from)
    }

    /// Releases a latched occurrence; gives the state that was shown before.
    fn reset(&mut self, key: (u32, Lane)) -> Result<State, Refusal> {
        // The point as it is now, also for what was found in a store.
        let is_unseen = !self.quality_of((key.0, Lane::Live)).is_good();
        let status = self.status_mut(key.0, key.1);
        let status = status.ok_or(Refusal::UnknownOccurrence)?;
        let axes = status.axes;
        if axes.active {
            return Err(Refusal::StillActive);
        }
        if !axes.latched {
            return Err(Refusal::NotLatched);
        }
        if !axes.acknowledged {
            return Err(Refusal::NotAcknowledged);
        }
        if is_unseen {
            return Err(Refusal::Unseen);
        }
        status.axes.latched = false;
        Ok(axes.state())
    }

    /// Tells what a command has changed, with the value and moment of the last change of the
    /// condition.
    fn tell_obeyed(
        &mut self,
        now: Timestamp,
        key: (u32, Lane),
        (from, cause): (State, Cause),
        effects: &mut Vec<Effect>,
    ) {
        let quality = self.quality_of(key);
        let Some(status) = self.status(key.0, key.1) else {
            return;
        };
        let sight = Sight {
            now,
            sampled_at: status.condition_at,
            value: status.value,
            quality,
        };
        self.tell(key, from, sight, cause, false, effects);
    }
}
