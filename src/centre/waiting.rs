//! What waits for the loop, and how questions are answered while nothing can be committed.
//!
//! Questions come by a queue of their own: while the loop waits for room on the disk it takes no
//! request, but a control room goes on asking. What the loop has decided is then ahead of what is
//! kept, so it may not be shown. The state last committed is brought up beside it in the one way
//! there is, out of the journal, which needs no room to be read: as long and as much memory as a
//! restart takes, and only when somebody asks.
//!
//! Invariants: a question sees committed state only, and everything that the one who asks sent
//! before it, but for what a full queue holds beyond [`GROUP_MAX`].

use std::cell::OnceCell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use davy_core::watch::Watch;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::resume::resume;
use super::turn::Loop;
use super::{Accepted, CentreError, GROUP_MAX, QUESTIONS_MAX, Question, RETRY_PAUSE, Request};
use crate::journal::{Journal, JournalError, Snapshot};

/// What waits for the loop.
pub(super) struct Waiting {
    pub(super) runtime: Handle,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) questions: mpsc::Receiver<Question>,
    /// Questions that were taken and not yet answered.
    pub(super) asked: Vec<Question>,
}

impl Waiting {
    /// Waits for requests and questions, not longer than `wait`, and takes all that are there.
    pub(super) fn gather(&mut self, wait: Duration, gathered: &mut Vec<Request>) {
        let Self {
            requests,
            questions,
            asked,
            ..
        } = self;
        let received = async {
            tokio::select! {
                received = requests.recv_many(gathered, GROUP_MAX) => if received == 0 {
                    gathered.push(Request::Stop);
                },
                Some(question) = questions.recv() => asked.push(question),
            }
        };
        // That nothing came is no fault.
        drop(
            self.runtime
                .block_on(async { tokio::time::timeout(wait, received).await }),
        );
        // Questions first: whatever was sent before one is there by now.
        while asked.len() < QUESTIONS_MAX
            && let Ok(question) = questions.try_recv()
        {
            asked.push(question);
        }
        while gathered.len() < GROUP_MAX
            && let Ok(request) = requests.try_recv()
        {
            gathered.push(request);
        }
    }

    /// Answers what was asked.
    pub(super) fn answer(&mut self, watch: &Watch) {
        for question in self.asked.drain(..) {
            question(watch);
        }
    }

    /// Passes the time, and answers out of `state` what is asked meanwhile. Where there is none,
    /// whoever asks is told that there is no room.
    fn pass<'w>(&mut self, time: Duration, state: impl Fn() -> Option<&'w Watch>) {
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            let pause = tokio::time::sleep(time);
            tokio::pin!(pause);
            loop {
                if !self.asked.is_empty() {
                    match state() {
                        Some(watch) => self.answer(watch),
                        None => self.asked.clear(),
                    }
                }
                tokio::select! {
                    () = &mut pause => return,
                    Some(question) = self.questions.recv() => self.asked.push(question),
                }
            }
        });
    }
}

impl Loop {
    /// Tries again until the journal takes the group, as long as it takes. `false` when the journal
    /// cannot go on, or the loop is to end.
    pub(super) fn wait_for_room(&mut self, mut error: JournalError, waiting: &mut Waiting) -> bool {
        let committed = OnceCell::new();
        loop {
            if !error.may_pass() {
                tracing::error!(%error, "the journal cannot go on; the centre stops");
                return false;
            }
            tracing::error!(%error, "nothing can be committed; trying again");
            let is_gone = matches!(error, JournalError::Gone { .. });
            self.health.journal_gone.store(is_gone, Ordering::Release);
            self.set_full(true);
            if self.health.stopping.load(Ordering::Acquire) {
                tracing::error!("stopping without what could not be committed");
                return false;
            }
            waiting.pass(RETRY_PAUSE, || {
                let state = committed.get_or_init(|| self.last_committed());
                state.as_ref()
            });
            match self.commit() {
                Ok(()) => return true,
                Err(again) => error = again,
            }
        }
    }

    /// The state as it was last committed, out of the journal; none when nothing ever was, or when
    /// it cannot be read.
    fn last_committed(&self) -> Option<Watch> {
        if self.journal.last_number() == 0 {
            return None;
        }
        // What a person has accepted at this start holds here too.
        let accepted = Accepted {
            replay: true,
            clock: false,
        };
        let snapshot = newest_snapshot(&self.journal).map_err(CentreError::from);
        match snapshot.and_then(|snapshot| resume(&self.journal, snapshot, accepted)) {
            Ok((watch, _)) => Some(watch),
            Err(error) => {
                tracing::error!(%error, "nothing is shown until there is room");
                None
            }
        }
    }
}

fn newest_snapshot(journal: &Journal) -> Result<Option<Snapshot>, JournalError> {
    let reader = journal.reader()?;
    let mut newest = reader.snapshot(0)?;
    while let Some(snapshot) = &newest
        && let Some(newer) = reader.snapshot(snapshot.number + 1)?
    {
        newest = Some(newer);
    }
    Ok(newest)
}
