//! `davy`: the centre's command line.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use davy::centre::{Accepted, Centre};
use davy::journal::Anchor;
use davy::{config, demo, journal, replay, serve};
use davy_core::alarm::{Condition, Subject};
use davy_core::config::fault::count;
use davy_core::config::{Config, Fault};
use davy_gateway::cause;
use davy_gateway::simulator::Story;
use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;

/// Early warning for major hazard sources (重大危险源): the centre.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything in one process: simulated plants, gateways, broker, centre and console.
    Demo {
        /// The data folder; started again on it, the demo goes on where it was.
        #[arg(long, default_value = "data/demo")]
        data: PathBuf,
        /// Where the console and the API listen (loopback; port 0 takes a free one).
        #[arg(long, default_value = "127.0.0.1:8080")]
        http: SocketAddr,
        /// Where the MQTT broker listens (loopback; port 0 takes a free one).
        #[arg(long, default_value = "127.0.0.1:1883")]
        mqtt: SocketAddr,
        /// How many plants, for load.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        plants: u32,
        /// Seed of the plants.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Plants without a story: nothing goes wrong.
        #[arg(long)]
        quiet: bool,
        /// For programs: no progress on the terminal.
        #[arg(long)]
        headless: bool,
        /// Go on even if this version makes something else of the journal than is in it.
        #[arg(long)]
        accept_replay: bool,
        /// A file to write the addresses to (JSON) once everything runs.
        #[arg(long)]
        ready_file: Option<PathBuf>,
    },
    /// Run the centre of a site.
    Serve {
        /// The centre's file.
        #[arg(long)]
        config: PathBuf,
        /// Go on even if this version makes something else of the journal than is in it.
        #[arg(long)]
        accept_replay: bool,
        /// The host's clock is right, however far it lies past the journal's end.
        #[arg(long)]
        accept_clock: bool,
    },
    /// Check a centre's file or a site's, and say all that is wrong with it.
    Check {
        /// `davy.toml` or `site.toml`.
        file: PathBuf,
    },
    /// Prove the journal's chain, offline or while the centre runs.
    Verify {
        /// The data folder, the journal, or a backup.
        data: PathBuf,
        /// Judge every input again and hold what follows against the journal.
        #[arg(long)]
        replay: bool,
        /// An entry and its hash noted elsewhere, as `number:hash`.
        #[arg(long)]
        anchor: Vec<Anchor>,
    },
    /// Copy the journal while the centre runs, and verify the copy.
    Backup {
        /// The data folder.
        data: PathBuf,
        /// The file to write; nothing is overwritten.
        to: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("warn,davy=info,davy_gateway=warn,mqtt5=error,rumqttc=error")
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log in a file is read by people too: no colour codes in it.
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("davy: {}", cause::tell(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check { file } => check(&file),
        Command::Verify {
            data,
            replay,
            anchor,
        } => verify(&data, replay, &anchor),
        Command::Backup { data, to } => backup(&data, &to),
        Command::Serve {
            config,
            accept_replay: replay,
            accept_clock: clock,
        } => {
            let mut options = config::read(&config).map_err(|faults| told(&faults))?;
            options.accepted = Accepted { replay, clock };
            runtime()?.block_on(serving(options))
        }
        Command::Demo {
            data,
            http,
            mqtt,
            plants,
            seed,
            quiet,
            headless,
            accept_replay: replay,
            ready_file,
        } => {
            let options = demo::Options {
                data,
                http,
                mqtt,
                plants,
                seed,
                story: if quiet {
                    Story::quiet()
                } else {
                    Story::demo_of(plants)
                },
                // Nobody's record depends on it.
                accepted: Accepted {
                    replay,
                    clock: true,
                },
            };
            runtime()?.block_on(demonstrate(options, headless, ready_file))
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}

async fn serving(options: serve::Options) -> anyhow::Result<()> {
    let serving = serve::start(options, say).await?;
    say(&format!("ready: http://{}/", serving.http));
    let ended = stopped(&serving.centre).await;
    say("stopping");
    serving.stop().await;
    ended
}

async fn demonstrate(
    options: demo::Options,
    headless: bool,
    ready_file: Option<PathBuf>,
) -> anyhow::Result<()> {
    let bar = spinner(headless);
    let data = options.data.clone();
    let goes_on = serve::has_journal(&data);
    let demo = demo::start(options, |step| {
        bar.set_message(step.to_owned());
        if headless {
            say(step);
        }
    })
    .await?;
    bar.finish_and_clear();
    let (http, mqtt) = (demo.serving.http, &demo.serving.mqtt);
    if let Some(file) = ready_file {
        let ready = serde_json::json!({
            "http": format!("http://{http}"),
            "mqtt": format!("{}:{}", mqtt.0, mqtt.1),
            "data": data,
        });
        // Whole or not at all: whoever waits for it reads it at once.
        let part = file.with_extension("part");
        std::fs::write(&part, ready.to_string())
            .and_then(|()| std::fs::rename(&part, &file))
            .with_context(|| format!("writing `{}`", file.display()))?;
    }
    let state = if goes_on {
        "goes on where it was / 接续上次"
    } else {
        "new / 新建"
    };
    say(&format!(
        "data / 数据: {} ({state})\nmqtt: {}:{}\n{} points / 测点, {} alarms / 报警\n\
         Ctrl-C ends it / 按 Ctrl-C 结束\nready: http://{http}/",
        data.display(),
        mqtt.0,
        mqtt.1,
        demo.points,
        demo.alarms
    ));
    let ended = stopped(&demo.serving.centre).await;
    say("stopping / 正在停止");
    demo.stop().await;
    ended
}

/// Ctrl-C, or the signal that services are stopped by. An error when the centre's loop has ended by
/// itself: whoever watches over the process is to start it again.
async fn stopped(centre: &Centre) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut committed = centre.committed();
    // It ends with its sender, which the loop holds.
    let ended = async { while committed.changed().await.is_ok() {} };
    tokio::select! {
        done = tokio::signal::ctrl_c() => done.context("listening for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
        () = ended => bail!("the centre's loop has ended; the log says why"),
    }
}

fn check(file: &Path) -> anyhow::Result<()> {
    let text = davy_gateway::config::read_text(file, config::FILE_BYTES_MAX)
        .map_err(|found| anyhow::anyhow!("reading `{}`: {found}", file.display()))?;
    // A centre's file says where it listens; a site's file names its points.
    let of_centre = text.lines().map(str::trim_start).any(|line| {
        ["site", "host_id", "[http]", "[mqtt]"]
            .iter()
            .any(|own| line.starts_with(own))
    });
    if of_centre {
        config::read(file).map_err(|faults| told(&faults))?;
        say("the centre's file and its site are in order");
        return Ok(());
    }
    let config = davy_gateway::config::read_site(file).map_err(|faults| told(&faults))?;
    say(&format!(
        "in order: {} gateways, {} sources, {} points ({} without a limit), {} alarms",
        config.gateways.len(),
        config.sources.len(),
        config.points.len(),
        without_limit(&config),
        config.alarms.len()
    ));
    Ok(())
}

/// Points that are watched for loss of view only.
fn without_limit(config: &Config) -> usize {
    let limits = config
        .alarms
        .iter()
        .filter_map(|alarm| match alarm.subject {
            Subject::Point(point) if matches!(alarm.condition, Condition::Limit(_)) => Some(point),
            _ => None,
        });
    config.points.len() - limits.collect::<BTreeSet<_>>().len()
}

/// All faults at once, each on its line.
fn told(faults: &[Fault]) -> anyhow::Error {
    for fault in faults {
        say(&fault.to_string());
    }
    anyhow::anyhow!("{}; nothing was started", count(faults))
}

fn need_journal(data: &Path) -> anyhow::Result<()> {
    if !serve::has_journal(data) {
        bail!("no journal in `{}`", data.display());
    }
    Ok(())
}

fn verify(data: &Path, replayed: bool, anchors: &[Anchor]) -> anyhow::Result<()> {
    need_journal(data)?;
    let bar = bar("chain / 校验链");
    let verified = journal::verify::verify(data, anchors, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let anchor = verified
        .anchor()
        .map_or_else(String::new, |a| a.to_string());
    say(&format!(
        "the chain holds, and alarms, ledger and snapshots agree with it: {} entries, {} without \
         their bytes; anchor {anchor}",
        verified.entries, verified.pruned
    ));
    if replayed {
        let bar = self::bar("replay / 重放");
        let replayed = replay::replay(data, |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        let from = replayed.from;
        if from > 1 {
            say(&format!(
                "readings before entry {from} were pruned: the replay begins at the snapshot that was \
                 kept for it, which no chain proves"
            ));
        }
        let but_for = match replayed.accepted {
            0 => String::new(),
            entries => {
                format!(" but for {entries} that a person has accepted (`--accept-replay`)")
            }
        };
        say(&format!(
            "the replay gives the same{but_for}: entries {from} to {}, {} with effects",
            replayed.through, replayed.with_effects
        ));
        say(&format!(
            "{} snapshots are the state that it came to",
            replayed.snapshots
        ));
        if replayed.snapshots_unproven > 0 {
            say(&format!(
                "{} snapshots were written by another version, or after an entry that differs: not \
                 proven",
                replayed.snapshots_unproven
            ));
        }
    }
    Ok(())
}

fn backup(data: &Path, to: &Path) -> anyhow::Result<()> {
    need_journal(data)?;
    let bar = bar("backup / 备份");
    let verified = journal::backup::backup(data, to, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    say(&format!(
        "backed up to `{}` and verified: {} entries",
        to.display(),
        verified.entries
    ));
    Ok(())
}

fn bar(what: &'static str) -> ProgressBar {
    let form = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
    let bar = ProgressBar::new(0).with_message(what);
    match form {
        Ok(form) => bar.with_style(form),
        Err(_) => bar,
    }
}

fn spinner(headless: bool) -> ProgressBar {
    if headless {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Says something to the person at the terminal, who may have closed it.
fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
