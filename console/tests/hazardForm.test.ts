import { expect, test } from "vitest";
import { asField, begin, body, commentOf, FIELDS, missing } from "../src/hazardForm";

test("a notice carries the five items, the time limit in words, and the deadline in milliseconds", () => {
  const sent = body("notice", {
    responsibility: " 王强 ", measures: "更换垫片", funds: "安措费", deadline: "2026-11-25T18:30", contingency_plan: "停用2#储罐", comment: "",
  });
  expect(sent).toEqual({
    five_items: { responsibility: "王强", measures: "更换垫片", funds: "安措费", time_limit: "2026-11-25 18:30", contingency_plan: "停用2#储罐" },
    deadline: new Date("2026-11-25T18:30").getTime(),
  });
});

test("an item left empty is sent empty, so that the centre names it", () => {
  expect(body("notice", { measures: "x" })).toEqual({
    five_items: { responsibility: "", measures: "x", funds: "", time_limit: "", contingency_plan: "" },
  });
});

const whole = { gone_alarms: [] };

test("all that is empty is named at once", () => {
  expect(missing("notice", { measures: "x", funds: " " }, whole)).toEqual(["responsibility", "funds", "deadline", "contingency_plan"]);
  expect(missing("reject", { second: "李娜" }, whole)).toEqual(["comment"]);
  expect(missing("verify", { class: "major" }, whole)).toEqual([]);
  expect(missing("pass_recheck", {}, whole)).toEqual([]);
  expect(missing("pass_recheck", {}, { gone_alarms: ["TF.a.hh"] })).toEqual(["comment"]);
});

test("what the entry says already stands in the fields", () => {
  const deadline_ms = new Date("2026-11-26T10:15:53").getTime();
  expect(begin("verify", { class: "major", deadline_ms })).toEqual({ class: "major" });
  // To the minute and never later: the centre refuses a deadline after the entry's own.
  const field = begin("notice", { class: "major", deadline_ms }).deadline!;
  expect(field).toBe("2026-11-26T10:15");
  expect(new Date(field).getTime()).toBeLessThanOrEqual(deadline_ms);
  expect(asField(0)).toHaveLength(16);
});

test("the other steps send their fields and the comment, and nothing that is empty", () => {
  expect(body("verify", { class: "general" })).toEqual({ class: "general" });
  expect(body("reject", { second: "李娜", comment: " 标校 " })).toEqual({ second: "李娜", comment: "标校" });
  expect(body("extend", { until: "2026-12-01T08:00", approved_by: " " })).toEqual({ until: new Date("2026-12-01T08:00").getTime() });
  expect(body("submit", { comment: "已更换" })).toEqual({ comment: "已更换" });
});

test("a re-check that passes asks for the reason while an alarm is no longer configured", () => {
  const none = { gone_alarms: [] };
  expect(commentOf("pass_recheck", none)).toBe("field.comment");
  expect(commentOf("pass_recheck", { gone_alarms: ["T-1.hh"] })).toBe("comment.gone");
  expect(commentOf("fail_recheck", { gone_alarms: ["T-1.hh"] })).toBe("comment.fail_recheck");
  expect(commentOf("supervise", none)).toBe("field.comment");
});

test("every step that the centre knows is in the table", () => {
  expect(Object.keys(FIELDS).sort()).toEqual(
    ["extend", "fail_recheck", "fix_on_the_spot", "notice", "pass_recheck", "reject", "submit", "supervise", "verify"],
  );
});
