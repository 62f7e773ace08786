/** Both themes against WCAG 2.1: letters 4.5:1 (1.4.3), shapes 3:1 (1.4.11), out of the style sheet itself. */
import { describe, expect, test } from "vitest";
import sheet from "../src/style.css?raw";

const WORDS_MIN = 4.5;
const SHAPES_MIN = 3;

type Colours = Record<string, string>;

function colours(selector: string): Colours {
  const at = sheet.indexOf(`${selector} {`);
  const body = sheet.slice(at, sheet.indexOf("}", at));
  return Object.fromEntries([...body.matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)].map((match) => [match[1]!, match[2]!]));
}

function luminance(colour: string): number {
  const linear = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]!;
}

function contrast(one: string, other: string): number {
  const [darker, lighter] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (lighter! + 0.05) / (darker! + 0.05);
}

const WHITE = "#ffffff";
const BLACK = "#16191c";

/** What stands on what: letters. A name of the theme, or a colour. */
const WORDS: [string, string][] = [
  ...["ink", "dim", "doubt"].flatMap((letter) => ["bg", "panel", "raised", "select"].map((ground) => [letter, ground] as [string, string])),
  ["raised", "ink"], ["raised", "dim"],
  // Numbers in filled shapes, and words on the colours of warnings.
  [WHITE, "p1"], [BLACK, "p2"], [BLACK, "p3"], [WHITE, "p4"],
];

/** Outlines: of what has returned, and of the off half of a flash. */
const SHAPES: [string, string][] = ["p1", "p2", "p3", "p4"].flatMap((colour) =>
  ["bg", "panel", "raised", "select"].map((ground) => [`${colour}-line`, ground] as [string, string]));

describe.each([["light", ":root"], ["dark", ':root[data-theme="dark"]']])("the %s theme", (_, selector) => {
  const theme = colours(selector);
  const named = (name: string) => (name.startsWith("#") ? name : theme[name]!);

  test.each(WORDS)("%s reads on %s", (letter, ground) => {
    expect(contrast(named(letter), named(ground))).toBeGreaterThanOrEqual(WORDS_MIN);
  });

  test.each(SHAPES)("%s is seen on %s", (line, ground) => {
    expect(contrast(named(line), named(ground))).toBeGreaterThanOrEqual(SHAPES_MIN);
  });
});

test("the contrast of black on white is 21, of a colour on itself 1", () => {
  expect(contrast("#000000", WHITE)).toBeCloseTo(21);
  expect(contrast("#777777", "#777777")).toBe(1);
});

test("what flashes keeps its number: the off half alters the shape alone, and leaves it in sight", () => {
  const off = sheet.match(/\.(?:slow|fast)-off [^{]*\{[^}]*\}/g) ?? [];
  expect(off.length).toBeGreaterThan(1);
  for (const rule of off) expect(rule).not.toMatch(/opacity: 0|visibility|display: none|fill: transparent/);
});
