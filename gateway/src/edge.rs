//! Everything wired together: poll, store, publish, annunciate.
//!
//! ```text
//!  bus tasks ─batches─► pipeline thread ─packets─► link task ─► broker
//!                            └─sound─► annunciator task
//! ```
//!
//! Used by `davy-gateway run` and, in one process with the centre, by the demo.
//!
//! Limits: [`BATCHES_WAITING`] polls and [`PACKETS_WAITING`] packets wait between the parts. A full
//! queue of polls makes the buses wait (counted); a full queue of packets leaves messages in the
//! outbox.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use davy_core::config::{Config, Gateway};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::annunciator::{self, AnnunciatorCounters};
use crate::clock::Clock;
use crate::files::{self, FilesError};
use crate::modbus::TcpLink;
use crate::outbox::{Limits, Outbox, OutboxError};
use crate::poll::{Batch, BusPoll};
use crate::publish::link::{self, Broker};
use crate::publish::pipeline::{self, Parts, Pipeline, PipelineError};
use crate::publish::session::{Acknowledge, Settings};
use crate::status::Status;

/// Polls between the buses and the pipeline.
pub const BATCHES_WAITING: usize = 1_024;

/// Packets between the pipeline and the link.
pub const PACKETS_WAITING: usize = 64;

/// News between the link and the pipeline.
const NEWS_WAITING: usize = 256;

/// Files of the gateway itself: the outbox, the link to the broker, the annunciator, the runtime.
const OWN_FILES: u64 = 64;

/// Connections of a bus, the one that probes silent units among them, and those that are closing.
const FILES_OF_BUS: u64 = 4;

/// How long the goodbye to the broker may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// The broker, and what is expected of it.
#[derive(Clone, Debug)]
pub struct Mqtt {
    /// Host of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The gateway's password; its user is its id.
    pub password: String,
    /// Publish only while this host says by STATE that it is there; none to publish at once.
    pub host_id: Option<String>,
    /// Whose word frees a message.
    pub acknowledge: Acknowledge,
}

/// What a gateway is run by.
#[derive(Clone, Debug)]
pub struct Options {
    /// The site, checked.
    pub config: Arc<Config>,
    /// Which of its gateways this is: Sparkplug edge node, and the user at the broker.
    pub gateway: String,
    /// The folder of the outbox; made when missing.
    pub data: PathBuf,
    /// The broker.
    pub mqtt: Mqtt,
    /// Addresses that replace those of the configuration, by name of the bus; for the simulator.
    pub addresses: HashMap<String, SocketAddr>,
    /// Replaces the address of the annunciator.
    pub annunciator_address: Option<SocketAddr>,
    /// How much the outbox keeps.
    pub outbox: Limits,
    /// Packets of the backlog a second, at most; at least 1.
    pub backlog_rate: u32,
    /// What others may see.
    pub status: Arc<Status>,
    /// The wall clock.
    pub clock: Clock,
}

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The configuration has no such gateway.
    #[error("gateway `{id}`: the configuration has none of that id")]
    UnknownGateway {
        /// As asked for.
        id: String,
    },
    /// Its connections would not fit.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The outbox cannot be opened.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The pipeline cannot begin.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The system gives no thread.
    #[error("starting the pipeline's thread: {0}")]
    Thread(std::io::Error),
    /// A part of it has ended by itself, which none may.
    #[error("{part} has ended by itself; see the log before this line")]
    Died {
        /// Which part.
        part: &'static str,
    },
}

/// Runs a gateway until cancelled: then it says goodbye to the broker and syncs its outbox.
pub async fn run(options: Options, cancel: CancellationToken) -> Result<(), EdgeError> {
    let gateway = find(&options.config, &options.gateway)?.clone();
    let needed = OWN_FILES + gateway.buses.len() as u64 * FILES_OF_BUS;
    let allowed = files::allow(needed)?;
    tracing::info!(allowed, needed, "files that may be open at once");
    let (packets, packets_out) = mpsc::channel(PACKETS_WAITING);
    let (news, news_in) = mpsc::channel(NEWS_WAITING);
    let (batches, batches_in) = mpsc::channel(BATCHES_WAITING);
    let (sound, sounds) = watch::channel(None);
    let parts = Parts {
        config: Arc::clone(&options.config),
        gateway: options.gateway.clone(),
        host_id: options.mqtt.host_id.clone(),
        settings: Settings {
            acknowledge: options.mqtt.acknowledge,
            waits_for_host: options.mqtt.host_id.is_some(),
            backlog_rate: options.backlog_rate,
        },
        outbox: open(&options)?,
        packets,
        sound,
        status: Arc::clone(&options.status),
    };
    let pipeline = Pipeline::new(parts)?;

    let mut tasks = JoinSet::new();
    poll_all(&options, &gateway, &batches, &cancel, &mut tasks);
    sound_it(&options, &gateway, sounds, &mut tasks);
    let link = tokio::spawn(link::run(
        broker(&options),
        options.clock.clone(),
        packets_out,
        news,
        Arc::clone(&options.status),
        cancel.clone(),
    ));
    let run = pipeline::run(pipeline, options.clock.clone(), batches_in, news_in);
    let mut ended = in_a_thread(run)?;
    tracing::info!(gateway = options.gateway, "gateway runs");

    let died = tokio::select! {
        () = cancel.cancelled() => None,
        _ = &mut ended => Some("the pipeline"),
        Some(_) = tasks.join_next() => Some("a bus or the annunciator"),
    };
    // A bus that was cancelled ends too.
    let died = died.filter(|_| !cancel.is_cancelled());
    cancel.cancel();
    drop(batches);
    let is_done = died == Some("the pipeline") || ended.await.is_ok();
    say_goodbye(link).await;
    tasks.shutdown().await;
    let died = died.or((!is_done).then_some("the pipeline"));
    died.map_or(Ok(()), |part| Err(EdgeError::Died { part }))
}

/// The last packet goes out, or the broker's last will says the same.
async fn say_goodbye(mut link: JoinHandle<()>) {
    if tokio::time::timeout(GOODBYE, &mut link).await.is_err() {
        tracing::warn!("the broker did not take the goodbye in time; its last will says it");
        link.abort();
    }
}

fn find<'a>(config: &'a Config, id: &str) -> Result<&'a Gateway, EdgeError> {
    let found = config.gateways.iter().find(|gateway| gateway.id == id);
    found.ok_or_else(|| EdgeError::UnknownGateway { id: id.to_owned() })
}

fn open(options: &Options) -> Result<Outbox, EdgeError> {
    // Seeded by the system: two gateways never give their outboxes the same name.
    let random = || RandomState::new().build_hasher().finish();
    let instance = format!("{:016x}{:016x}", random(), random());
    let outbox = Outbox::open_or_begin(
        &options.data,
        options.outbox,
        &instance,
        options.clock.now(),
    )?;
    let account = outbox.account();
    tracing::info!(
        run = outbox.run(),
        stored = account.stored,
        lost = account.lost,
        "outbox opened"
    );
    Ok(outbox)
}

fn broker(options: &Options) -> Broker {
    Broker {
        host: options.mqtt.host.clone(),
        port: options.mqtt.port,
        user: options.gateway.clone(),
        password: options.mqtt.password.clone(),
        group: options.config.group.clone(),
        host_id: options.mqtt.host_id.clone(),
    }
}

/// One task for each bus.
fn poll_all(
    options: &Options,
    gateway: &Gateway,
    batches: &mpsc::Sender<Batch>,
    cancel: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    let mut counters = Vec::new();
    for (place, bus) in gateway.buses.iter().enumerate() {
        let mut bus = bus.clone();
        if let Some(replaced) = options.addresses.get(&bus.name) {
            bus.address = replaced.to_string();
        }
        let poll = BusPoll::new(&gateway.id, &bus, &options.config.points)
            .with_phase(place, gateway.buses.len());
        counters.push(poll.counters());
        let link = TcpLink {
            address: bus.address,
        };
        let (batches, clock, cancel) = (batches.clone(), options.clock.clone(), cancel.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = poll.run(&link, &clock, batches) => {}
            }
        });
    }
    options.status.set_buses(counters);
}

/// The annunciator's task, where there is an annunciator; it ends with the pipeline.
fn sound_it(
    options: &Options,
    gateway: &Gateway,
    sounds: watch::Receiver<Option<bool>>,
    tasks: &mut JoinSet<()>,
) {
    let Some(annunciator) = gateway.annunciator.clone() else {
        return;
    };
    let counters = Arc::new(AnnunciatorCounters::default());
    options.status.set_annunciator(Arc::clone(&counters));
    let replaced = options.annunciator_address;
    let link = TcpLink {
        address: replaced.map_or_else(|| annunciator.address.clone(), |at| at.to_string()),
    };
    tasks.spawn(async move { annunciator::run(&annunciator, &link, sounds, counters).await });
}

/// Runs the pipeline on a thread of its own, where it may wait for the disk. The answer comes
/// when it is done, and fails when it panicked.
fn in_a_thread(
    pipeline: impl Future<Output = ()> + Send + 'static,
) -> Result<oneshot::Receiver<()>, EdgeError> {
    let (done, ended) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("outbox".into())
        .spawn(move || {
            runtime.block_on(pipeline);
            if done.send(()).is_err() {
                tracing::debug!("nobody waited for the pipeline");
            }
        })
        .map_err(EdgeError::Thread)?;
    Ok(ended)
}

#[cfg(test)]
mod tests;
