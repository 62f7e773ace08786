import { expect, test } from "vitest";
import { Problem } from "../src/api";
import { IN_HAND_MAX, isDone, isOpen, keep } from "../src/hand";

const send = () => Promise.resolve();

test("what may not have reached the centre stays in hand; what was refused does not", () => {
  expect(isOpen(new Problem(0, "no_answer", "", ""))).toBe(true);
  expect(isOpen(new Problem(401, "not_signed_in", "", ""))).toBe(true);
  expect(isOpen(new Problem(503, "ended", "", ""))).toBe(true);
  expect(isOpen(new Problem(409, "still_active", "", ""))).toBe(false);
  expect(isOpen(new Problem(500, "internal", "", ""))).toBe(false);
  expect(isOpen(new Error("?"))).toBe(false);
});

test("a repeated command that had been carried out counts as done", () => {
  expect(isDone(new Problem(409, "already_acknowledged", "", ""))).toBe(true);
  expect(isDone(new Problem(404, "unknown_occurrence", "", ""))).toBe(true);
  expect(isDone(new Problem(409, "not_latched", "", ""))).toBe(true);
  expect(isDone(new Problem(409, "still_active", "", ""))).toBe(false);
});

test("the same command is in hand once, and no more than a person can tell apart", () => {
  let hand = keep([], { label: "a", send });
  hand = keep(hand, { label: "b", send });
  hand = keep(hand, { label: "a", send });
  expect(hand.map((one) => one.label)).toEqual(["b", "a"]);
  for (let n = 0; n < 2 * IN_HAND_MAX; n += 1) hand = keep(hand, { label: String(n), send });
  expect(hand.length).toBe(IN_HAND_MAX);
  expect(hand.at(-1)?.label).toBe(String(2 * IN_HAND_MAX - 1));
});
