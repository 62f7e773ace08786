//! `flood_50k`: 50,000 alarms in one second: committed, chained and on the live stream.
//!
//! 25,000 points of 250 sources rise over their H and HH limits at once, in 250 messages of ten
//! gateways (rumqttc, QoS 1, in this process). The clock runs from the first message handed to the
//! broker until a client of the live stream (HTTP, server-sent events) has read the last of 50,000
//! raised alarms; nothing is told there before it is committed. Each HH is an entry of the ledger
//! as well, which follows in the same transactions.
//!
//! Budget: 1 s. The figure is the median of three rounds, each with a new folder.

#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a bench reads a clock and prints its figures"
)]

mod site;

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use site::Shape;

const SHAPE: Shape = Shape {
    gateways: 10,
    units: 25,
    points: 100,
    period: "1s",
};
const ALARMS: usize = 50_000;
const ROUNDS: usize = 3;

fn main() {
    let runtime = site::runtime();
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| runtime.block_on(round())).collect();
    times.sort_unstable();
    let median = times[ROUNDS / 2].as_secs_f64();
    println!("flood_50k: {median:.2} s (goal <= 1)");
}

async fn round() -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let (config, serving) = site::open(SHAPE, folder.path()).await;
    site::send(&config, SHAPE, serving.mqtt.1, 1, site::ORDINARY).await;
    let url = format!("http://{}/api/v1/live", serving.http);
    let (listening, is_listening) = tokio::sync::oneshot::channel();
    let listener = tokio::spawn(listen(url, listening));
    is_listening.await.unwrap();
    let health = serving.centre.health();
    let groups = health.groups.load(Relaxed);
    let begin = site::send(&config, SHAPE, serving.mqtt.1, 2, site::TOO_HIGH).await;
    let committed = begin.elapsed();
    let (end, bytes) = listener.await.unwrap();
    let (groups, took) = (health.groups.load(Relaxed) - groups, end - begin);
    println!(
        "committed and told to the gateways after {:.2} s, on the live stream after {:.2} s \
         ({} MiB), in {groups} groups",
        committed.as_secs_f64(),
        took.as_secs_f64(),
        bytes >> 20,
    );
    serving.stop().await;
    took
}

/// Reads the live stream until every alarm has been raised; when that was, and how many bytes.
async fn listen(url: String, listening: tokio::sync::oneshot::Sender<()>) -> (Instant, usize) {
    let mut stream = reqwest::get(url).await.unwrap();
    listening.send(()).unwrap();
    let (mut rest, mut raised, mut bytes) = (Vec::new(), 0, 0);
    while raised < ALARMS {
        let chunk = stream.chunk().await.unwrap().expect("the stream goes on");
        bytes += chunk.len();
        rest.extend_from_slice(&chunk);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
            continue;
        };
        let lines = std::str::from_utf8(&rest[..end]).unwrap();
        raised += lines
            .matches(r#"h","from":"normal","to":"unacked""#)
            .count();
        rest.drain(..=end);
    }
    assert_eq!(raised, ALARMS);
    (Instant::now(), bytes)
}
