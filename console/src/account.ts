/** What of a gateway's account is out of order, and stands out on its page and in the lamps. */
import type { Gateway } from "./api";

export type Figure = "lost" | "gap" | "skipped" | "unusable" | "stored" | "clock_offset_ms";

/** Data that is gone or unread, a clock that is wrong; what is still stored only while it is away. */
export function standsOut(gateway: Gateway, figure: Figure): boolean {
  if (figure === "clock_offset_ms") return Math.abs(gateway.clock_offset_ms) > gateway.clock_offset_max_ms;
  if (figure === "stored") return !gateway.online && gateway.stored > 0;
  return gateway[figure] > 0;
}

export function silentUnits(gateway: Gateway): string[] {
  return gateway.units.filter((unit) => !unit.online).map((unit) => unit.id);
}

/** Out of order first, then by name: what needs a hand is on top. */
export function before(a: Gateway, b: Gateway): number {
  const rank = (gateway: Gateway) =>
    Number(!gateway.online) * 4 + Number(gateway.lost + gateway.gap + gateway.skipped > 0) * 2 + Number(silentUnits(gateway).length > 0);
  return rank(b) - rank(a) || a.id.localeCompare(b.id);
}
