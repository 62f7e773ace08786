//! Everything in one process: simulated plants, their gateways, the broker and the centre.
//!
//! Nothing here is a short cut: the gateways poll the plants over Modbus TCP and publish over MQTT
//! with names and passwords, all on loopback. Started again on its folder, it goes on where it was.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use davy_core::config::fault::count;
use davy_core::config::{Config, Fault, Gateway, PlantName, SourceFile, check, multiply};
use davy_gateway::clock::Clock;
use davy_gateway::outbox::Limits;
use davy_gateway::publish::session::Acknowledge;
use davy_gateway::simulator::{Simulator, Story};
use davy_gateway::status::Status;
use davy_gateway::{edge, files};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::Accounts;
use crate::centre::Accepted;
use crate::retention::Retention;
use crate::secret::{self, NoRandomness};
use crate::serve::{self, Mqtt, ServeError, Serving};

/// The demo's site, as it stands in `config/`.
const FILES: [(&str, &str); 8] = [
    ("site.toml", include_str!("../config/demo/site.toml")),
    ("points.csv", include_str!("../config/demo/points.csv")),
    ("presets.toml", include_str!("../config/demo/presets.toml")),
    (
        "../standards/gas.toml",
        include_str!("../config/standards/gas.toml"),
    ),
    (
        "../standards/mine.toml",
        include_str!("../config/standards/mine.toml"),
    ),
    (
        "../standards/system.toml",
        include_str!("../config/standards/system.toml"),
    ),
    (
        "../standards/warning.toml",
        include_str!("../config/standards/warning.toml"),
    ),
    (
        "../standards/ledger.toml",
        include_str!("../config/standards/ledger.toml"),
    ),
];

/// Plants beside the first, invented. Those beyond are numbered.
const PLANTS: [PlantName; 11] = [
    ("东区", "East works"),
    ("西区", "West works"),
    ("南区", "South works"),
    ("北区", "North works"),
    ("河湾厂", "River Bend works"),
    ("青石厂", "Bluestone works"),
    ("柳林厂", "Willow Grove works"),
    ("松岭厂", "Pine Ridge works"),
    ("码头厂", "Harbour works"),
    ("新城厂", "New Town works"),
    ("老矿区", "Old Pit works"),
];

/// Name by which gateways know the centre.
const HOST_ID: &str = "davy";

/// The demo's outboxes hold little: it is one machine.
const OUTBOX: Limits = Limits {
    bytes_max: 1 << 30,
    age_max: Duration::from_hours(72),
};

/// Files and connections of a gateway with its simulated buses, both ends of each. Some 20 are open.
const FILES_OF_GATEWAY: u64 = 40;

/// Addresses of simulated buses, by gateway and name.
type Addresses = BTreeMap<String, HashMap<String, SocketAddr>>;

/// What the demo is run by.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Where the broker listens.
    pub mqtt: SocketAddr,
    /// How many plants.
    pub plants: u32,
    /// Seed of the plants.
    pub seed: u64,
    /// What happens at them.
    pub story: Story,
    /// What to do when the replay of the journal differs.
    pub accepted: Accepted,
}

/// Why the demo does not run.
#[derive(Debug, Error)]
pub enum DemoError {
    /// Its configuration has faults.
    #[error("the demo's configuration has {}; the first: {}", count(.0), .0.first().map_or_else(String::new, ToString::to_string))]
    Config(Vec<Fault>),
    /// The centre.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A simulated bus.
    #[error("listening for Modbus on loopback: {0}")]
    Bus(std::io::Error),
    /// The system gives no randomness.
    #[error("making passwords: {0}")]
    Random(#[from] NoRandomness),
}

/// A running demo.
pub struct Demo {
    /// The centre.
    pub serving: Serving,
    /// Points of the site.
    pub points: usize,
    /// Alarms of the site.
    pub alarms: usize,
    gateways: JoinSet<()>,
    plants: JoinSet<()>,
    stop_gateways: CancellationToken,
    stop_plants: CancellationToken,
}

/// The files of the demo's site, `plants` times over.
pub fn files(plants: u32) -> Result<Vec<SourceFile>, Vec<Fault>> {
    let files: Vec<SourceFile> = FILES
        .iter()
        .map(|(name, text)| SourceFile {
            name: (*name).into(),
            text: (*text).into(),
        })
        .collect();
    if plants <= 1 {
        return Ok(files);
    }
    multiply(&files, plants, &PLANTS)
}

/// Starts everything; `said` is told what is being done.
pub async fn start(options: Options, said: impl Fn(&str)) -> Result<Demo, DemoError> {
    said("reading the configuration");
    let site = self::files(options.plants).map_err(DemoError::Config)?;
    let config = Arc::new(check(&site).map_err(DemoError::Config)?);
    let needed = serve::FILES + config.gateways.len() as u64 * FILES_OF_GATEWAY;
    files::allow(needed).map_err(ServeError::from)?;
    let accounts = accounts(&config)?;
    let passwords = accounts.gateways.clone();
    let serving = serve::start(
        serve::Options {
            data: options.data.clone(),
            files: site,
            mqtt: Mqtt::Embedded {
                listen: options.mqtt,
                accounts,
            },
            host_id: HOST_ID.into(),
            http: options.http,
            influxdb: None,
            accepted: options.accepted,
            retention: Retention::default(),
        },
        &said,
    )
    .await?;
    said("starting the plants");
    let stop_plants = CancellationToken::new();
    let mut plants = JoinSet::new();
    let addresses = plant(&options, &config, &stop_plants, &mut plants).await?;
    said("starting the gateways");
    let stop_gateways = CancellationToken::new();
    let mut gateways = JoinSet::new();
    for gateway in &config.gateways {
        let password = passwords.get(&gateway.id).cloned().unwrap_or_default();
        let edge = edge::Options {
            config: Arc::clone(&config),
            gateway: gateway.id.clone(),
            data: options.data.join("gateways").join(&gateway.id),
            mqtt: edge::Mqtt {
                host: serving.mqtt.0.clone(),
                port: serving.mqtt.1,
                password,
                host_id: Some(HOST_ID.into()),
                acknowledge: Acknowledge::Centre,
            },
            addresses: addresses.get(&gateway.id).cloned().unwrap_or_default(),
            annunciator_address: siren(gateway, &addresses),
            outbox: OUTBOX,
            backlog_rate: davy_gateway::config::BACKLOG_RATE,
            status: Arc::new(Status::default()),
            clock: Clock::system(),
        };
        let cancel = stop_gateways.child_token();
        let id = gateway.id.clone();
        gateways.spawn(async move {
            if let Err(error) = edge::run(edge, cancel).await {
                tracing::error!(%error, gateway = id, "a gateway has ended");
            }
        });
    }
    Ok(Demo {
        serving,
        points: config.points.len(),
        alarms: config.alarms.len(),
        gateways,
        plants,
        stop_gateways,
        stop_plants,
    })
}

impl Demo {
    /// Ends everything in order: gateways say goodbye first, the centre commits what came.
    pub async fn stop(mut self) {
        self.stop_gateways.cancel();
        while self.gateways.join_next().await.is_some() {}
        self.stop_plants.cancel();
        self.plants.shutdown().await;
        self.serving.stop().await;
    }
}

/// Where a gateway's siren is: every simulated bus has one behind it.
fn siren(gateway: &Gateway, addresses: &Addresses) -> Option<SocketAddr> {
    let bus = gateway.buses.first()?;
    addresses.get(&gateway.id)?.get(&bus.name).copied()
}

/// Starts the plants; addresses of their buses by gateway and bus.
async fn plant(
    options: &Options,
    config: &Config,
    cancel: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Result<Addresses, DemoError> {
    let begun = davy_gateway::clock::monotonic();
    let clock = Arc::new(move || (davy_gateway::clock::monotonic() - begun).as_secs_f64());
    let simulator = Arc::new(Simulator::new(
        config,
        options.seed,
        options.story.clone(),
        clock,
    ));
    let mut addresses = Addresses::new();
    for gateway in &config.gateways {
        for bus in &gateway.buses {
            let listener = TcpListener::bind(("127.0.0.1", 0))
                .await
                .map_err(DemoError::Bus)?;
            let at = listener.local_addr().map_err(DemoError::Bus)?;
            let of_gateway = addresses.entry(gateway.id.clone()).or_default();
            of_gateway.insert(bus.name.clone(), at);
            let (simulator, cancel) = (Arc::clone(&simulator), cancel.clone());
            let (gateway, bus) = (gateway.id.clone(), bus.name.clone());
            tasks.spawn(async move {
                if let Err(error) = simulator.serve(listener, &gateway, &bus, cancel).await {
                    tracing::error!(%error, gateway, bus, "a simulated bus has ended");
                }
            });
        }
    }
    Ok(addresses)
}

/// A password for each gateway and the centre, made anew at each start.
fn accounts(config: &Config) -> Result<Accounts, DemoError> {
    let password = secret::random::<16>;
    let gateways: Result<_, DemoError> = (config.gateways.iter())
        .map(|gateway| Ok((gateway.id.clone(), password()?)))
        .collect();
    Ok(Accounts {
        group: config.group.clone(),
        gateways: gateways?,
        centre: ("davy-centre".into(), password()?),
    })
}
