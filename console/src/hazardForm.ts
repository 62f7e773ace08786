/**
 * What a person is asked for with each step of the ledger. The centre alone judges; what
 * it would refuse because it is empty is named here, all at once, before it is sent. A step that this table
 * does not know is offered with a comment only.
 */
import type { Hazard, HazardEntry } from "./api";
import { date } from "./format";
import type { WordKey } from "./i18n";

export type FieldKind = "text" | "long" | "when" | "class";

export interface Field {
  name: "class" | "second" | "responsibility" | "measures" | "funds" | "contingency_plan" | "deadline" | "until" | "approved_by";
  kind: FieldKind;
}

/** The five items (五落实); the fourth, the time limit, is the deadline in words. */
const NOTICE: readonly Field[] = [
  { name: "responsibility", kind: "text" },
  { name: "measures", kind: "long" },
  { name: "funds", kind: "text" },
  { name: "deadline", kind: "when" },
  { name: "contingency_plan", kind: "long" },
];

export const FIELDS: Readonly<Record<string, readonly Field[]>> = {
  verify: [{ name: "class", kind: "class" }],
  reject: [{ name: "second", kind: "text" }],
  notice: NOTICE,
  fix_on_the_spot: [],
  extend: [{ name: "until", kind: "when" }, { name: "approved_by", kind: "text" }],
  submit: [],
  fail_recheck: [],
  pass_recheck: [],
  supervise: [],
};

/** What must be filled in and is not, all of it at once: names of fields, and the comment's. */
export function missing(step: string, filled: Readonly<Record<string, string>>, hazard: Pick<HazardEntry, "gone_alarms">): string[] {
  const asked: string[] = (FIELDS[step] ?? []).map((field) => field.name);
  if (commentOf(step, hazard) !== "field.comment") asked.push("comment");
  return asked.filter((name) => (filled[name] ?? "").trim() === "");
}

/** Steps whose comment is asked for by name, because their guard needs it. */
const COMMENTED: Readonly<Record<string, WordKey>> = {
  reject: "comment.reject",
  fix_on_the_spot: "comment.fix_on_the_spot",
  submit: "comment.submit",
  fail_recheck: "comment.fail_recheck",
};

/** What the comment of a step is called. A re-check passes with a reason only while an alarm of the entry is no longer configured. */
export function commentOf(step: string, hazard: Pick<HazardEntry, "gone_alarms">): WordKey {
  if (step === "pass_recheck" && hazard.gone_alarms.length > 0) return "comment.gone";
  return COMMENTED[step] ?? "field.comment";
}

const two = (n: number) => String(n).padStart(2, "0");

/** A moment as a field of date and time takes it; down to the minute, so never later than asked. */
export function asField(at_ms: number): string {
  const at = new Date(at_ms);
  return `${date(at_ms)}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** What stands in the fields before a person has touched them: what the entry says already. */
export function begin(step: string, hazard: Pick<Hazard, "class" | "deadline_ms">): Record<string, string> {
  if (step === "verify") return { class: hazard.class };
  if (step === "notice") return { deadline: asField(hazard.deadline_ms) };
  return {};
}

/** Body of the call: what was filled in, times as milliseconds. */
export function body(step: string, filled: Readonly<Record<string, string>>): Record<string, unknown> {
  const sent: Record<string, unknown> = {};
  const comment = filled.comment?.trim();
  if (comment) sent.comment = comment;
  const text = (name: Field["name"]) => filled[name]?.trim() ?? "";
  for (const field of FIELDS[step] ?? []) {
    if (text(field.name) === "") continue;
    sent[field.name] = field.kind === "when" ? new Date(text(field.name)).getTime() : text(field.name);
  }
  if (step !== "notice") return sent;
  // The items are sent as they are, also empty ones: the centre then names the one that lacks.
  return {
    ...(comment ? { comment } : {}),
    five_items: {
      responsibility: text("responsibility"),
      measures: text("measures"),
      funds: text("funds"),
      time_limit: text("deadline").replace("T", " "),
      contingency_plan: text("contingency_plan"),
    },
    ...(text("deadline") === "" ? {} : { deadline: sent.deadline }),
  };
}
