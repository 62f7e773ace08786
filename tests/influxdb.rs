//! A real InfluxDB 2: killed while it is written to, away for a while, back; nothing is missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod servers;

use std::collections::BTreeMap;
use std::path::Path;

use davy::sinks::{InfluxConfig, Sinks};
use servers::{BEGIN_MS, MESSAGE_READINGS, Plant, Server, Values, influx_status, wait};

const TOKEN: &str = "a-token-for-this-test-only";

fn start(address: &str, data: &Path) -> Server {
    let at = |name: &str| data.join(name).display().to_string();
    let arguments = [
        "run",
        "--reporting-disabled",
        "--http-bind-address",
        address,
        "--bolt-path",
        &at("bolt"),
        "--sqlite-path",
        &at("sqlite"),
        "--engine-path",
        &at("engine"),
    ];
    Server::start(&servers::influxd(), &arguments, format!("http://{address}"))
}

async fn set_up(url: &str) {
    let body = serde_json::json!({
        "username": "davy", "password": "a-password", "org": "works", "bucket": "davy",
        "token": TOKEN, "retentionPeriodSeconds": 0,
    });
    let setup = reqwest::Client::new().post(format!("{url}/api/v2/setup"));
    let answer = setup.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
}

/// Every value of a field in the bucket.
async fn read_back(url: &str, field: &str) -> Values {
    let answer = reqwest::Client::new()
        .post(format!("{url}/query?db=davy&epoch=ms"))
        .header("Authorization", format!("Token {TOKEN}"))
        .header("Content-Type", "application/vnd.influxql")
        .body(format!("SELECT {field} FROM reading GROUP BY \"tag\""))
        .send()
        .await
        .unwrap();
    let answer: serde_json::Value = answer.json().await.unwrap();
    let mut values = Values::new();
    let series = answer["results"][0]["series"].as_array();
    assert!(series.is_some(), "{answer}");
    for series in series.unwrap() {
        let tag = series["tags"]["tag"].as_str().unwrap().to_owned();
        let of_tag = values.entry(tag).or_default();
        for pair in series["values"].as_array().unwrap() {
            of_tag.insert(pair[0].as_i64().unwrap(), pair[1].as_f64().unwrap());
        }
    }
    values
}

fn follow(plant: &Plant, url: &str) -> Sinks {
    let config = InfluxConfig {
        url: url.into(),
        org: "works".into(),
        bucket: "davy".into(),
        token: TOKEN.into(),
    };
    let folder = plant.folder.path();
    let committed = plant.committed.subscribe();
    Sinks::start_with(folder, committed, Some(config), None).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_missing_after_the_server_was_killed_and_away() {
    let (data, address) = (tempfile::tempdir().unwrap(), servers::free_address());
    let mut server = start(&address, data.path());
    server.ready().await;
    set_up(&server.url).await;
    let mut plant = Plant::new();
    for _ in 0..700 {
        plant.message();
    }
    let sinks = follow(&plant, &server.url);

    // In the midst of the stream: some is stored, and more is being written.
    let all = plant.journal.last_number();
    wait("some of it is stored", || async {
        influx_status(&sinks).cursor > 2
    })
    .await;
    server.kill();
    for _ in 0..100 {
        plant.message();
    }
    wait("the sink says that it cannot store", || async {
        influx_status(&sinks).error.is_some()
    })
    .await;
    let away = influx_status(&sinks);
    assert!(
        away.cursor < plant.journal.last_number() && away.lag > 0,
        "{away:?}"
    );
    assert!(
        sinks.oldest_cursor() <= away.cursor,
        "the journal may not prune what it needs"
    );

    // The centre restarts too, and goes on where it was.
    sinks.stop();
    let sinks = follow(&plant, &server.url);
    assert!(influx_status(&sinks).cursor <= all);
    // Meanwhile the journal is pruned as far as the sinks let it, whatever its age.
    plant.prune(sinks.oldest_cursor());
    let mut server = start(&address, data.path());
    server.ready().await;
    for _ in 0..100 {
        plant.message();
    }
    let last = plant.journal.last_number();
    wait("all is stored", || async {
        influx_status(&sinks).cursor == last
    })
    .await;
    assert_eq!(influx_status(&sinks).refused, 0);
    assert_eq!(plant.readings() as i64, 900 * MESSAGE_READINGS);
    assert!(
        read_back(&server.url, "value").await == plant.expected,
        "readings differ"
    );
    let qualities = read_back(&server.url, "quality").await;
    assert_eq!(
        qualities.values().map(BTreeMap::len).sum::<usize>(),
        plant.readings()
    );
    assert!(
        qualities
            .values()
            .all(|of_tag| of_tag.values().all(|code| *code == 0.0))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_reading_that_the_server_refuses_holds_nothing_up() {
    let (data, address) = (tempfile::tempdir().unwrap(), servers::free_address());
    let mut server = start(&address, data.path());
    server.ready().await;
    set_up(&server.url).await;
    let mut plant = Plant::new();
    plant.message();
    plant.single(i64::MAX / 4, 1.0); // the server keeps nanoseconds: to the year 2262
    plant.message();
    // Somebody else has stored words under the name of the value, in the week of this one.
    let conflict = BEGIN_MS - 1_000_000_000_000;
    let write = "api/v2/write?org=works&bucket=davy&precision=ms";
    let answer = reqwest::Client::new()
        .post(format!("{}/{write}", server.url))
        .header("Authorization", format!("Token {TOKEN}"))
        .body(format!("reading,tag=other value=\"words\" {conflict}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 204);
    plant.single(conflict, 1.0);
    plant.message();
    let sinks = follow(&plant, &server.url);
    let last = plant.journal.last_number();
    wait("all else is stored", || async {
        influx_status(&sinks).cursor == last
    })
    .await;
    let status = influx_status(&sinks);
    assert_eq!((status.refused, &status.error), (2, &None), "{status:?}");
    let mut found = read_back(&server.url, "value").await;
    found.remove("other");
    assert!(found == plant.expected, "readings differ");
}
