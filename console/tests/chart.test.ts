import { expect, test } from "vitest";
import type { Bucket } from "../src/api";
import { badRuns, columns, doubtRuns, fromReadings, scale } from "../src/chart";
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
  expect(badRuns(rows, 50)).toEqual([[10, 30], [40, 50]]);
});

test("a silent unit is one stretch, from its first bad reading to the next good one", () => {
  const seldom = [bucket(0, 1, 1), bucket(10, null, 0, 1), bucket(20, null, 0), bucket(30, null, 0, 1), bucket(40, null, 0), bucket(50, 1, 1), bucket(60, null, 0)];
  expect(badRuns(seldom, 70)).toEqual([[10, 50]]);
  expect(badRuns(seldom.slice(0, 5), 99)).toEqual([[10, 99]]);
});

test("buckets narrower than the point is read do not break the line, a real gap does", () => {
  const at = [0, 2, 4, 6, 20, 22];
  const rows = Array.from({ length: 24 }, (_, n) => bucket(n * 500, at.includes(n) ? n : null, Number(at.includes(n))));
  const [, mean] = columns(rows);
  expect(mean.slice(0, 8)).toEqual([0, undefined, 2, undefined, 4, undefined, 6, null]);
  expect(mean.slice(7, 20).every((v) => v === null)).toBe(true);
});

test("calibration gas is marked, drawn otherwise, and joined to the course before and after", () => {
  const gas: Bucket = { ...bucket(20, 9, 1), not_good: [{ uncertain: "calibration" }] };
  const rows = [bucket(0, 1, 1), bucket(10, 1, 1), gas, bucket(30, null, 0), { ...gas, at_ms: 40 }, bucket(50, 1, 1), bucket(60, 1, 1)];
  expect(doubtRuns(rows, 70)).toEqual([{ from: 20, to: 50, causes: ["calibration"] }]);
  const [, mean, , , doubted] = columns(rows);
  expect(mean).toEqual([1, 1, null, undefined, null, 1, 1]);
  expect(doubted).toEqual([null, 1, 9, undefined, 9, 1, null]);
});

test("limits stay in sight; nothing at all still has a scale", () => {
  const limit = { alarm: "a", setpoint: "hh", limit: 90, reset: 88, priority: 1 as const, figure_source: { zh: "", en: "" } };
  const [low, high] = scale(50, 60, [limit]);
  expect(low).toBeLessThan(50);
  expect(high).toBeGreaterThan(90);
  expect(scale(null, null, [])).toEqual([0, 1]);
  const [least, most] = scale(null, null, [], [0, 65535]);
  expect(least < 0 && most > 65535, "without a value, the measuring range").toBe(true);
  expect(scale(5, 5, [])[0]).toBeLessThan(5);
});

test("frozen readings that were bad are holes, uncertain ones are marked", () => {
  const frozen = fromReadings([[0, 1, "good"], [1, null, { bad: "link" }], [2, 3, { uncertain: "calibration" }]]);
  const [, mean, , , doubted] = columns(frozen);
  expect(mean).toEqual([1, null, null]);
  // Of a single neighbour behind a hole no line is drawn.
  expect(doubted).toEqual([1, null, 3]);
  expect(doubtRuns(frozen, 3)).toEqual([{ from: 2, to: 3, causes: ["calibration"] }]);
  expect(badRuns(frozen, 3)).toEqual([[1, 2]]);
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
