import { expect, test } from "vitest";
import { before, figureOf, lostByWay, lostUnits, standsOut } from "../src/account";
import type { Gateway } from "../src/api";

const gateway = (id: string, more: Partial<Gateway> = {}): Gateway => ({
  id, name: { zh: id, en: id }, online: true, since_ms: 0, heard_at_ms: 0, units: [{ id: "u", online: true, lost_by: null }], committed: 9, stored: 0,
  lost: 0, gap: 0, skipped: 0, unusable: 0, unknown: 0, out_of_order: 0, from_future: 0, clock_steps_back: 0, clock_offset_ms: 0, clock_offset_max_ms: 2_000, ...more,
});

test("lost, missing and unread data stand out; stored data only while the gateway is away", () => {
  const figures = ["lost", "gap", "skipped", "unusable", "unknown", "untimely", "stored", "clock_offset_ms"] as const;
  const out = (more: Partial<Gateway>) => figures.filter((figure) => standsOut(gateway("g", more), figure));
  expect(out({})).toEqual([]);
  expect(out({ lost: 1, gap: 1, skipped: 1, unusable: 1 })).toEqual(["lost", "gap", "skipped", "unusable"]);
  expect(out({ unknown: 2 })).toEqual(["unknown"]);
  for (const kind of ["out_of_order", "from_future", "clock_steps_back"] as const) expect(out({ [kind]: 1 })).toEqual(["untimely"]);
  expect(figureOf(gateway("g", { out_of_order: 3, from_future: 20, clock_steps_back: 100 }), "untimely")).toBe(123);
  expect(out({ stored: 40 })).toEqual([]);
  expect(out({ stored: 40, online: false })).toEqual(["stored"]);
  expect(out({ clock_offset_ms: 2_000 })).toEqual([]);
  expect(out({ clock_offset_ms: -2_001 })).toEqual(["clock_offset_ms"]);
});

test("what needs a hand is on top", () => {
  const silent = gateway("c", { units: [{ id: "u1", online: true, lost_by: null }, { id: "u2", online: false, lost_by: "no_answer" }] });
  const all = [gateway("a"), gateway("b", { online: false }), silent, gateway("d", { gap: 1 })];
  expect(all.sort(before).map((one) => one.id)).toEqual(["b", "d", "c", "a"]);
  expect(lostUnits(silent)).toEqual(["u2"]);
});

test("a unit that answers wrongly is told from one that does not answer", () => {
  const unit = (id: string, online: boolean, lost_by: "no_answer" | "exception" | "garbled" | null) => ({ id, online, lost_by });
  const units = [unit("a", true, null), unit("b", false, "no_answer"), unit("c", true, "exception"), unit("d", true, "garbled"), unit("e", true, "exception")];
  expect(lostByWay(gateway("g", { units }))).toEqual([
    { way: "exception", units: ["c", "e"] }, { way: "garbled", units: ["d"] }, { way: "no_answer", units: ["b"] },
  ]);
});
