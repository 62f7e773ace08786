import { expect, test } from "vitest";
import type { Alarm, AlarmChange, State } from "../src/api";
import { namedAlarm } from "../src/format";
import { patched } from "../src/patch";

const alarm = (tag: string | null, sounds: boolean) => ({ tag, sounds, quality: tag === null ? null : "good", changed_at_ms: 0 }) as Alarm;
const change = (to: State, sounds = false) =>
  ({ to, sounds, axes: { active: false }, cause: { kind: "returned" }, quality: "good", sampled_at: 1 }) as unknown as AlarmChange;

test("what sounded sounds on after its return, until it is answered", () => {
  expect(patched(alarm("T", true), change("latched_unacked")).sounds).toBe(true);
  expect(patched(alarm("T", false), change("rtn_unacked")).sounds, "never sounded").toBe(false);
  expect(patched(alarm("T", true), change("acked")).sounds).toBe(false);
});

test("an alarm about no point has no quality, whatever a change says", () => {
  expect(patched(alarm(null, true), change("unacked")).quality).toBeNull();
  expect(patched(alarm("T", true), change("unacked")).quality).toBe("good");
});

test("an alarm is named by its tag, or by what it is about", () => {
  const subject = { zh: "氨气探测器", en: "Ammonia detectors" };
  expect(namedAlarm({ alarm: "tank-farm/nh3-gas.loss_of_view", tag: null, subject })).toBe("氨气探测器 数据中断");
  expect(namedAlarm({ alarm: "TF.a.gas2", tag: "TF.a", subject })).toBe("TF.a 气体二级报警");
  expect(namedAlarm({ alarm: "gone.gas2", tag: null, subject: { zh: "", en: "" } })).toBe("gone 气体二级报警");
});
