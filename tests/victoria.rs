//! VictoriaMetrics takes the same lines: a second reader of the line protocol that is not ours.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod servers;

use std::collections::BTreeMap;
use std::path::Path;

use davy::sinks::{InfluxConfig, Sinks};
use servers::{Plant, Server, Values, influx_status, wait};

async fn export(url: &str, name: &str) -> Values {
    let client = reqwest::Client::new();
    // What has just come in is not found before this.
    let flush = client.get(format!("{url}/internal/force_flush"));
    flush.send().await.unwrap().error_for_status().unwrap();
    let text = client
        .get(format!("{url}/api/v1/export?match[]={name}"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let mut values = Values::new();
    for line in text.lines() {
        let series: serde_json::Value = serde_json::from_str(line).unwrap();
        let tag = series["metric"]["tag"].as_str().unwrap().to_owned();
        let times = series["timestamps"].as_array().unwrap();
        let of_tag = values.entry(tag).or_default();
        for (at, value) in times.iter().zip(series["values"].as_array().unwrap()) {
            of_tag.insert(at.as_i64().unwrap(), value.as_f64().unwrap());
        }
    }
    values
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_same_lines_are_read_back_from_victoria_metrics() {
    let (data, address) = (tempfile::tempdir().unwrap(), servers::free_address());
    let arguments = [
        format!("-storageDataPath={}", data.path().display()),
        format!("-httpListenAddr={address}"),
        "-retentionPeriod=100y".to_owned(),
    ];
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let url = format!("http://{address}");
    let mut server = Server::start(Path::new("victoria-metrics"), &arguments, url);
    server.ready().await;
    let mut plant = Plant::new();
    for _ in 0..100 {
        plant.message();
    }
    let config = InfluxConfig {
        url: server.url.clone(),
        org: "works".into(),
        bucket: "davy".into(),
        token: String::new(),
    };
    let folder = plant.folder.path();
    let committed = plant.committed.subscribe();
    let sinks = Sinks::start_with(folder, committed, Some(config), None).unwrap();
    let last = plant.journal.last_number();
    wait("all is stored", || async {
        influx_status(&sinks).cursor == last
    })
    .await;
    assert!(
        export(&server.url, "reading_value").await == plant.expected,
        "readings differ"
    );
    let qualities = export(&server.url, "reading_quality").await;
    assert!(
        qualities
            .values()
            .all(|of_tag| of_tag.values().all(|code| *code == 0.0))
    );
    assert_eq!(
        qualities.values().map(BTreeMap::len).sum::<usize>(),
        plant.readings()
    );
}
