//! `ack_at_100k`: an operator acknowledges while 100,000 alarms are active.
//!
//! 50,000 points of 500 sources rise over their H and HH limits; each HH is an entry of the ledger as
//! well. Then one operator acknowledges one alarm after another over HTTP, while a second client
//! asks for everything that a console shows (alarms, sources, points, gateways) without a pause: an
//! answer waits for what the loop is asked meanwhile, and for one sync of the disk. The figure is the
//! 99th percentile. How long each list takes is printed beside it.
//!
//! Budget: 100 ms.

#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench reads a clock and prints its figures"
)]

mod site;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use site::{Shape, at_percent};

const SHAPE: Shape = Shape {
    gateways: 10,
    units: 50,
    points: 100,
    period: "1s",
};
const ACTIVE: u64 = 100_000;
const ACKNOWLEDGED: usize = 200;
const LISTS: [&str; 4] = ["alarms", "sources", "points", "gateways"];

fn main() {
    let mut times = site::runtime().block_on(run());
    times.sort_unstable();
    println!(
        "acknowledged: {} of {ACTIVE}, p50 {:.1} ms, max {:.1} ms",
        times.len(),
        at_percent(&times, 50),
        at_percent(&times, 100)
    );
    let figure = at_percent(&times, 99);
    println!("ack_at_100k: {figure:.1} ms (goal <= 100)");
}

async fn run() -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let (config, serving) = site::open(SHAPE, folder.path()).await;
    site::send(&config, SHAPE, serving.mqtt.1, 1, site::ORDINARY).await;
    site::send(&config, SHAPE, serving.mqtt.1, 2, site::TOO_HIGH).await;
    let api = format!("http://{}/api/v1", serving.http);
    let client = reqwest::Client::new();
    let list = client.get(format!("{api}/alarms?limit={ACKNOWLEDGED}"));
    let list = list.send().await.unwrap().text().await.unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["total"], ACTIVE);
    let told = |request: reqwest::RequestBuilder| {
        let request = request.header("x-davy-csrf", "1");
        request.header("content-type", "application/json")
    };
    let signed = told(client.post(format!("{api}/session"))).body(r#"{"user":"bench"}"#);
    let signed = signed.send().await.unwrap();
    let cookie = signed.headers()["set-cookie"].clone();
    let done = Arc::new(AtomicBool::new(false));
    let asker = tokio::spawn(ask(client.clone(), api.clone(), Arc::clone(&done)));
    let mut times = Vec::new();
    for alarm in list["alarms"].as_array().unwrap() {
        let occurrence = alarm["occurrence"].as_u64().unwrap();
        let answer = client.post(format!("{api}/alarms/{occurrence}/acknowledge"));
        let answer = told(answer).header("cookie", &cookie).body("{}");
        let begin = Instant::now();
        let answer = answer.send().await.unwrap();
        times.push(begin.elapsed());
        assert_eq!(answer.status(), 200);
    }
    done.store(true, Ordering::Release);
    for (path, mut times) in asker.await.unwrap() {
        times.sort_unstable();
        println!(
            "/api/v1/{path}, meanwhile: asked {} times, p50 {:.0} ms, max {:.0} ms",
            times.len(),
            at_percent(&times, 50),
            at_percent(&times, 100)
        );
    }
    serving.stop().await;
    times
}

/// Asks for one list after the other; how long each took, with all of it read.
async fn ask(
    client: reqwest::Client,
    api: String,
    done: Arc<AtomicBool>,
) -> BTreeMap<&'static str, Vec<Duration>> {
    let mut times: BTreeMap<_, Vec<_>> = BTreeMap::new();
    while !done.load(Ordering::Acquire) {
        for path in LISTS {
            let begin = Instant::now();
            let answer = client.get(format!("{api}/{path}")).send().await.unwrap();
            answer.bytes().await.unwrap();
            times.entry(path).or_default().push(begin.elapsed());
        }
    }
    times
}
