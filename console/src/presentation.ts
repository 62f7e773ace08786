/**
 * How an alarm looks and sounds: one table for list, strip and sounder.
 *
 * Invariants: colour never stands alone (shape, number and word go with it); only an alarm that
 * is owed an answer flashes or sounds; leaving a state is up to the centre, never to the page.
 */
import type { Alarm, Colour, Priority, State } from "./api";

export type Fill = "none" | "filled" | "outline" | "letter";
export type Flash = "none" | "fast" | "slow";
export type Sound = "none" | "continuous" | "pulsed" | "chime";

export interface Presentation {
  fill: Fill;
  flash: Flash;
  /** Shown in a frame instead of the priority's number, for an alarm that is hidden. */
  letter: "" | "S" | "D" | "O";
  lock: boolean;
  /** Sounds by its priority, if its change said so. */
  sounds: boolean;
  /** An operator owes an acknowledgement. */
  owed: boolean;
  reset: boolean;
  /** Mnemonic of ISA-18.2, for screens only. */
  mnemonic: string;
}

const QUIET = { flash: "none", letter: "", lock: false, sounds: false, owed: false, reset: false } as const;
const OWED = { ...QUIET, sounds: true, owed: true } as const;

export const PRESENTATION: Readonly<Record<State, Presentation>> = {
  normal: { ...QUIET, fill: "none", mnemonic: "NORM" },
  unacked: { ...OWED, fill: "filled", flash: "fast", mnemonic: "UNACK" },
  acked: { ...QUIET, fill: "filled", mnemonic: "ACKED" },
  rtn_unacked: { ...OWED, fill: "outline", flash: "slow", mnemonic: "RTNUN" },
  latched_unacked: { ...OWED, fill: "outline", flash: "slow", lock: true, mnemonic: "LUNACK" },
  latched_acked: { ...QUIET, fill: "outline", lock: true, reset: true, mnemonic: "LACKED" },
  shelved: { ...QUIET, fill: "letter", letter: "S", mnemonic: "SHLVD" },
  suppressed_by_design: { ...QUIET, fill: "letter", letter: "D", mnemonic: "DSUPR" },
  out_of_service: { ...QUIET, fill: "letter", letter: "O", mnemonic: "OOSRV" },
};

/** Half periods of the flashes. Fast is 1 Hz, slow 0.5 Hz: both below the 2 Hz that eyes bear. */
export const FLASH_HALF_MS = { fast: 500, slow: 1000 } as const;

export const SHAPE: Readonly<Record<Priority, "square" | "triangle" | "diamond" | "circle">> = {
  1: "square",
  2: "triangle",
  3: "diamond",
  4: "circle",
};

export const SOUND: Readonly<Record<Priority, Sound>> = {
  1: "continuous",
  2: "pulsed",
  3: "chime",
  4: "none",
};

/** Bars filled of four, so that a source's colour reads in greyscale too. */
export const COLOUR_RANK: Readonly<Record<Colour, 0 | 1 | 2 | 3 | 4>> = {
  none: 0,
  blue: 1,
  yellow: 2,
  orange: 3,
  red: 4,
};

/** A shown alarm that the process holds active; hidden ones count as hidden, not as active. */
export function isHidden(state: State): boolean {
  return PRESENTATION[state].fill === "letter";
}

export function isOwed(alarm: Pick<Alarm, "state">): boolean {
  return PRESENTATION[alarm.state].owed;
}
