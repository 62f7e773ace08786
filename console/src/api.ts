/**
 * The centre's interface, `/api/v1`: the shapes that it sends and the calls that the console makes.
 *
 * Times are milliseconds since 1970 UTC. `number` is a number of the journal. Nothing here keeps
 * state or retries: a call that failed is told to the person who asked for it.
 */

export interface Text {
  zh: string;
  en: string;
}

export type Priority = 1 | 2 | 3 | 4;
export type Colour = "none" | "blue" | "yellow" | "orange" | "red";
export type State =
  | "normal"
  | "unacked"
  | "acked"
  | "rtn_unacked"
  | "latched_unacked"
  | "latched_acked"
  | "shelved"
  | "suppressed_by_design"
  | "out_of_service";
/** `"good"`, or the grade with its cause. */
export type Quality = "good" | { uncertain: string } | { bad: string };

export interface Axes {
  active: boolean;
  acknowledged: boolean;
  latched: boolean;
  shelved_until?: number | null;
  suppressed_by_design?: boolean;
  out_of_service?: boolean;
}

export interface Site {
  name: Text;
  group: string;
  languages: string[];
  number: number;
  now_ms: number;
}

/** An alarm by name, with what it is about: a point by its tag, anything else by its subject. */
export interface NamedAlarm {
  alarm: string;
  tag: string | null;
  subject: Text;
}

export interface Source {
  id: string;
  name: Text;
  industry: "chemical" | "coal_mine";
  /** Grade by GB 18218, 1 the gravest; null where the source is not graded. */
  level: 1 | 2 | 3 | 4 | null;
  owners: { main: string; technical: string; operation: string };
  colour: Colour;
  colour_since_ms: number | null;
  /** Alarms that ask for the colour; while it is held, that last asked for it. */
  why: NamedAlarm[];
  /** Nothing asks for the colour any more; it stands until then at least. */
  held_until_ms: number | null;
  worst: (NamedAlarm & { occurrence: number; priority: Priority; state: State }) | null;
  points: number;
  points_bad: number;
  /** Points of which nothing has ever come. */
  points_unknown: number;
  active: number;
  unacknowledged: number;
  hazards_open: number;
}

export interface Alarm {
  occurrence: number;
  alarm: string;
  tag: string | null;
  subject: Text;
  source: string | null;
  setpoint: string;
  priority: Priority;
  state: State;
  axes: Axes;
  lane: "live" | "historical";
  /** Whether the condition still holds is not known: its reading is bad or late. */
  unknown: boolean;
  raised_at_ms: number;
  changed_at_ms: number;
  value: number | null;
  limit: number | null;
  unit: string | null;
  /** Null for an alarm that is about no point. */
  quality: Quality | null;
  /** The horn sounds for it: until it is acknowledged, also when it has returned. */
  sounds: boolean;
  /** Hidden, but its condition holds. */
  would_be_in_alarm: boolean;
  /** Who acknowledged this occurrence; null while nobody has. */
  acknowledged_by: string | null;
}

export type Cause =
  | { kind: "raised" | "returned" | "quality_changed" | "carried_on" }
  | { kind: "replaced"; newer: number; unanswered: boolean }
  | { kind: "removed"; unanswered: boolean }
  | { kind: "acknowledged" | "reset"; by: string; comment?: string };

export interface AlarmChange {
  occurrence: number;
  alarm: string;
  from: State;
  to: State;
  axes: Axes;
  cause: Cause;
  priority: Priority;
  value?: number | null;
  quality: Quality;
  raised_at: number;
  sampled_at: number;
  lane: "live" | "historical";
  sounds: boolean;
}

/** A change out of the journal, with the moment at which the centre judged it. */
export type Happened = AlarmChange & { at_ms: number };

export interface Guidance {
  cause: Text;
  consequence: Text;
  action: Text;
  time_to_respond_s: number;
}

export interface AlarmDetail extends Alarm {
  guidance: Guidance;
  figure_source: Text;
  on_delay_s: number;
  off_delay_s: number;
  latch: boolean;
  reset: number | null;
  history: Happened[];
}

export interface PointLimit {
  alarm: string;
  setpoint: string;
  limit: number;
  reset: number;
  priority: Priority;
  figure_source: Text;
}

export interface Point {
  tag: string;
  name: Text;
  kind: string;
  position: string | null;
  unit: string;
  low: number;
  high: number;
  source: string | null;
  gateway: string;
  device: string;
  value: number | null;
  quality: Quality;
  sampled_at_ms: number | null;
  clock_off_by_ms: number;
  limits: PointLimit[];
}

export interface Bucket {
  at_ms: number;
  min: number | null;
  max: number | null;
  mean: number | null;
  /** Good and uncertain readings, which the figures are made of; 0 is a gap. */
  count: number;
  /** Readings in it that were bad. */
  bad: number;
  /** Qualities of its readings that were not good; not there when all were. */
  not_good?: Quality[];
}

export interface Trend {
  tag: string;
  unit: string;
  buckets: Bucket[];
  /** Stretches of the series that cannot be read; their buckets lack what was in them. */
  damaged: string[];
}

export type HazardState = "found" | "registered" | "rectifying" | "submitted" | "closed" | "rejected";

/** Level two reached, level one lasted or came back, or the process could not be seen. */
export type HazardRule = "level_two" | "level_one" | "loss_of_view";

export interface Hazard {
  id: string;
  source: string | null;
  subject: string;
  alarm: string;
  rule: HazardRule;
  class: "general" | "major";
  state: HazardState;
  overdue: boolean;
  supervised: boolean;
  found_at_ms: number;
  deadline_ms: number;
  /** The first hundred; `occurrence_count` counts them all. */
  occurrences: number[];
  occurrence_count: number;
  /** Number of the closed entry that this one repeats. */
  repeats: number | null;
  title: Text;
}

/** The five items of a notice (五落实). */
export interface FiveItems {
  responsibility: string;
  measures: string;
  funds: string;
  time_limit: string;
  contingency_plan: string;
}

export interface HazardEntry extends Hazard {
  /** Its alarms that are active now. */
  active_alarms: string[];
  /** Those that are no longer configured: closing it needs the reason in a comment. */
  gone_alarms: string[];
  /** Since when none of the others is, seen to be so without a break; null while one is, cannot be seen, or there are none. */
  normal_since_ms: number | null;
  rectified_by: string | null;
  five_items: FiveItems | null;
  failed_rechecks: number;
  evidence: {
    /** What the trend is around: the moment it was found, or of what came late the one it was taken at. */
    moment_ms?: number | null;
    trend: { tag: string; readings: [number, number | null, Quality][] }[];
    /** Of all points in `trend`; null until the first half is filed. */
    limits: PointLimit[] | null;
    rule: HazardRule;
    actions: Happened[];
    /** Entries of the journal that hold the evidence. */
    entries: number[];
  };
  story: { at_ms: number; by: string; event: string; comment: string | null }[];
  allowed: string[];
}

/** How a unit is out of view. */
export type LostBy = "no_answer" | "exception" | "garbled" | "link_down";

export interface Unit {
  id: string;
  /** It answers, rightly or not. */
  online: boolean;
  /** As most of its points have it; null while it is in view. */
  lost_by: LostBy | null;
}

export interface Gateway {
  id: string;
  name: Text;
  online: boolean;
  since_ms: number;
  /** When anything of it last came; null before the first. */
  heard_at_ms: number | null;
  units: Unit[];
  /** Messages that the centre keeps. */
  committed: number;
  stored: number;
  lost: number;
  gap: number;
  skipped: number;
  unusable: number;
  unknown: number;
  /** Readings out of their order in time: left out, from ahead of the centre's clock, times begun anew. */
  out_of_order: number;
  from_future: number;
  clock_steps_back: number;
  clock_offset_ms: number;
  /** Beyond so much, either way, the centre alarms. */
  clock_offset_max_ms: number;
}

export interface Session {
  user: string;
  roles: string[];
}

/** One effect on the live stream. */
export type Effect =
  | ({ kind: "alarm" } & AlarmChange)
  | { kind: "warning" | "hazard" | "link" | "alarm_refused" | "hazard_refused" | "configured" | "config_refused" };

/** The beat of the live stream, once a second. */
export interface Heartbeat {
  now_ms: number;
  number: number;
  /** The centre's disk is full: nothing can be committed, so nothing that happens now is kept. */
  no_room: boolean;
}

/** Why the ledger refused a step: the code of the guard and its arguments. */
export type Refused = { code: string } & Record<string, string | number | string[]>;

/** What is allowed somewhere in a call. */
export type Allowed =
  | "text" | "object"
  | { one_of: string[] } | { numbers: [string, string] } | { name: number } | { bytes: number } | { seconds: number };

/** What is wrong with a call. */
export interface Fault {
  code: string;
  place: "path" | "query" | "header" | "method" | "field" | "body";
  name: string;
  found?: string;
  allowed: Allowed;
}

/** What went wrong, in the centre's words (RFC 9457). Status 0: the centre did not answer. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    /** Names the kind of problem; stable, and what the console has its own words for. */
    readonly type: string,
    readonly title: string,
    readonly detail: string,
    /** Of a step that the ledger refuses. */
    readonly refused: Refused | null = null,
    /** Of a call that cannot be used. */
    readonly fault: Fault | null = null,
  ) {
    super(detail || title);
  }
}

/** A call that takes longer has failed: an operator must not wait on a dead connection. */
const CALL_TIMEOUT_MS = 10_000;

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(`/api/v1${path}`, {
      method,
      headers: method === "GET" ? {} : { "content-type": "application/json", "x-davy-csrf": "1" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
  } catch (fault) {
    throw new Problem(0, "no_answer", "no answer", String(fault));
  }
  const text = await answer.text();
  let json: unknown = null;
  try {
    json = text === "" ? null : JSON.parse(text);
  } catch {
    if (answer.ok) throw new Problem(answer.status, "not_json", "not json", text.slice(0, 200));
  }
  if (!answer.ok) {
    const told = (json ?? {}) as { type?: string; title?: string; detail?: string; refused?: Refused; fault?: Fault };
    throw new Problem(answer.status, told.type ?? "", told.title ?? answer.statusText, told.detail ?? "", told.refused ?? null, told.fault ?? null);
  }
  return json as T;
}

const name = encodeURIComponent;

function query(parts: Record<string, string | number | undefined>): string {
  const pairs = Object.entries(parts).filter(([, value]) => value !== undefined && value !== "");
  if (pairs.length === 0) return "";
  return `?${pairs.map(([key, value]) => `${key}=${name(String(value))}`).join("&")}`;
}

export const api = {
  session: () => call<Session>("GET", "/session"),
  signIn: (user: string) => call<Session>("POST", "/session", { user }),
  signOut: () => call<null>("DELETE", "/session"),
  site: () => call<Site>("GET", "/site"),
  sources: () => call<Source[]>("GET", "/sources"),
  alarms: (limit: number) =>
    call<{ number: number; total: number; alarms: Alarm[] }>("GET", `/alarms${query({ limit })}`),
  alarm: (occurrence: number) => call<AlarmDetail>("GET", `/alarms/${occurrence}`),
  acknowledge: (occurrence: number, comment?: string) =>
    call<{ number: number }>("POST", `/alarms/${occurrence}/acknowledge`, { comment }),
  reset: (occurrence: number, comment?: string) =>
    call<{ number: number }>("POST", `/alarms/${occurrence}/reset`, { comment }),
  points: (source?: string) => call<Point[]>("GET", `/points${query({ source })}`),
  point: (tag: string) => call<Point>("GET", `/points/${name(tag)}`),
  trend: (tag: string, from_ms: number, to_ms: number, buckets: number) =>
    call<Trend>("GET", `/points/${name(tag)}/trend${query({ from_ms, to_ms, buckets })}`),
  hazards: (filter: { state?: string; source?: string; after?: string; limit?: number }) =>
    call<Hazard[]>("GET", `/hazards${query(filter)}`),
  hazard: (id: string) => call<HazardEntry>("GET", `/hazards/${name(id)}`),
  hazardEvent: (id: string, event: string, body: Record<string, unknown>) =>
    call<{ number: number }>("POST", `/hazards/${name(id)}/${name(event)}`, body),
  gateways: () => call<Gateway[]>("GET", "/gateways"),
};
