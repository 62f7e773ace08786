/**
 * What the console knows of the centre, shared by all pages, and the commands that it sends.
 *
 * The centre is the only truth: rows change when the journal says so, never because a button was
 * pressed. Changes of the live stream alter the rows at hand; what they cannot tell is read again.
 */
import { computed, ref, shallowRef } from "vue";
import { api, Problem, type Alarm, type AlarmChange, type Effect, type Gateway, type Priority, type Session, type Site, type Source } from "./api";
import { isDone, isOpen, keep, type InHand } from "./hand";
import * as horn from "./horn";
import { say, t, word, type WordKey } from "./i18n";
import { before } from "./list";
import { beat, listen, lost, siteNow, stop } from "./live";
import { apply } from "./patch";
import { isHidden, isOwed } from "./presentation";
import { faulty } from "./fault";
import { refusal } from "./refused";
import { pattern, QUIET, SILENCE_MAX_MS, sound, type SounderInput } from "./sounder";
import { throttled } from "./throttle";

/** Rows that the console asks for at most; more is a flood that no one reads row by row. */
export const ALARMS_MAX = 10_000;
/** Changes kept for the moment in which a list is on its way; older ones are in the list. */
const RECENT_MAX = 5_000;
/** More new alarms at once than this, and the whole list is read instead. */
const MISSING_MAX = 20;
const ALARMS_GAP_MS = 250;
const OTHERS_GAP_MS = 1_000;
const GATEWAYS_EACH_MS = 10_000;
/** A change tells the value of its moment only, so the values of a list are read again and again: soon for one that a person can read, seldom for a flood. */
const VALUES_EACH_MS = { few: 2_000, many: 20_000 } as const;
const FEW = 500;
const NOTICE_MS = 6_000;

export const session = ref<Session | null>(null);
/** Not known yet, signed in, giving the seat to someone else, or shown the door. */
export const entry = ref<"asking" | "in" | "changing" | "out">("asking");
/** Whether somebody has been in: the door is then laid over the page, which goes on. */
export const hasBegun = ref(false);
export const site = shallowRef<Site | null>(null);
export const sources = shallowRef<Source[]>([]);
export const gateways = shallowRef<Gateway[]>([]);
export const alarms = shallowRef<ReadonlyMap<number, Alarm>>(new Map());
/** Alarms of the centre that a list did not name, in a flood. */
export const alarmsBeyond = ref(0);
export const ordered = computed(() => [...alarms.value.values()].sort(before));
export const sounder = shallowRef(QUIET);
export const notice = ref<string | null>(null);
/** Grows when the ledger changed; pages of the ledger watch it. */
export const hazardsChanged = ref(0);
export const alarmsRead = ref(false);

export const owed = computed(() => ordered.value.filter(isOwed));

export interface Count {
  owed: number;
  active: number;
  hidden: number;
}

export const counts = computed(() => {
  const none = (): Count => ({ owed: 0, active: 0, hidden: 0 });
  const all: Record<Priority, Count> = { 1: none(), 2: none(), 3: none(), 4: none() };
  for (const alarm of alarms.value.values()) {
    const count = all[alarm.priority];
    if (isHidden(alarm.state)) count.hidden += 1;
    else if (alarm.axes.active) count.active += 1;
    if (isOwed(alarm)) count.owed += 1;
  }
  return all;
});

export const sourceNames = computed(() => new Map(sources.value.map((source) => [source.id, source.name])));

function hear(input: SounderInput): void {
  sounder.value = sound(sounder.value, input);
}

/** Set while the tone of the lost centre is silenced; it begins again with the next loss, or after 3 minutes. */
const lossSilencedAt = ref<number | null>(null);
export const lossSounds = computed(() => lost.value && lossSilencedAt.value === null);

export function silence(): void {
  hear({ kind: "silence", now: siteNow.value });
  if (lost.value) lossSilencedAt.value = performance.now();
}

let recent: { number: number; change: AlarmChange }[] = [];

async function readAlarms(): Promise<void> {
  const { number, total, alarms: rows } = await api.alarms(ALARMS_MAX);
  const map = new Map(rows.map((alarm) => [alarm.occurrence, withAnswer(alarm)]));
  // The stream may be ahead of the list: what it said after the list's number counts.
  recent = recent.filter((entry) => entry.number > number);
  const missing = apply(map, recent.map((entry) => entry.change));
  alarms.value = map;
  alarmsBeyond.value = Math.max(0, total - rows.length);
  alarmsRead.value = true;
  // Before anything else is waited for: what is told meanwhile is not this list's to silence.
  hear({ kind: "list", number, alarms: [...map.values()] });
  await readMissing(missing);
}

/** The list does not say who acknowledged; what a change or a detail told holds. */
function withAnswer(alarm: Alarm): Alarm {
  const known = alarm.axes.acknowledged ? alarms.value.get(alarm.occurrence)?.acknowledged_by : null;
  return known ? { ...alarm, acknowledged_by: known } : alarm;
}

/** A few new alarms are read one by one: the list may be 10,000 rows long. */
async function readMissing(missing: readonly number[]): Promise<void> {
  if (missing.length > MISSING_MAX) askAlarms();
  if (missing.length === 0 || missing.length > MISSING_MAX) return;
  let isAll = true;
  const found = await Promise.all(missing.map((occurrence) => api.alarm(occurrence).catch((fault: unknown) => {
    isAll &&= isGone(fault);
    return null;
  })));
  // One that could not be read must not stay out of sight: the list has it.
  if (!isAll) askAlarms();
  const map = new Map(alarms.value);
  for (const alarm of found) if (alarm) map.set(alarm.occurrence, alarm);
  // What the stream said meanwhile holds; it is at least as new as what was read.
  const about = new Set(missing);
  apply(map, recent.map((entry) => entry.change).filter((change) => about.has(change.occurrence)));
  alarms.value = map;
}

function isGone(fault: unknown): boolean {
  return fault instanceof Problem && fault.status === 404;
}

async function showRecent(): Promise<void> {
  const map = new Map(alarms.value);
  const changes = fresh;
  fresh = [];
  const missing = apply(map, changes);
  alarms.value = map;
  await readMissing(missing);
}

let fresh: AlarmChange[] = [];
const quietly = (read: () => Promise<void>) => () => read().catch(sayDoor);
const askAlarms = throttled(ALARMS_GAP_MS, quietly(readAlarms));
const askRecent = throttled(100, quietly(showRecent));
const askSources = throttled(OTHERS_GAP_MS, quietly(async () => {
  sources.value = await api.sources();
}));
const askGateways = throttled(OTHERS_GAP_MS, quietly(async () => {
  gateways.value = await api.gateways();
}));
const askSite = throttled(OTHERS_GAP_MS, quietly(async () => {
  site.value = await api.site();
}));

/** A session that ended sends the person to the door; a lost centre is shown by the frame. */
function sayDoor(fault: unknown): void {
  if (fault instanceof Problem && fault.status === 401) leave();
}

/**
 * A centre that was started again knows no sessions. While a name is all that it asks for, the
 * person who sits here is named again; one that asks for more shows the door.
 */
async function sitDownAgain(): Promise<void> {
  try {
    session.value = await api.session();
  } catch (fault) {
    if (!(fault instanceof Problem && fault.status === 401) || session.value === null) return;
    session.value = await api.signIn(session.value.user).catch(() => session.value);
  }
}

/** Open the door for someone else; who sits here keeps the seat until the other one is named. */
export function changePerson(): void {
  entry.value = "changing";
}

/** Nobody took over: all goes on as before. */
export function stay(): void {
  entry.value = "in";
}

/** Take the seat by name; who sat here until now leaves it first. */
export async function sitDown(user: string): Promise<void> {
  if (entry.value === "changing") {
    await api.signOut();
    // From here on nobody sits here: a name that is refused leaves the door open.
    entry.value = "out";
  }
  await api.signIn(user);
  await begin();
}

function leave(): void {
  entry.value = "out";
}

function everything(): void {
  void sitDownAgain();
  askSite();
  askAlarms();
  askSources();
  askGateways();
  hazardsChanged.value += 1;
}

/** A stream begins. What one before it said is in the lists that are read now, or never was in this journal. */
function begun(): void {
  recent = [];
  fresh = [];
  hear({ kind: "begun" });
  everything();
}

function effects(number: number, told: Effect[]): void {
  for (const effect of told) {
    if (effect.kind === "alarm") {
      hear({ kind: "change", number, change: effect });
      recent.push({ number, change: effect });
      fresh.push(effect);
    } else if (effect.kind === "hazard") {
      hazardsChanged.value += 1;
    } else if (effect.kind === "link") {
      askGateways();
    }
  }
  // Not only at the next tick: a browser lets the timers of a page out of sight run once a minute.
  play();
  if (recent.length > RECENT_MAX) recent = recent.slice(-RECENT_MAX);
  if (fresh.length > 0) askRecent();
  askSources();
}

let gatewaysAskedAt = 0;
let alarmsAskedAt = 0;

/** Whether the values of the list are due to be read again. A page that no one sees waits. */
function areValuesDue(now: number): boolean {
  if (lost.value || document.hidden) return false;
  const isFew = alarms.value.size > 0 && alarms.value.size <= FEW;
  return now - alarmsAskedAt > (isFew ? VALUES_EACH_MS.few : VALUES_EACH_MS.many);
}

/** Without the centre its alarms are no longer known, so the one tone that is true is "lost". */
function play(): void {
  horn.play(lossSounds.value ? "lost" : lost.value ? "none" : pattern(sounder.value));
}

function tick(): void {
  hear({ kind: "tick", now: siteNow.value });
  const silencedAt = lossSilencedAt.value;
  if (silencedAt !== null && (!lost.value || performance.now() - silencedAt >= SILENCE_MAX_MS)) lossSilencedAt.value = null;
  play();
  if (performance.now() - gatewaysAskedAt > GATEWAYS_EACH_MS) {
    gatewaysAskedAt = performance.now();
    askGateways();
  }
  if (areValuesDue(performance.now())) {
    alarmsAskedAt = performance.now();
    askAlarms();
  }
}

/** Ask who we are; if the centre knows us, begin. */
export async function begin(): Promise<void> {
  try {
    session.value = await api.session();
  } catch (fault) {
    if (fault instanceof Problem && fault.status === 401) entry.value = "out";
    else setTimeout(() => void begin(), 1000);
    return;
  }
  entry.value = "in";
  hasBegun.value = true;
  beat(Date.now());
  listen({ begun, effects, everything, tick });
  everything();
}

if (typeof window !== "undefined") {
  // A page put aside must not hold its stream: a browser has six connections to one centre.
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (event) => event.persisted && hasBegun.value && void begin());
}

let noticeTimer: ReturnType<typeof setTimeout> | undefined;

export function tell(words: string): void {
  notice.value = words;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => (notice.value = null), NOTICE_MS);
}

/**
 * A fault in a person's words: the console's for the kinds that it knows, with the centre's own
 * behind them where they say more (the guard, what was found, what is allowed).
 */
export function why(fault: unknown): string {
  if (!(fault instanceof Problem)) return String(fault);
  const guard = fault.refused && refusal(fault.refused);
  if (guard) return guard;
  const words = word("problem", fault.type);
  const detail = (fault.fault && faulty(fault.fault)) ?? fault.detail;
  if (words === fault.type) return detail || fault.title;
  return detail && !TOLD_WHOLE.has(fault.type) ? t("problem.with", { words, detail }) : words;
}

/** Kinds whose words say all that the centre's do. */
const TOLD_WHOLE: ReadonlySet<string> = new Set([
  "unknown_occurrence", "already_acknowledged", "still_active", "not_acknowledged", "not_latched", "unseen",
  "not_signed_in", "ended", "no_answer", "no_room", "no_seat",
]);

/** Commands whose fate is not known: kept until they are repeated or let go. */
export const inHand = shallowRef<readonly InHand[]>([]);

/** Repeat what is in hand, in its order. What fails again the same way is in hand again. */
export async function repeat(): Promise<void> {
  const again = inHand.value;
  inHand.value = [];
  for (const one of again) await command(one.send, one.label, true);
}

export function letGo(): void {
  inHand.value = [];
}

function hold(label: string | null, send: () => Promise<unknown>): void {
  if (label !== null) inHand.value = keep(inHand.value, { label, send });
}

/**
 * Send one command. A refusal of the centre is told. One that may not have reached it stays in
 * hand under its `label`; without a label whoever gave it keeps it.
 */
export async function command(send: () => Promise<unknown>, label: string | null = null, isAgain = false): Promise<boolean> {
  if (lost.value) {
    hold(label, send);
    tell(t("lost.locked"));
    return false;
  }
  try {
    await send();
    return true;
  } catch (fault) {
    sayDoor(fault);
    if (isOpen(fault)) hold(label, send);
    if (isAgain && isDone(fault)) tell(t("hand.done", { label: label ?? "" }));
    else tell(fault instanceof Problem && fault.status !== 0 ? t("command.refused", { why: why(fault) }) : why(fault));
    askAlarms();
    return false;
  }
}

/** What is commanded, as a person names it. */
function named(deed: WordKey, occurrence: number): string {
  const alarm = alarms.value.get(occurrence);
  const what = alarm ? `${alarm.tag ?? say(alarm.subject)} ${word("setpoint", alarm.setpoint)}` : `#${occurrence}`;
  return `${t(deed)} ${what}`;
}

export const acknowledge = (occurrence: number, comment?: string) =>
  command(() => api.acknowledge(occurrence, comment), named("command.acknowledge", occurrence));
export const reset = (occurrence: number, comment?: string) =>
  command(() => api.reset(occurrence, comment), named("command.reset", occurrence));

/** Answers exactly these occurrences, one after the other: what came later is not among them. */
export async function acknowledgeEach(occurrences: readonly number[]): Promise<void> {
  let done = 0;
  for (const occurrence of occurrences) done += Number(await acknowledge(occurrence));
  tell(t("alarms.answered", { done, count: occurrences.length }));
}
