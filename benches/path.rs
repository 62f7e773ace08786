//! `path_throughput` and `path_cpu`: MQTT in → committed, 100 readings a message, flat out.
//!
//! The centre runs as `davy serve` runs it, with its embedded broker, in this process; 4, 8 and 16
//! gateways (rumqttc, QoS 1) send from a child process on the same cores. Their messages are
//! encoded before, numbered, and counted as done when the centre has told their gateway that it may
//! free them. 48,000 points, four limits each. CPU is that of this process alone, load not counted.
//!
//! Budgets: 3 M readings/s, 0.4 µs a reading. The figure is the median of all rounds.

#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a bench reads a clock and prints its figures"
)]

mod site;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use davy::clock::Clock;
use davy::serve::Serving;
use davy_core::config::check;
use davy_core::reading::Timestamp;
use site::{Script, Shape};
use tokio::sync::{mpsc, watch};

const SHAPE: Shape = Shape {
    gateways: 16,
    units: 30,
    points: 100,
    period: "1s",
};
const MESSAGES: usize = 120_000;
const ROUNDS: [usize; 6] = [4, 8, 16, 4, 8, 16];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let runtime = site::runtime();
    if let [_, word, port, gateways, run] = args.as_slice()
        && word == "load"
    {
        let numbers = (
            port.parse().unwrap(),
            gateways.parse().unwrap(),
            run.parse().unwrap(),
        );
        runtime.block_on(load(numbers));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (config, serving) = runtime.block_on(site::open(SHAPE, folder.path()));
    println!(
        "{} points, {} alarms, {}",
        config.points.len(),
        config.alarms.len(),
        memory()
    );
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for (run, gateways) in (1..).zip(ROUNDS) {
        let (rate, cost) = round(&serving, gateways, run);
        rates.push(rate);
        costs.push(cost);
    }
    let counters = runtime.block_on(
        serving
            .centre
            .ask(|watch| watch.engine().counters().untimely),
    );
    let counters = counters.unwrap();
    assert_eq!((counters.out_of_order, counters.from_future), (0, 0));
    assert_eq!(serving.centre.health().duplicates.load(Relaxed), 0);
    runtime.block_on(serving.stop());
    rates.sort_by(f64::total_cmp);
    costs.sort_by(f64::total_cmp);
    println!(
        "path_throughput: {:.1} M readings/s (goal >= 3)",
        rates[rates.len() / 2]
    );
    println!("path_cpu: {:.2} µs (goal <= 0.4)", costs[costs.len() / 2]);
}

/// Millions of readings a second, and µs of CPU a reading.
fn round(serving: &Serving, gateways: usize, run: u64) -> (f64, f64) {
    let health = serving.centre.health();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "load",
            &serving.mqtt.1.to_string(),
            &gateways.to_string(),
            &run.to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let messages: usize = lines.next().unwrap().unwrap().parse().unwrap();
    let (cpu, groups, before) = (cpu(), health.groups.load(Relaxed), process_cpu());
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let seconds: f64 = lines.next().unwrap().unwrap().parse().unwrap();
    let used = process_cpu().saturating_sub(before).as_secs_f64();
    let readings = (messages * SHAPE.points) as f64;
    let groups = health.groups.load(Relaxed) - groups;
    assert!(child.wait().unwrap().success());
    let (rate, cost) = (readings / seconds / 1e6, used * 1e6 / readings);
    let threads: Vec<_> = self::cpu()
        .into_iter()
        .map(|(name, after)| {
            let used = after.saturating_sub(cpu.get(&name).copied().unwrap_or_default());
            (used.as_secs_f64() * 1e6 / readings, name)
        })
        .filter(|(used, _)| *used >= 0.001)
        .map(|(used, name)| format!("{name} {used:.3}"))
        .collect();
    println!(
        "{gateways} gateways: {rate:.2} M readings/s, {cost:.3} µs ({}), {:.0} messages a group, {}",
        threads.join(", "),
        messages as f64 / groups as f64,
        memory()
    );
    (rate, cost)
}

/// The child: all gateways of the load.
async fn load((port, gateways, run): (u16, usize, u64)) {
    let config = Arc::new(check(&SHAPE.files()).unwrap());
    let now = Clock::new(Timestamp(0)).now();
    let cycles = MESSAGES / gateways / SHAPE.units;
    let (ready, mut is_ready) = mpsc::channel(gateways);
    let (go, is_go) = watch::channel(false);
    let mut messages = 0;
    let mut players = tokio::task::JoinSet::new();
    for gateway in 0..gateways {
        let script = Script::new(&config, gateway, (run, cycles), now, site::ORDINARY);
        messages += script.messages();
        players.spawn(script.play(port, ready.clone(), is_go.clone()));
    }
    for _ in 0..gateways {
        is_ready.recv().await.unwrap();
    }
    println!("{messages}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let begin = Instant::now();
    go.send(true).unwrap();
    while let Some(player) = players.join_next().await {
        player.unwrap();
    }
    println!("{}", begin.elapsed().as_secs_f64());
}

/// CPU by name of thread, as the scheduler counts it.
fn cpu() -> BTreeMap<String, Duration> {
    let mut threads = BTreeMap::new();
    for thread in fs::read_dir("/proc/self/task").unwrap() {
        let folder = thread.unwrap().path();
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let used: u64 = read("schedstat")
            .split_whitespace()
            .next()
            .map_or(0, |ns| ns.parse().unwrap());
        *threads.entry(read("comm").trim().to_owned()).or_default() += Duration::from_nanos(used);
    }
    threads
}

/// CPU of this process, threads that have ended included.
fn process_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    // User and system time are the 12th and 13th after the name, in hundredths of a second.
    let fields: Vec<_> = fields.split_whitespace().skip(11).take(2).collect();
    let ticks: u64 = fields
        .iter()
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mib = |key: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap();
        line.split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >> 10
    };
    format!("memory {} MiB, at most {}", mib("VmRSS:"), mib("VmHWM:"))
}
