import { expect, test } from "vitest";
import type { Alarm, AlarmChange, Priority, State } from "../src/api";
import { arrange, before, HAND_HOLD_MS, isHeld, matches, step, visible } from "../src/list";
import { isOverdue, LOST_AFTER_MS } from "../src/live";
import { apply } from "../src/patch";

function alarm(occurrence: number, priority: Priority, state: State, raised_at_ms = 0): Alarm {
  return {
    occurrence, priority, state, raised_at_ms, changed_at_ms: 0, alarm: `a${occurrence}`, tag: null, subject: { zh: "", en: "" },
    source: null, setpoint: "h", axes: { active: true, acknowledged: false, latched: false }, lane: "live", unknown: false,
    value: null, limit: null, unit: null, quality: "good", sounds: false, would_be_in_alarm: false, acknowledged_by: null,
  };
}

function change(occurrence: number, to: State, more: Partial<AlarmChange> = {}): AlarmChange {
  return {
    occurrence, to, from: "unacked", alarm: "a", axes: { active: true, acknowledged: true, latched: false }, cause: { kind: "acknowledged", by: "W" },
    priority: 1, quality: "good", raised_at: 0, sampled_at: 5, lane: "live", sounds: false, ...more,
  };
}

test("what is owed comes first, then the graver, then the newer; hidden ones last", () => {
  const rows = [
    alarm(1, 1, "shelved", 9), alarm(2, 1, "acked", 9), alarm(3, 3, "unacked", 9), alarm(4, 1, "unacked", 1),
    alarm(5, 1, "unacked", 2), alarm(6, 2, "rtn_unacked", 9), alarm(7, 1, "unacked", 2), alarm(8, 4, "acked", 9),
  ];
  expect(rows.sort(before).map((row) => row.occurrence)).toEqual([7, 5, 4, 6, 3, 2, 8, 1]);
});

test("a held list keeps its rows in place and lets new ones wait", () => {
  const start = arrange({ shown: [], waiting: [] }, [1, 2, 3], false);
  const held = arrange(start, [9, 8, 1, 3, 2], true);
  expect(held).toEqual({ shown: [1, 2, 3], waiting: [9, 8] });
  const left = arrange(held, [9, 3], true);
  expect(left).toEqual({ shown: [1, 2, 3], waiting: [9] });
  expect(arrange(left, [9, 3], false)).toEqual({ shown: [9, 3], waiting: [] });
});

test("held while scrolled or under a moving hand, not by a hand left lying there", () => {
  expect(isHeld({ scrollTop: 0, handAt: null, now: 0 })).toBe(false);
  expect(isHeld({ scrollTop: 1, handAt: null, now: 0 })).toBe(true);
  expect(isHeld({ scrollTop: 0, handAt: 0, now: HAND_HOLD_MS - 1 })).toBe(true);
  expect(isHeld({ scrollTop: 0, handAt: 0, now: HAND_HOLD_MS })).toBe(false);
});

test("only the rows in sight are drawn, whatever their number", () => {
  expect(visible(0, 720, 36, 10_000)).toEqual({ first: 0, length: 26 });
  expect(visible(36 * 5000, 720, 36, 10_000)).toEqual({ first: 4994, length: 32 });
  expect(visible(36 * 9980, 720, 36, 10_000)).toEqual({ first: 9974, length: 26 });
  expect(visible(99_999, 720, 36, 3)).toEqual({ first: 3, length: 0 });
  expect(visible(0, 720, 36, 0)).toEqual({ first: 0, length: 0 });
});

test("keys go one row at a time and stop at the ends", () => {
  expect(step([4, 5, 6], null, 1)).toBe(4);
  expect(step([4, 5, 6], 5, 1)).toBe(6);
  expect(step([4, 5, 6], 6, 1)).toBe(6);
  expect(step([4, 5, 6], 4, -1)).toBe(4);
  expect(step([4, 5, 6], 99, 1)).toBe(4);
  expect(step([], 4, 1)).toBe(null);
});

test("every word of a search must be found", () => {
  expect(matches("ta-1 液位", ["TA-101.level", "苯储罐 1 号液位"])).toBe(true);
  expect(matches("ta-1 压力", ["TA-101.level", "苯储罐 1 号液位"])).toBe(false);
  expect(matches("  ", [null])).toBe(true);
});

test("a change alters its row, removes what is normal, and says what it does not know", () => {
  const rows = new Map([[1, alarm(1, 1, "unacked")], [2, alarm(2, 2, "acked")]]);
  expect(apply(rows, [change(1, "acked"), change(2, "normal")])).toEqual([]);
  expect(rows.get(1)).toMatchObject({ state: "acked", acknowledged_by: "W", changed_at_ms: 5 });
  expect(rows.has(2)).toBe(false);
  expect(apply(rows, [change(7, "unacked"), change(7, "acked"), change(6, "unacked")])).toEqual([7, 6]);
  expect(apply(rows, [change(8, "unacked"), change(8, "normal")])).toEqual([]);
});

test("an active alarm without a good reading is unknown", () => {
  const rows = new Map([[1, alarm(1, 1, "unacked")]]);
  apply(rows, [change(1, "unacked", { cause: { kind: "quality_changed" }, quality: { bad: "link" } })]);
  expect(rows.get(1)?.unknown).toBe(true);
});

test("the centre counts as lost early enough to be told within 3 s", () => {
  const watchEach = 250;
  expect(LOST_AFTER_MS + watchEach).toBeLessThan(3000);
  expect(isOverdue(0, LOST_AFTER_MS)).toBe(false);
  expect(isOverdue(0, LOST_AFTER_MS + 1)).toBe(true);
  // One late beat is no alarm.
  expect(isOverdue(0, 2000)).toBe(false);
});

test("an answer changes who and the state, not the value; a return brings its own", () => {
  const alarms = new Map([[1, { ...alarm(1, 1, "unacked"), value: 7 }]]);
  apply(alarms, [change(1, "acked", { value: 2.4 })]);
  expect(alarms.get(1)).toMatchObject({ value: 7, state: "acked", acknowledged_by: "W" });
  apply(alarms, [change(1, "latched_acked", { value: 1.1, cause: { kind: "returned" } })]);
  expect(alarms.get(1)).toMatchObject({ value: 1.1, state: "latched_acked", acknowledged_by: "W" });
});
