//! The real interface over loopback: every route, every refusal, the live stream, the ledger.
//!
//! The whole centre runs, broker and sinks included; messages of a gateway are handed to its loop
//! as the broker would. Waits end with an event of the live stream and are bounded by
//! [`PATIENCE`]; nothing sleeps.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::too_many_lines,
    reason = "tables and stories read from top to bottom"
)]

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use davy::broker::Accounts;
use davy::serve::{self, Mqtt, Options, Serving};
use davy_core::config::SourceFile;
use davy_core::delivery::MessageNumber;
use davy_core::hazard::{HazardCommand, HazardStep};
use davy_core::reading::{PointId, Quality, Reading, Timestamp};
use davy_core::sparkplug::{
    BirthPoint, DeviceMessage, NodeBirth, NodeMessage, Topic, WireType, build_device_birth,
    build_node_birth, encode_data, finish,
};
use davy_core::watch::Input;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longest wait for one thing.
const PATIENCE: Duration = Duration::from_mins(1);

const SITE: &str = include_str!("../core/src/watch/testdata/site.toml");
const POINTS: &str = include_str!("../core/src/watch/testdata/points.csv");
const STANDARDS: &str = include_str!("../core/src/config/testdata/good/standards.toml");
const GOLDEN: &str = "tests/golden/openapi.json";

struct Site {
    serving: Serving,
    client: Client,
    base: String,
    sequence: AtomicU64,
    folder: TempDir,
}

impl Site {
    async fn serve(folder: &Path) -> Serving {
        // A closed entry need not wait a day here.
        let standards = STANDARDS.replace(
            "normal_before_close = \"24h\"",
            "normal_before_close = \"1s\"",
        );
        let files = [
            ("site.toml", SITE),
            ("points.csv", POINTS),
            ("standards.toml", &standards),
        ];
        let free = "127.0.0.1:0".parse().unwrap();
        let options = Options {
            data: folder.to_path_buf(),
            files: files
                .map(|(name, text)| SourceFile {
                    name: name.into(),
                    text: text.into(),
                })
                .into(),
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
            accepted: davy::centre::Accepted::default(),
            retention: davy::retention::Retention::default(),
        };
        serve::start(options, |_| ()).await.unwrap()
    }

    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let serving = Self::serve(folder.path()).await;
        let site = Self {
            base: format!("http://{}", serving.http),
            serving,
            client: Client::new(),
            sequence: AtomicU64::new(0),
            folder,
        };
        // Who is born before the centre hears deaths is unseen when it does.
        let ready = async {
            let ask = || site.request(Method::GET, "/readyz").send();
            while !ask().await.is_ok_and(|answer| answer.status().is_success()) {}
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();
        site.born().await;
        site
    }

    async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.serving.stop())
            .await
            .unwrap();
    }

    async fn say(&self, topic: Topic<'_>, payload: Vec<u8>) {
        let centre = &self.serving.centre;
        centre.message(topic.to_string(), payload).await.unwrap();
    }

    async fn born(&self) {
        let now = self.serving.centre.now();
        let (group, node, device) = ("works", "gw", "gas");
        let last = MessageNumber {
            run: 1,
            sequence: 0,
        };
        let birth = NodeBirth {
            bd_seq: 1,
            last,
            stored: &[],
            lost: 0,
            instance: "one",
        };
        let message = NodeMessage::Birth;
        let topic = Topic::Node {
            group,
            message,
            node,
        };
        self.say(topic, build_node_birth(now, 0, &birth)).await;
        let config = self
            .serving
            .centre
            .ask(|watch| watch.config().clone())
            .await;
        let config = config.unwrap();
        let born: Vec<BirthPoint<'_>> = (1..)
            .zip(&config.points[..2])
            .map(|(alias, point)| BirthPoint {
                point,
                alias,
                reading: None,
            })
            .collect();
        let message = DeviceMessage::Birth;
        let topic = Topic::Device {
            group,
            message,
            node,
            device,
        };
        self.say(topic, build_device_birth(now, 1, last, &born))
            .await;
    }

    /// Readings of a point in order, for the 60 s of its off-delay and without a hole.
    async fn returns(&self, point: u32) {
        for ago in (130..=200).rev().step_by(10) {
            self.value(point, 0.1, ago).await;
        }
    }

    /// A value of point 0 (`TF.a`) or 1 (`TF.b`), sampled `ago` seconds ago.
    async fn value(&self, point: u32, value: f64, ago: i64) {
        let now = self.serving.centre.now();
        self.value_by(now, point, value, ago).await;
    }

    /// The same, by a gateway's clock that shows `now`.
    async fn value_by(&self, now: Timestamp, point: u32, value: f64, ago: i64) {
        let sampled_at = Timestamp(now.0 - ago * 1000);
        let reading = Reading::new(PointId(point), value, Quality::Good, sampled_at);
        let number = MessageNumber {
            run: 1,
            sequence: 1 + self.sequence.fetch_add(1, Ordering::Relaxed),
        };
        let mut stored = Vec::new();
        let rows = [(u64::from(point) + 1, WireType::Float, &reading)];
        encode_data(&mut stored, now, Some(number), rows);
        let mut payload = Vec::new();
        finish(&stored, now, 0, false, &mut payload).unwrap();
        let topic = Topic::Device {
            group: "works",
            message: DeviceMessage::Data,
            node: "gw",
            device: "gas",
        };
        self.say(topic, payload).await;
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// Signs in; the cookie.
    async fn sign_in(&self, user: &str) -> String {
        let request = self.request(Method::POST, "/api/v1/session");
        let request = request
            .header("x-davy-csrf", "1")
            .json(&json!({ "user": user }));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.split("; ").any(|part| part == attribute), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn command(&self, cookie: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.request(Method::POST, path).header("x-davy-csrf", "1");
        let response = request
            .header("cookie", cookie)
            .json(body)
            .send()
            .await
            .unwrap();
        let status = response.status();
        if !status.is_success() {
            is_problem(&response, path);
        }
        (status, response.json().await.unwrap())
    }

    /// The newest occurrence of an alarm.
    async fn occurrence(&self, alarm: &str) -> u64 {
        let list = self.get("/api/v1/alarms").await;
        let alarms = list["alarms"].as_array().unwrap();
        let found = alarms.iter().find(|one| one["alarm"] == alarm).unwrap();
        found["occurrence"].as_u64().unwrap()
    }

    async fn live(&self, after: Option<u64>) -> Live {
        let mut request = self.request(Method::GET, "/api/v1/live");
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let text = String::new();
        Live { response, text }
    }

    /// Something that is an entry with effects: a step on no entry.
    async fn refused(&self, hazard: u64) -> u64 {
        let command = Input::Hazard(HazardCommand {
            hazard,
            by: "Li".into(),
            comment: String::new(),
            step: HazardStep::Submit,
        });
        self.serving.centre.command(command).await.unwrap();
        let number = self.serving.centre.ask(davy_core::watch::Watch::number);
        number.await.unwrap()
    }

    async fn latest(&self) -> u64 {
        self.get("/api/v1/site").await["number"].as_u64().unwrap()
    }
}

/// Sends what must be refused; the problem, which is whole and speaks our words alone.
async fn refused(request: RequestBuilder, status: u16, kind: &str) -> Value {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let what = format!("{} {}", request.method(), request.url());
    let response = client.execute(request).await.unwrap();
    let found = response.status().as_u16();
    is_problem(&response, &what);
    let problem: Value = response.json().await.unwrap();
    assert_eq!((found, &problem["type"]), (status, &json!(kind)), "{what}");
    assert_eq!(problem["status"], status, "{what}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.is_empty(), "{what}");
    for foreign in [
        "panicked",
        ".rs:",
        "deserialize",
        "expected",
        "variant",
        "invalid",
    ] {
        assert!(!detail.contains(foreign), "{what}: {detail}");
    }
    problem
}

fn is_problem(response: &Response, what: &str) {
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "application/problem+json", "{what}");
}

/// A client of the live stream.
struct Live {
    response: Response,
    text: String,
}

struct Told {
    event: String,
    id: Option<u64>,
    data: Value,
}

impl Live {
    async fn next(&mut self) -> Told {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let told = parse(event);
                let rest = rest.to_owned();
                self.text = rest;
                return told;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.unwrap().unwrap().unwrap();
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// Numbers of what is told up to one that is at least `to`.
    async fn numbers(&mut self, to: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.last().is_none_or(|last| *last < to) {
            let told = self.next().await;
            assert_ne!(told.event, "reset");
            numbers.extend(told.id);
        }
        numbers
    }

    /// Waits for an effect.
    async fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) {
        loop {
            let told = self.next().await;
            if told.event == "effects" && told.data.as_array().unwrap().iter().any(&wanted) {
                return;
            }
        }
    }
}

fn parse(event: &str) -> Told {
    let field = |name: &str| {
        let mut lines = event.lines();
        lines
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    Told {
        event: field("event:").unwrap_or_default().to_owned(),
        id: field("id:").map(|id| id.parse().unwrap()),
        data: field("data:").map_or(Value::Null, |data| serde_json::from_str(data).unwrap()),
    }
}

#[test]
fn the_description_is_the_golden_one() {
    let path = format!("{}/{GOLDEN}", env!("CARGO_MANIFEST_DIR"));
    let described = serde_json::to_string_pretty(&davy::api::openapi()).unwrap() + "\n";
    if std::env::var_os("DAVY_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &described).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        described == golden,
        "the interface has changed; if it was meant: DAVY_WRITE_GOLDEN=1 cargo test --test http"
    );
}

/// What generators of clients trip over. The whole of the standard is more than is worth having
/// here; `openapi-spec-validator` finds no fault with what holds these.
#[test]
fn the_description_keeps_to_its_standard() {
    let described = serde_json::to_value(davy::api::openapi()).unwrap();
    let mut names = HashSet::new();
    for (path, calls) in described["paths"].as_object().unwrap() {
        for (method, call) in calls.as_object().unwrap() {
            let at = format!("{method} {path}");
            let name = call["operationId"].as_str().unwrap();
            assert!(names.insert(name), "{at}: `{name}` is another call's too");
            for (status, answer) in call["responses"].as_object().unwrap() {
                let words = answer["description"].as_str();
                assert!(words.is_some_and(|it| !it.is_empty()), "{at}: {status}");
            }
            let mut in_path: Vec<_> = (path.split(['{', '}']).skip(1).step_by(2)).collect();
            for one in call["parameters"].as_array().into_iter().flatten() {
                let name = one["name"].as_str().unwrap();
                if one["in"] == "path" {
                    assert_eq!(one["required"], true, "{at}: `{name}`");
                    in_path.retain(|it| *it != name);
                }
            }
            assert!(in_path.is_empty(), "{at}: {in_path:?}");
        }
    }
    let mut left = vec![&described];
    while let Some(value) = left.pop() {
        if let Some(to) = value["$ref"].as_str() {
            let there = to.strip_prefix('#').and_then(|to| described.pointer(to));
            assert!(there.is_some(), "{to}");
        }
        match value {
            Value::Object(fields) => left.extend(fields.values()),
            Value::Array(values) => left.extend(values),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_is_answered() {
    let site = Site::start().await;
    site.value(0, 2.5, 1).await;
    let occurrence = site.occurrence("TF.a.gas2").await;
    let described = site.get("/api/v1/openapi.json").await;
    let mut asked = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        let is_list = path.starts_with("/api/") && methods.get("get").is_some();
        if !is_list || path.ends_with("/live") || path.ends_with("/session") {
            continue;
        }
        let path = path
            .replace("{occurrence}", &occurrence.to_string())
            .replace("{id}", "1")
            .replace("{tag}", "TF.a");
        let answer = site.get(&path).await;
        assert!(answer.is_object() || answer.is_array(), "{path}");
        asked += 1;
    }
    assert!(asked >= 9, "{asked} of them");
    for path in ["/healthz", "/metrics"] {
        let response = site.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let metrics = site.request(Method::GET, "/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("davy_gateway_online{gateway=\"gw\"} 1"),
        "{metrics}"
    );
    for wanted in [
        "# TYPE davy_gateway_committed_readings_total counter\ndavy_gateway_committed_readings_total{gateway=\"gw\"} 1\n",
        "davy_gateway_committed_messages_total{gateway=\"gw\"} 1\n",
        "# TYPE davy_gateway_clock_offset_ms gauge\n",
        "davy_gateway_out_of_order_readings_total{gateway=\"gw\"} 0\n",
        "davy_gateway_future_readings_total{gateway=\"gw\"} 0\n",
        "davy_gateway_clock_steps_back_total{gateway=\"gw\"} 0\n",
    ] {
        assert!(metrics.contains(wanted), "{wanted} in {metrics}");
    }
    let gateways = site.get("/api/v1/gateways").await;
    assert_eq!(gateways[0]["committed"], 1);
    assert!(gateways[0]["heard_at_ms"].is_i64(), "{gateways}");
    for untimely in ["out_of_order", "from_future", "clock_steps_back"] {
        assert_eq!(gateways[0][untimely], 0, "{untimely}");
    }
    let units = gateways[0]["units"].as_array().unwrap();
    for unit in units {
        let is_seen = unit["online"] == true;
        assert_eq!(unit["lost_by"].is_null(), is_seen, "{unit}");
    }
    assert!(!units.is_empty());
    let point = site.get("/api/v1/points/TF.a").await;
    assert_eq!(point["value"], 2.5);
    let sources = site.get("/api/v1/sources").await;
    assert_eq!(sources[0]["hazards_open"], 1);
    // One point of the source has a value; of the others nothing has ever come.
    let why = &sources[0]["why"][0];
    assert_eq!(why["alarm"], "TF.a.gas2", "{sources}");
    assert!(!why["subject"]["zh"].as_str().unwrap().is_empty());
    let alarms = site.get("/api/v1/alarms").await;
    for alarm in alarms["alarms"].as_array().unwrap() {
        // What is about no point has no reading whose quality could be told.
        assert_eq!(
            alarm["tag"].is_null(),
            alarm["quality"].is_null(),
            "{alarm}"
        );
    }
    let points = sources[0]["points"].as_u64().unwrap();
    let sight = ["points_bad", "points_unknown"].map(|of| sources[0][of].as_u64().unwrap());
    assert_eq!((points > 1, sight), (true, [0, points - 1]), "{sources}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_refused_is_a_problem() {
    let site = Site::start().await;
    let cookie = site.sign_in("Li").await;
    let get = |path: &str| site.request(Method::GET, path);
    let post = |path: &str| {
        let request = site.request(Method::POST, path).header("x-davy-csrf", "1");
        request.header("cookie", &cookie)
    };
    let large = json!({ "comment": "x".repeat(100_000) });
    let ack = "/api/v1/alarms/999/acknowledge";
    let table = [
        (get("/api/v1/alarms/999"), 404, "not_found"),
        (get("/api/v1/alarms/none"), 400, "bad_request"),
        (get("/api/v1/alarms/-1"), 400, "bad_request"),
        (get("/api/v1/alarms?limit=many"), 400, "bad_request"),
        (get("/api/v1/points/nobody"), 404, "not_found"),
        (get("/api/v1/points/nobody/trend"), 404, "not_found"),
        (
            get("/api/v1/points/TF.a/trend?buckets=0"),
            400,
            "bad_request",
        ),
        (
            get("/api/v1/points/TF.a/trend?from_ms=9&to_ms=1"),
            400,
            "bad_request",
        ),
        (get("/api/v1/hazards/999"), 404, "not_found"),
        (
            get("/api/v1/hazards/18446744073709551616"),
            400,
            "bad_request",
        ),
        (get("/api/v1/nothing"), 404, "not_found"),
        (get("/api/v1/live?after=x"), 400, "bad_request"),
        (
            site.request(Method::DELETE, "/api/v1/alarms")
                .header("x-davy-csrf", "1")
                .header("cookie", &cookie),
            405,
            "method_not_allowed",
        ),
        (post("/healthz"), 405, "method_not_allowed"),
        (post(ack).body("{"), 415, "media_type"),
        (
            post(ack)
                .header("content-type", "application/json")
                .body("{"),
            400,
            "bad_request",
        ),
        (post(ack).json(&json!([1])), 400, "bad_request"),
        (post(ack).json(&json!({ "comment": 7 })), 400, "bad_request"),
        (post(ack).json(&large), 413, "too_large"),
        (post(ack).json(&json!({})), 404, "unknown_occurrence"),
        (
            post("/api/v1/alarms/999/reset").json(&json!({})),
            404,
            "unknown_occurrence",
        ),
        (
            post("/api/v1/hazards/1/submit").json(&json!({})),
            404,
            "not_found",
        ),
        (
            post("/api/v1/hazards/1/explode").json(&json!({})),
            400,
            "bad_request",
        ),
        (
            post("/api/v1/hazards/1/file_evidence").json(&json!({})),
            400,
            "bad_request",
        ),
        (
            post("/api/v1/hazards/1/submit").json(&json!([])),
            400,
            "bad_request",
        ),
        (
            post("/api/v1/session").json(&json!({ "user": "system" })),
            400,
            "bad_request",
        ),
        (
            post("/api/v1/session").json(&json!({ "user": " " })),
            400,
            "bad_request",
        ),
        (
            post("/api/v1/session").json(&json!({ "user": "a\nb" })),
            400,
            "bad_request",
        ),
        (
            post("/api/v1/session").json(&json!({ "user": "x".repeat(65) })),
            400,
            "bad_request",
        ),
        (get("/api/v1/session"), 401, "not_signed_in"),
        (
            site.request(Method::POST, ack)
                .header("cookie", &cookie)
                .json(&json!({})),
            403,
            "csrf",
        ),
        (
            site.request(Method::POST, ack)
                .header("x-davy-csrf", "1")
                .json(&json!({})),
            401,
            "not_signed_in",
        ),
        (
            get("/api/v1/site").header("host", "evil.example"),
            421,
            "foreign_host",
        ),
        (
            get("/").header("host", "evil.example:80"),
            421,
            "foreign_host",
        ),
        (
            get("/metrics").header("host", "127.0.0.1.evil.example"),
            421,
            "foreign_host",
        ),
    ];
    for (request, status, kind) in table {
        refused(request, status, kind).await;
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]", "[::1]:80"] {
        let response = get("/api/v1/site")
            .header("host", host)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{host}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_call_is_named() {
    let site = Site::start().await;
    site.value(0, 2.5, 1).await;
    let cookie = site.sign_in("Li").await;
    let sources = site.get("/api/v1/sources").await;
    let sources: Vec<&Value> = (sources.as_array().unwrap().iter())
        .map(|source| &source["id"])
        .collect();
    let sources = json!({ "one_of": sources });
    let states = json!({ "one_of": ["found", "registered", "rectifying", "submitted", "closed",
        "rejected", "open"] });
    let rows = json!({ "numbers": ["1", "10000"] });
    let whole = json!({ "numbers": ["0", "18446744073709551615"] });
    let moments = json!({ "numbers": ["0", "253402300799999"] });
    // Path; status; what, where, which; found; allowed.
    let asked = [
        (
            "hazards?state=nonsense",
            400,
            "not_allowed query state",
            "nonsense",
            states.clone(),
        ),
        (
            "hazards?state=",
            400,
            "not_allowed query state",
            "",
            states.clone(),
        ),
        (
            "hazards?state=Found",
            400,
            "not_allowed query state",
            "Found",
            states,
        ),
        (
            "hazards?source=NOPE",
            404,
            "not_there query source",
            "NOPE",
            sources.clone(),
        ),
        (
            "hazards?source=%E7%BD%90",
            404,
            "not_there query source",
            "罐",
            sources.clone(),
        ),
        (
            "hazards?after=9",
            404,
            "not_there query after",
            "9",
            json!({ "numbers": ["1", "1"] }),
        ),
        (
            "hazards?limit=0",
            400,
            "not_allowed query limit",
            "0",
            rows.clone(),
        ),
        (
            "hazards/-1",
            400,
            "not_allowed path id",
            "-1",
            whole.clone(),
        ),
        (
            "points?source=NOPE",
            404,
            "not_there query source",
            "NOPE",
            sources.clone(),
        ),
        ("points?source=", 404, "not_there query source", "", sources),
        (
            "alarms?limit=10001",
            400,
            "not_allowed query limit",
            "10001",
            rows.clone(),
        ),
        (
            "alarms?limit=1e3",
            400,
            "not_allowed query limit",
            "1e3",
            rows,
        ),
        (
            "alarms?after=x",
            400,
            "not_allowed query after",
            "x",
            whole.clone(),
        ),
        (
            "alarms/none",
            400,
            "not_allowed path occurrence",
            "none",
            whole.clone(),
        ),
        ("live?after=-5", 400, "not_allowed query after", "-5", whole),
        (
            "points/TF.a/trend?buckets=2001",
            400,
            "not_allowed query buckets",
            "2001",
            json!({ "numbers": ["1", "2000"] }),
        ),
        (
            "points/TF.a/trend?to_ms=-1",
            400,
            "not_allowed query to_ms",
            "-1",
            moments.clone(),
        ),
        (
            "points/TF.a/trend?from_ms=9223372036854775808",
            400,
            "not_allowed query from_ms",
            "9223372036854775808",
            moments,
        ),
        (
            "points/TF.a/trend?from_ms=9&to_ms=9",
            400,
            "not_allowed query from_ms",
            "9",
            json!({ "numbers": ["0", "8"] }),
        ),
    ];
    for (path, status, what, found, allowed) in asked {
        let kind = if status == 404 {
            "not_found"
        } else {
            "bad_request"
        };
        let request = site.request(Method::GET, &format!("/api/v1/{path}"));
        let problem = refused(request, status, kind).await;
        faults(&problem, path, what, Some(found), &allowed);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(found) && detail.contains("allowed: "),
            "{detail}"
        );
    }
    let text = json!("text");
    let items = json!({ "responsibility": "a", "measures": "b", "funds": 1, "time_limit": "d" });
    let classes = json!({ "one_of": ["general", "major"] });
    let comment = json!({ "one_of": ["comment"] });
    // Path; body; what, where, which; found; allowed.
    let told = [
        (
            "session",
            json!({ "usr": "Li" }),
            "unknown field usr",
            None,
            json!({ "one_of": ["user"] }),
        ),
        (
            "session",
            json!({}),
            "missing field user",
            None,
            text.clone(),
        ),
        (
            "session",
            json!({ "user": null }),
            "missing field user",
            None,
            text.clone(),
        ),
        (
            "session",
            json!({ "user": 7 }),
            "not_allowed field user",
            Some("7"),
            text.clone(),
        ),
        (
            "session",
            json!({ "user": "system" }),
            "not_allowed field user",
            Some("system"),
            json!({ "name": 64 }),
        ),
        (
            "alarms/1/acknowledge",
            json!({ "coment": "x" }),
            "unknown field coment",
            None,
            comment.clone(),
        ),
        (
            "alarms/1/acknowledge",
            json!([1]),
            "not_allowed body ",
            Some("[1]"),
            json!("object"),
        ),
        (
            "alarms/1/reset",
            json!({ "comment": {} }),
            "not_allowed field comment",
            Some("{}"),
            text.clone(),
        ),
        (
            "hazards/1/submit",
            json!({ "class": "major" }),
            "unknown field class",
            None,
            comment,
        ),
        (
            "hazards/1/verify",
            json!({}),
            "missing field class",
            None,
            classes.clone(),
        ),
        (
            "hazards/1/verify",
            json!({ "class": "huge" }),
            "not_allowed field class",
            Some("huge"),
            classes,
        ),
        (
            "hazards/1/verify",
            json!({ "by": "Wang", "class": "major" }),
            "unknown field by",
            None,
            json!({ "one_of": ["class", "comment"] }),
        ),
        (
            "hazards/1/extend",
            json!({ "until": "soon" }),
            "not_allowed field until",
            Some("soon"),
            json!({ "numbers": ["0", "253402300799999"] }),
        ),
        (
            "hazards/1/extend",
            json!({ "until": 5 }),
            "missing field approved_by",
            None,
            text.clone(),
        ),
        (
            "hazards/1/notice",
            json!({ "deadline": 5 }),
            "missing field five_items",
            None,
            json!("object"),
        ),
        (
            "hazards/1/notice",
            json!({ "deadline": 5, "five_items": items }),
            "not_allowed field five_items.funds",
            Some("1"),
            text,
        ),
        (
            "hazards/1/file_evidence",
            json!({}),
            "not_allowed path event",
            Some("file_evidence"),
            json!({ "one_of": ["verify", "reject", "notice", "fix_on_the_spot", "extend", "submit",
                "fail_recheck", "pass_recheck", "supervise"] }),
        ),
    ];
    for (path, body, what, found, allowed) in told {
        let request = site.request(Method::POST, &format!("/api/v1/{path}"));
        let request = request.header("x-davy-csrf", "1").header("cookie", &cookie);
        let problem = refused(request.json(&body), 400, "bad_request").await;
        faults(&problem, path, what, found, &allowed);
    }
    // A word that was never meant to be read is told in part.
    let long = format!("/api/v1/hazards?state={}", "长".repeat(1_000));
    let problem = refused(site.request(Method::GET, &long), 400, "bad_request").await;
    assert_eq!(problem["fault"]["found"], "长".repeat(100));
    // A source that is there may have no entries.
    let none = site.get("/api/v1/hazards?state=closed").await;
    assert_eq!(none, json!([]));
    for path in ["/api", "/api/", "/api/v2/alarms", "/api/v1/alarm"] {
        let problem = refused(site.request(Method::GET, path), 404, "not_found").await;
        assert_eq!(problem["fault"]["found"], path);
    }
    site.stop().await;
}

fn faults(problem: &Value, call: &str, what: &str, found: Option<&str>, allowed: &Value) {
    let fault = &problem["fault"];
    let word = |name: &str| fault[name].as_str().unwrap_or_default().to_owned();
    let told = [word("code"), word("place"), word("name")].join(" ");
    assert_eq!(told, what, "{call}: {problem}");
    assert_eq!(fault["found"].as_str(), found, "{call}: {problem}");
    assert_eq!(&fault["allowed"], allowed, "{call}: {problem}");
}

/// One way to get a call wrong, whatever the call is.
type Wrong = (&'static str, fn(RequestBuilder) -> RequestBuilder, u16);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_answers_as_it_is_described() {
    let site = Site::start().await;
    site.value(0, 2.5, 1).await;
    let cookie = site.sign_in("Li").await;
    let described = site.get("/api/v1/openapi.json").await;
    let wrong_bodies: [Wrong; 5] = [
        ("no body", |request| request, 415),
        ("no JSON", |request| as_json(request, "{".into()), 400),
        ("no object", |request| as_json(request, "7".into()), 400),
        (
            "a foreign field",
            |request| as_json(request, r#"{"zzz":1}"#.into()),
            400,
        ),
        (
            "too much",
            |request| as_json(request, "x".repeat(70_000)),
            413,
        ),
    ];
    let mut asked = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let tells = method != Method::GET;
            let statuses = call["responses"].as_object().unwrap();
            let parameters = call["parameters"].as_array().cloned().unwrap_or_default();
            let of = |place: &str| -> Vec<&Value> {
                let found = parameters.iter().filter(|one| one["in"] == place);
                found.map(|one| &one["name"]).collect()
            };
            let send = |path: &str| {
                let request = site.request(method.clone(), path).header("cookie", &cookie);
                if tells {
                    request.header("x-davy-csrf", "1")
                } else {
                    request
                }
            };
            let right = path.replace("{event}", "submit").replace("{tag}", "TF.a");
            let right = right.replace("{id}", "1").replace("{occurrence}", "1");
            let mut wrong = vec![(
                "foreign host",
                send(&right).header("host", "evil.example"),
                421,
            )];
            if path.starts_with("/api/") {
                let call = send(&format!("{right}?zzz=1"));
                let problem = refused(call, 400, "bad_request").await;
                let allowed = json!({ "one_of": of("query") });
                faults(&problem, path, "unknown query zzz", None, &allowed);
                wrong.push(("a name twice", send(&format!("{right}?zzz=1&zzz=1")), 400));
            }
            for name in of("path") {
                let name = name.as_str().unwrap();
                let broken = path.replace(&format!("{{{name}}}"), "%FF");
                let broken = broken.replace("{event}", "submit").replace("{tag}", "TF.a");
                let broken = broken.replace("{id}", "1");
                wrong.push(("a broken path", send(&broken), 400));
            }
            if tells {
                let bare = site.request(method.clone(), &right);
                wrong.push(("no x-davy-csrf", bare, 403));
                if path != "/api/v1/session" {
                    let bare = site
                        .request(method.clone(), &right)
                        .header("x-davy-csrf", "1");
                    wrong.push(("nobody", bare, 401));
                }
            }
            if call.get("requestBody").is_some() {
                for (what, body, status) in wrong_bodies {
                    wrong.push((what, body(send(&right)), status));
                }
            }
            for (what, request, status) in wrong {
                let response = request.send().await.unwrap();
                let what = format!("{method} {path}, {what}");
                assert_eq!(response.status().as_u16(), status, "{what}");
                is_problem(&response, &what);
                assert!(
                    statuses.contains_key(&status.to_string()),
                    "{what}: {statuses:?}"
                );
                asked += 1;
            }
            // Whatever a call may be refused with is described as a problem.
            for (status, answer) in statuses {
                let is_health = status == "503" && !path.starts_with("/api/");
                let kind = if status.starts_with('2') || is_health {
                    continue;
                } else {
                    &answer["content"]["application/problem+json"]["schema"]["$ref"]
                };
                assert_eq!(
                    kind, "#/components/schemas/Problem",
                    "{method} {path} {status}"
                );
            }
        }
        let other = if methods.get("post").is_some() {
            Method::PUT
        } else {
            Method::PATCH
        };
        let request = site.request(other.clone(), path).header("x-davy-csrf", "1");
        let problem = refused(request.header("cookie", &cookie), 405, "method_not_allowed").await;
        assert_eq!(problem["fault"]["found"], other.as_str());
        assert_ne!(problem["fault"]["allowed"]["one_of"], json!([]), "{path}");
    }
    assert!(asked > 70, "{asked} of them");
    site.stop().await;
}

fn as_json(request: RequestBuilder, body: String) -> RequestBuilder {
    request
        .header("content-type", "application/json")
        .body(body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_it_is_closed() {
    let site = Site::start().await;
    let cookie = site.sign_in("  Li  ").await;
    let who = site
        .request(Method::GET, "/api/v1/session")
        .header("cookie", &cookie);
    let who: Value = who.send().await.unwrap().json().await.unwrap();
    assert_eq!(who["user"], "Li");
    let close = site.request(Method::DELETE, "/api/v1/session");
    let close = close.header("cookie", &cookie).header("x-davy-csrf", "1");
    let closed = close.send().await.unwrap();
    assert_eq!(closed.status(), StatusCode::NO_CONTENT);
    let who = site
        .request(Method::GET, "/api/v1/session")
        .header("cookie", &cookie);
    assert_eq!(who.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_the_centre_and_its_command_needs_no_new_one() {
    let site = Site::start().await;
    site.value(0, 2.5, 1).await;
    let occurrence = site.occurrence("TF.a.gas2").await;
    let cookie = site.sign_in("Li").await;
    let Site {
        serving,
        client,
        sequence,
        folder,
        ..
    } = site;
    tokio::time::timeout(PATIENCE, serving.stop())
        .await
        .unwrap();
    let serving = Site::serve(folder.path()).await;
    let site = Site {
        base: format!("http://{}", serving.http),
        serving,
        client,
        sequence,
        folder,
    };
    let path = format!("/api/v1/alarms/{occurrence}/acknowledge");
    let (status, answer) = site.command(&cookie, &path, &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    // Given twice it is done once, and the second is told so.
    let (status, answer) = site.command(&cookie, &path, &json!({})).await;
    assert_eq!(
        (status, &answer["type"]),
        (StatusCode::CONFLICT, &"already_acknowledged".into())
    );
    let alarm = site.get(&format!("/api/v1/alarms/{occurrence}")).await;
    let kinds: Vec<_> = alarm["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| &change["cause"]["kind"])
        .collect();
    assert_eq!(
        (kinds[0], kinds.last()),
        (&"raised".into(), Some(&&"acknowledged".into())),
        "{alarm}"
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_read_in_pages() {
    let site = Site::start().await;
    site.value(0, 2.5, 1).await;
    site.occurrence("TF.a.gas2").await;
    let all = site.get("/api/v1/alarms").await;
    let occurrences = |list: &Value| -> Vec<u64> {
        let rows = list["alarms"].as_array().unwrap();
        rows.iter()
            .map(|row| row["occurrence"].as_u64().unwrap())
            .collect()
    };
    let whole = occurrences(&all);
    assert!(whole.len() >= 2, "{all}");
    let mut paged = Vec::new();
    let mut path = "/api/v1/alarms?limit=1".to_owned();
    while let [one] = occurrences(&site.get(&path).await)[..] {
        paged.push(one);
        path = format!("/api/v1/alarms?limit=1&after={one}");
    }
    assert_eq!(paged, whole);
    for path in [
        "/api/v1/alarms?after=999",
        "/api/v1/alarms?limit=0",
        "/api/v1/hazards?limit=10001",
    ] {
        let response = site.request(Method::GET, path).send().await.unwrap();
        assert!(response.status().is_client_error(), "{path}");
        is_problem(&response, path);
    }
    let open = site.get("/api/v1/hazards?state=open&limit=10000").await;
    assert_eq!(open.as_array().unwrap().len(), 1, "{open}");
    let id = open[0]["id"].as_str().unwrap();
    let older = site.get(&format!("/api/v1/hazards?after={id}")).await;
    assert_eq!(older, json!([]));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_no_seat_at_the_live_stream_is_told_when_to_come_again() {
    let site = Site::start().await;
    let mut seats = Vec::new();
    for _ in 0..100 {
        seats.push(site.live(None).await);
    }
    let refused = site
        .request(Method::GET, "/api/v1/live")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "5");
    is_problem(&refused, "the 101st");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["type"], "no_seat");
    let metrics = site.request(Method::GET, "/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for wanted in ["davy_live_listeners 100\n", "davy_live_refused_total 1\n"] {
        assert!(metrics.contains(wanted), "{metrics}");
    }
    drop(seats);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_acknowledge_one_wins_and_the_other_is_told() {
    let site = Site::start().await;
    let (li, wang) = (site.sign_in("Li").await, site.sign_in("Wang").await);
    site.value(0, 2.5, 300).await;
    let occurrence = site.occurrence("TF.a.gas2").await;
    let acknowledge = format!("/api/v1/alarms/{occurrence}/acknowledge");
    let reset = format!("/api/v1/alarms/{occurrence}/reset");
    let comment = json!({ "comment": "seen" });
    let (status, problem) = site.command(&li, &reset, &comment).await;
    assert_eq!(
        (status.as_u16(), &problem["type"]),
        (409, &json!("still_active"))
    );
    let (first, second) = tokio::join!(
        site.command(&li, &acknowledge, &comment),
        site.command(&wang, &acknowledge, &comment)
    );
    let mut statuses = [first.0.as_u16(), second.0.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let (winner, loser) = if first.0.is_success() {
        ("Li", second.1)
    } else {
        ("Wang", first.1)
    };
    assert_eq!(loser["type"], "already_acknowledged");
    let detail = site.get(&format!("/api/v1/alarms/{occurrence}")).await;
    assert_eq!(detail["acknowledged_by"], winner);
    assert_eq!(detail["history"].as_array().unwrap().len(), 2);
    // It returns, is held by its latch, and is reset; the delay runs on the gateway's clock.
    site.returns(0).await;
    let detail = site.get(&format!("/api/v1/alarms/{occurrence}")).await;
    assert_eq!(detail["state"], "latched_acked");
    let (status, done) = site.command(&wang, &reset, &comment).await;
    assert_eq!(status, StatusCode::OK);
    assert!(done["number"].as_u64().unwrap() > 0);
    let (status, problem) = site.command(&wang, &reset, &comment).await;
    assert_eq!(
        (status.as_u16(), &problem["type"]),
        (404, &json!("unknown_occurrence"))
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trend_of_a_gateway_whose_clock_is_off_is_there_by_default() {
    let site = Site::start().await;
    let mut live = site.live(None).await;
    let behind = Timestamp(site.serving.centre.now().0 - 7_200_000);
    site.value_by(behind, 0, 2.5, 1).await;
    live.wait_for(|effect| effect["event"] == "file_evidence")
        .await;
    let entry = site.get("/api/v1/hazards/1").await;
    let readings = &entry["evidence"]["trend"][0]["readings"];
    assert_eq!(readings[0][1], 2.5, "{entry}");
    let point = site.get("/api/v1/points/TF.a").await;
    let off = point["clock_off_by_ms"].as_i64().unwrap();
    assert!((7_200_000..7_260_000).contains(&off), "{off}");
    let trend = site.get("/api/v1/points/TF.a/trend").await;
    let buckets = trend["buckets"].as_array().unwrap().iter();
    let counts = buckets.map(|bucket| bucket["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 1);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_goes_through_all_its_states_and_each_guard_speaks() {
    let site = Site::start().await;
    let mut live = site.live(None).await;
    let (li, wang, zhao) = (
        site.sign_in("Li").await,
        site.sign_in("Wang").await,
        site.sign_in("Zhao").await,
    );
    site.value(0, 2.5, 300).await;
    live.wait_for(|effect| effect["event"] == "file_evidence")
        .await;
    let entry = site.get("/api/v1/hazards/1").await;
    assert_eq!(entry["state"], "found");
    let trend = &entry["evidence"]["trend"][0];
    assert_eq!(trend["tag"], "TF.a");
    assert_eq!(trend["readings"][0][1], 2.5, "the series had caught up");
    assert_eq!(entry["evidence"]["entries"].as_array().unwrap().len(), 1);
    assert!(!entry["evidence"]["limits"].as_array().unwrap().is_empty());
    let step = async |who: &str, step: &str, body: Value| {
        site.command(who, &format!("/api/v1/hazards/1/{step}"), &body)
            .await
    };
    let guard = |answer: (StatusCode, Value), words: &str| {
        assert_eq!(answer.0, StatusCode::CONFLICT, "{words}");
        assert_eq!(answer.1["type"], "guard");
        let detail = answer.1["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail}");
        assert!(detail.contains("satisfied by"), "{detail}");
        assert!(answer.1["refused"]["code"].is_string(), "{}", answer.1);
    };
    let done = |answer: (StatusCode, Value)| assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    guard(
        step(&li, "submit", json!({ "comment": "done" })).await,
        "Found",
    );
    guard(
        step(&li, "reject", json!({ "comment": "test", "second": "Li" })).await,
        "another person",
    );
    // Two take the same step: one wins.
    let verify = json!({ "class": "major" });
    let (first, second) = tokio::join!(
        step(&li, "verify", verify.clone()),
        step(&wang, "verify", verify.clone())
    );
    let verifier = if first.0.is_success() { &li } else { &wang };
    let other = if first.0.is_success() { &wang } else { &li };
    let loser = if first.0.is_success() { second } else { first };
    guard(loser, "Registered");
    guard(
        step(other, "fix_on_the_spot", json!({ "comment": "done" })).await,
        "major",
    );
    let deadline = site.serving.centre.now() + Duration::from_hours(1);
    let mut notice = json!({
        "deadline": deadline.0,
        "five_items": { "responsibility": "", "measures": "b", "funds": "c",
                        "time_limit": "d", "contingency_plan": "e" },
    });
    guard(
        step(verifier, "notice", notice.clone()).await,
        "responsibility",
    );
    notice["five_items"]["responsibility"] = json!("a");
    done(step(verifier, "notice", notice).await);
    done(step(verifier, "supervise", json!({})).await);
    guard(step(other, "submit", json!({})).await, "what was done");
    done(step(other, "submit", json!({ "comment": "sealed" })).await);
    guard(step(other, "pass_recheck", json!({})).await, "rectified");
    guard(
        step(&zhao, "pass_recheck", json!({})).await,
        "not returned to normal",
    );
    done(step(&zhao, "fail_recheck", json!({ "comment": "still smells" })).await);
    done(step(other, "submit", json!({ "comment": "sealed again" })).await);
    let entry = site.get("/api/v1/hazards/1").await;
    assert_eq!(entry["active_alarms"], json!(["TF.a.gas2"]));
    site.returns(0).await;
    let entry = site.get("/api/v1/hazards/1").await;
    assert_eq!(entry["active_alarms"], json!([]));
    assert_eq!(entry["gone_alarms"], json!([]));
    // Its alarm is answered in the list of alarms.
    guard(
        step(&zhao, "pass_recheck", json!({})).await,
        "not acknowledged",
    );
    let occurrence = site.occurrence("TF.a.gas2").await;
    let answer = async |deed: &str| {
        let path = format!("/api/v1/alarms/{occurrence}/{deed}");
        site.command(&li, &path, &json!({ "comment": "seen" }))
            .await
    };
    done(answer("acknowledge").await);
    guard(step(&zhao, "pass_recheck", json!({})).await, "latched");
    done(answer("reset").await);
    // Normal for a second: the centre's clock is waited for by its own heartbeat.
    let normal = site.get("/api/v1/hazards/1").await["normal_since_ms"]
        .as_i64()
        .unwrap();
    loop {
        let told = live.next().await;
        if told.event == "heartbeat" && told.data["now_ms"].as_i64().unwrap() > normal + 1_000 {
            break;
        }
    }
    done(step(&zhao, "pass_recheck", json!({ "comment": "right" })).await);
    let entry = site.get("/api/v1/hazards/1").await;
    assert_eq!(entry["state"], "closed");
    assert_eq!(entry["failed_rechecks"], 1);
    guard(step(&zhao, "pass_recheck", json!({})).await, "Closed");
    let open = site.get("/api/v1/hazards?state=found").await;
    assert_eq!(open.as_array().unwrap().len(), 0);
    let closed = site.get("/api/v1/hazards?state=closed").await;
    assert_eq!(closed[0]["id"], "1");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_live_stream_beats_at_once() {
    let site = Site::start().await;
    site.value(0, 2.5, 1).await;
    let first = site.live(Some(0)).await.next().await;
    assert_eq!(
        first.event, "heartbeat",
        "before all that it has to catch up"
    );
    assert_eq!(first.id, None);
    assert_eq!(first.data["no_room"], false);
    // One that claims to be ahead is told so, and from where it goes on.
    let first = site.live(Some(1_000_000)).await.next().await;
    assert_eq!(first.event, "reset");
    assert!(first.id.is_some_and(|id| id < 1_000_000));
    let told = json!({ "why": "ahead", "asked": 1_000_000, "number": first.id });
    assert_eq!(first.data, told);
    for unreadable in ["x", "-1", "1.5", "", "18446744073709551616"] {
        let request = site.request(Method::GET, "/api/v1/live");
        let request = request.header("last-event-id", unreadable);
        let problem = refused(request, 400, "bad_request").await;
        let fault = &problem["fault"];
        assert_eq!(
            (&fault["place"], &fault["name"], &fault["found"]),
            (
                &json!("header"),
                &json!("last-event-id"),
                &json!(unreadable)
            ),
        );
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_live_stream_is_resumed_without_gap_or_double() {
    let site = Site::start().await;
    let begun = site.latest().await;
    let mut whole = site.live(Some(begun)).await;
    for hazard in 0..20 {
        site.refused(1_000 + hazard).await;
    }
    // A client comes back while more is being committed.
    let (more, resumed) = tokio::join!(
        async {
            let mut last = 0;
            for hazard in 0..40 {
                last = site.refused(2_000 + hazard).await;
            }
            last
        },
        site.live(Some(begun + 5)),
    );
    let mut resumed = resumed;
    let last = site.refused(3_000).await.max(more);
    let all = whole.numbers(last).await;
    assert!(
        all.windows(2).all(|pair| pair[0] < pair[1]),
        "in order, each once"
    );
    assert!(all.len() >= 61);
    let seen = resumed.numbers(last).await;
    let expected: Vec<u64> = all.iter().copied().filter(|n| *n > begun + 5).collect();
    assert_eq!(seen, expected);
    // By the query as well.
    let after = format!("/api/v1/live?after={}", begun + 5);
    let response = site.request(Method::GET, &after).send().await.unwrap();
    let text = String::new();
    let again = Live { response, text }.numbers(last).await;
    assert_eq!(again, expected);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_lags_misses_nothing() {
    let site = Site::start().await;
    let begun = site.latest().await;
    // A client that takes in very little, and does not read for now.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(site.serving.http).await.unwrap();
    let request =
        format!("GET /api/v1/live HTTP/1.1\r\nhost: localhost\r\nlast-event-id: {begun}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let flood = (0..6_000).map(|hazard| site.refused(10_000 + hazard));
    let last = futures::future::join_all(flood)
        .await
        .into_iter()
        .max()
        .unwrap();
    let (mut text, mut numbers) = (String::new(), Vec::new());
    let mut bytes = vec![0; 65_536];
    while numbers.last().is_none_or(|number| *number < last) {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await;
        let read = read.unwrap().unwrap();
        assert!(read > 0, "the stream goes on");
        text += &String::from_utf8_lossy(&bytes[..read]);
        while let Some((line, rest)) = text.split_once('\n') {
            numbers.extend(
                line.strip_prefix("id: ")
                    .map(|id| id.parse::<u64>().unwrap()),
            );
            text = rest.to_owned();
        }
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    let mut whole = site.live(Some(begun)).await;
    assert_eq!(numbers, whole.numbers(last).await);
    assert!(numbers.len() >= 6_000);
    site.stop().await;
}
