//! Following the journal: read on, decode, hand to a sink, commit the cursor.
//!
//! One thread follows for one sink, with a reader of the journal of its own, so that no sink can
//! hold the loop or another sink up.
//!
//! Invariants
//! - A cursor moves only after the sink has stored (or been told "stored" of) everything up to it.
//! - What the sink could not store is kept and tried again until it is stored or the centre stops;
//!   nothing is read from the journal meanwhile. The journal keeps the rest.
//! - After a crash the entries after the cursor are followed again. Sinks take a reading a second
//!   time without harm: of one tag and time the last one stands.
//!
//! Limits: a batch is bounded by [`ROWS_MAX`] entries and by the sink ([`Sink::batch_bytes`],
//! [`Sink::is_full`]); waits by [`Pauses`].

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use davy_core::config::Config;
use davy_core::reading::{Lane, Reading, Timestamp};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::decode::{Decoder, Followed};
use crate::journal::{JournalError, Reader};

/// Entries of one batch.
const ROWS_MAX: usize = 1_000;

/// What takes readings and keeps a cursor with them.
pub(super) trait Sink {
    /// Payload bytes of the journal that one batch may read, so that what a sink makes of them
    /// stays in bounds.
    fn batch_bytes(&self) -> usize;

    /// How long to gather what comes in before the next batch, once all has been followed.
    fn gather(&self) -> Duration;

    /// The journal number up to which everything is stored.
    fn cursor(&self) -> u64;

    /// The journal number up to which a loss of power takes nothing.
    fn durable(&self) -> u64;

    /// What was last given to [`Sink::commit`] as the state.
    fn state(&self) -> Result<Option<Vec<u8>>, SinkError>;

    /// Another configuration: points have other numbers from here on.
    fn configure(&mut self, config: &Config);

    /// Takes a reading of the configuration that was last given, to be stored by the next commit.
    fn take(&mut self, config: &Config, reading: &Reading, lane: Lane);

    /// Whether a commit is needed before anything more is taken.
    fn is_full(&self) -> bool;

    /// Stores what was taken, and that the journal is followed up to `cursor`. After an error it
    /// is called again with the same, and goes on where it failed. What it waits for runs on
    /// `runtime`.
    fn commit(
        &mut self,
        cursor: u64,
        state: Option<&[u8]>,
        runtime: &Runtime,
    ) -> Result<(), SinkError>;

    /// Whether its file has shown to be damaged, so that it is to begin anew with another.
    fn is_damaged(&self) -> bool {
        false
    }

    /// Readings that could not be stored and were put aside.
    fn refused(&self) -> u64;

    /// The journal has come to `now` and readings have too: lets go of what is kept long enough, in
    /// a bounded step.
    fn prune(&mut self, _now: Timestamp) -> Result<(), SinkError> {
        Ok(())
    }

    /// The centre stops: nothing is taken after this.
    fn close(&mut self) {}
}

/// Who can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It passes by itself: no connection, no answer, too much at once.
    Passing,
    /// A person must act: not allowed in, no such place, a full disk.
    Person,
    /// The centre stops.
    Stopping,
}

/// Why a sink did not store.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct SinkError {
    /// Who can help.
    pub(super) cause: Cause,
    /// What happened.
    pub(super) what: String,
}

impl From<JournalError> for SinkError {
    fn from(error: JournalError) -> Self {
        let cause = match error {
            JournalError::Broken(_) | JournalError::Damaged { .. } => Cause::Person,
            _ => Cause::Passing,
        };
        let what = error.to_string();
        Self { cause, what }
    }
}

/// How long to wait before the same is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pauses {
    /// After the first failure that passes by itself; doubled with each further one.
    pub(super) first: Duration,
    /// Never longer than this.
    pub(super) longest: Duration,
    /// When a person must act.
    pub(super) person: Duration,
}

impl Default for Pauses {
    /// A server that is back is written to within half a minute; one that is away is asked twice a
    /// minute.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            person: Duration::from_secs(30),
        }
    }
}

impl Pauses {
    /// The pause after `failures` in a row. `chance` takes up to half of it away, so that many
    /// centres do not come back to one server at the same moment.
    pub(super) fn after(&self, cause: Cause, failures: u32, chance: u64) -> Duration {
        let whole = match cause {
            Cause::Passing => {
                let doubled = 1_u32 << failures.saturating_sub(1).min(20);
                self.first.saturating_mul(doubled).min(self.longest)
            }
            Cause::Person => self.person,
            Cause::Stopping => Duration::ZERO,
        };
        let parts = u32::try_from(chance % 1_024).unwrap_or(0);
        whole.saturating_sub(whole / 2 * parts / 1_024)
    }
}

/// What others may see of a follower.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) cursor: AtomicU64,
    pub(super) durable: AtomicU64,
    /// When the entry at the cursor was judged.
    pub(super) through_ms: AtomicI64,
    pub(super) readings: AtomicU64,
    /// The newest time of a reading since the start, by the gateways' clocks.
    pub(super) newest_ms: AtomicI64,
    pub(super) failures: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) pruned: AtomicU64,
    pub(super) unreadable: AtomicU64,
    pub(super) ended: AtomicBool,
    /// Why it does not get on at the moment, and who can help.
    pub(super) trouble: Mutex<Option<(Cause, String)>>,
    pub(super) set_aside: AtomicU64,
    /// What is to be told of the last time.
    anew: Mutex<Option<String>>,
}

impl Progress {
    /// Its file was set aside; why is told once.
    pub(super) fn begins_anew(&self, told: String) {
        // First of all: what it must follow again may not be pruned.
        self.durable.store(0, Ordering::Release);
        self.cursor.store(0, Ordering::Release);
        self.set_aside.fetch_add(1, Ordering::Release);
        *self.anew.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }

    pub(super) fn take_anew(&self) -> Option<String> {
        let mut anew = self.anew.lock().unwrap_or_else(PoisonError::into_inner);
        anew.take()
    }

    /// Says that the follower has ended when what is returned is dropped, however that comes.
    pub(super) fn ends(self: &Arc<Self>) -> impl Drop + use<> {
        Ended(Arc::clone(self))
    }

    fn set_trouble(&self, trouble: Option<(Cause, String)>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Failures in a row, of which each cause is told, and the end.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failures: u32,
    told: Option<String>,
}

impl Trouble {
    /// One more failure; whether it is another one than was told last.
    pub(super) fn failed(&mut self, what: &str) -> bool {
        self.failures = self.failures.saturating_add(1);
        let is_new = self.told.as_deref() != Some(what);
        if is_new {
            self.told = Some(what.to_owned());
        }
        is_new
    }

    /// It works; after how many failures, if there were any.
    pub(super) fn ended(&mut self) -> Option<u32> {
        let failures = std::mem::take(self).failures;
        (failures > 0).then_some(failures)
    }
}

/// What one step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more.
    More,
    /// Everything there was has been followed.
    CaughtUp,
}

/// Follows the journal for one sink.
pub(super) struct Follower<S> {
    name: &'static str,
    sink: S,
    reader: Reader,
    decoder: Decoder,
    /// The last entry that was decoded.
    number: u64,
    progress: Arc<Progress>,
    pauses: Pauses,
    trouble: Trouble,
    stop: CancellationToken,
    runtime: Runtime,
}

impl<S: Sink> Follower<S> {
    /// Goes on from the sink's cursor, which is none after the journal's end.
    pub(super) fn new(
        name: &'static str,
        mut sink: S,
        reader: Reader,
        progress: Arc<Progress>,
        pauses: Pauses,
        stop: CancellationToken,
        runtime: Runtime,
    ) -> Result<Self, SinkError> {
        let cursor = sink.cursor();
        let state = sink.state()?;
        let (decoder, number) = Decoder::resume(&reader, cursor, state.as_deref())?;
        sink.configure(decoder.config());
        progress.cursor.store(cursor, Ordering::Release);
        let at_cursor = reader.read_on(cursor.saturating_sub(1), 1, 1)?;
        let through = at_cursor.first().map_or(0, |entry| entry.now.0);
        progress.through_ms.store(through, Ordering::Release);
        progress.durable.store(sink.durable(), Ordering::Release);
        Ok(Self {
            name,
            sink,
            reader,
            decoder,
            number,
            progress,
            pauses,
            trouble: Trouble::default(),
            stop,
            runtime,
        })
    }

    /// Follows until the centre stops, or until the sink's file shows to be damaged: then `true`.
    /// `committed` is the last number of the journal.
    pub(super) fn run(mut self, committed: &mut watch::Receiver<u64>) -> bool {
        while !self.stop.is_cancelled() {
            if self.sink.is_damaged() {
                return true;
            }
            match self.step() {
                Ok(step) => {
                    self.works();
                    if step == Step::CaughtUp {
                        self.wait_for_more(committed);
                    }
                }
                Err(_) if self.sink.is_damaged() => {}
                // The sink's own failures are waited for inside: this one is the journal's.
                Err(error) => self.pause(&error),
            }
        }
        self.sink.close();
        false
    }

    /// Reads on once, and has the sink store it.
    pub(super) fn step(&mut self) -> Result<Step, SinkError> {
        let bytes = self.sink.batch_bytes();
        let entries = self.reader.read_on(self.number, bytes, ROWS_MAX)?;
        let Some(last) = entries.last().map(|entry| (entry.number, entry.now)) else {
            return Ok(Step::CaughtUp);
        };
        for entry in &entries {
            if entry.is_pruned() {
                self.pass_over()?;
                return Ok(Step::More);
            }
            if self.decoder.follow(entry) == Followed::Configured {
                self.sink.configure(self.decoder.config());
            }
            let taken = std::mem::take(&mut self.decoder.taken);
            for (lane, readings) in taken.lanes() {
                for reading in readings {
                    if self.sink.is_full() {
                        // The cursor stays: these readings are followed again after a crash.
                        self.commit(self.sink.cursor(), None)?;
                    }
                    self.sink.take(self.decoder.config(), reading, lane);
                }
            }
            let newest = taken.lanes().into_iter().flat_map(|(_, readings)| readings);
            let newest = newest.map(|reading| reading.sampled_at.0).max();
            let newest_ms = &self.progress.newest_ms;
            newest_ms.fetch_max(newest.unwrap_or(0), Ordering::AcqRel);
            let count = taken.readings() as u64;
            self.progress.readings.fetch_add(count, Ordering::Relaxed);
            self.decoder.taken = taken;
            self.number = entry.number;
        }
        let state = self.decoder.changed_state();
        self.commit(last.0, state.as_deref())?;
        self.progress.through_ms.store(last.1.0, Ordering::Release);
        let newest = Timestamp(self.progress.newest_ms.load(Ordering::Acquire));
        if let Err(error) = self.sink.prune(last.1.min(newest)) {
            // Nothing is lost by it: it is tried again after the next batch.
            tracing::warn!(sink = self.name, %error, "nothing is pruned");
        }
        Ok(Step::More)
    }

    /// Goes on behind messages that were pruned while this sink was away.
    fn pass_over(&mut self) -> Result<(), SinkError> {
        let state = self.decoder.changed_state();
        self.commit(self.number, state.as_deref())?;
        let passed = self.decoder.pruned;
        (self.decoder, self.number) = Decoder::resume(&self.reader, self.number, None)?;
        self.decoder.pruned += passed;
        self.sink.configure(self.decoder.config());
        let state = self.decoder.changed_state();
        self.commit(self.number, state.as_deref())
    }

    /// Has the sink store, again and again until it has; an error only when the centre stops, or
    /// when the sink's file is damaged.
    fn commit(&mut self, cursor: u64, state: Option<&[u8]>) -> Result<(), SinkError> {
        loop {
            let done = self.sink.commit(cursor, state, &self.runtime);
            let seen = &self.progress;
            seen.refused.store(self.sink.refused(), Ordering::Release);
            seen.pruned.store(self.decoder.pruned, Ordering::Release);
            seen.unreadable
                .store(self.decoder.unreadable, Ordering::Release);
            match done {
                Ok(()) => break,
                Err(error) if self.sink.is_damaged() => return Err(error),
                Err(error) => self.pause(&error),
            }
            if self.stop.is_cancelled() {
                let (cause, what) = (Cause::Stopping, "the centre stops".to_owned());
                return Err(SinkError { cause, what });
            }
        }
        let seen = &self.progress;
        seen.cursor.store(self.sink.cursor(), Ordering::Release);
        seen.durable.store(self.sink.durable(), Ordering::Release);
        self.works();
        Ok(())
    }

    /// Says that it gets on again, if it did not.
    fn works(&mut self) {
        if let Some(failures) = self.trouble.ended() {
            tracing::warn!(sink = self.name, failures, "stores again");
            self.progress.set_trouble(None);
        }
    }

    fn pause(&mut self, error: &SinkError) {
        let (sink, what) = (self.name, &error.what);
        if error.cause == Cause::Stopping {
            return;
        }
        let seen = self.progress.failures.fetch_add(1, Ordering::Relaxed);
        if self.trouble.failed(what) {
            if error.cause == Cause::Person {
                tracing::error!(
                    sink,
                    error = what,
                    "not stored: a person must act; trying on"
                );
            } else {
                tracing::warn!(sink, error = what, "not stored; trying again");
            }
        }
        let trouble = (error.cause, what.clone());
        self.progress.set_trouble(Some(trouble));
        let failures = self.trouble.failures;
        let pause = self.pauses.after(error.cause, failures, chance(seen));
        let stop = &self.stop;
        // An elapsed time is what is waited for.
        drop(
            self.runtime
                .block_on(async { tokio::time::timeout(pause, stop.cancelled()).await }),
        );
    }

    /// Waits for an entry after the last one, and then a little for more of them.
    fn wait_for_more(&mut self, committed: &mut watch::Receiver<u64>) {
        let (stop, number, gather) = (&self.stop, self.number, self.sink.gather());
        self.runtime.block_on(async {
            let more = async {
                if committed.wait_for(|last| *last > number).await.is_err() {
                    // The loop has ended; what it committed last has been followed.
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(gather).await;
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = more => {}
            }
        });
    }
}

/// Says that a follower has ended, however it did.
struct Ended(Arc<Progress>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

/// A number that differs from centre to centre and from one failure to the next.
fn chance(failure: u64) -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(failure)
}

/// Milliseconds between the entry at a cursor and `now`, 0 when nothing waits.
pub(super) fn lag_ms(lag: u64, through: Timestamp, now: Timestamp) -> u64 {
    if lag == 0 {
        return 0;
    }
    u64::try_from(now.ms_since(through)).unwrap_or(0)
}
