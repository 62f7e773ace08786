//! `live_latency_p99`: from a Modbus reply to the alarm in the live stream, at 10,000 readings/s.
//!
//! Everything runs in this process: a tiny Modbus TCP server, the gateway that polls it (1,000
//! float points on ten buses, each 100 ms), the centre with its broker, and a client of the live
//! stream over HTTP. At every second poll of a unit its first point is over its limits; the server
//! notes the moment just before it sends that reply.
//!
//! An alarm waits for one sync of the disk, which is the disk's and not Davy's. So a small append is
//! synced every 10 ms on the same disk meanwhile, and from each alarm's time the sync that was begun
//! last before it was told is taken off: the two met the same disk at the same time. The figure is
//! the 99th percentile of what is left; all three distributions are printed.
//!
//! It sleeps only where time is what it gives: to warm up, to measure, between two syncs.
//!
//! Budget: 5 ms.

#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a bench reads a clock and prints its figures"
)]

mod site;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use davy::serve::Serving;
use davy_core::config::Config;
use davy_gateway::clock::Clock;
use davy_gateway::edge;
use davy_gateway::outbox::Limits;
use davy_gateway::publish::session::Acknowledge;
use davy_gateway::status::Status;
use site::{Shape, at_percent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const SHAPE: Shape = Shape {
    gateways: 1,
    units: 10,
    points: 100,
    period: "100ms",
};
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(30);

/// Replies over the limit that are on their way: unit, value, moment.
type Sent = Arc<Mutex<VecDeque<(usize, f64, Instant)>>>;

/// When something began and ended.
type Span = (Instant, Instant);

fn main() {
    let runtime = site::runtime();
    let folder = tempfile::tempdir().unwrap();
    let (alarms, syncs) = runtime.block_on(run(folder.path()));
    let mut left: Vec<_> = alarms.iter().map(|alarm| less(*alarm, &syncs)).collect();
    let [mut alarms, mut syncs] = [alarms, syncs].map(|spans| -> Vec<Duration> {
        let times = spans.into_iter().map(|(begin, end)| end - begin);
        times.collect()
    });
    for (name, times) in [
        ("reply to alarm", &mut alarms),
        ("sync of the disk, meanwhile", &mut syncs),
        ("reply to alarm, less the sync beside it", &mut left),
    ] {
        times.sort_unstable();
        println!(
            "{name}: {} of them, p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            times.len(),
            at_percent(times, 50),
            at_percent(times, 90),
            at_percent(times, 99),
            at_percent(times, 100)
        );
    }
    let figure = at_percent(&left, 99);
    println!("live_latency_p99: {figure:.1} ms (goal <= 5)");
}

/// What is left of an alarm's time without the sync that was begun last before it was told.
fn less((sent, told): Span, syncs: &[Span]) -> Duration {
    let begun = syncs.partition_point(|(begin, _)| *begin < told);
    let sync = begun.checked_sub(1).and_then(|last| syncs.get(last));
    let sync = sync.map_or(Duration::ZERO, |(begin, end)| *end - *begin);
    (told - sent).saturating_sub(sync)
}

async fn run(folder: &Path) -> (Vec<Span>, Vec<Span>) {
    let (config, serving) = site::open(SHAPE, &folder.join("centre")).await;
    let sent = Sent::default();
    let addresses = plant(&sent).await;
    let stop = CancellationToken::new();
    let options = gateway(&config, &serving, folder, addresses);
    let gateway = tokio::spawn(edge::run(options, stop.clone()));
    let stream = reqwest::get(format!("http://{}/api/v1/live", serving.http));
    let stream = stream.await.unwrap();
    let listener = tokio::spawn(listen(stream, Arc::clone(&sent)));
    tokio::time::sleep(WARM_UP).await;
    let (over, file) = (Arc::new(AtomicBool::new(false)), folder.join("sync"));
    let syncs = std::thread::spawn({
        let over = Arc::clone(&over);
        move || sync(&file, &over)
    });
    let health = serving.centre.health();
    let count = || (health.messages.load(Relaxed), health.groups.load(Relaxed));
    let before = count();
    tokio::time::sleep(MEASURED).await;
    let after = count();
    over.store(true, Relaxed);
    let seconds = MEASURED.as_secs_f64();
    println!(
        "{:.0} readings/s in {:.0} messages/s and {:.0} groups/s",
        (after.0 - before.0) as f64 * SHAPE.points as f64 / seconds,
        (after.0 - before.0) as f64 / seconds,
        (after.1 - before.1) as f64 / seconds,
    );
    stop.cancel();
    gateway.await.unwrap().unwrap();
    serving.stop().await;
    (listener.await.unwrap(), syncs.join().unwrap())
}

fn gateway(
    config: &Arc<Config>,
    serving: &Serving,
    folder: &Path,
    addresses: HashMap<String, std::net::SocketAddr>,
) -> edge::Options {
    edge::Options {
        config: Arc::clone(config),
        gateway: site::gateway_id(0),
        data: folder.join("gateway"),
        mqtt: edge::Mqtt {
            host: serving.mqtt.0.clone(),
            port: serving.mqtt.1,
            password: site::PASSWORD.into(),
            host_id: Some(site::HOST_ID.into()),
            acknowledge: Acknowledge::Centre,
        },
        addresses,
        annunciator_address: None,
        outbox: Limits {
            bytes_max: 1 << 30,
            age_max: Duration::from_hours(1),
        },
        backlog_rate: davy_gateway::config::BACKLOG_RATE,
        status: Arc::new(Status::default()),
        clock: Clock::system(),
    }
}

/// Listens for every bus; addresses by name of the bus.
async fn plant(sent: &Sent) -> HashMap<String, std::net::SocketAddr> {
    let mut addresses = HashMap::new();
    for unit in 0..SHAPE.units {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        addresses.insert(format!("b{unit}"), listener.local_addr().unwrap());
        let sent = Arc::clone(sent);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let sent = Arc::clone(&sent);
                tokio::spawn(async move {
                    // An error is the gateway that hangs up.
                    drop(answer(connection, unit, &sent).await);
                });
            }
        });
    }
    addresses
}

/// Function 3 of Modbus TCP: every float is ordinary, but the first one at every second poll.
async fn answer(mut connection: TcpStream, unit: usize, sent: &Sent) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut polls = 0_u32;
    loop {
        let mut request = [0; 12];
        connection.read_exact(&mut request).await?;
        let at = |place: usize| u16::from_be_bytes([request[place], request[place + 1]]);
        let (address, count) = (at(8), at(10));
        let mut reply = Vec::with_capacity(9 + 2 * usize::from(count));
        reply.extend_from_slice(&request[..4]);
        reply.extend_from_slice(&(3 + 2 * count).to_be_bytes());
        reply.extend_from_slice(&request[6..8]);
        reply.push((2 * count) as u8);
        for float in 0..count / 2 {
            let is_first = address == 0 && float == 0;
            let mut value = site::ORDINARY as f32;
            if is_first {
                polls += 1;
                if polls.is_multiple_of(2) {
                    // Above HH, and never the same as the one before, to be known again by.
                    value = 91.0 + (polls / 2 % 64) as f32 / 8.0;
                    let moment = (unit, f64::from(value), Instant::now());
                    sent.lock().unwrap().push_back(moment);
                }
            }
            reply.extend_from_slice(&value.to_be_bytes());
        }
        connection.write_all(&reply).await?;
    }
}

/// Reads the live stream to the end of what is measured; when each alarm's reply was sent, and when
/// it was told.
async fn listen(mut stream: reqwest::Response, sent: Sent) -> Vec<Span> {
    let begin = Instant::now() + WARM_UP;
    let (mut rest, mut times) = (Vec::new(), Vec::new());
    // There is a heartbeat each second, so this ends.
    while Instant::now() < begin + MEASURED
        && let Ok(Some(chunk)) = stream.chunk().await
    {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let now = Instant::now();
            let line: Vec<u8> = rest.drain(..=end).collect();
            for (unit, value) in raised(&line) {
                let mut sent = sent.lock().unwrap();
                let found = sent.iter().position(|one| (one.0, one.1) == (unit, value));
                let (_, _, moment) = sent.remove(found.expect("sent before")).unwrap();
                if moment >= begin && now < begin + MEASURED {
                    times.push((moment, now));
                }
            }
        }
    }
    times
}

/// Units and values of the HH alarms that a line of the stream says were raised.
fn raised(line: &[u8]) -> Vec<(usize, f64)> {
    let Some(data) = line.strip_prefix(b"data: ") else {
        return Vec::new();
    };
    let Ok(serde_json::Value::Array(effects)) = serde_json::from_slice(data) else {
        return Vec::new();
    };
    let raised = effects.iter().filter_map(|effect| {
        let alarm = effect["alarm"].as_str()?.strip_suffix(".P0.hh")?;
        let is_raised = effect["cause"]["kind"] == "raised";
        let unit = alarm.strip_prefix("G0.U")?.parse().ok()?;
        is_raised.then_some((unit, effect["value"].as_f64()?))
    });
    raised.collect()
}

/// Appends a little and syncs it, again and again.
fn sync(file: &Path, over: &AtomicBool) -> Vec<Span> {
    let mut file = File::create(file).unwrap();
    let mut times = Vec::new();
    while !over.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(10));
        let begin = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        times.push((begin, Instant::now()));
    }
    times
}
