/** How a change from the live stream alters a row that is already in the list. */
import type { Alarm, AlarmChange, Cause } from "./api";
import { PRESENTATION } from "./presentation";

/** The list holds an alarm until nothing is owed and nothing holds. */
export function patched(alarm: Alarm, change: AlarmChange): Alarm {
  return {
    ...alarm,
    state: change.to,
    axes: change.axes,
    lane: change.lane,
    // A person's answer tells the value of the raise again; the row may know a newer one.
    value: isByPerson(change.cause) ? alarm.value : (change.value ?? alarm.value),
    quality: alarm.tag === null ? null : change.quality,
    changed_at_ms: Math.max(alarm.changed_at_ms, change.sampled_at),
    unknown: change.axes.active && change.quality !== "good",
    // What sounded sounds on until it is answered; only the raise says that it does.
    sounds: PRESENTATION[change.to].sounds && (alarm.sounds || change.sounds),
    acknowledged_by: acknowledgedBy(change.cause) ?? alarm.acknowledged_by,
  };
}

function isByPerson(cause: Cause): boolean {
  return "by" in cause;
}

function acknowledgedBy(cause: Cause): string | null {
  return cause.kind === "acknowledged" ? cause.by : null;
}

/**
 * Apply changes to the list in place, by number of the occurrence. Answers which occurrences the
 * list does not have, so that they must be read.
 */
export function apply(alarms: Map<number, Alarm>, changes: readonly AlarmChange[]): number[] {
  const missing = new Set<number>();
  for (const change of changes) {
    const alarm = alarms.get(change.occurrence);
    if (change.to === "normal") {
      alarms.delete(change.occurrence);
      missing.delete(change.occurrence);
    } else if (alarm) {
      alarms.set(change.occurrence, patched(alarm, change));
    } else {
      missing.add(change.occurrence);
    }
  }
  return [...missing];
}
