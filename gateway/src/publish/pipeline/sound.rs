//! When the edge annunciates by itself.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Pipeline;
use crate::publish::session::Phase;

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
}

impl Pipeline {
    /// The annunciator sounds for local alarms as long as the centre does not see to them.
    pub(super) fn annunciate(&mut self, elapsed: Duration) {
        let answers = self.session.host_answers(elapsed);
        let alone = if self.storing_fails {
            Some(Alone::Unstored)
        } else if self.phase() != Phase::Born {
            Some(Alone::Away)
        } else {
            (!answers).then_some(Alone::Unanswered)
        };
        if std::mem::replace(&mut self.alone, alone) != alone {
            if let Some(why) = alone {
                tracing::warn!(?why, "the edge annunciates by itself");
            } else {
                tracing::info!("the centre annunciates");
            }
        }
        self.local.centre_is_there(alone.is_none(), elapsed);
        let sounds = alone.is_some() && self.local.sounding().next().is_some();
        let changed = self.sound.send_if_modified(|before| {
            let changes = *before != sounds;
            *before = sounds;
            changes
        });
        let version = self.local.version();
        if sounds && (changed || version != self.sound_told) {
            let alarms: Vec<_> = self.local.sounding().take(ALARMS_TOLD).collect();
            tracing::warn!(?alarms, "alarms are active: annunciate");
            self.sound_told = version;
        } else if changed {
            tracing::info!("local annunciation ends");
        }
        self.status.sounds.store(sounds, Relaxed);
        self.status.alone.store(alone.is_some(), Relaxed);
        self.status.storing_fails.store(self.storing_fails, Relaxed);
    }
}
