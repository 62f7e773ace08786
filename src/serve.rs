//! Everything of the centre wired together: broker, loop, MQTT in and out, sinks, evidence, HTTP.
//!
//! Used by `davy serve` and, with gateways and a simulated plant in the same process, by the demo.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use davy_core::config::SourceFile;
use davy_gateway::files::{self, FilesError};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{self, LiveSeats, Sessions, Shared, router};
use crate::broker::{Accounts, Broker, BrokerError, Inlet};
use crate::centre::{Accepted, Centre, CentreError};
use crate::journal::checkpoint;
use crate::retention::{self, Retention};
use crate::sinks::{InfluxConfig, Sinks, SinksError};
use crate::{broker, door, evidence, ingest};

/// How long to wait before it is looked again whether there is room on the disk.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// Answers to gateways that wait for the broker.
const OUTBOUND_MAX: usize = 1_024;

/// Files and connections of the centre itself: the journal and the sinks with their readers, links
/// to the broker and to InfluxDB, and what the runtime takes. Some 60 are open in the demo.
const OWN_FILES: usize = 256;

/// How many files and connections the centre may come to have open at once.
pub const FILES: u64 = (api::CONNECTIONS_MAX + broker::CONNECTIONS_MAX + OWN_FILES) as u64;

/// How long requests on their way may take once the centre ends.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// What the centre is run by.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// The files of the site.
    pub files: Vec<SourceFile>,
    /// The broker.
    pub mqtt: Mqtt,
    /// The host id of Sparkplug's STATE.
    pub host_id: String,
    /// Where HTTP listens; loopback only.
    pub http: SocketAddr,
    /// `InfluxDB` 2, if readings go there as well.
    pub influxdb: Option<InfluxConfig>,
    /// What to do when the replay of the journal differs.
    pub accepted: Accepted,
    /// How long readings are kept.
    pub retention: Retention,
}

/// Which broker.
#[derive(Clone, Debug)]
pub enum Mqtt {
    /// The embedded one.
    Embedded {
        /// Where it listens; port 0 takes a free one.
        listen: SocketAddr,
        /// Who may sign in.
        accounts: Accounts,
    },
    /// One outside.
    Outside {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
        /// User and password of the centre.
        account: (String, String),
    },
}

/// Why the centre does not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A door that is not loopback.
    #[error(
        "{what} listens at {found}; allowed are loopback addresses until there are users and TLS"
    )]
    NotLoopback {
        /// Which door.
        what: &'static str,
        /// Where it was to listen.
        found: SocketAddr,
    },
    /// Its connections would not fit.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The loop.
    #[error(transparent)]
    Centre(#[from] CentreError),
    /// A sink.
    #[error(transparent)]
    Sinks(#[from] SinksError),
    /// The HTTP listener.
    #[error("listening for HTTP at {address}: {source}")]
    Http {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running centre.
pub struct Serving {
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Where the broker listens, or is.
    pub mqtt: (String, u16),
    /// The loop.
    pub centre: Centre,
    data: PathBuf,
    broker: Option<Broker>,
    thread: std::thread::JoinHandle<()>,
    sinks: Sinks,
    tasks: JoinSet<()>,
    cancel: CancellationToken,
}

/// Starts everything; `said` is told what is being done.
pub async fn start(options: Options, said: impl Fn(&str)) -> Result<Serving, ServeError> {
    loopback("HTTP", options.http)?;
    if let Mqtt::Embedded { listen, .. } = &options.mqtt {
        loopback("the MQTT broker", *listen)?;
    }
    let allowed = files::allow(FILES)?;
    tracing::info!(allowed, needed = FILES, "files that may be open at once");
    let config = davy_core::config::check(&options.files).map_err(CentreError::Config)?;
    said("opening the journal and going on where it ended");
    let (outbound, outbound_in) = mpsc::channel(OUTBOUND_MAX);
    let (data, files) = (&options.data, options.files.clone());
    let start = || {
        let (files, outbound) = (files.clone(), outbound.clone());
        Centre::start(data, files, options.accepted, outbound).map_err(ServeError::from)
    };
    let (centre, thread) = once_there_is_room(start).await?;
    let counters = Arc::default();
    said("joining the MQTT broker");
    let (link, broker) = join(&options, config, &centre, &counters)?;
    let mqtt = (link.host.clone(), link.port);
    said("opening the series");
    let (influxdb, kept) = (options.influxdb.clone(), options.retention.series);
    let start = || Ok(Sinks::start(data, &centre, influxdb.clone(), kept)?);
    let sinks = once_there_is_room(start).await?;
    let cancel = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(ingest::run(
        link,
        centre.clone(),
        outbound_in,
        Arc::clone(&counters),
        cancel.clone(),
    ));
    keep(&options, &centre, &sinks, &cancel, &mut tasks);
    let shared = Arc::new(Shared {
        centre: centre.clone(),
        folder: options.data.clone(),
        sinks: sinks.clone(),
        ingest: counters,
        sessions: Sessions::open(&options.data),
        live: LiveSeats::default(),
        door: Arc::default(),
        closing: cancel.clone(),
    });
    let http = listen(options.http, shared, &cancel, &mut tasks)?;
    Ok(Serving {
        http,
        mqtt,
        data: options.data,
        centre,
        broker,
        thread,
        sinks,
        tasks,
        cancel,
    })
}

/// What is frozen, and what goes.
fn keep(
    options: &Options,
    centre: &Centre,
    sinks: &Sinks,
    cancel: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    tasks.spawn(evidence::run(
        centre.clone(),
        sinks.clone(),
        options.data.clone(),
        cancel.clone(),
    ));
    tasks.spawn(retention::run(
        options.retention,
        centre.clone(),
        sinks.clone(),
        cancel.clone(),
    ));
}

/// Opens something, waiting for room on the disk as long as it takes: meanwhile gateways hear no
/// centre and annunciate by themselves.
async fn once_there_is_room<T>(
    mut open: impl FnMut() -> Result<T, ServeError>,
) -> Result<T, ServeError> {
    let mut is_told = false;
    loop {
        match open() {
            Err(error) if is_no_room(&error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::error!(%error, "nothing is watched yet: waiting for room on the disk");
                }
                tokio::time::sleep(ROOM_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// Whether a full disk is at the root of it.
fn is_no_room(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<rusqlite::Error>();
        cause.is_some_and(crate::journal::is_full)
    })
}

/// Starts the embedded broker, if it is to be that one; and how to reach the broker.
fn join(
    options: &Options,
    config: davy_core::config::Config,
    centre: &Centre,
    counters: &Arc<ingest::Counters>,
) -> Result<(ingest::Link, Option<Broker>), ServeError> {
    let (host, port, account, group, broker) = match &options.mqtt {
        Mqtt::Embedded { listen, accounts } => {
            let inlet = Inlet {
                centre: centre.clone(),
                counters: Arc::clone(counters),
            };
            let broker = Broker::start(*listen, accounts.clone(), inlet)?;
            let (host, port) = (broker.address.ip().to_string(), broker.address.port());
            let (account, group) = (accounts.centre.clone(), accounts.group.clone());
            (host, port, account, group, Some(broker))
        }
        Mqtt::Outside {
            host,
            port,
            account,
        } => (host.clone(), *port, account.clone(), config.group, None),
    };
    let link = ingest::Link {
        host,
        port,
        account,
        group,
        host_id: options.host_id.clone(),
        gateways: config.gateways.into_iter().map(|one| one.id).collect(),
        is_embedded: broker.is_some(),
    };
    Ok((link, broker))
}

impl Serving {
    /// Ends everything in order: nothing new comes in, what waits is committed, sinks are synced.
    pub async fn stop(mut self) {
        self.cancel.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSE_MAX, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
        self.centre.stop().await;
        let thread = self.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join().is_ok());
        if !joined.await.unwrap_or(false) {
            tracing::error!("the loop did not end in order");
        }
        self.sinks.stop();
        drop(self.sinks);
        fold(self.data).await;
        if let Some(broker) = self.broker {
            broker.stop().await;
        }
    }
}

fn listen(
    address: SocketAddr,
    shared: Arc<Shared>,
    cancel: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Result<SocketAddr, ServeError> {
    let failed = |source| ServeError::Http { address, source };
    let listener = door::bind(address).map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    let counters = Arc::clone(&shared.door);
    tasks.spawn(api::open(
        listener,
        router(shared),
        cancel.clone(),
        counters,
    ));
    Ok(at)
}

/// Leaves whole files behind: the last one to close a file with nobody beside it takes its log in.
async fn fold(folder: PathBuf) {
    let done = tokio::task::spawn_blocking(move || {
        for entry in std::fs::read_dir(folder)?.flatten() {
            let file = entry.path();
            if file
                .extension()
                .is_some_and(|end| end == "sqlite" || end == "db")
                && let Err(error) = checkpoint::fold(&file)
            {
                tracing::warn!(%error, file = %file.display(), "its log stays beside it");
            }
        }
        std::io::Result::Ok(())
    });
    if !matches!(done.await, Ok(Ok(()))) {
        tracing::warn!("the data folder could not be listed; logs stay beside their files");
    }
}

fn loopback(what: &'static str, address: SocketAddr) -> Result<(), ServeError> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(ServeError::NotLoopback {
        what,
        found: address,
    })
}

/// Whether a data folder has a journal already.
pub fn has_journal(folder: &Path) -> bool {
    crate::journal::file_of(folder).exists()
}
