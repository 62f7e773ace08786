/**
 * A stand-in for the centre: the console's interface over a scripted plant, on loopback.
 *
 *   node mock/server.mjs [--port 8089] [--alarms 10000] [--burst] [--door] [--still] [--full]
 *
 * --alarms N adds N standing alarms; --burst lets five new ones rise each second; --door asks for
 * a name; --still lets nothing change by itself; --full says that the disk is full.
 * Serves `dist/` too, if it was built.
 */
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { ALLOWED, guidance, hazards, isBad, isGap, NEXT, points, SOURCES, valueAt } from "./plant.mjs";

const flag = (name) => process.argv.includes(`--${name}`);
const option = (name, standard) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? standard : Number(process.argv[at + 1]);
};
const dist = join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
const began = Date.now();

let number = 1000;
let occurrence = 1000;
let user = flag("door") ? null : "张伟";
const alarms = new Map();
const histories = new Map();
const listeners = new Set();
const ledger = hazards(began);
const stories = new Map(ledger.map((hazard) => [hazard.id, [{ at_ms: hazard.found_at_ms, by: "system", event: "found", comment: null }]]));

function tell(effects) {
  number += 1;
  for (const listener of listeners) listener.write(`id: ${number}\nevent: effects\ndata: ${JSON.stringify(effects)}\n\n`);
  return number;
}

const OWED = new Set(["unacked", "rtn_unacked", "latched_unacked"]);

function change(alarm, to, cause, sounds = false) {
  const axes = {
    active: to === "unacked" || to === "acked" || to === "shelved" || to === "suppressed_by_design" || to === "out_of_service",
    acknowledged: !OWED.has(to), latched: to.startsWith("latched"), shelved_until: null, suppressed_by_design: false, out_of_service: false,
  };
  const effect = {
    kind: "alarm", occurrence: alarm.occurrence, alarm: alarm.alarm, from: alarm.state, to, axes, cause, priority: alarm.priority,
    value: alarm.value ?? undefined, quality: alarm.quality, raised_at: alarm.raised_at_ms, sampled_at: Date.now(), lane: alarm.lane, sounds,
  };
  Object.assign(alarm, { state: to, axes, changed_at_ms: Date.now(), sounds });
  if (cause.kind === "acknowledged") alarm.acknowledged_by = cause.by;
  histories.get(alarm.occurrence).push({ ...effect, at_ms: Date.now() });
  if (to === "normal") alarms.delete(alarm.occurrence);
  return effect;
}

function raise(point, limit, extra = {}) {
  occurrence += 1;
  const alarm = {
    occurrence, alarm: limit.alarm, tag: point?.tag ?? null, subject: point?.name ?? extra.subject, source: point?.source ?? null,
    setpoint: limit.setpoint, priority: limit.priority, state: "normal", axes: {}, lane: "live", unknown: false,
    raised_at_ms: Date.now(), changed_at_ms: Date.now(), value: point ? Number(valueAt(point, Date.now()).toFixed(3)) : null,
    limit: limit.limit ?? null, unit: point?.unit ?? null, quality: "good", sounds: false, would_be_in_alarm: false, acknowledged_by: null, ...extra,
  };
  if (point && alarm.value !== null) alarm.value = Number((alarm.limit * (limit.setpoint.startsWith("l") ? 0.95 : 1.03)).toFixed(3));
  alarms.set(occurrence, alarm);
  histories.set(occurrence, []);
  return change(alarm, "unacked", { kind: "raised" }, true);
}

const all = [...points.values()];
const pick = (tag) => points.get(tag);
const limitOf = (point, setpoint) => point.limits.find((limit) => limit.setpoint === setpoint) ?? point.limits[0];

/** One alarm in every state, so that every shape can be looked at. */
function begin() {
  const stands = (tag, setpoint, ago_s, to, extra) => {
    raise(pick(tag), limitOf(pick(tag), setpoint), { raised_at_ms: began - ago_s * 1000, ...extra });
    if (to) change(alarms.get(occurrence), to, to === "acked" ? { kind: "acknowledged", by: "王芳" } : { kind: "returned" });
  };
  stands("CH-104.gas", "gas2", 95);
  stands("TA-101.level", "hh", 240, "latched_unacked");
  stands("TA-104.gas", "gas1", 30);
  stands("LN-101.level", "h", 1900, "rtn_unacked");
  stands("FA-101.methane", "mine_alarm", 4000, "acked");
  stands("TA-202.pressure", "h", 86_400 * 1.3, "latched_acked");
  stands("AM-103.temperature", "h", 700, "acked", { unknown: true, quality: { bad: "open_wire" } });
  stands("CH-201.level", "l", 9000, "shelved");
  stands("CH-301.level", "h", 8000, "suppressed_by_design");
  stands("AM-202.pressure", "h", 50_000, "out_of_service");
  stands("RE-102.methane", "mine_alarm", 3600, null, { lane: "historical", sounds: false });
  raise(null, { alarm: "gw-mine/unit-2.loss_of_view", setpoint: "loss_of_view", priority: 3 }, { subject: { zh: "矿井网关 2 号设备", en: "Mine gateway, unit 2" }, raised_at_ms: began - 5000 });
  raise(null, { alarm: "gw-chem.clock_offset", setpoint: "clock_offset", priority: 4 }, { subject: { zh: "化工网关", en: "Chemical gateway" }, raised_at_ms: began - 90_000 });
  for (let n = 0; n < option("alarms", 0); n += 1) {
    const point = all[n % all.length];
    raise(point, point.limits[n % point.limits.length], { raised_at_ms: began - n * 700, sounds: false });
    if (n % 3) change(alarms.get(occurrence), "acked", { kind: "acknowledged", by: "王芳" });
    else alarms.get(occurrence).sounds = false;
  }
}

let turn = 0;
function plantMoves() {
  turn += 1;
  const effects = [];
  for (let n = 0; n < (flag("burst") ? 5 : turn % 8 === 0 ? 1 : 0); n += 1) {
    const point = all[(turn * 7 + n * 3) % all.length];
    effects.push(raise(point, point.limits[turn % point.limits.length]));
  }
  if (turn % 11 === 0) {
    const alarm = [...alarms.values()].reverse().find((one) => one.state === "unacked" || one.state === "acked");
    if (alarm) effects.push(change(alarm, alarm.state === "acked" ? "normal" : "rtn_unacked", { kind: "returned" }));
  }
  if (effects.length) tell(effects);
}

const named = ({ alarm, tag, subject }) => ({ alarm, tag, subject });

function source([id, name, industry, level, colour]) {
  const own = [...alarms.values()].filter((alarm) => alarm.source === id);
  const worst = own.slice().sort((a, b) => OWED.has(b.state) - OWED.has(a.state) || a.priority - b.priority)[0];
  return {
    id, name, industry, level, owners: { main: "赵建国", technical: "钱立", operation: "孙敏" }, colour,
    colour_since_ms: colour === "none" ? null : began - 720_000, why: colour === "none" ? [] : own.slice(0, 3).map(named),
    worst: worst ? { ...named(worst), occurrence: worst.occurrence, priority: worst.priority, state: worst.state } : null,
    points: all.filter((point) => point.source === id).length, points_bad: all.filter((point) => point.source === id && point.quality !== "good").length, points_unknown: id.length % 3, held_until_ms: colour === "yellow" ? began + 420_000 : null,
    active: own.filter((alarm) => alarm.axes.active).length, unacknowledged: own.filter((alarm) => OWED.has(alarm.state)).length,
    hazards_open: ledger.filter((hazard) => hazard.source === id && ALLOWED[hazard.state].length > 0).length,
  };
}

const pointNow = ({ mean, ...point }) => ({ ...point, value: point.quality === "good" ? Number(valueAt({ ...point, mean }, Date.now()).toFixed(3)) : null, sampled_at_ms: Date.now() - 300, clock_off_by_ms: 0 });

function trend(point, query) {
  const from = Number(query.get("from_ms"));
  const to = Number(query.get("to_ms"));
  const count = Math.min(2000, Number(query.get("buckets") ?? 600));
  const width = (to - from) / count;
  const buckets = Array.from({ length: count }, (_, index) => {
    const at_ms = Math.round(from + index * width);
    if (isGap(at_ms) || at_ms > Date.now()) return { at_ms, min: null, max: null, mean: null, count: 0, bad: 0 };
    if (isBad(at_ms)) return { at_ms, min: null, max: null, mean: null, count: 0, bad: 3 };
    const values = [0.1, 0.35, 0.6, 0.85].map((part) => valueAt(point, at_ms + part * width));
    return { at_ms, min: Math.min(...values), max: Math.max(...values), mean: values.reduce((a, b) => a + b) / 4, count: 4, bad: 0 };
  });
  return { tag: point.tag, unit: point.unit, buckets, damaged: [] };
}

function entry(hazard) {
  const point = pick(hazard.subject);
  const readings = [];
  for (let at = hazard.found_at_ms - 1_800_000; at <= hazard.found_at_ms + 300_000; at += 5000) {
    const rise = Math.max(0, 1 - Math.abs(at - hazard.found_at_ms) / 600_000);
    const v = point.mean + (point.limits.at(-1).limit * 1.04 - point.mean) * rise + Math.sin(at / 7000) * (point.high - point.low) * 0.008;
    readings.push(isGap(at) ? [at, null, { bad: "link" }] : [at, Number(v.toFixed(3)), "good"]);
  }
  const actions = [
    { occurrence: 900, alarm: hazard.alarm, from: "normal", to: "unacked", axes: {}, cause: { kind: "raised" }, priority: 1, value: readings.at(-60)[1] ?? undefined, quality: "good", sampled_at: hazard.found_at_ms, lane: "live", sounds: true },
    { occurrence: 900, alarm: hazard.alarm, from: "unacked", to: "acked", axes: {}, cause: { kind: "acknowledged", by: "王芳", comment: "已通知现场关阀" }, priority: 1, quality: "good", sampled_at: hazard.found_at_ms + 42_000, lane: "live", sounds: false },
    { occurrence: 900, alarm: hazard.alarm, from: "acked", to: "normal", axes: {}, cause: { kind: "returned" }, priority: 1, quality: "good", sampled_at: hazard.found_at_ms + 260_000, lane: "live", sounds: false },
  ];
  for (const action of actions) action.at_ms = action.sampled_at;
  const evidence = { trend: [{ tag: hazard.subject, readings }], limits: point.limits, rule: hazard.rule, actions, entries: [1207, 1855] };
  return { ...hazard, active_alarms: [], gone_alarms: [], normal_since_ms: hazard.found_at_ms + 260_000, rectified_by: null, five_items: null, failed_rechecks: 0, evidence, story: stories.get(hazard.id), allowed: ALLOWED[hazard.state] };
}

const gateways = () => [
  { id: "gw-chem", name: { zh: "化工网关", en: "Chemical gateway" }, online: true, since_ms: began - 9e6, units: [1, 2, 3].map((unit) => ({ id: `unit-${unit}`, online: true, lost_by: null })), heard_at_ms: Date.now() - 400, committed: 18233 + Math.round((Date.now() - began) / 1000), stored: 0, lost: 0, gap: 0, skipped: 0, unusable: 0, unknown: 0, out_of_order: 0, from_future: 0, clock_steps_back: 0, clock_offset_ms: 12, clock_offset_max_ms: 1000 },
  { id: "gw-mine", name: { zh: "矿井网关", en: "Mine gateway" }, online: true, since_ms: began - 4e6, units: [1, 2, 3].map((unit) => ({ id: `unit-${unit}`, online: unit !== 2, lost_by: [null, "no_answer", "exception"][unit - 1] })), heard_at_ms: Date.now() - 900, committed: 96021 + Math.round((Date.now() - began) / 1000), stored: 41, lost: 0, gap: 12, skipped: 0, unusable: 0, unknown: 2, out_of_order: 2, from_future: 0, clock_steps_back: 0, clock_offset_ms: -1280, clock_offset_max_ms: 1000 },
  { id: "gw-pit", name: { zh: "井下网关", en: "Pit gateway" }, online: false, since_ms: began - 6e5, heard_at_ms: began - 6e5, units: [1, 2, 3, 4, 5, 6].map((unit) => ({ id: `unit-${unit}`, online: false, lost_by: "link_down" })), committed: 4410, stored: 1204, lost: 300, gap: 300, skipped: 0, unusable: 1, unknown: 0, out_of_order: 0, from_future: 0, clock_steps_back: 0, clock_offset_ms: 40, clock_offset_max_ms: 1000 },
];

class Refused extends Error {
  constructor(status, type, detail, refused) {
    super(detail);
    Object.assign(this, { status, type, title: type.replaceAll("_", " "), refused });
  }
}
const found = (thing, what) => {
  if (thing === undefined) throw new Refused(404, "not_found", `no ${what} of that name`);
  return thing;
};

function answerAlarm(id, deed, body) {
  const alarm = found(alarms.get(Number(id)), "occurrence");
  const by = user;
  if (deed === "acknowledge") {
    if (!OWED.has(alarm.state)) throw new Refused(409, "already_acknowledged", `occurrence ${id} was acknowledged by ${alarm.acknowledged_by ?? "nobody"}`);
    const to = { unacked: "acked", rtn_unacked: "normal", latched_unacked: "latched_acked" }[alarm.state];
    return { number: tell([change(alarm, to, { kind: "acknowledged", by, comment: body.comment })]) };
  }
  if (alarm.state !== "latched_acked") throw new Refused(409, "not_latched", `occurrence ${id} is ${alarm.state}: only a latched, acknowledged alarm can be reset`);
  return { number: tell([change(alarm, "normal", { kind: "reset", by, comment: body.comment })]) };
}

function answerHazard(id, event, body) {
  const hazard = found(ledger.find((one) => one.id === id), "hazard");
  if (!ALLOWED[hazard.state].includes(event)) throw new Refused(409, "guard", `the entry is ${hazard.state}; satisfied by: ${ALLOWED[hazard.state].join(", ")}`);
  if (event === "notice") {
    const missing = Object.entries(body.five_items ?? {}).find(([, text]) => text === "");
    if (missing) throw new Refused(409, "guard", `the five items lack: ${missing[0]}; satisfied by: all five`, { code: "five_items", missing: [missing[0]] });
  }
  if (event === "pass_recheck") throw new Refused(409, "guard", "it is seen to be normal only since 3 h", { code: "normal_too_short", since_ms: Date.now() - 10_800_000, until_ms: Date.now() + 75_600_000 });
  if (event === "supervise") hazard.supervised = true;
  hazard.state = NEXT[event] ?? hazard.state;
  hazard.deadline_ms = body.deadline ?? body.until ?? hazard.deadline_ms;
  stories.get(id).push({ at_ms: Date.now(), by: user, event, comment: body.comment ?? null });
  return { number: tell([{ kind: "hazard", id, state: hazard.state }]) };
}

function live(response) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  const beat = () => response.write(`event: heartbeat\ndata: ${JSON.stringify({ now_ms: Date.now(), number, no_room: flag("full") })}\n\n`);
  beat();
  const timer = setInterval(beat, 1000);
  listeners.add(response);
  response.on("close", () => {
    clearInterval(timer);
    listeners.delete(response);
  });
}

function get(path, query) {
  const [kind, id, part] = path;
  if (kind === "site") return { name: { zh: "长治示范园区", en: "Changzhi demo park" }, group: "demo", languages: ["zh", "en"], number, now_ms: Date.now() };
  if (kind === "sources") return SOURCES.map(source);
  if (kind === "gateways") return gateways();
  if (kind === "alarms" && !id) return { number, total: alarms.size, alarms: [...alarms.values()].slice(-Number(query.get("limit") ?? 1000)).map((alarm) => ({ ...alarm, acknowledged_by: null })) };
  if (kind === "alarms") return { ...found(alarms.get(Number(id)), "occurrence"), guidance, figure_source: { zh: "GB/T 50493-2019 5.5.2；HAZOP 2025-11 节点 12", en: "GB/T 50493-2019 5.5.2; HAZOP 2025-11 node 12" }, on_delay_s: 3, off_delay_s: 10, latch: true, reset: 78, history: histories.get(Number(id)) };
  if (kind === "points" && !id) return all.filter((point) => !query.get("source") || point.source === query.get("source")).map(pointNow);
  if (kind === "points") return part === "trend" ? trend(found(points.get(id), "point"), query) : pointNow(found(points.get(id), "point"));
  if (kind === "hazards" && !id) return ledger.filter((one) => (!query.get("source") || one.source === query.get("source")) && (!query.get("state") || one.state === query.get("state") || (query.get("state") === "open" && ALLOWED[one.state].length > 0)));
  if (kind === "hazards") return entry(found(ledger.find((one) => one.id === id), "hazard"));
  throw new Refused(404, "not_found", path.join("/"));
}

function post(path, body, headers) {
  const [kind, id, deed] = path;
  if (kind === "session") {
    if (!body.user?.trim()) throw new Refused(400, "bad_request", "user of 0 letters; allowed: 1 to 64");
    user = body.user.trim();
    return { user, roles: ["operator"] };
  }
  if (headers["x-davy-csrf"] !== "1") throw new Refused(403, "csrf", "header x-davy-csrf is missing");
  return kind === "alarms" ? answerAlarm(id, deed, body) : answerHazard(id, deed, body);
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
function file(path, response) {
  const wanted = join(dist, normalize(path === "/" ? "/index.html" : path));
  if (!wanted.startsWith(dist) || !existsSync(wanted)) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": TYPES[extname(wanted)] ?? "application/octet-stream" });
  createReadStream(wanted).pipe(response);
}

async function serve(request, response) {
  const url = new URL(request.url, "http://mock");
  if (!url.pathname.startsWith("/api/v1/")) return file(url.pathname, response);
  const path = url.pathname.slice("/api/v1/".length).split("/").map(decodeURIComponent);
  try {
    if (!user && (path[0] === "session" ? request.method === "GET" : request.method !== "GET")) throw new Refused(401, "not_signed_in", "this request needs a session");
    if (path[0] === "live") return live(response);
    let answer;
    if (request.method === "DELETE") {
      user = null;
      return response.writeHead(204).end();
    }
    if (request.method === "POST") {
      let raw = "";
      for await (const part of request) raw += part;
      answer = post(path, raw ? JSON.parse(raw) : {}, request.headers);
    } else {
      answer = path[0] === "session" ? { user, roles: ["operator"] } : get(path, url.searchParams);
    }
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
  } catch (fault) {
    const status = fault.status ?? 500;
    response.writeHead(status, { "content-type": "application/problem+json" });
    response.end(JSON.stringify({ type: fault.type ?? "internal", title: fault.title ?? "fault", status, detail: fault.message, refused: fault.refused }));
  }
}

begin();
if (!flag("still")) setInterval(plantMoves, 1000);
createServer(serve).listen(option("port", 8089), "127.0.0.1", function () {
  console.log(`mock centre on http://127.0.0.1:${this.address().port}`);
});
