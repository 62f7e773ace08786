//! The thread that stores, decides and hands on.
//!
//! It owns the outbox, the local alarms and the session. Batches of readings come in; packets for
//! the broker go out through a bounded queue, and only when there is room in it: the thread never
//! waits for the network. What it does is in plain functions with the time as an argument; the
//! loop that waits is [`run`].
//!
//! # Invariants
//!
//! - Readings are judged for local alarms even when they cannot be stored, and then annunciated:
//!   what is not stored is not sent, so the centre does not see it.
//! - A message is stored, with its number, before a packet of it exists.
//! - produced = committed + stored + lost after each step, and in the status.

mod asked;
mod broken;
mod complaint;
mod packet;
mod sound;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use davy_core::reading::Timestamp;
use davy_core::sparkplug::{Aliases, HostState, RunRanges, TopicError, read_commands};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use self::complaint::Complaint;
use self::packet::Topics;
use super::catalogue::{Catalogue, CatalogueError};
use super::session::{Acknowledge, Live, Phase, Session, Settings, Step};
use crate::clock::{Clock, monotonic};
use crate::local::LocalAlarms;
use crate::outbox::{NewMessage, Outbox, OutboxError};
use crate::poll::Batch;
use crate::status::Status;

/// Batches that are stored in one transaction.
const BATCHES_MAX: usize = 256;

/// How often the outbox is synced and trimmed.
const SECOND: Duration = Duration::from_secs(1);

/// How soon a full queue is looked at again.
const ROOM_WAIT: Duration = Duration::from_millis(10);

/// Names of the notes beside the outbox.
const ALIASES: &str = "aliases";
const BD_SEQ: &str = "bd_seq";
const LOCAL_ALARMS: &str = "local_alarms";

/// What comes from the broker.
#[derive(Debug)]
pub enum News {
    /// A connection is to be attempted: the answer is the `bdSeq` of its last will.
    Calls(oneshot::Sender<u8>),
    /// Let in, and subscribed.
    Connected {
        /// The connection's number.
        connection: u64,
    },
    /// The connection is gone.
    Lost,
    /// A message has come.
    Arrived {
        /// Its topic.
        topic: String,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// The broker has acknowledged a packet.
    Acked(u64),
}

/// Why the pipeline cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The outbox failed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The configuration does not suit.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The table of aliases beside the outbox cannot be read. It must not be made anew: stored
    /// messages would change their meaning.
    #[error("table of aliases beside the outbox: {0}")]
    Aliases(serde_json::Error),
}

impl From<TopicError> for PipelineError {
    fn from(error: TopicError) -> Self {
        Self::Catalogue(CatalogueError::Name(error))
    }
}

/// The outbox and all that decides about it.
pub struct Pipeline {
    outbox: Outbox,
    catalogue: Catalogue,
    local: LocalAlarms,
    session: Session,
    acknowledge: Acknowledge,
    topics: Topics,
    packets: mpsc::Sender<Packet>,
    sound: watch::Sender<Option<bool>>,
    status: Arc<Status>,
    connection: u64,
    /// The `bdSeq` that was given last.
    bd_seq: u8,
    /// Number of the next packet of this session (Sparkplug `seq`).
    seq: u8,
    storing_fails: bool,
    needs_room: bool,
    /// What the host asked for and is not kept any more, for the next report.
    gone: Vec<RunRanges>,
    /// Why the edge must annunciate by itself, as the log was told last; none while the centre does.
    alone_told: Option<sound::Alone>,
    /// Whether the log was told last that alarms are to be annunciated.
    sounds_told: bool,
    /// The version of the local alarms whose sound was told in the log.
    version_told: u64,
    /// The version of the local alarms that is kept, and when it was tried last.
    version_kept: u64,
    kept_at: Option<Duration>,
    keeping: Complaint,
    trimming: Complaint,
    storing: Complaint,
}

/// What a pipeline is made of.
pub struct Parts {
    /// The configuration, checked.
    pub config: Arc<davy_core::config::Config>,
    /// Which of its gateways this is.
    pub gateway: String,
    /// The host whose STATE is waited for; none to publish at once.
    pub host_id: Option<String>,
    /// How the session goes about it.
    pub settings: Settings,
    /// The outbox, opened.
    pub outbox: Outbox,
    /// Where packets go.
    pub packets: mpsc::Sender<Packet>,
    /// Whether the annunciator is to be on; none while that is not known.
    pub sound: watch::Sender<Option<bool>>,
    /// What others may see.
    pub status: Arc<Status>,
}

impl Pipeline {
    /// Puts the parts together; aliases that are new are kept, synced, before any is used.
    pub fn new(parts: Parts) -> Result<Self, PipelineError> {
        let mut outbox = parts.outbox;
        let kept = outbox.note(ALIASES)?;
        let mut aliases: Aliases = match &kept {
            Some(text) => serde_json::from_str(text).map_err(PipelineError::Aliases)?,
            None => Aliases::default(),
        };
        let catalogue = Catalogue::new(Arc::clone(&parts.config), &parts.gateway, &mut aliases)?;
        let text = serde_json::to_string(&aliases).map_err(PipelineError::Aliases)?;
        if kept.as_ref() != Some(&text) {
            outbox.set_note(ALIASES, &text)?;
            outbox.sync()?;
        }
        let local = sound::resume(&parts.config, &parts.gateway, outbox.note(LOCAL_ALARMS)?);
        let bd_seq = outbox.note(BD_SEQ)?.and_then(|text| text.parse().ok());
        let pipeline = Self {
            topics: Topics::new(
                &parts.config.group,
                &parts.gateway,
                parts.host_id.as_deref(),
            )?,
            version_kept: local.version(),
            kept_at: None,
            keeping: Complaint::default(),
            local,
            session: Session::new(parts.settings, catalogue.units().len()),
            acknowledge: parts.settings.acknowledge,
            outbox,
            catalogue,
            packets: parts.packets,
            sound: parts.sound,
            status: parts.status,
            connection: 0,
            bd_seq: bd_seq.unwrap_or(0),
            seq: 0,
            storing_fails: false,
            needs_room: false,
            gone: Vec::new(),
            alone_told: Some(sound::Alone::Away),
            sounds_told: false,
            version_told: 0,
            trimming: Complaint::default(),
            storing: Complaint::default(),
        };
        pipeline.show();
        Ok(pipeline)
    }

    /// The `bdSeq` of the next connection: one more than the last one's, over restarts and power
    /// cuts too. It is kept before the broker may hear of it, so that the late will of an old
    /// connection, even of one that never came to be, does not kill a new one.
    fn next_bd_seq(&mut self) -> u8 {
        self.bd_seq = self.bd_seq.wrapping_add(1);
        let kept = self.outbox.set_note(BD_SEQ, &self.bd_seq.to_string());
        match kept.and_then(|()| self.outbox.sync()) {
            Ok(()) => {}
            // That the disk is full has been said, once.
            Err(OutboxError::NoRoom { .. }) if self.storing_fails => {}
            // To be away for it would be worse.
            Err(error) => tracing::error!(%error, "the birth sequence is not kept"),
        }
        self.bd_seq
    }

    /// Where the session stands.
    pub fn phase(&self) -> Phase {
        self.session.phase()
    }

    /// Stores the readings of some polls as one message each, all in one transaction. `elapsed` is
    /// the monotonic time since the gateway's start, here and below.
    pub fn take(&mut self, now: Timestamp, elapsed: Duration, batches: &[Batch]) {
        for batch in batches {
            let (unit, state) = (&batch.unit, batch.unit_state);
            self.local.judge(now, unit, state, &batch.readings);
            self.catalogue.note(&batch.readings);
        }
        let stored = self.store(now, elapsed, batches);
        for (batch, live) in batches.iter().zip(stored) {
            let Some(unit) = self.catalogue.find(&batch.unit) else {
                continue;
            };
            self.session.unit_is(unit, batch.unit_state);
            if let Some((row, number, payload)) = live {
                self.session.offer(Live {
                    row,
                    number,
                    unit,
                    payload,
                });
            }
        }
    }

    /// The messages as they were stored; none where the outbox failed.
    fn store(
        &mut self,
        now: Timestamp,
        elapsed: Duration,
        batches: &[Batch],
    ) -> Vec<Option<(i64, davy_core::delivery::MessageNumber, Vec<u8>)>> {
        let first = self.outbox.next_number();
        let row = self.outbox.last_row() + 1;
        let mut encoded = Vec::with_capacity(batches.len());
        for (batch, ahead) in batches.iter().zip(0..) {
            let mut number = first;
            number.sequence += ahead;
            let mut payload = Vec::with_capacity(batch.readings.len() * 20 + 80);
            self.catalogue
                .encode(now, number, &batch.readings, &mut payload);
            encoded.push((row + ahead.cast_signed(), number, payload));
        }
        let messages: Vec<_> = batches
            .iter()
            .zip(&encoded)
            .map(|(batch, (_, _, payload))| NewMessage {
                device: &batch.unit,
                payload,
            })
            .collect();
        match self.outbox.push(elapsed, &messages) {
            Ok(()) => {
                self.storing_fails = false;
                if let Some(left_out) = self.storing.works(elapsed) {
                    tracing::info!(left_out, "the outbox takes messages again");
                }
                encoded.into_iter().map(Some).collect()
            }
            Err(error) => {
                let count = batches.len() as u64;
                self.outbox.refused(count);
                self.status.unstored.fetch_add(count, Relaxed);
                if let Some(left_out) = self.storing.fails(&error.to_string(), elapsed) {
                    tracing::error!(%error, left_out, "readings cannot be stored and are lost");
                }
                if !std::mem::replace(&mut self.storing_fails, true) {
                    self.session.report_now();
                }
                vec![None; batches.len()]
            }
        }
    }

    /// Takes what came from the broker.
    pub fn hear(&mut self, news: News) {
        match news {
            News::Calls(answer) => {
                if answer.send(self.next_bd_seq()).is_err() {
                    tracing::debug!("the link ended while it asked");
                }
            }
            News::Connected { connection } => {
                self.connection = connection;
                self.status.connects.fetch_add(1, Relaxed);
                self.session.connected(self.outbox.last_row());
            }
            News::Lost => self.session.disconnected(),
            News::Acked(ticket) => {
                let freed = self.session.acked(ticket);
                let runs = freed.iter().map(|number| {
                    let mut ranges = davy_core::delivery::Ranges::default();
                    ranges.insert(number.sequence);
                    (number.run, ranges)
                });
                let runs: Vec<_> = runs.collect();
                let freed = self
                    .outbox
                    .committed(runs.iter().map(|(run, ranges)| (*run, ranges)));
                if failed(freed).is_some_and(|freed| freed > 0) {
                    self.session.freed();
                }
            }
            News::Arrived { topic, payload } => self.arrived(&topic, &payload),
        }
    }

    fn arrived(&mut self, topic: &str, payload: &[u8]) {
        if self.topics.state.as_deref() == Some(topic) {
            match HostState::from_json(payload) {
                Ok(state) => {
                    self.session.host_says(state, self.outbox.last_row());
                    if self.phase() == Phase::Leaving {
                        tracing::warn!("the host is gone; messages are stored until it is back");
                    }
                }
                Err(error) => self.unreadable(topic, &error),
            }
        } else if topic == self.topics.command {
            match read_commands(payload) {
                Ok(commands) => self.commands(&commands),
                Err(error) => self.unreadable(topic, &error),
            }
        }
    }

    fn unreadable(&self, topic: &str, error: &davy_core::sparkplug::WireError) {
        self.status.unreadable.fetch_add(1, Relaxed);
        tracing::warn!(topic, %error, "a message from the host cannot be read");
    }

    /// Once a second: trims the outbox, lets the local alarms see the time.
    pub fn second(&mut self, now: Timestamp, elapsed: Duration) {
        match self.outbox.trim(elapsed) {
            // That the disk is full has been said, once.
            Err(OutboxError::NoRoom { .. }) if self.storing_fails => {}
            done => match self.trimming.check(done, elapsed) {
                None | Some(0) => {}
                Some(lost) => {
                    tracing::error!(
                        lost,
                        "the outbox is over its limit: oldest messages are lost"
                    );
                    self.session.report_now();
                }
            },
        }
        self.local.tick(now);
    }

    fn show(&self) {
        let status = &self.status;
        status.set_account(self.outbox.account());
        status.set_phase(self.phase());
        status.stored_bytes.store(self.outbox.bytes(), Relaxed);
        status.resent.store(self.session.resent, Relaxed);
        status.overflowed.store(self.session.overflowed, Relaxed);
    }

    /// Says goodbye if it was born, and makes the outbox survive a power cut.
    pub fn end(&mut self, now: Timestamp) {
        if self.phase() == Phase::Born {
            let packet = self.packet(now, Duration::ZERO, Step::Leave);
            self.session.disconnected();
            // Without room the broker's last will says it.
            if let (Some(packet), Ok(room)) = (packet, self.packets.try_reserve()) {
                room.send(packet);
            }
        }
        self.keep_local();
        failed(self.outbox.sync());
        self.show();
    }

    /// How long it may sleep when nothing comes in.
    fn idle(&self, elapsed: Duration) -> Duration {
        if self.needs_room {
            return ROOM_WAIT;
        }
        let idle = self.session.idle(elapsed);
        idle.clamp(Duration::from_millis(1), SECOND)
    }
}

/// Logs what the outbox could not do; it is tried again at the next occasion.
fn failed<T>(done: Result<T, OutboxError>) -> Option<T> {
    done.inspect_err(|error| tracing::error!(%error, "the outbox failed"))
        .ok()
}

/// Runs until no batch can come any more; then says goodbye.
pub async fn run(
    mut pipeline: Pipeline,
    clock: Clock,
    mut batches: mpsc::Receiver<Batch>,
    mut news: mpsc::Receiver<News>,
) {
    let sync = start_syncing(&pipeline.outbox);
    let start = monotonic();
    let mut second = start + SECOND;
    let mut syncing = Complaint::default();
    let mut waiting = Vec::with_capacity(BATCHES_MAX);
    loop {
        let idle = pipeline.idle(monotonic() - start);
        let wake = second.min(monotonic() + idle);
        tokio::select! {
            biased;
            batch = batches.recv() => {
                let Some(batch) = batch else { break };
                waiting.push(batch);
                let open = fill(&mut batches, &mut waiting);
                pipeline.take(clock.now(), monotonic() - start, &waiting);
                waiting.clear();
                if !open {
                    break;
                }
            }
            Some(one) = news.recv() => pipeline.hear(one),
            () = tokio::time::sleep_until(wake) => {}
        }
        // Batches may come without a pause; what the host says must be heard all the same.
        for _ in 0..BATCHES_MAX {
            match news.try_recv() {
                Ok(one) => pipeline.hear(one),
                Err(_) => break,
            }
        }
        let now = clock.now();
        if monotonic() >= second {
            second = monotonic() + SECOND;
            pipeline.second(now, monotonic() - start);
            if let Err(TrySendError::Disconnected(())) = sync.try_send(()) {
                syncing.check(pipeline.outbox.sync(), monotonic() - start);
            }
        }
        pipeline.flow(now, monotonic() - start);
    }
    pipeline.flow(clock.now(), monotonic() - start);
    pipeline.end(clock.now());
}

/// A thread that syncs the outbox whenever it is told to; storing does not wait for it. It ends
/// with the sender. A slow disk gets one sync ahead and no queue.
fn start_syncing(outbox: &Outbox) -> SyncSender<()> {
    let (begin, begins) = sync_channel(1);
    if let Some(mut syncer) = failed(outbox.syncer()) {
        let started = std::thread::Builder::new()
            .name("outbox-sync".into())
            .spawn(move || {
                let (mut syncing, start) = (Complaint::default(), monotonic());
                while begins.recv().is_ok() {
                    syncing.check(syncer.sync(), monotonic() - start);
                }
            });
        if let Err(error) = started {
            tracing::error!(%error, "no thread to sync the outbox");
        }
    }
    begin
}

/// Takes what else waits; `false` when no more can come.
fn fill(batches: &mut mpsc::Receiver<Batch>, waiting: &mut Vec<Batch>) -> bool {
    while waiting.len() < BATCHES_MAX {
        match batches.try_recv() {
            Ok(batch) => waiting.push(batch),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
    true
}

pub use packet::{BUNDLE_RAW_BYTES, Packet};

#[cfg(test)]
mod tests;
