/**
 * The loudspeaker: turns a pattern into tones made by oscillators, without a sound file.
 *
 * A browser blocks sound until a person has clicked. `blocked` says so, and the frame shows it as
 * a red lamp: an alarm must never be silent in secret.
 */
import { ref } from "vue";
import type { Sound } from "./presentation";

export type HornPattern = Sound | "lost";

/** [frequency Hz, start s, length s] of the tones in one period; volume is the same for all. */
const TONES: Readonly<Record<HornPattern, { period_s: number; tones: readonly [number, number, number][] }>> = {
  none: { period_s: 1, tones: [] },
  continuous: { period_s: 0.8, tones: [[880, 0, 0.4], [660, 0.4, 0.4]] },
  pulsed: { period_s: 1, tones: [[740, 0, 0.3]] },
  chime: { period_s: 60, tones: [[660, 0, 0.25], [520, 0.25, 0.5]] },
  lost: { period_s: 2, tones: [[330, 0, 0.25], [330, 0.4, 0.25]] },
};

/** Of 1; the machine's own volume is the operator's. */
const VOLUME = 0.25;
/** How far ahead tones are laid out, so that a busy page cannot make holes in them. */
const AHEAD_S = 1.5;

/** True until the browser lets the page sound. */
export const blocked = ref(true);

let context: AudioContext | null = null;
let gain: GainNode | null = null;
let playing: HornPattern = "none";
let nextPeriod = 0;

/** Called on any click or key: the browser may allow sound now. */
export async function enable(): Promise<void> {
  try {
    context ??= new AudioContext();
    context.onstatechange = seeState;
    await context.resume();
  } catch {
    // Without a sound device the lamp stays red.
  }
  seeState();
}

function seeState(): void {
  blocked.value = context?.state !== "running";
}

/** Sound this from now on. Call it often (each 250 ms): it lays the tones of the next moment out. */
export function play(pattern: HornPattern): void {
  seeState();
  if (context === null || blocked.value) return;
  const now = context.currentTime;
  if (pattern !== playing) {
    setGain(context);
    playing = pattern;
    nextPeriod = now;
  }
  const { period_s, tones } = TONES[pattern];
  if (tones.length === 0 || gain === null) return;
  nextPeriod = Math.max(nextPeriod, now);
  while (nextPeriod < now + AHEAD_S) {
    for (const [frequency, start, length] of tones) tone(frequency, nextPeriod + start, length);
    nextPeriod += period_s;
  }
}

/** A new gain cuts off whatever the old one had laid out. */
function setGain(of: AudioContext): void {
  gain?.disconnect();
  gain = of.createGain();
  gain.gain.value = VOLUME;
  gain.connect(of.destination);
}

function tone(frequency: number, at: number, length: number): void {
  if (context === null || gain === null) return;
  const oscillator = context.createOscillator();
  oscillator.type = "triangle";
  oscillator.frequency.value = frequency;
  oscillator.connect(gain);
  oscillator.start(at);
  oscillator.stop(at + length);
}

/** The check at the start of a shift: one chime, whatever else sounds. */
export async function check(): Promise<void> {
  await enable();
  if (context === null || blocked.value || playing !== "none") return;
  if (gain === null) setGain(context);
  tone(660, context.currentTime, 0.25);
}
