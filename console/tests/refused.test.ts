import { afterEach, expect, test } from "vitest";
import { full } from "../src/format";
import { language } from "../src/i18n";
import { refusal } from "../src/refused";
import { en } from "../src/words/en";
import { zh } from "../src/words/zh";

afterEach(() => {
  language.value = "zh";
});

/** The centre's own list of refusals: each variant with its fields. */
function codes(): Map<string, string[]> {
  const file = import.meta.glob("../../core/src/hazard/refused.rs", { query: "?raw", import: "default", eager: true }) as Record<string, string>;
  const text = Object.values(file)[0]!;
  const all = new Map<string, string[]>();
  for (const [, name, fields] of text.matchAll(/^ {4}([A-Z]\w+)(?:,| \{([^}]*)\})/gm)) {
    const code = name!.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
    all.set(code, [...(fields ?? "").matchAll(/^ {8}(\w+):/gm)].map((field) => field[1]!));
  }
  return all;
}

test("every refusal of the centre has a sentence in both languages, made of its arguments", () => {
  const known = codes();
  expect(known.size).toBeGreaterThan(20);
  for (const [code, fields] of known) {
    for (const words of [zh, en] as Record<string, string>[]) {
      const sentence = words[`refused.${code}`];
      expect(sentence, code).toBeDefined();
      for (const place of sentence!.matchAll(/\{(\w+)\}/g)) expect(fields, code).toContain(place[1]);
    }
  }
});

test("moments are dates, fields and steps are words, and nothing is left in English", () => {
  const since_ms = new Date("2026-11-25T10:06:46").getTime();
  const until_ms = since_ms + 86_400_000;
  expect(refusal({ code: "normal_too_short", since_ms, until_ms })).toBe(
    `${full(since_ms)} 起才恢复正常，须不间断地保持到 ${full(until_ms)} 才能销号`,
  );
  expect(refusal({ code: "five_items", missing: ["responsibility", "funds", "time_limit"] })).toBe("五落实缺：责任、资金、时限");
  expect(refusal({ code: "state", state: "found", step: "submit", from: "rectifying" })).toBe("该隐患现处于“排查”，“整改完成，申请复查”只能在“整改”时办理");
  expect(refusal({ code: "no_comment", step: "submit", what: "what was done" })).toBe("须填写整改情况");
  expect(refusal({ code: "alarm_owed", alarm: "TF.a.gas2" })).toContain("TF.a 气体二级报警");
  for (const field of ["by", "comment", "second", "approved_by", "contingency_plan"]) {
    expect(refusal({ code: "too_long", field, letters: 3000, max: 2000 }), field).not.toMatch(/[a-z_]/);
  }
  expect(refusal({ code: "of_a_newer_centre" })).toBeNull();
});
