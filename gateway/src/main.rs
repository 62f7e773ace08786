//! `davy-gateway`: run a gateway, check its configuration, or simulate its instruments.

mod orders;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use davy_core::config::fault::count;
use davy_core::config::{Config, Fault};
use davy_gateway::cause;
use davy_gateway::clock::monotonic;
use davy_gateway::config::{read_gateway, read_site};
use davy_gateway::simulator::{self, Order, Simulator, Story};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Davy at the edge: Modbus in, Sparkplug B out, nothing lost between.
///
/// Davy is early warning. It is never a safety instrumented function.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Poll, store and publish until interrupted.
    Run {
        /// The gateway's own file.
        #[arg(long, default_value = "gateway.toml")]
        config: PathBuf,
    },
    /// Check the gateway's file and its site: all faults at once, with file and line. Starts
    /// nothing; exit code 1 if there is a fault.
    Check {
        /// The gateway's own file.
        #[arg(long, default_value = "gateway.toml")]
        config: PathBuf,
    },
    /// Play the instruments of a site: Modbus TCP at the addresses of its buses. Faults are typed
    /// on standard input, a line each; `help` lists them.
    Simulate {
        /// The site's main file.
        #[arg(long, default_value = "site.toml")]
        config: PathBuf,
        /// Only this gateway's instruments.
        #[arg(long)]
        gateway: Option<String>,
        /// Listen on this address instead of the ones in the file, each bus on a port of its own:
        /// `127.0.0.1:6000` takes 6000, 6001 and so on, in the order of the file.
        #[arg(long)]
        listen: Option<std::net::SocketAddr>,
        /// The same seed plays the same noise and weather.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Let the demonstration's faults happen, instead of a quiet plant.
        #[arg(long)]
        story: bool,
    },
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match act(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{}", cause::tell(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// What `RUST_LOG` says, or everything from `info` up.
fn filter() -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"))
}

fn act(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { config } => match read_gateway(&config) {
            Ok(options) => {
                let config = &options.config;
                let (points, alarms) = (config.points.len(), config.alarms.len());
                tracing::info!(points, alarms, gateway = options.gateway, "no fault");
                Ok(ExitCode::SUCCESS)
            }
            Err(faults) => tell(&faults),
        },
        Command::Run { config } => match read_gateway(&config) {
            Ok(options) => in_runtime(async |cancel| Ok(davy_gateway::run(options, cancel).await?)),
            Err(faults) => tell(&faults),
        },
        Command::Simulate {
            config,
            gateway,
            listen,
            seed,
            story,
        } => match site(&config, gateway.as_deref(), listen) {
            Ok(config) => in_runtime(async |cancel| simulate(&config, seed, story, cancel).await),
            Err(faults) => tell(&faults),
        },
    }
}

/// Every fault on a line of its own, as it can be piped on; the exit code says that there were some.
fn tell(faults: &[Fault]) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for fault in faults {
        writeln!(out, "{fault}").context("writing the faults")?;
    }
    tracing::error!("{}; nothing was started", count(faults));
    Ok(ExitCode::FAILURE)
}

fn in_runtime(
    work: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let mut ends = Signals::new().context("listening for signals")?;
        tokio::spawn(async move {
            ends.wait().await;
            tracing::info!("interrupted; ending");
            stop.cancel();
        });
        work(cancel).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// SIGINT, and SIGTERM where there is one.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    #[cfg(unix)]
    async fn wait(&mut self) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn wait(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The site, cut down to what is to be played, at the addresses that are asked for.
fn site(
    path: &Path,
    gateway: Option<&str>,
    listen: Option<std::net::SocketAddr>,
) -> Result<Config, Vec<Fault>> {
    let mut config = read_site(path)?;
    if let Some(id) = gateway {
        let known: Vec<_> = config.gateways.iter().map(|one| one.id.clone()).collect();
        config.gateways.retain(|one| one.id == id);
        if config.gateways.is_empty() {
            return Err(vec![Fault {
                file: path.display().to_string(),
                line: 0,
                what: "--gateway".into(),
                found: format!("`{id}`"),
                allowed: known.join(", "),
            }]);
        }
    }
    if let Some(mut at) = listen {
        for gateway in &mut config.gateways {
            for bus in &mut gateway.buses {
                let before = std::mem::replace(&mut bus.address, at.to_string());
                if let Some(siren) = &mut gateway.annunciator
                    && siren.address == before
                {
                    siren.address.clone_from(&bus.address);
                }
                at.set_port(at.port().saturating_add(1));
            }
        }
    }
    Ok(config)
}

async fn simulate(
    config: &Config,
    seed: u64,
    story: bool,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let start = monotonic();
    let clock = Arc::new(move || (monotonic() - start).as_secs_f64());
    let story = if story { Story::demo() } else { Story::quiet() };
    let simulator = Arc::new(Simulator::new(config, seed, story, clock));
    listen_to_orders(Arc::clone(&simulator)).context("starting to listen for orders")?;
    simulator::run(simulator, cancel).await?;
    Ok(())
}

/// Takes faults from standard input, a line each. A thread of its own: reading a terminal cannot
/// be cancelled, and the process does not wait for it.
fn listen_to_orders(simulator: Arc<Simulator>) -> std::io::Result<()> {
    let listen = move || {
        for line in orders::input().lines().map_while(Result::ok) {
            let said = obey(&simulator, &line);
            if writeln!(std::io::stdout(), "{said}").is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("orders".into());
    thread.spawn(listen).map(drop)
}

fn obey(simulator: &Simulator, line: &str) -> String {
    match simulator::parse_order(line) {
        Ok(None) => String::new(),
        Ok(Some(Order::Help)) => simulator::ORDERS.to_owned(),
        Ok(Some(Order::Clear(targets))) => {
            for target in &targets {
                simulator.clear(target);
            }
            "cleared".to_owned()
        }
        Ok(Some(Order::Inject(target, fault))) => match simulator.inject(&target, &fault) {
            Ok(()) => format!("{target}: {fault:?}"),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    }
}
