/** What of a gateway's account is out of order, and stands out on its page and in the lamps. */
import type { Gateway, LostBy } from "./api";

export type Figure = "lost" | "gap" | "skipped" | "unusable" | "unknown" | "untimely" | "stored" | "clock_offset_ms";

/** The figure as it is shown. Readings out of their order in time are one, whatever way they are. */
export function figureOf(gateway: Gateway, figure: Figure): number {
  if (figure === "untimely") return gateway.out_of_order + gateway.from_future + gateway.clock_steps_back;
  return gateway[figure];
}

/** Data that is gone or unread, a clock that is wrong; what is still stored only while it is away. */
export function standsOut(gateway: Gateway, figure: Figure): boolean {
  if (figure === "clock_offset_ms") return Math.abs(gateway.clock_offset_ms) > gateway.clock_offset_max_ms;
  if (figure === "stored") return !gateway.online && gateway.stored > 0;
  return figureOf(gateway, figure) > 0;
}

export function lostUnits(gateway: Gateway): string[] {
  return gateway.units.filter((unit) => unit.lost_by !== null).map((unit) => unit.id);
}

/** Units that answer wrongly before those that do not answer: each needs another hand. */
const WAYS: readonly LostBy[] = ["exception", "garbled", "no_answer", "link_down"];

/** Units out of view, by how. */
export function lostByWay(gateway: Gateway): { way: LostBy; units: string[] }[] {
  const of = (way: LostBy) => gateway.units.filter((unit) => unit.lost_by === way).map((unit) => unit.id);
  return WAYS.map((way) => ({ way, units: of(way) })).filter(({ units }) => units.length > 0);
}

/** Out of order first, then by name: what needs a hand is on top. */
export function before(a: Gateway, b: Gateway): number {
  const rank = (gateway: Gateway) =>
    Number(!gateway.online) * 4 + Number(gateway.lost + gateway.gap + gateway.skipped > 0) * 2 + Number(lostUnits(gateway).length > 0);
  return rank(b) - rank(a) || a.id.localeCompare(b.id);
}
