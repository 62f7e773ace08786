import { afterEach, expect, test } from "vitest";
import { fill, language, say, t, word } from "../src/i18n";
import { FIELDS } from "../src/hazardForm";
import { PRESENTATION } from "../src/presentation";
import { en } from "../src/words/en";
import { zh } from "../src/words/zh";

const places = (words: string) => [...words.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

afterEach(() => {
  language.value = "zh";
});

test("both languages have the same keys", () => {
  expect(Object.keys(en).sort()).toEqual(Object.keys(zh).sort());
});

test.each(Object.keys(zh) as (keyof typeof zh)[])("%s has words and the same places in both", (key) => {
  expect(zh[key].trim()).not.toBe("");
  expect(en[key].trim()).not.toBe("");
  expect(places(en[key])).toEqual(places(zh[key]));
});

test("English is not left in Chinese", () => {
  const left = Object.entries(en).filter(([key, words]) => /[一-鿿]/.test(words) && !key.startsWith("language."));
  expect(left).toEqual([]);
});

test("every key that the pages name is there", () => {
  const pages = import.meta.glob(["../src/**/*.vue", "../src/*.ts"], { query: "?raw", import: "default", eager: true }) as Record<string, string>;
  const all = Object.values(pages).join("\n");
  const named = [...all.matchAll(/\bt\(\s*["'`]([a-z_0-9.]+)["'`]/g)].map((match) => match[1]!);
  expect(named.length).toBeGreaterThan(80);
  expect(named.filter((key) => !(key in zh))).toEqual([]);
});

test.each(Object.keys(PRESENTATION))("state %s has a word", (state) => {
  expect(word("state", state)).not.toBe(state);
});

test("every event and field of the ledger's forms has a word", () => {
  for (const [event, fields] of Object.entries(FIELDS)) {
    expect(word("event", event)).not.toBe(event);
    for (const field of fields) expect(word("field", field.name)).not.toBe(field.name);
  }
});

test("Chinese first, English by choice, unknown names as sent", () => {
  expect(t("page.alarms")).toBe("实时报警");
  language.value = "en";
  expect(t("page.alarms")).toBe("Live alarms");
  expect(say({ zh: "液位", en: "" })).toBe("液位");
  expect(word("setpoint", "rate_of_change")).toBe("rate_of_change");
  expect(fill("{a} of {b}", { a: 1 })).toBe("1 of {b}");
});
