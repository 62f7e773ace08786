import { describe, expect, test } from "vitest";
import type { Priority, State } from "../src/api";
import { gravest, pattern, QUIET, SILENCE_MAX_MS, sound, type Sounder, type SounderInput } from "../src/sounder";

/**
 * A story, one step a line, with what is heard after it:
 *   `occurrence priority state sounds [number]`, `silence <ms>`, `tick <ms>`, `begun`,
 *   `list <o p state sounds>; …` or `list@<number> …`; a number that is not given is 0.
 */
function tell(story: string): void {
  let sounder: Sounder = QUIET;
  for (const line of story.trim().split("\n")) {
    const [step = "", heard = ""] = line.split("=>").map((part) => part.trim());
    sounder = sound(sounder, read(step));
    expect(pattern(sounder), line).toBe(heard);
  }
}

function row(words: string) {
  const [occurrence, priority, state, sounds, number] = words.trim().split(/\s+/);
  return {
    occurrence: Number(occurrence), priority: Number(priority) as Priority,
    state: state as State, to: state as State, sounds: sounds === "sounds", number: Number(number ?? 0),
  };
}

function read(step: string): SounderInput {
  const [verb = "", ...rest] = step.split(/\s+/);
  if (verb === "silence" || verb === "tick") return { kind: verb, now: Number(rest[0]) };
  if (verb === "begun") return { kind: "begun" };
  if (verb.startsWith("list")) {
    const number = Number(verb.split("@")[1] ?? 0);
    return { kind: "list", number, alarms: rest.join(" ").split(";").filter((part) => part.trim()).map(row) };
  }
  const change = row(step);
  return { kind: "change", number: change.number, change };
}

describe("the sounder", () => {
  test("sounds until acknowledged", () => tell(`
    1 1 unacked sounds   => continuous
    tick 999999          => continuous
    1 1 acked -          => none
  `));

  test("a list silences nothing that was told after it", () => tell(`
    7 1 unacked sounds 12 => continuous
    list@11               => continuous
    list@11 5 3 unacked - => continuous
    list@12               => none
  `));

  test("numbers of another journal keep nothing sounding", () => tell(`
    7 1 unacked sounds 900 => continuous
    begun                  => continuous
    list@3                 => none
  `));

  test("only a change that said so sounds", () => tell(`
    1 1 unacked -        => none
    2 3 unacked sounds   => chime
  `));

  test("a page opened after the return sounds for what nobody has answered", () => tell(`
    list 1 1 latched_unacked sounds; 2 3 rtn_unacked sounds => continuous
    1 1 latched_acked -  => chime
    2 3 normal -         => none
  `));

  test("priority 4 never sounds", () => tell(`
    1 4 unacked sounds   => none
  `));

  test("the gravest decides", () => tell(`
    1 3 unacked sounds   => chime
    2 2 unacked sounds   => pulsed
    3 1 unacked sounds   => continuous
    3 1 acked -          => pulsed
    2 2 acked -          => chime
  `));

  test("returning to normal neither ends the sound nor starts it again", () => tell(`
    1 2 unacked sounds   => pulsed
    1 2 rtn_unacked -    => pulsed
    1 2 normal -         => none
    2 2 unacked sounds   => pulsed
    2 2 acked -          => none
    2 2 normal -         => none
  `));

  test("a latched alarm sounds until acknowledged, not until reset", () => tell(`
    1 1 unacked sounds     => continuous
    1 1 latched_unacked -  => continuous
    1 1 latched_acked -    => none
  `));

  test("silence is kept over changes that do not sound, and broken by a new alarm", () => tell(`
    1 1 unacked sounds   => continuous
    silence 1000         => none
    1 1 rtn_unacked -    => none
    2 4 unacked sounds   => none
    3 3 unacked sounds   => continuous
  `));

  test("silence ends by itself", () => tell(`
    1 1 unacked sounds              => continuous
    silence 1000                    => none
    tick ${SILENCE_MAX_MS + 999}    => none
    tick ${SILENCE_MAX_MS + 1000}   => continuous
  `));

  test("silence before there is anything to silence does nothing", () => tell(`
    silence 1000         => none
    1 2 unacked sounds   => pulsed
  `));

  test("shelving ends the sound", () => tell(`
    1 2 unacked sounds   => pulsed
    1 2 shelved -        => none
  `));

  test("a list read again brings no sound back that was silenced", () => tell(`
    1 1 unacked sounds                            => continuous
    silence 1000                                  => none
    list 1 1 unacked sounds                       => none
    list 1 1 unacked sounds; 2 2 unacked sounds   => continuous
  `));

  test("a list read at the start sounds; what left it falls silent", () => tell(`
    list 1 2 unacked sounds; 2 3 acked sounds     => pulsed
    list 1 2 rtn_unacked -                        => pulsed
    list                                          => none
  `));

  test("silencing acknowledges nothing", () => {
    const silenced = sound(sound(QUIET, read("1 1 unacked sounds")), read("silence 5"));
    expect(gravest(silenced)).toBe(1);
  });
});
