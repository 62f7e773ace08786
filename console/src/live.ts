/**
 * The live stream, and the watch over it.
 *
 * The centre beats once a second. When no beat has come for 2.25 s the console says so (within 3 s)
 * and locks every command: silence is never "normal". When beats come again everything is read
 * afresh, for what was missed while nobody listened cannot be told from what did not happen.
 */
import { computed, ref } from "vue";
import type { Effect, Heartbeat } from "./api";

export const LOST_AFTER_MS = 2250;
const WATCH_EACH_MS = 250;
const REOPEN_AFTER_MS = 1000;

/** Whether a beat is overdue. Both times by the page's own steady clock. */
export function isOverdue(lastBeat: number, now: number): boolean {
  return now - lastBeat > LOST_AFTER_MS;
}

/** The stream's own clock: never steps, unlike the machine's. */
const steady = () => performance.now();

const lastBeat = ref(steady());
const lastBeatSite = ref(Date.now());
const tickNow = ref(steady());

export const lost = computed(() => isOverdue(lastBeat.value, tickNow.value));
export const beatAge = computed(() => Math.max(0, tickNow.value - lastBeat.value));
/** The centre's clock, carried on by the steady one. */
export const siteNow = computed(() => lastBeatSite.value + beatAge.value);
/** Whether the centre says that its disk is full. */
export const noRoom = ref(false);
/** The centre's clock at the last beat. */
export const lostSince = lastBeatSite;

export interface Listener {
  effects(number: number, effects: Effect[]): void;
  /**
   * Forget what was told and read everything again: the stream has opened, or the centre says
   * `reset`, because it cannot go on from where this page was (the journal may be another one).
   */
  begun(): void;
  /** Read everything again: after a loss. */
  everything(): void;
  tick(): void;
}

let stream: EventSource | null = null;
let watch: ReturnType<typeof setInterval> | null = null;
let closedAt: number | null = null;

export function beat(now_ms: number): void {
  lastBeat.value = tickNow.value = steady();
  lastBeatSite.value = now_ms;
}

export function listen(listener: Listener): void {
  stop();
  open(listener);
  let wasLost = false;
  watch = setInterval(() => {
    tickNow.value = steady();
    if (wasLost && !lost.value) listener.everything();
    wasLost = lost.value;
    reopen(listener);
    listener.tick();
  }, WATCH_EACH_MS);
}

export function stop(): void {
  stream?.close();
  stream = null;
  if (watch !== null) clearInterval(watch);
  watch = null;
}

function open(listener: Listener): void {
  closedAt = null;
  stream = new EventSource("/api/v1/live");
  // What is read before the stream is there may miss what happens in between.
  stream.addEventListener("open", () => listener.begun());
  stream.addEventListener("heartbeat", (event) => {
    const told = JSON.parse((event as MessageEvent<string>).data) as Heartbeat;
    beat(told.now_ms);
    noRoom.value = told.no_room === true;
  });
  stream.addEventListener("effects", (event) => {
    const message = event as MessageEvent<string>;
    listener.effects(Number(message.lastEventId), JSON.parse(message.data) as Effect[]);
  });
  stream.addEventListener("reset", () => listener.begun());
}

/** The browser goes on trying by itself unless it was refused; then the page must. */
function reopen(listener: Listener): void {
  if (stream?.readyState !== EventSource.CLOSED) return;
  closedAt ??= steady();
  if (steady() - closedAt < REOPEN_AFTER_MS) return;
  stream.close();
  open(listener);
  listener.everything();
}
