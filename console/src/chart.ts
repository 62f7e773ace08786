/** What a trend shows, from buckets to columns: gaps stay gaps, and limits stay in sight. */
import type { Bucket, PointLimit, Quality } from "./api";

export type Column = (number | null | undefined)[];

/** Times the usual distance of two values that still count as neighbours. */
const NEAR = 3;

/**
 * Seconds, mean, min, max, and the mean where it may not be the truth. A bucket without a value is
 * a hole; where buckets are narrower than the point is read, the empty ones between two values are
 * no gap (`undefined`, over which the line is drawn).
 */
export function columns(buckets: readonly Bucket[]): [number[], Column, Column, Column, Column] {
  const rows: [Column, Column, Column, Column] = [[], [], [], []];
  for (const column of rows) column.push(...buckets.map(() => null));
  const valued = buckets.flatMap((bucket, at) => (bucket.count === 0 ? [] : [at]));
  const apart = valued.slice(1).map((at, n) => buckets[at]!.at_ms - buckets[valued[n]!]!.at_ms);
  const usual = [...apart].sort((a, b) => a - b)[Math.floor(apart.length / 2)] ?? 0;
  const isDoubted = (at: number | undefined) => at !== undefined && doubts(buckets[at]!).length > 0;
  valued.forEach((at, n) => {
    const { mean, min, max } = buckets[at]!;
    const [sure, least, most, doubted] = rows;
    [sure[at], least[at], most[at]] = [isDoubted(at) ? null : mean, min, max];
    // The doubted line reaches to its neighbours, so that no piece of the course is missing.
    const isBeside = isDoubted(at) || isDoubted(valued[n - 1]) || isDoubted(valued[n + 1]);
    doubted[at] = isBeside ? mean : null;
    const before = valued[n - 1];
    if (before === undefined || apart[n - 1]! > NEAR * usual) return;
    for (let empty = before + 1; empty < at; empty++) {
      if (buckets[empty]!.bad === 0) for (const column of rows) column[empty] = undefined;
    }
  });
  return [buckets.map((bucket) => bucket.at_ms / 1000), ...rows];
}

/**
 * Stretches in which the point could not be seen, as [from, to) in milliseconds: from the first bad
 * reading to the next one that has a value, however seldom bad ones came. One that has not ended
 * reaches to `end`, where the buckets end.
 */
export function badRuns(buckets: readonly Bucket[], end: number): [number, number][] {
  const runs: [number, number][] = [];
  let since: number | null = null;
  buckets.forEach((bucket, index) => {
    const next = buckets[index + 1]?.at_ms ?? end;
    if (bucket.count > 0 && since !== null) {
      runs.push([since, bucket.at_ms]);
      since = null;
    }
    if (bucket.bad === 0) return;
    // Which of both came last in a bucket is not known: what follows it says so.
    if (bucket.count > 0) runs.push([bucket.at_ms, next]);
    else since ??= bucket.at_ms;
  });
  if (since !== null) runs.push([since, end]);
  return joined(runs);
}

function joined(runs: readonly [number, number][]): [number, number][] {
  const all: [number, number][] = [];
  for (const [from, to] of runs) {
    const last = all[all.length - 1];
    if (last && last[1] >= from) last[1] = Math.max(last[1], to);
    else all.push([from, to]);
  }
  return all;
}

/** Causes of a value that may not be the truth: of calibration gas, for one. */
export function doubts(bucket: Bucket): string[] {
  if (bucket.count === 0) return [];
  return (bucket.not_good ?? []).flatMap((quality) => (typeof quality === "object" && "uncertain" in quality ? [quality.uncertain] : []));
}

export interface Doubt {
  from: number;
  to: number;
  causes: string[];
}

/** Stretches whose values may not be the truth, each with all of its causes. Empty buckets between two of them belong to them. */
export function doubtRuns(buckets: readonly Bucket[], end: number): Doubt[] {
  const runs: Doubt[] = [];
  let open: Doubt | null = null;
  buckets.forEach((bucket, index) => {
    if (bucket.count === 0 && bucket.bad === 0) return;
    const causes = doubts(bucket);
    if (causes.length === 0) {
      open = null;
      return;
    }
    if (open === null) runs.push((open = { from: bucket.at_ms, to: bucket.at_ms, causes: [] }));
    open.to = buckets[index + 1]?.at_ms ?? end;
    open.causes = [...new Set([...open.causes, ...causes])];
  });
  return runs;
}

/** From the lowest to the highest of values and limits, with a margin of 5 %; without values, of the measuring range. */
export function scale(low: number | null, high: number | null, limits: readonly PointLimit[], range: readonly [number, number] | null = null): [number, number] {
  const isEmpty = low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high);
  const all = [...(isEmpty ? (range ?? []) : [low, high]), ...limits.map((limit) => limit.limit)].filter(
    (v): v is number => v !== null && Number.isFinite(v),
  );
  if (all.length === 0) return [0, 1];
  const least = Math.min(...all);
  const most = Math.max(...all);
  const margin = (most - least || Math.abs(most) || 1) * 0.05;
  return [least - margin, most + margin];
}

/** Readings as they were frozen, each as its own bucket. An uncertain one has a value, and its mark. */
export function fromReadings(readings: readonly [number, number | null, Quality][]): Bucket[] {
  return readings.map(([at_ms, v, quality]) => {
    const isSeen = v !== null && !(typeof quality === "object" && "bad" in quality);
    const mark = quality === "good" ? {} : { not_good: [quality] };
    return { at_ms, min: v, max: v, mean: v, count: isSeen ? 1 : 0, bad: isSeen ? 0 : 1, ...mark };
  });
}
