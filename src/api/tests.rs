//! What the interface says while the disk is full, and how it closes. The rest is in `tests/http.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use davy_core::alarm::Command;
use davy_core::watch::Input;
use serde_json::Value;
use tempfile::TempDir;

use crate::broker::Accounts;
use crate::retention::Retention;
use crate::serve::{self, Mqtt, Options};

/// Longest wait for one thing.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn every_route_stands_in_the_description() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut described = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        if file.is_dir() || file.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        described += text.matches("#[utoipa::path(").count();
        // What is routed by `routes!` is described; nothing may come in beside it.
        for beside in [".route(", ".route_service(", ".nest", ".merge("] {
            assert!(!text.contains(beside), "{} in {}", beside, file.display());
        }
    }
    let document = serde_json::to_value(super::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let calls = paths.values().map(|path| path.as_object().unwrap().len());
    assert_eq!(calls.sum::<usize>(), described);
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/v1/live",
        "/api/v1/openapi.json",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
}

fn options(folder: &Path) -> Options {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    Options {
        retention: Retention::default(),
        data: folder.to_path_buf(),
        files: crate::centre::tests::good_files(),
        mqtt: Mqtt::Embedded {
            listen: free,
            accounts: Accounts {
                group: "works".into(),
                gateways: BTreeMap::new(),
                centre: ("centre".into(), "secret".into()),
            },
        },
        host_id: "davy".into(),
        http: free,
        influxdb: None,
        accepted: crate::centre::Accepted::default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_at_every_door() {
    let folder = TempDir::new().unwrap();
    let options = options(folder.path());
    let serving = serve::start(options, |_| ()).await.unwrap();
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let asked = client.get(format!("http://{}{path}", serving.http)).send();
        let response = tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap()
            .unwrap();
        let status = response.status().as_u16();
        (status, response.text().await.unwrap())
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(get("/api/v1/alarms").await.0, 200);
    let health = serving.centre.health();
    health.test_full.store(true, Ordering::Release);
    let commanded = serving.centre.clone();
    let command = tokio::spawn(async move {
        let (by, comment) = ("Li".into(), None);
        let occurrence = 99;
        let command = Command::Acknowledge {
            occurrence,
            by,
            comment,
        };
        commanded.command(Input::Alarm(command)).await
    });
    let mut full = serving.centre.full();
    let failed = full.wait_for(|full| *full);
    drop(
        tokio::time::timeout(PATIENCE, failed)
            .await
            .unwrap()
            .unwrap(),
    );
    let (status, ready) = get("/readyz").await;
    assert_eq!(
        (status, &json(&ready)["checks"]["disk"]),
        (503, &Value::Bool(false))
    );
    let (status, alive) = get("/healthz").await;
    assert_eq!((status, &json(&alive)["alive"]), (200, &Value::Bool(true)));
    let (status, metrics) = get("/metrics").await;
    assert!(
        status == 200 && metrics.contains("davy_disk_full 1"),
        "{metrics}"
    );
    for path in ["/api/v1/alarms", "/api/v1/site", "/api/v1/points"] {
        let (status, problem) = get(path).await;
        assert_eq!(
            (status, &json(&problem)["type"]),
            (503, &"no_room".into()),
            "{path}"
        );
    }
    // The live stream can be opened, and says so.
    let live = client
        .get(format!("http://{}/api/v1/live", serving.http))
        .send();
    let mut live = tokio::time::timeout(PATIENCE, live).await.unwrap().unwrap();
    let first = tokio::time::timeout(PATIENCE, live.chunk()).await.unwrap();
    let first = String::from_utf8(first.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.contains("\"no_room\":true"), "{first}");
    health.test_full.store(false, Ordering::Release);
    let answer = tokio::time::timeout(PATIENCE, command).await.unwrap();
    assert!(answer.unwrap().is_ok());
    assert_eq!(get("/api/v1/alarms").await.0, 200);
    drop(live);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_leaves_whole_files_however_many_listen() {
    let folder = TempDir::new().unwrap();
    let serving = serve::start(options(folder.path()), |_| ()).await.unwrap();
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let asked = client.get(format!("http://{}{path}", serving.http)).send();
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap()
            .unwrap()
    };
    // A live stream, and a connection that is kept for the next request.
    let mut live = get("/api/v1/live").await;
    assert!(live.chunk().await.unwrap().is_some());
    assert_eq!(get("/api/v1/alarms").await.status(), 200);
    tokio::time::timeout(PATIENCE, serving.stop())
        .await
        .unwrap();
    while let Ok(Some(_)) = live.chunk().await {}
    let names = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let logs: Vec<_> = names
        .iter()
        .filter(|name| name.contains("sqlite-"))
        .collect();
    assert!(logs.is_empty(), "{names:?}");
    assert!(names.iter().any(|name| name == "journal.sqlite"));
}
