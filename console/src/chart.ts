/** What a trend shows, from buckets to columns: gaps stay gaps, and limits stay in sight. */
import type { Bucket, PointLimit, Quality } from "./api";

export type Column = (number | null)[];

/** Seconds, mean, min, max. A bucket without good readings is a hole in all three. */
export function columns(buckets: readonly Bucket[]): [number[], Column, Column, Column] {
  const hole = (bucket: Bucket, v: number | null) => (bucket.count === 0 ? null : v);
  return [
    buckets.map((bucket) => bucket.at_ms / 1000),
    buckets.map((bucket) => hole(bucket, bucket.mean)),
    buckets.map((bucket) => hole(bucket, bucket.min)),
    buckets.map((bucket) => hole(bucket, bucket.max)),
  ];
}

/** Runs of buckets that held readings, but none that was good; as [from, to) in milliseconds. */
export function badRuns(buckets: readonly Bucket[]): [number, number][] {
  const runs: [number, number][] = [];
  const width = buckets.length > 1 ? buckets[1]!.at_ms - buckets[0]!.at_ms : 1000;
  for (const bucket of buckets) {
    if (bucket.bad === 0) continue;
    const last = runs[runs.length - 1];
    if (last && last[1] >= bucket.at_ms) last[1] = bucket.at_ms + width;
    else runs.push([bucket.at_ms, bucket.at_ms + width]);
  }
  return runs;
}

/** From the lowest to the highest of values and limits, with a margin of 5 %. */
export function scale(low: number | null, high: number | null, limits: readonly PointLimit[]): [number, number] {
  const all = [low, high, ...limits.map((limit) => limit.limit)].filter(
    (v): v is number => v !== null && Number.isFinite(v),
  );
  if (all.length === 0) return [0, 1];
  const least = Math.min(...all);
  const most = Math.max(...all);
  const margin = (most - least || Math.abs(most) || 1) * 0.05;
  return [least - margin, most + margin];
}

/** Readings as they were frozen, each as its own bucket. */
export function fromReadings(readings: readonly [number, number | null, Quality][]): Bucket[] {
  return readings.map(([at_ms, v, quality]) => {
    const good = v !== null && quality === "good";
    return { at_ms, min: v, max: v, mean: v, count: good ? 1 : 0, bad: good ? 0 : 1 };
  });
}
