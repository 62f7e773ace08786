import { expect, test } from "vitest";
import type { Bucket } from "../src/api";
import { badRuns, columns, fromReadings, scale } from "../src/chart";
import { value } from "../src/format";
import { parse } from "../src/route";

const bucket = (at_ms: number, v: number | null, count: number, bad = 0): Bucket => ({ at_ms, min: v, max: v, mean: v, count, bad });

test("a bucket without good readings is a hole, even if it carries a number", () => {
  const [x, mean] = columns([bucket(1000, 5, 2), bucket(2000, 7, 0, 1), bucket(3000, 0, 1)]);
  expect(x).toEqual([1, 2, 3]);
  expect(mean).toEqual([5, null, 0]);
});

test("neighbouring bad buckets are one run", () => {
  const rows = [bucket(0, 1, 1), bucket(10, null, 0, 1), bucket(20, null, 0, 2), bucket(30, 1, 1), bucket(40, 1, 1, 1)];
  expect(badRuns(rows)).toEqual([[10, 30], [40, 50]]);
});

test("limits stay in sight; nothing at all still has a scale", () => {
  const limit = { alarm: "a", setpoint: "hh", limit: 90, reset: 88, priority: 1 as const, figure_source: { zh: "", en: "" } };
  const [low, high] = scale(50, 60, [limit]);
  expect(low).toBeLessThan(50);
  expect(high).toBeGreaterThan(90);
  expect(scale(null, null, [])).toEqual([0, 1]);
  expect(scale(5, 5, [])[0]).toBeLessThan(5);
});

test("frozen readings that were not good are holes", () => {
  const [, mean] = columns(fromReadings([[0, 1, "good"], [1, null, { bad: "link" }], [2, 3, { uncertain: "stale" }]]));
  expect(mean).toEqual([1, null, null]);
});

test("values are written short and never as NaN", () => {
  expect([value(0.4234), value(51.9), value(100), value(1250.4), value(-3), value(null), value(NaN), value(2, "%")]).toEqual([
    "0.423", "51.9", "100", "1250", "-3", "—", "—", "2 %",
  ]);
});

test("addresses are read whatever they hold", () => {
  expect(parse("#/trend/T-101.level%2Fa")).toEqual({ page: "trend", subject: "T-101.level/a" });
  expect(parse("#/nowhere")).toEqual({ page: "sources", subject: null });
  expect(parse("#/alarms/%E0%A4%A")).toEqual({ page: "alarms", subject: null });
  expect(parse("")).toEqual({ page: "sources", subject: null });
});
