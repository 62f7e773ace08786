import { describe, expect, test } from "vitest";
import type { Priority, State } from "../src/api";
import { COLOUR_RANK, FLASH_HALF_MS, PRESENTATION, SHAPE, SOUND } from "../src/presentation";

// The table that reviewers read: state, fill, flash, sounds, owed, reset, lock, letter.
const TABLE = `
normal               none    none  -      -     -      -     -
unacked              filled  fast  sounds owed  -      -     -
acked                filled  none  -      -     -      -     -
rtn_unacked          outline slow  sounds owed  -      -     -
latched_unacked      outline slow  sounds owed  -      lock  -
latched_acked        outline none  -      -     reset  lock  -
shelved              letter  none  -      -     -      -     S
suppressed_by_design letter  none  -      -     -      -     D
out_of_service       letter  none  -      -     -      -     O
`;

describe("state against presentation", () => {
  const rows = TABLE.trim().split("\n").map((line) => line.split(/\s+/));

  test.each(rows)("%s is %s, flashes %s", (state, fill, flash, sounds, owed, reset, lock, letter) => {
    const look = PRESENTATION[state as State];
    expect([
      look.fill, look.flash, look.sounds ? "sounds" : "-", look.owed ? "owed" : "-",
      look.reset ? "reset" : "-", look.lock ? "lock" : "-", look.letter || "-",
    ]).toEqual([fill, flash, sounds, owed, reset, lock, letter]);
  });

  test("the table names every state", () => {
    expect(rows.map((row) => row[0]).sort()).toEqual(Object.keys(PRESENTATION).sort());
  });

  test("only what is owed an answer flashes or sounds", () => {
    for (const look of Object.values(PRESENTATION)) {
      expect(look.flash !== "none").toBe(look.owed);
      expect(look.sounds).toBe(look.owed);
    }
  });

  test("no two states that differ in what is owed look the same without colour", () => {
    const looks = Object.values(PRESENTATION).map((look) => `${look.fill} ${look.flash} ${look.lock} ${look.letter}`);
    expect(new Set(looks).size).toBe(looks.length);
  });

  test("nothing flashes faster than 2 Hz", () => {
    for (const half of Object.values(FLASH_HALF_MS)) expect(1000 / (2 * half)).toBeLessThanOrEqual(2);
  });
});

test("each priority has a shape and a sound of its own", () => {
  const priorities: Priority[] = [1, 2, 3, 4];
  expect(priorities.map((priority) => `${SHAPE[priority]} ${SOUND[priority]}`)).toEqual([
    "square continuous", "triangle pulsed", "diamond chime", "circle none",
  ]);
});

test("each warning colour fills another number of bars", () => {
  expect(COLOUR_RANK).toEqual({ none: 0, blue: 1, yellow: 2, orange: 3, red: 4 });
});
