/**
 * The order of the alarm list, and how it stays still under the operator's hand.
 *
 * Invariant: while the list is held, no row that is shown changes its place. New alarms wait and
 * are counted; alarms that left the list stay where they were, dimmed, until it is let go.
 */
import type { Alarm } from "./api";
import { isHidden, isOwed } from "./presentation";

/** A hand (pointer or key) that has not moved for so long holds nothing: it was left there. */
export const HAND_HOLD_MS = 20_000;

/** What owes an answer first, then the graver, then the newer; the number decides the rest. */
export function before(a: Alarm, b: Alarm): number {
  return (
    Number(isOwed(b)) - Number(isOwed(a)) ||
    Number(isHidden(a.state)) - Number(isHidden(b.state)) ||
    a.priority - b.priority ||
    b.raised_at_ms - a.raised_at_ms ||
    b.occurrence - a.occurrence
  );
}

/** Held while scrolled away from the top, or while a hand was on the list just now. */
export function isHeld(at: { scrollTop: number; handAt: number | null; now: number }): boolean {
  return at.scrollTop > 0 || (at.handAt !== null && at.now - at.handAt < HAND_HOLD_MS);
}

export interface Rows {
  /** Occurrences in the order shown. */
  shown: readonly number[];
  /** Occurrences that wait behind the bar. */
  waiting: readonly number[];
}

/** The next rows: `ordered` is what the list would be, `previous` is what it is. */
export function arrange(previous: Rows, ordered: readonly number[], held: boolean): Rows {
  if (!held) return { shown: ordered, waiting: [] };
  const shown = new Set(previous.shown);
  return { shown: previous.shown, waiting: ordered.filter((occurrence) => !shown.has(occurrence)) };
}

/** First row drawn and number of rows drawn, of `count` rows of one height. */
export function visible(
  scrollTop: number,
  height: number,
  row: number,
  count: number,
  spare = 6,
): { first: number; length: number } {
  const first = Math.max(0, Math.min(count, Math.floor(scrollTop / row) - spare));
  const end = Math.min(count, Math.ceil((scrollTop + height) / row) + spare);
  return { first, length: Math.max(0, end - first) };
}

/** The row that the keys go to, one up or down; -1 stands for none. */
export function step(shown: readonly number[], at: number | null, by: 1 | -1): number | null {
  if (shown.length === 0) return null;
  const index = at === null ? -1 : shown.indexOf(at);
  if (index === -1) return shown[0] ?? null;
  return shown[Math.max(0, Math.min(shown.length - 1, index + by))] ?? null;
}

/** Every word must be found in one of the texts, whatever its case. */
export function matches(search: string, texts: readonly (string | null)[]): boolean {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const all = texts.join("\n").toLowerCase();
  return words.every((word) => all.includes(word));
}
