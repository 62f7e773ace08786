import { expect, test } from "vitest";
import { before, silentUnits, standsOut } from "../src/account";
import type { Gateway } from "../src/api";

const gateway = (id: string, more: Partial<Gateway> = {}): Gateway => ({
  id, name: { zh: id, en: id }, online: true, since_ms: 0, heard_at_ms: 0, units: [{ id: "u", online: true }], committed: 9, stored: 0,
  lost: 0, gap: 0, skipped: 0, unusable: 0, unknown: 0, clock_offset_ms: 0, clock_offset_max_ms: 2_000, ...more,
});

test("lost, missing and unread data stand out; stored data only while the gateway is away", () => {
  const figures = ["lost", "gap", "skipped", "unusable", "stored", "clock_offset_ms"] as const;
  const out = (more: Partial<Gateway>) => figures.filter((figure) => standsOut(gateway("g", more), figure));
  expect(out({})).toEqual([]);
  expect(out({ lost: 1, gap: 1, skipped: 1, unusable: 1 })).toEqual(["lost", "gap", "skipped", "unusable"]);
  expect(out({ stored: 40 })).toEqual([]);
  expect(out({ stored: 40, online: false })).toEqual(["stored"]);
  expect(out({ clock_offset_ms: 2_000 })).toEqual([]);
  expect(out({ clock_offset_ms: -2_001 })).toEqual(["clock_offset_ms"]);
});

test("what needs a hand is on top", () => {
  const silent = gateway("c", { units: [{ id: "u1", online: true }, { id: "u2", online: false }] });
  const all = [gateway("a"), gateway("b", { online: false }), silent, gateway("d", { gap: 1 })];
  expect(all.sort(before).map((one) => one.id)).toEqual(["b", "d", "c", "a"]);
  expect(silentUnits(silent)).toEqual(["u2"]);
});
