import { afterEach, expect, test } from "vitest";
import type { Fault } from "../src/api";
import { faulty } from "../src/fault";
import { language } from "../src/i18n";
import { zh } from "../src/words/zh";

afterEach(() => {
  language.value = "zh";
});

/** The centre's own lists: the words of each enum as they are sent. */
function centres(type: string): string[] {
  const file = import.meta.glob("../../src/api/fault.rs", { query: "?raw", import: "default", eager: true }) as Record<string, string>;
  const text = Object.values(file)[0]!.split(`pub enum ${type} {`)[1]!.split("\n}")[0]!;
  return [...text.matchAll(/^ {4}([A-Z]\w+)[,(]/gm)].map(([, name]) => name!.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase());
}

test.each([["Code", "fault"], ["Place", "place"], ["Allowed", "allowed"]])("every %s of the centre has words", (type, group) => {
  const names = centres(type);
  expect(names.length).toBeGreaterThan(4);
  const known = Object.keys(zh);
  for (const name of names) if (name !== "one_of") expect(known).toContain(`${group}.${name}`);
});

test("what, where, which, found and allowed are one sentence", () => {
  const state: Fault = { code: "not_allowed", place: "query", name: "state", found: "huge", allowed: { one_of: ["found", "closed"] } };
  expect(faulty(state)).toBe("查询参数 state 不能是“huge”；可以是：found、closed");
  expect(faulty({ code: "unknown", place: "query", name: "stat", allowed: { one_of: [] } })).toBe("不认识查询参数 stat；可以是：无");
  expect(faulty({ code: "missing", place: "field", name: "class", allowed: "text" })).toBe("缺少“隐患等级”；可以是：文字");
  expect(faulty({ code: "missing", place: "field", name: "five_items.funds", allowed: "text" })).toContain("资金来源");
  expect(faulty({ code: "not_allowed", place: "body", name: "", allowed: { bytes: 65536 } })).toBe("请求正文不符；要求：最多 65536 字节");
  language.value = "en";
  expect(faulty({ ...state, code: "not_there" })).toBe("query parameter state names nothing that there is: “huge”; allowed: found, closed");
  expect(faulty({ ...state, code: "of_a_newer_centre" })).toBeNull();
});
