/**
 * Commands in hand: given, and not known to have been carried out, since the centre was away or no
 * longer knew the person. None is lost in silence, none is sent again by itself.
 *
 * Each names its occurrence, so a command that was carried out after all is refused when it is
 * repeated, and counts as done: nothing happens twice, and nothing that came later is answered.
 */
import { Problem } from "./api";

export interface InHand {
  /** What was commanded, in a person's words. */
  label: string;
  send: () => Promise<unknown>;
}

/** More commands than this one person does not keep in mind; the oldest goes, and is told. */
export const IN_HAND_MAX = 50;

/** Whether a command that failed so may not have reached the centre. */
export function isOpen(fault: unknown): boolean {
  return fault instanceof Problem && (fault.status === 0 || fault.status === 401 || fault.type === "ended");
}

/** Whether a command that is repeated was carried out before: the first time, or by somebody else. */
export function isDone(fault: unknown): boolean {
  return fault instanceof Problem && ["already_acknowledged", "not_latched", "unknown_occurrence"].includes(fault.type);
}

/** The same command given again takes the place of the first. */
export function keep(hand: readonly InHand[], one: InHand): readonly InHand[] {
  return [...hand.filter((other) => other.label !== one.label), one].slice(-IN_HAND_MAX);
}
