//! The loop: gather, decide, commit, release.
//!
//! One thread takes everything that waits (messages, commands, questions), decides it in the pure
//! core, commits the inputs with all that followed in one transaction, and only then tells anyone.
//! The group grows with the disk's latency, so throughput looks after itself.
//!
//! # Invariants
//!
//! - Nothing is told before it is kept: the live stream, answers, "committed" and questions all
//!   come after the commit of the group that they saw.
//! - When the disk is full the group is kept and tried again; meanwhile nothing new is told, the
//!   queue fills, and the gateways keep their messages. Questions are answered with the state last
//!   committed.
//! - Time never goes back in the journal, and does not leap with a host's clock that is wrong
//!   ([`crate::clock`]): the alarm `centre.host_clock` stands while the two differ.
//!
//! Limits: [`QUEUE_MAX`] requests and [`QUESTIONS_MAX`] questions wait, a group takes [`GROUP_MAX`] of them or [`GROUP_BYTES_MAX`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use davy_core::alarm::Refusal;
use davy_core::config::SourceFile;
use davy_core::hazard::Refused;
use davy_core::reading::Timestamp;
use davy_core::sparkplug::RunRanges;
use davy_core::watch::{Input, Watch};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::journal::{Journal, JournalError, Pruned};
use crate::quarantine::Quarantine;

mod resume;
mod shown;
mod snapshots;
mod turn;
mod waiting;

pub use resume::Accepted;
use snapshots::Snapshots;
pub(crate) use snapshots::{restore, unpack};
use turn::{Group, Loop};
use waiting::Waiting;

/// Requests that may wait for the loop; whoever sends more waits too.
pub const QUEUE_MAX: usize = 8_192;

/// Questions that may wait for the loop; whoever asks more waits too.
pub const QUESTIONS_MAX: usize = 256;

/// Requests of one group.
pub const GROUP_MAX: usize = 4_096;

/// Payload bytes of one group: what a disk takes in some tens of milliseconds.
pub const GROUP_BYTES_MAX: usize = 4 << 20;

/// Groups that a slow listener of the live stream may fall behind before it must read the journal.
const LIVE_MAX: usize = 1_024;

/// How long to wait before a failed commit is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A question about what is committed.
pub type Question = Box<dyn FnOnce(&Watch) + Send>;

/// What the loop is asked.
pub enum Request {
    /// A message of MQTT.
    Message {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// A command: an alarm's, the ledger's, a configuration.
    Command {
        /// The input.
        input: Input,
        /// Where the answer goes, after the commit.
        answer: oneshot::Sender<Answer>,
    },
    /// Something about the centre itself, which nobody waits for.
    Own(Input),
    /// Take old messages out of the journal: one bounded step.
    Prune {
        /// Those judged before this.
        before: Timestamp,
        /// Up to this entry.
        not_after: u64,
        /// What was done; none when the journal could not.
        answer: oneshot::Sender<Option<Pruned>>,
    },
    /// Finish what waits and end.
    Stop,
}

/// The answer to a command, after its commit.
#[derive(Debug)]
pub enum Answer {
    /// Done; the number of its entry.
    Done(u64),
    /// Refused, journaled, nothing changed.
    RefusedAlarm(Refusal),
    /// Refused by a guard of the ledger, journaled, nothing changed.
    RefusedHazard(Refused),
    /// A configuration with faults.
    RefusedConfig(Vec<davy_core::config::Fault>),
}

/// A committed entry from which something followed.
#[derive(Debug)]
pub struct Told {
    /// Number of the entry.
    pub number: u64,
    /// When it was judged.
    pub now: Timestamp,
    /// JSON array of its effects.
    pub effects: Vec<u8>,
}

/// What goes out to gateways after a commit.
#[derive(Debug, PartialEq, Eq)]
pub enum Outbound {
    /// What a gateway may free.
    Committed {
        /// Which gateway.
        gateway: String,
        /// What has been committed of each of its runs.
        runs: Vec<RunRanges>,
        /// The outbox that these are numbers of.
        instance: String,
    },
    /// What a gateway is to send again.
    Resend {
        /// Which gateway.
        gateway: String,
        /// What is missing of its runs.
        runs: Vec<RunRanges>,
        /// The outbox that these are numbers of.
        instance: String,
    },
    /// A gateway is to send its births.
    Rebirth {
        /// Which gateway.
        gateway: String,
    },
}

/// What others may see of the loop without asking it.
#[derive(Debug, Default)]
pub struct Health {
    /// Number of the last committed entry.
    pub number: AtomicU64,
    /// When the loop last committed or found nothing to do; before that, when the last entry was
    /// judged.
    pub alive_at_ms: AtomicI64,
    /// The disk refuses commits.
    pub no_room: AtomicBool,
    /// It does so because the journal's file was removed or replaced ([`JournalError::Gone`]).
    pub journal_gone: AtomicBool,
    /// The loop has ended, wanted or not.
    pub ended: AtomicBool,
    /// The loop is to end, even if it cannot commit.
    pub stopping: AtomicBool,
    /// Makes every commit fail as on a full disk.
    #[cfg(test)]
    pub(crate) test_full: AtomicBool,
    /// Makes messages of this sequence number crash the loop.
    #[cfg(test)]
    pub(crate) test_crash: AtomicU64,
    /// Messages taken.
    pub messages: AtomicU64,
    /// Messages of no gateway of this site: dropped, not journaled.
    pub foreign: AtomicU64,
    /// Messages that had come before.
    pub duplicates: AtomicU64,
    /// Groups committed.
    pub groups: AtomicU64,
    /// Bytes in the journal's write-ahead log after the last commit.
    pub log_bytes: AtomicU64,
    /// Checkpoints of the journal that failed; its log then goes on growing.
    pub checkpoints_failed: AtomicU64,
    /// Messages whose bytes were taken out of the journal since the start.
    pub pruned_inputs: AtomicU64,
    /// Answers to gateways that found their queue full. The next "committed" says the same and
    /// more; a gap that stands is asked for again after 10 s; births are asked for again by data
    /// that only they explain, 10 s later at the earliest. Births that were wanted since a message
    /// was skipped, and that no data needs, are asked for at the next one skipped.
    pub outbound_dropped: AtomicU64,
    /// Messages that crashed the process and had to go from the quarantine's list.
    pub quarantine_forgotten: AtomicU64,
}

/// Why the centre did not start.
#[derive(Debug, Error)]
pub enum CentreError {
    /// The journal.
    #[error("opening the journal: {0}")]
    Journal(#[from] JournalError),
    /// An entry of it cannot be judged again, or comes to something else.
    #[error(
        "replaying entry {number} of the journal: {cause}; allowed is what the journal holds, byte \
         for byte. Start the version of davy that wrote it, or restore a backup. Or go on with what \
         this version makes of the journal: `--accept-replay` (it is journaled)"
    )]
    Replay {
        /// Which entry.
        number: u64,
        /// What is wrong with it.
        cause: String,
    },
    /// The configuration has faults.
    #[error("the configuration has {}", davy_core::config::fault::count(.0))]
    Config(Vec<davy_core::config::Fault>),
    /// The list of messages that crashed the process.
    #[error("reading the quarantine in `{}`: {cause}", folder.display())]
    Quarantine {
        /// The data folder.
        folder: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The thread of the loop.
    #[error("starting the loop: {0}")]
    Thread(std::io::Error),
}

/// The running loop, as others hold it.
#[derive(Clone)]
pub struct Centre {
    requests: mpsc::Sender<Request>,
    questions: mpsc::Sender<Question>,
    live: broadcast::Sender<Arc<Told>>,
    committed: watch::Receiver<u64>,
    full: watch::Receiver<bool>,
    health: Arc<Health>,
    pub(crate) clock: Arc<Clock>,
}

/// The loop has ended: nothing can be asked of it any more.
#[derive(Debug, Error)]
#[error("the centre's loop has ended")]
pub struct Ended;

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum Unanswered {
    /// There is nobody to answer it.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// Nothing can be committed, and what last was cannot be read.
    #[error("nothing can be committed, and there is no earlier state to answer from")]
    NoRoom,
    /// It broke while it was answered. The loop goes on.
    #[error("the question broke while it was answered; the log says where")]
    Broken,
}

impl Centre {
    /// Opens the journal in `folder`, goes on where it ended, brings `files` into force, and
    /// starts the loop. What goes out to gateways is sent to `outbound`.
    pub fn start(
        folder: &Path,
        files: Vec<SourceFile>,
        accepted: Accepted,
        outbound: mpsc::Sender<Outbound>,
    ) -> Result<(Self, std::thread::JoinHandle<()>), CentreError> {
        let (journal, opened) = Journal::open(folder)?;
        let quarantine = Quarantine::open(folder).map_err(|cause| CentreError::Quarantine {
            folder: folder.to_path_buf(),
            cause,
        })?;
        let (watch, replayed) = resume::resume(&journal, opened.snapshot, accepted)?;
        let end = watch.now();
        let clock = Arc::new(if accepted.clock || end == Timestamp::MIN {
            Clock::new(end)
        } else {
            Clock::after(end)
        });
        let (requests, taken) = mpsc::channel(QUEUE_MAX);
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let (live, _) = broadcast::channel(LIVE_MAX);
        let (committed, following) = watch::channel(journal.last_number());
        let (full, fullness) = watch::channel(false);
        let health = Arc::new(Health {
            quarantine_forgotten: quarantine.forgotten().into(),
            alive_at_ms: end.0.max(0).into(),
            ..Health::default()
        });
        #[cfg(test)]
        health.test_full.store(
            tests::TEST_FULL_AT_START.with(std::cell::Cell::get),
            Ordering::Release,
        );
        let mut run = Loop {
            snapshots: Snapshots::after(watch.number()),
            watch,
            journal,
            quarantine,
            clock: Arc::clone(&clock),
            live: live.clone(),
            committed,
            full,
            outbound,
            health: Arc::clone(&health),
            looked_at: clock.now(),
            group: Group::default(),
            clock_told: false,
        };
        run.begin(files, replayed)?;
        let waiting = Waiting {
            runtime: Handle::current(),
            requests: taken,
            questions: asked,
            asked: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("centre".into())
            .spawn(move || run.run(waiting))
            .map_err(CentreError::Thread)?;
        let centre = Self {
            requests,
            questions,
            live,
            committed: following,
            full: fullness,
            health,
            clock,
        };
        Ok((centre, thread))
    }

    /// Hands a message over; waits while the queue is full.
    pub async fn message(&self, topic: String, payload: Vec<u8>) -> Result<(), Ended> {
        let request = Request::Message { topic, payload };
        self.requests.send(request).await.map_err(|_| Ended)
    }

    /// Gives a command and waits for its commit.
    pub async fn command(&self, input: Input) -> Result<Answer, Ended> {
        let (answer, given) = oneshot::channel();
        let request = Request::Command { input, answer };
        self.requests.send(request).await.map_err(|_| Ended)?;
        given.await.map_err(|_| Ended)
    }

    /// Says whether there is a connection to the broker.
    pub async fn broker(&self, connected: bool) -> Result<(), Ended> {
        let request = Request::Own(Input::Broker { connected });
        self.requests.send(request).await.map_err(|_| Ended)
    }

    /// Asks about what is committed; while the disk is full, about what last was. The question runs
    /// on the loop's thread, and every reading waits for it: it takes out what only the loop knows,
    /// and the answer is made outside.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Watch) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let (answer, given) = oneshot::channel();
        let ask: Question = Box::new(move |watch| {
            // It only reads: when it breaks, what is decided is as sound as before.
            let said = catch_unwind(AssertUnwindSafe(|| question(watch)));
            // Whoever asked may have gone away.
            drop(answer.send(said));
        });
        self.questions.send(ask).await.map_err(|_| Ended)?;
        let Ok(said) = given.await else {
            let ended = self.health.ended.load(Ordering::Acquire);
            return Err(if ended {
                Ended.into()
            } else {
                Unanswered::NoRoom
            });
        };
        said.map_err(|_| {
            tracing::error!("a question broke; the panic before this line says where");
            Unanswered::Broken
        })
    }

    /// Takes the bytes of old messages out of the journal, as [`Journal::prune_inputs`]: one
    /// bounded step, after a commit. `None` when the journal could not; it is in the log.
    pub async fn prune(&self, before: Timestamp, not_after: u64) -> Result<Option<Pruned>, Ended> {
        let (answer, given) = oneshot::channel();
        let request = Request::Prune {
            before,
            not_after,
            answer,
        };
        self.requests.send(request).await.map_err(|_| Ended)?;
        given.await.map_err(|_| Ended)
    }

    /// Follows what is committed from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Told>> {
        self.live.subscribe()
    }

    /// The number of the last committed entry, as it grows: what sinks wait for.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// Whether the disk refuses commits, as it changes. While it does, no command is answered, and
    /// questions are with the state last committed.
    pub fn full(&self) -> watch::Receiver<bool> {
        self.full.clone()
    }

    /// What can be seen without asking.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The centre's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether the host's clock differs so far from the site's time that one of them is wrong.
    pub fn is_clock_off(&self) -> bool {
        turn::is_off(self.clock.off_ms())
    }

    /// Lets the loop finish what waits, and end. What a full disk refuses to take is given up: it
    /// was told to nobody, and the gateways still have it.
    pub async fn stop(&self) {
        self.health.stopping.store(true, Ordering::Release);
        // An error means that it has ended already.
        drop(self.requests.send(Request::Stop).await);
    }
}

#[cfg(test)]
pub(crate) mod tests;
