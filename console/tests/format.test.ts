import { expect, test } from "vitest";
import { steps } from "../src/format";

test("numbered steps stand one by one, in both languages", () => {
  expect(steps("1. 撤离，向上风侧走。2. 关闭切断阀。3. 报告调度和119。未佩戴呼吸器严禁进入。")).toEqual([
    "1. 撤离，向上风侧走。", "2. 关闭切断阀。", "3. 报告调度和119。未佩戴呼吸器严禁进入。",
  ]);
  expect(steps("1. Evacuate. 2. Close valves. 3. Call the fire brigade (119). No entry.")).toEqual([
    "1. Evacuate.", "2. Close valves.", "3. Call the fire brigade (119). No entry.",
  ]);
  expect(steps("Before all: stop. 1. Evacuate. 2. Call.")).toEqual(["Before all: stop.", "1. Evacuate.", "2. Call."]);
});

test("a number that is no step cuts nothing", () => {
  for (const text of ["", "Check the cable.", "Call 119. Then wait.", "Keep below 1.5 %. 2.5 % is too much.", "Go to tank 2. 3. is wrong."]) {
    expect(steps(text).join(" ")).toBe(text);
    expect(steps(text).length).toBe(text === "" ? 0 : 1);
  }
});
