//! The thread of the loop: one turn gathers, decides ([`decide`]), commits and releases
//! ([`release`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use davy_core::config::SourceFile;
use davy_core::reading::Timestamp;
use davy_core::watch::{Input, Watch};
use tokio::sync::{broadcast, mpsc, watch};

use super::shown::shown;
use super::waiting::Waiting;
use super::{
    CentreError, GROUP_BYTES_MAX, GROUP_MAX, Health, Outbound, RETRY_PAUSE, Request, Snapshots,
    Told,
};
use crate::clock::Clock;
use crate::journal::{Journal, JournalError, NewEntry};
use crate::quarantine::Quarantine;

mod decide;
mod release;

use decide::CLOCK_ALARM;
pub(super) use decide::{Group, is_off};

/// Says that the loop has ended, also when it panicked.
struct Ends(Arc<Health>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

pub(super) struct Loop {
    pub(super) watch: Watch,
    pub(super) journal: Journal,
    pub(super) quarantine: Quarantine,
    pub(super) clock: Arc<Clock>,
    pub(super) live: broadcast::Sender<Arc<Told>>,
    pub(super) committed: watch::Sender<u64>,
    pub(super) full: watch::Sender<bool>,
    pub(super) outbound: mpsc::Sender<Outbound>,
    pub(super) health: Arc<Health>,
    pub(super) group: Group,
    pub(super) snapshots: Snapshots,
    /// When the loop last asked for the time.
    pub(super) looked_at: Timestamp,
    /// The alarm about the host's clock stands.
    pub(super) clock_told: bool,
}

impl Loop {
    /// The first group: the start, and the configuration if it is another one.
    pub(super) fn begin(
        &mut self,
        files: Vec<SourceFile>,
        accepted: Option<Input>,
    ) -> Result<(), CentreError> {
        if self.watch.files() != files {
            davy_core::config::check(&files).map_err(CentreError::Config)?;
        }
        let mut alarms = self.watch.engine().alarms();
        self.clock_told = alarms.any(|view| view.name == CLOCK_ALARM && view.axes.active);
        drop(alarms);
        let has_accepted = accepted.is_some();
        if let Some(accepted) = accepted {
            self.decide(&accepted);
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.decide(&Input::Started { version });
        if self.watch.files() != files {
            let by = "start".to_owned();
            self.decide(&Input::Config { files, by });
        }
        match self.commit() {
            Ok(()) => self.release(),
            Err(error) if error.is_no_room() => {
                tracing::error!(%error, "starting all the same: it is tried again, and said so");
                self.set_full(true);
            }
            Err(error) => return Err(error.into()),
        }
        if has_accepted {
            // The next start begins here, and not before what differs.
            self.snapshots.hurry();
        }
        Ok(())
    }

    pub(super) fn run(mut self, mut waiting: Waiting) {
        let _ends = Ends(Arc::clone(&self.health));
        let mut gathered = Vec::with_capacity(GROUP_MAX);
        while !self.group.stop {
            waiting.gather(self.wait(), &mut gathered);
            for request in gathered.drain(..) {
                self.take(request);
                if self.group.bytes >= GROUP_BYTES_MAX && !self.commit_and_release(&mut waiting) {
                    return;
                }
            }
            self.tick();
            if !self.commit_and_release(&mut waiting) {
                break;
            }
            waiting.answer(&self.watch);
            self.snapshots
                .turn(self.looked_at, &self.watch, &mut self.journal);
        }
        if self.group.entries.is_empty() {
            self.snapshots.end(&self.watch, &mut self.journal);
        }
    }

    /// How long until the next deadline.
    fn wait(&self) -> Duration {
        self.watch.next_deadline().map_or(RETRY_PAUSE, |at| {
            let ms = at.ms_since(self.clock.now()).max(0);
            Duration::from_millis(ms.cast_unsigned()).min(RETRY_PAUSE)
        })
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Message { topic, payload } => self.message(topic, payload),
            Request::Command { input, answer } => {
                let place = self.decide(&input);
                let given = self.answer(place);
                self.group.answers.push((answer, given));
            }
            Request::Own(input) => {
                self.decide(&input);
            }
            Request::Prune {
                before,
                not_after,
                answer,
            } => self.group.prunes.push((before, not_after, answer)),
            Request::Stop => self.group.stop = true,
        }
    }

    /// Commits, waiting for room as long as it takes. `false` when the journal cannot go on.
    fn commit_and_release(&mut self, waiting: &mut Waiting) -> bool {
        if let Err(error) = self.commit()
            && !self.wait_for_room(error, waiting)
        {
            return false;
        }
        self.health.journal_gone.store(false, Ordering::Release);
        self.set_full(false);
        self.release();
        true
    }

    pub(super) fn set_full(&self, full: bool) {
        self.health.no_room.store(full, Ordering::Release);
        self.full
            .send_if_modified(|was| std::mem::replace(was, full) != full);
    }

    pub(super) fn commit(&mut self) -> Result<(), JournalError> {
        if self.group.entries.is_empty() {
            return self.journal.check_place();
        }
        let entries: Vec<NewEntry<'_>> = (self.group.entries.iter())
            .map(|decided| NewEntry {
                now: decided.now,
                kind: decided.kind,
                input: &decided.input,
                effects: &decided.told,
            })
            .collect();
        let effects = (self.group.entries.iter()).map(|decided| &*decided.effects);
        let projections = shown(effects);
        #[cfg(test)]
        if self.health.test_full.load(Ordering::Acquire) {
            return Err(super::tests::no_room());
        }
        self.journal.append(&entries, &projections)?;
        debug_assert_eq!(self.journal.last_number(), self.watch.number());
        let health = &self.health;
        health.groups.fetch_add(1, Ordering::Relaxed);
        let log = self.journal.checkpoints();
        health.log_bytes.store(log.log_bytes, Ordering::Relaxed);
        health
            .checkpoints_failed
            .store(log.failed, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
