//! When the edge annunciates by itself.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use davy_core::config::Config;

use super::{LOCAL_ALARMS, Pipeline, SECOND};
use crate::local::LocalAlarms;
use crate::outbox::OutboxError;
use crate::publish::session::{Acknowledge, Phase};

/// Most names of alarms in one line of the log.
const ALARMS_TOLD: usize = 20;

/// Why nobody but the edge warns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    /// There is no connection to the broker, or the host says that it is gone.
    Away,
    /// The host is there and frees nothing of what it is sent.
    Unanswered,
    /// Readings cannot be stored here, so none is sent.
    Unstored,
    /// No host is waited for, and the broker's word frees: it is the word of nobody who judges.
    Unwatched,
}

/// The local alarms, going on from what the last run kept. What cannot be read is none.
pub(super) fn resume(config: &Config, gateway: &str, kept: Option<String>) -> LocalAlarms {
    let kept = kept.map(|text| LocalAlarms::resume(config, gateway, &text));
    match kept.transpose() {
        Ok(Some(local)) => local,
        Ok(None) => LocalAlarms::new(config, gateway),
        Err(error) => {
            tracing::error!(%error, "the local alarms of the last run cannot be read");
            LocalAlarms::new(config, gateway)
        }
    }
}

impl Pipeline {
    /// The annunciator sounds for local alarms as long as the centre does not see to them.
    pub(super) fn annunciate(&mut self, elapsed: Duration) {
        let answers = self.session.host_answers(elapsed);
        let alone = if self.storing_fails {
            Some(Alone::Unstored)
        } else if self.phase() != Phase::Born {
            Some(Alone::Away)
        } else if self.topics.state.is_none() && self.acknowledge == Acknowledge::Broker {
            Some(Alone::Unwatched)
        } else {
            (!answers).then_some(Alone::Unanswered)
        };
        self.local.centre_is_there(alone.is_none(), elapsed);
        let alarms = self.local.sounding().next().is_some();
        let sounds = alone.is_some() && alarms;
        let is_known = sounds || self.local.knows();
        self.sound.send_if_modified(|before| {
            // Not yet to know of an alarm is no reason to switch off what an earlier run switched on.
            let wanted = (is_known || before.is_some()).then_some(sounds);
            let changes = *before != wanted;
            *before = wanted;
            changes
        });
        let is_time = |at: Duration| elapsed.saturating_sub(at) >= SECOND;
        if self.local.version() != self.version_kept && self.kept_at.is_none_or(is_time) {
            self.kept_at = Some(elapsed);
            self.keep_local();
        }
        self.tell(alone, alarms, elapsed);
        self.status.sounds.store(sounds, Relaxed);
        self.status.alone.store(alone.is_some(), Relaxed);
        self.status.storing_fails.store(self.storing_fails, Relaxed);
    }

    /// Keeps the local alarms beside the messages, for the next start.
    pub(super) fn keep_local(&mut self) {
        let text = match self.local.kept() {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "the local alarms cannot be written down");
                return;
            }
        };
        match self.outbox.set_note(LOCAL_ALARMS, &text) {
            // That the disk is full has been said, once.
            Err(OutboxError::NoRoom { .. }) if self.storing_fails => {}
            done => {
                let elapsed = self.kept_at.unwrap_or_default();
                if self.keeping.check(done, elapsed).is_some() {
                    self.version_kept = self.local.version();
                }
            }
        }
    }

    /// Tells the log what has changed. A disk that takes every other message is one trouble for the
    /// log, while the annunciator follows each of them.
    fn tell(&mut self, alone: Option<Alone>, alarms: bool, elapsed: Duration) {
        let alone = if self.storing.stands(elapsed) {
            Some(Alone::Unstored)
        } else {
            alone
        };
        if std::mem::replace(&mut self.alone_told, alone) != alone {
            if let Some(why) = alone {
                tracing::warn!(?why, "the edge annunciates by itself");
            } else {
                tracing::info!("the centre annunciates");
            }
        }
        let sounds = alone.is_some() && alarms;
        let changed = std::mem::replace(&mut self.sounds_told, sounds) != sounds;
        let version = self.local.version();
        if sounds && (changed || version != self.version_told) {
            let alarms: Vec<_> = self.local.sounding().take(ALARMS_TOLD).collect();
            tracing::warn!(?alarms, "alarms are active: annunciate");
            self.version_told = version;
        } else if changed {
            tracing::info!("local annunciation ends");
        }
    }
}
