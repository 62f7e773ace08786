//! The write-ahead log goes back into the file beside the loop, on a connection and a thread of
//! its own, so that a commit never waits for the copying.
//!
//! - Each time the log has grown by [`Limits::passive_bytes`]: a passive checkpoint, which waits
//!   for nobody. When it has caught up, the next commit starts the log from its beginning.
//! - Under a load without a pause it never quite catches up. Above [`Limits::restart_bytes`] what
//!   is left is copied with the write lock held: the loop waits for that once, some milliseconds.
//! - When nothing has been committed for [`Limits::idle`]: the log is cut to nothing.
//!
//! Limits: a reader that keeps a transaction open (a backup does) keeps the log growing; it is
//! counted in [`Counters::log_bytes`] and goes back when the reader is done. All other readers
//! are done within a batch.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::schema::PAGE_BYTES;
use super::{JournalError, storage};

/// How long a checkpoint waits for the write lock, and holds it while it waits for readers. It is
/// the longest that a reader can hold the loop up through a checkpoint.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How long an append gives way to a restart of the log before it goes on all the same.
const GIVE_WAY_MAX: Duration = Duration::from_secs(1);

const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const RESTART: &str = "PRAGMA wal_checkpoint(RESTART)";
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// How large the write-ahead log may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A checkpoint that waits for nobody, each time the log has grown by this.
    pub passive_bytes: u64,
    /// Above this, one that makes the loop wait.
    pub restart_bytes: u64,
    /// The log is cut to nothing after one to two times this without a commit.
    pub idle: Duration,
}

impl Default for Limits {
    /// 16 MiB is about 0.1 s of the fastest input; 128 MiB are read again within a second at a
    /// start after a crash.
    fn default() -> Self {
        Self {
            passive_bytes: 16 << 20,
            restart_bytes: 128 << 20,
            idle: Duration::from_secs(2),
        }
    }
}

/// What the checkpoints did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes in the log after the last commit.
    pub log_bytes: u64,
    /// Checkpoints that waited for nobody.
    pub passive: u64,
    /// Checkpoints that held the write lock.
    pub restarts: u64,
    /// Times that the log was cut to nothing.
    pub truncates: u64,
    /// Checkpoints that failed; the log then goes on growing, so this is to be alarmed.
    pub failed: u64,
}

/// What the loop's commits and the checkpoints tell each other.
#[derive(Debug, Default)]
struct Shared {
    log_pages: AtomicU64,
    commits: AtomicU64,
    passive: AtomicU64,
    restarts: AtomicU64,
    truncates: AtomicU64,
    failed: AtomicU64,
    ending: AtomicBool,
    /// Set while a restart wants the write lock. Without it a loop that commits without a pause
    /// takes the lock again before a waiting checkpoint has looked.
    is_restarting: Mutex<bool>,
    restarted: Condvar,
}

impl Shared {
    fn set_restarting(&self, is: bool) {
        *self
            .is_restarting
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = is;
        self.restarted.notify_all();
    }
}

/// The thread that does it. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    wake: SyncSender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread and has the writer's commits wake it.
    pub(super) fn start(
        file: &Path,
        writer: &mut Connection,
        limits: Limits,
    ) -> Result<Self, JournalError> {
        let shared = Arc::new(Shared::default());
        let (wake, woken) = sync_channel(1);
        let connection = open(file).map_err(storage("opening the journal for checkpoints"))?;
        let commit = OnCommit {
            shared: Arc::clone(&shared),
            wake: wake.clone(),
            growth: Growth::new(limits.passive_bytes),
        };
        hook(writer, commit).map_err(storage("watching the write-ahead log"))?;
        let round = Round {
            shared: Arc::clone(&shared),
            connection,
            limits,
        };
        let thread = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || round.run(&woken))
            .map_err(|source| JournalError::Folder {
                deed: "starting the checkpoints of",
                path: file.to_path_buf(),
                source,
            })?;
        Ok(Self {
            shared,
            wake,
            thread: Some(thread),
        })
    }

    /// Called before each append: waits while the log is being restarted, within a limit.
    pub(super) fn give_way(&self) {
        let is_restarting = self.shared.is_restarting.lock();
        let is_restarting = is_restarting.unwrap_or_else(PoisonError::into_inner);
        // Whether it is over or took too long, the append goes on: the write lock decides.
        drop(
            self.shared
                .restarted
                .wait_timeout_while(is_restarting, GIVE_WAY_MAX, |is| *is),
        );
    }

    /// What was done so far.
    pub(super) fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            log_bytes: read(&self.shared.log_pages) * PAGE_BYTES,
            passive: read(&self.shared.passive),
            restarts: read(&self.shared.restarts),
            truncates: read(&self.shared.truncates),
            failed: read(&self.shared.failed),
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        // Full means that the thread is about to wake anyway, and then sees the flag.
        let _full_or_woken = self.wake.try_send(());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the journal's checkpoints had panicked");
        }
    }
}

/// Tells when the log has grown by a step since the last time, or since it began anew.
#[derive(Debug)]
struct Growth {
    step_pages: u64,
    told_at: u64,
}

impl Growth {
    fn new(step_bytes: u64) -> Self {
        Self {
            step_pages: (step_bytes / PAGE_BYTES).max(1),
            told_at: 0,
        }
    }

    fn is_due(&mut self, pages: u64) -> bool {
        if pages < self.told_at {
            self.told_at = 0;
        }
        let due = pages - self.told_at >= self.step_pages;
        if due {
            self.told_at = pages;
        }
        due
    }
}

/// What happens on the loop's thread after each commit: two counters and rarely a wake.
struct OnCommit {
    shared: Arc<Shared>,
    wake: SyncSender<()>,
    growth: Growth,
}

fn hook(writer: &mut Connection, mut commit: OnCommit) -> rusqlite::Result<()> {
    writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
        let pages = u64::try_from(pages).unwrap_or(0);
        commit.shared.log_pages.store(pages, Ordering::Relaxed);
        commit.shared.commits.fetch_add(1, Ordering::Relaxed);
        if commit.growth.is_due(pages) {
            // Full means that a checkpoint is due already.
            let _full_or_woken = commit.wake.try_send(());
        }
        Ok(())
    }))
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(WAIT_MAX)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;")?;
    Ok(connection)
}

/// Takes the log of a file that nobody writes any more into it. With nobody else beside it, the log
/// is gone afterwards.
pub fn fold(file: &Path) -> Result<(), JournalError> {
    let failed = storage("taking the log into its file");
    let connection = open(file).map_err(failed)?;
    checkpoint(&connection, TRUNCATE).map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))
}

/// One checkpoint; whether all of the log went back and nobody was in the way.
fn checkpoint(connection: &Connection, pragma: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(pragma)?
        .query_row([], |row| row.get(0))
        .map(|busy: i64| busy == 0)
}

/// The thread's own.
struct Round {
    shared: Arc<Shared>,
    connection: Connection,
    limits: Limits,
}

impl Round {
    fn run(self, woken: &Receiver<()>) {
        let mut commits_seen = 0;
        loop {
            let done = match woken.recv_timeout(self.limits.idle) {
                _ if self.shared.ending.load(Ordering::Acquire) => return,
                Ok(()) => self.give_back(),
                Err(RecvTimeoutError::Timeout) => self.cut_when_idle(&mut commits_seen),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(error) = done {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "a checkpoint of the journal failed; its log goes on growing");
            }
        }
    }

    fn give_back(&self) -> rusqlite::Result<()> {
        checkpoint(&self.connection, PASSIVE)?;
        self.shared.passive.fetch_add(1, Ordering::Relaxed);
        let log_bytes = self.shared.log_pages.load(Ordering::Relaxed) * PAGE_BYTES;
        if log_bytes > self.limits.restart_bytes {
            // Once more, so that little is left to be copied while the loop waits.
            checkpoint(&self.connection, PASSIVE)?;
            self.shared.set_restarting(true);
            let done = checkpoint(&self.connection, RESTART);
            self.shared.set_restarting(false);
            self.shared
                .restarts
                .fetch_add(u64::from(done?), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Cuts the log when no commit has come since the last look.
    fn cut_when_idle(&self, commits_seen: &mut u64) -> rusqlite::Result<()> {
        let commits = self.shared.commits.load(Ordering::Relaxed);
        let is_idle = commits == *commits_seen;
        *commits_seen = commits;
        let pages = self.shared.log_pages.load(Ordering::Relaxed);
        if is_idle
            && pages > 0
            && checkpoint(&self.connection, PASSIVE)?
            && checkpoint(&self.connection, TRUNCATE)?
        {
            self.shared.truncates.fetch_add(1, Ordering::Relaxed);
            // A commit that came meanwhile has written its own figure, which stays.
            let _newer_or_cut = self.shared.log_pages.compare_exchange(
                pages,
                0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Journal, Kind, NewEntry};
    use super::*;
    use davy_core::reading::Timestamp;

    /// So long that the journal's own thread never takes part in a test.
    const NEVER: Duration = Duration::from_hours(1);

    fn open_alone(folder: &Path) -> Journal {
        let limits = Limits {
            idle: NEVER,
            ..Limits::default()
        };
        Journal::open_with(folder, limits).unwrap().0
    }

    fn append(journal: &mut Journal, bytes: usize) {
        let entry = NewEntry {
            now: Timestamp(1),
            kind: Kind::Message,
            input: &vec![7; bytes],
            effects: b"",
        };
        journal.append(&[entry], &[]).unwrap();
    }

    fn round(journal: &Journal, folder: &Path, limits: Limits) -> Round {
        Round {
            shared: Arc::clone(&journal.checkpointer().shared),
            connection: open(&folder.join(super::super::FILE)).unwrap(),
            limits,
        }
    }

    #[test]
    fn a_wake_comes_with_each_step_of_growth_and_again_after_a_new_beginning() {
        let mut growth = Growth::new(10 * PAGE_BYTES);
        assert!(!growth.is_due(9));
        assert!(growth.is_due(10));
        assert!(!growth.is_due(19));
        assert!(growth.is_due(25));
        assert!(!growth.is_due(3));
        assert!(growth.is_due(12));
    }

    #[test]
    fn the_log_begins_anew_after_a_passive_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open_alone(folder.path());
        append(&mut journal, 1 << 20);
        let grown = journal.checkpoints().log_bytes;
        assert!(grown > 1 << 20);
        round(&journal, folder.path(), Limits::default())
            .give_back()
            .unwrap();
        append(&mut journal, 10);
        assert!(journal.checkpoints().log_bytes < grown / 10);
    }

    #[test]
    fn above_the_limit_the_log_is_restarted_and_a_reader_cannot_hold_the_loop_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open_alone(folder.path());
        append(&mut journal, 1 << 20);
        let limits = Limits {
            passive_bytes: 1,
            restart_bytes: 1,
            idle: NEVER,
        };
        let round = round(&journal, folder.path(), limits);
        let reader = super::super::schema::open_reader(&folder.path().join(super::super::FILE));
        let reader = reader.unwrap();
        reader
            .execute_batch("BEGIN; SELECT count(*) FROM entry;")
            .unwrap();
        round.give_back().unwrap();
        assert_eq!(journal.checkpoints().restarts, 0);
        append(&mut journal, 1 << 20);
        reader.execute_batch("COMMIT").unwrap();
        round.give_back().unwrap();
        assert_eq!(journal.checkpoints().restarts, 1);
    }

    #[test]
    fn the_log_is_cut_only_when_nothing_was_committed_between_two_looks() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open_alone(folder.path());
        append(&mut journal, 1 << 20);
        let log = folder.path().join("journal.sqlite-wal");
        let round = round(&journal, folder.path(), Limits::default());
        let mut seen = 0;
        round.cut_when_idle(&mut seen).unwrap();
        assert!(std::fs::metadata(&log).unwrap().len() > 1 << 20);
        round.cut_when_idle(&mut seen).unwrap();
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
        assert_eq!(journal.checkpoints().log_bytes, 0);
        assert_eq!(journal.checkpoints().truncates, 1);
        append(&mut journal, 10);
        assert!(journal.checkpoints().log_bytes > 0);
    }

    #[test]
    fn closing_leaves_one_file_and_no_thread() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open_alone(folder.path());
        append(&mut journal, 1 << 20);
        drop(journal);
        assert!(!folder.path().join("journal.sqlite-wal").exists());
    }
}
