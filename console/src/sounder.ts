/**
 * What the console sounds, decided without a clock or a loudspeaker (`horn.ts` has those).
 *
 * - An alarm sounds from the change that said `sounds` until a person acknowledges it or silences
 *   the sounder. That it returned to normal does not end the sound, and never starts it again.
 * - Silence is not an acknowledgement. It ends with the next alarm that sounds, or after 3 minutes.
 * - A list says nothing of what was told after it: only what is as old as the list falls silent
 *   because the list does not name it.
 * - The gravest alarm sounding decides the pattern. Priority 4 never sounds.
 */
import type { Alarm, AlarmChange, Priority, State } from "./api";
import { PRESENTATION, SOUND, type Sound } from "./presentation";

/** Proposed in design notes; to be set with each site. */
export const SILENCE_MAX_MS = 3 * 60_000;

/** Why an occurrence sounds: its priority, and the journal's number of the entry that said so. */
export interface Sounding {
  readonly priority: Priority;
  readonly number: number;
}

export interface Sounder {
  /** Occurrences that sound. */
  readonly sounding: ReadonlyMap<number, Sounding>;
  readonly silencedAt: number | null;
}

export const QUIET: Sounder = { sounding: new Map(), silencedAt: null };

export type SounderInput =
  | { kind: "change"; number: number; change: Pick<AlarmChange, "occurrence" | "priority" | "to" | "sounds"> }
  | { kind: "list"; number: number; alarms: readonly Pick<Alarm, "occurrence" | "priority" | "state" | "sounds">[] }
  /** A stream begins; its numbers may be those of another journal, so the next list says all. */
  | { kind: "begun" }
  | { kind: "silence"; now: number }
  | { kind: "tick"; now: number };

function starts(priority: Priority, state: State, sounds: boolean): boolean {
  return sounds && PRESENTATION[state].sounds && SOUND[priority] !== "none";
}

export function sound(sounder: Sounder, input: SounderInput): Sounder {
  switch (input.kind) {
    case "change":
      return afterChange(sounder, input.number, input.change);
    case "list":
      return afterList(sounder, input.number, input.alarms);
    case "begun":
      return { ...sounder, sounding: new Map([...sounder.sounding].map(([key, { priority }]) => [key, { priority, number: 0 }])) };
    case "silence":
      return sounder.sounding.size === 0 ? sounder : { ...sounder, silencedAt: input.now };
    case "tick":
      return sounder.silencedAt !== null && input.now - sounder.silencedAt >= SILENCE_MAX_MS
        ? { ...sounder, silencedAt: null }
        : sounder;
  }
}

function afterChange(
  sounder: Sounder,
  number: number,
  change: Pick<AlarmChange, "occurrence" | "priority" | "to" | "sounds">,
): Sounder {
  if (starts(change.priority, change.to, change.sounds)) {
    const sounding = new Map(sounder.sounding).set(change.occurrence, { priority: change.priority, number });
    return { sounding, silencedAt: null };
  }
  if (!PRESENTATION[change.to].sounds && sounder.sounding.has(change.occurrence)) {
    const sounding = new Map(sounder.sounding);
    sounding.delete(change.occurrence);
    return { ...sounder, sounding };
  }
  return sounder;
}

/** The whole list, read again. What sounded and is still owed goes on; what left it falls silent. */
function afterList(
  sounder: Sounder,
  number: number,
  alarms: readonly Pick<Alarm, "occurrence" | "priority" | "state" | "sounds">[],
): Sounder {
  const sounding = new Map([...sounder.sounding].filter(([, told]) => told.number > number));
  let isNew = false;
  for (const { occurrence, priority, state, sounds } of alarms) {
    const went = sounder.sounding.get(occurrence);
    if (went && PRESENTATION[state].sounds) {
      sounding.set(occurrence, { priority, number: went.number });
    } else if (starts(priority, state, sounds)) {
      sounding.set(occurrence, { priority, number });
      isNew = true;
    }
  }
  return { sounding, silencedAt: isNew ? null : sounder.silencedAt };
}

/** The gravest priority that sounds or would, were it not silenced. */
export function gravest(sounder: Sounder): Priority | null {
  let worst: Priority | null = null;
  for (const { priority } of sounder.sounding.values()) {
    if (worst === null || priority < worst) worst = priority;
  }
  return worst;
}

export function pattern(sounder: Sounder): Sound {
  const worst = gravest(sounder);
  return worst === null || sounder.silencedAt !== null ? "none" : SOUND[worst];
}
