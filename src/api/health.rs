//! For machines: `/healthz` (the process lives and its loop turns), `/readyz` (it takes messages
//! and keeps them), `/metrics` (Prometheus).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use davy_core::watch::Watch;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, Shared};

/// A loop that has not turned for so long hangs. It turns once a second when nothing comes.
const SILENT_MAX_MS: i64 = 10_000;

/// Whether the loop turns.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the interface")]
pub(super) struct Alive {
    /// Its loop turns, or waits for room on the disk.
    alive: bool,
    /// The loop has ended: the process is stopping.
    ended: bool,
    /// How long ago it last turned; it does so once a second at least.
    loop_silent_ms: i64,
}

/// Whether the process lives and its loop turns. Restart it when not: nothing is watched.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = Alive, description = "it lives"), (status = 503, body = Alive, description = "its loop has ended, or has not turned for 10 s: nothing is watched")))]
pub(super) async fn healthz(State(shared): Api) -> Response {
    let health = shared.centre.health();
    let ended = health.ended.load(Ordering::Acquire);
    let loop_silent_ms = shared.centre.now().0 - health.alive_at_ms.load(Ordering::Acquire);
    let no_room = health.no_room.load(Ordering::Acquire);
    // A loop that waits for room on the disk lives: a restart would not help it.
    let alive = !ended && (no_room || loop_silent_ms <= SILENT_MAX_MS);
    let body = Alive {
        alive,
        ended,
        loop_silent_ms,
    };
    (status(alive), Json(body)).into_response()
}

/// Whether messages are taken and kept, and if not, why.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// All of the checks hold.
    ready: bool,
    checks: Checks,
}

/// What must hold for messages to be taken and kept.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a check of its own")]
pub(super) struct Checks {
    /// The loop has not ended.
    #[serde(rename = "loop")]
    turns: bool,
    /// There is room on the disk.
    disk: bool,
    /// The journal's files are where they were opened.
    journal_file: bool,
    /// The centre has joined the MQTT broker.
    broker: bool,
}

/// Whether messages of gateways are taken and kept. When not, a person must look: a restart does
/// not help a full disk or a broker that is away.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = Ready, description = "they are"), (status = 503, body = Ready, description = "they are not: one of the checks fails")))]
pub(super) async fn readyz(State(shared): Api) -> Response {
    let health = shared.centre.health();
    let checks = Checks {
        turns: !health.ended.load(Ordering::Acquire),
        disk: !health.no_room.load(Ordering::Acquire),
        journal_file: !health.journal_gone.load(Ordering::Acquire),
        broker: shared.ingest.connected.load(Ordering::Acquire),
    };
    let ready = checks.turns && checks.disk && checks.journal_file && checks.broker;
    (status(ready), Json(Ready { ready, checks })).into_response()
}

fn status(ok: bool) -> StatusCode {
    if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Counters in the text form of Prometheus. While the disk is full those that only the loop knows
/// are left out.
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "lines of `davy_<name>{<labels>} <value>`", body = String, content_type = "text/plain; version=0.0.4")))]
pub(super) async fn metrics(State(shared): Api) -> Response {
    let mut text = Exposition::default();
    of_the_shell(&shared, &mut text);
    // While the disk is full the loop answers with an earlier state, which would be no measure of
    // now; what the shell knows is told all the same.
    let mut full = shared.centre.full();
    tokio::select! {
        biased;
        Ok(_) = full.wait_for(|full| *full) => {}
        Ok(decided) = shared.centre.ask(of_the_core) => text.0.extend(decided.0),
        else => {}
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, text.text()).into_response()
}

/// Lines of `davy_<name><labels> <value>`, those of one name together under its `# TYPE`.
#[derive(Default)]
struct Exposition(BTreeMap<&'static str, String>);

impl Exposition {
    fn line(&mut self, name: &'static str, labels: &str, value: impl Into<u64>) {
        self.signed(name, labels, i128::from(value.into()));
    }

    fn signed(&mut self, name: &'static str, labels: &str, value: impl Into<i128>) {
        let lines = self.0.entry(name).or_insert_with(|| {
            // By Prometheus' own custom a name that ends so only ever grows.
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            format!("# TYPE davy_{name} {kind}\n")
        });
        // A string takes all that is written to it.
        writeln!(lines, "davy_{name}{labels} {}", value.into()).unwrap_or_default();
    }

    fn text(self) -> String {
        self.0.into_values().collect()
    }
}

fn of_the_shell(shared: &Shared, text: &mut Exposition) {
    let health = shared.centre.health();
    let ingest = &shared.ingest;
    let relaxed = Ordering::Relaxed;
    text.line("journal_entries_total", "", health.number.load(relaxed));
    text.line("groups_total", "", health.groups.load(relaxed));
    text.line("journal_log_bytes", "", health.log_bytes.load(relaxed));
    let failed = health.checkpoints_failed.load(relaxed);
    text.line("journal_checkpoints_failed_total", "", failed);
    text.line("messages_total", "", health.messages.load(relaxed));
    text.line("foreign_messages_total", "", health.foreign.load(relaxed));
    let pruned = health.pruned_inputs.load(relaxed);
    text.line("pruned_messages_total", "", pruned);
    text.line("duplicates_total", "", health.duplicates.load(relaxed));
    let dropped = health.outbound_dropped.load(relaxed);
    text.line("outbound_dropped_total", "", dropped);
    let forgotten = health.quarantine_forgotten.load(relaxed);
    text.line("quarantine_forgotten_total", "", forgotten);
    text.line("disk_full", "", health.no_room.load(relaxed));
    text.line("journal_gone", "", health.journal_gone.load(relaxed));
    text.line("broker_connected", "", ingest.connected.load(relaxed));
    let reconnects = ingest.reconnects.load(relaxed);
    text.line("broker_reconnects_total", "", reconnects);
    text.line("bad_bundles_total", "", ingest.bad_bundles.load(relaxed));
    let long = ingest.long_deaths.load(relaxed);
    text.line("long_deaths_total", "", long);
    let refused = ingest.refused_sign_ins.load(relaxed);
    text.line("broker_refused_sign_ins_total", "", refused);
    let refused = ingest.refused_topics.load(relaxed);
    text.line("broker_refused_topics_total", "", refused);
    let refused = ingest.refused_retained.load(relaxed);
    text.line("broker_refused_retained_total", "", refused);
    of_the_doors(shared, text);
    for sink in shared.sinks.status() {
        let labels = format!("{{sink=\"{}\"}}", sink.name);
        text.line("sink_cursor", &labels, sink.cursor);
        text.line("sink_lag_entries", &labels, sink.lag);
        text.line("sink_pruned_total", &labels, sink.pruned);
        text.line("sink_set_aside_total", &labels, sink.set_aside);
        text.line("sink_failures_total", &labels, sink.failures);
        text.line("sink_refused_total", &labels, sink.refused);
        text.line("sink_in_trouble", &labels, sink.error.is_some());
        text.line("sink_needs_person", &labels, sink.needs_person);
    }
}

fn of_the_doors(shared: &Shared, text: &mut Exposition) {
    let (http, mqtt, relaxed) = (&shared.door, &shared.ingest.door, Ordering::Relaxed);
    text.line("http_connections", "", http.open.load(relaxed));
    text.line("http_full_total", "", http.full.load(relaxed));
    text.line("http_timed_out_total", "", http.timed_out.load(relaxed));
    text.line("mqtt_connections", "", mqtt.open.load(relaxed));
    text.line("mqtt_full_total", "", mqtt.full.load(relaxed));
    text.line("mqtt_timed_out_total", "", mqtt.timed_out.load(relaxed));
    text.line("live_listeners", "", shared.live.taken());
    text.line("live_refused_total", "", shared.live.refused());
}

fn of_the_core(watch: &Watch) -> Exposition {
    let mut text = Exposition::default();
    let engine = watch.engine().counters().untimely;
    text.line("alarms", "", watch.engine().listed_count() as u64);
    text.line("readings_out_of_order_total", "", engine.out_of_order);
    text.line("readings_from_future_total", "", engine.from_future);
    text.line("clock_steps_back_total", "", engine.backwards_steps);
    for gateway in &watch.config().gateways {
        let Some(link) = watch.gateways().get(&gateway.id) else {
            continue;
        };
        let labels = format!("{{gateway=\"{}\"}}", gateway.id);
        text.line("gateway_online", &labels, link.online);
        text.line("gateway_committed_messages_total", &labels, link.committed);
        text.line("gateway_committed_readings_total", &labels, link.readings);
        text.line("gateway_stored_messages", &labels, link.stored_messages());
        let offset = link.clock_offset_ms;
        text.signed("gateway_clock_offset_ms", &labels, offset);
        text.line("gateway_missing_total", &labels, link.missing());
        text.line("gateway_skipped_total", &labels, link.skipped);
        text.line("gateway_lost_total", &labels, link.lost);
        text.line("gateway_unusable_total", &labels, link.unusable);
        text.line("gateway_unknown_metrics_total", &labels, link.unknown);
        let late = link.untimely.out_of_order;
        text.line("gateway_out_of_order_readings_total", &labels, late);
        let early = link.untimely.from_future;
        text.line("gateway_future_readings_total", &labels, early);
        let steps = link.untimely.backwards_steps;
        text.line("gateway_clock_steps_back_total", &labels, steps);
    }
    text
}
