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
use tokio::task::JoinHandle;

use crate::broker::Accounts;
use crate::centre::{Answer, Ended};
use crate::retention::Retention;
use crate::serve::{self, Mqtt, Options, Serving};

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

/// Answers to a client: status, the moment that an earlier state is of, and the text.
async fn get(serving: &Serving, path: &str) -> (u16, Option<i64>, String) {
    let asked = reqwest::get(format!("http://{}{path}", serving.http));
    let response = tokio::time::timeout(PATIENCE, asked).await;
    let response = response.unwrap().unwrap();
    let status = response.status().as_u16();
    let as_of_ms = response.headers().get("x-davy-as-of-ms");
    let as_of_ms = as_of_ms.map(|at| at.to_str().unwrap().parse().unwrap());
    (status, as_of_ms, response.text().await.unwrap())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A command on its way when the disk becomes full.
async fn fill(serving: &Serving) -> JoinHandle<Result<Answer, Ended>> {
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
    let failed = tokio::time::timeout(PATIENCE, failed).await.unwrap();
    drop(failed.unwrap());
    command
}

/// Makes room; the command is carried out.
async fn empty(serving: &Serving, command: JoinHandle<Result<Answer, Ended>>) {
    let health = serving.centre.health();
    health.test_full.store(false, Ordering::Release);
    let answer = tokio::time::timeout(PATIENCE, command).await.unwrap();
    assert!(answer.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_at_every_door() {
    let folder = TempDir::new().unwrap();
    let serving = serve::start(options(folder.path()), |_| ()).await.unwrap();
    let command = fill(&serving).await;
    let (status, _, ready) = get(&serving, "/readyz").await;
    assert_eq!(
        (status, &json(&ready)["checks"]["disk"]),
        (503, &Value::Bool(false))
    );
    let (status, _, alive) = get(&serving, "/healthz").await;
    assert_eq!((status, &json(&alive)["alive"]), (200, &Value::Bool(true)));
    let (status, _, metrics) = get(&serving, "/metrics").await;
    assert!(
        status == 200 && metrics.contains("davy_disk_full 1"),
        "{metrics}"
    );
    // The live stream can be opened, and says so.
    let live = reqwest::get(format!("http://{}/api/v1/live", serving.http));
    let mut live = tokio::time::timeout(PATIENCE, live).await.unwrap().unwrap();
    let first = tokio::time::timeout(PATIENCE, live.chunk()).await.unwrap();
    let first = String::from_utf8(first.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.contains("\"no_room\":true"), "{first}");
    empty(&serving, command).await;
    drop(live);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_room_goes_on_seeing_what_was_committed() {
    let folder = TempDir::new().unwrap();
    let serving = serve::start(options(folder.path()), |_| ()).await.unwrap();
    let (status, as_of_ms, before) = get(&serving, "/api/v1/alarms").await;
    assert_eq!((status, as_of_ms), (200, None));
    let command = fill(&serving).await;
    let committed_at_ms = (serving.centre.health().alive_at_ms).load(Ordering::Acquire);
    for path in ["alarms", "site", "points", "sources", "gateways", "hazards"] {
        let (status, as_of_ms, shown) = get(&serving, &format!("/api/v1/{path}")).await;
        assert_eq!(status, 200, "{path}: {shown}");
        assert_eq!(as_of_ms, Some(committed_at_ms), "{path}");
    }
    let (.., shown) = get(&serving, "/api/v1/alarms").await;
    assert_eq!(json(&shown)["alarms"], json(&before)["alarms"]);
    // One can sign in, though the session cannot be written down; commands are refused.
    std::fs::create_dir(folder.path().join("sessions.new")).unwrap();
    let client = reqwest::Client::new();
    let told = |path: &str, body: &'static str| {
        let told = client.post(format!("http://{}/api/v1/{path}", serving.http));
        let told = told.header("content-type", "application/json");
        told.header("x-davy-csrf", "1").body(body)
    };
    let signed = told("session", r#"{"user":"Li"}"#).send().await.unwrap();
    assert_eq!(signed.status(), 200);
    let cookie = signed.headers()["set-cookie"].clone();
    let refused = told("alarms/1/acknowledge", "{}").header("cookie", cookie);
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 503);
    let problem = json(&refused.text().await.unwrap());
    assert_eq!(problem["type"], "no_room");
    empty(&serving, command).await;
    let (status, as_of_ms, _) = get(&serving, "/api/v1/alarms").await;
    assert_eq!((status, as_of_ms), (200, None));
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
