/** Numbers, times and qualities as words. Times are shown in the browser's zone, 24 hours. */
import type { AlarmChange, NamedAlarm, Quality } from "./api";
import { say, t, word } from "./i18n";

const two = (n: number) => String(n).padStart(2, "0");

export function clock(at_ms: number): string {
  const at = new Date(at_ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export function date(at_ms: number): string {
  const at = new Date(at_ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** Clock alone for the day of `now_ms`, date before it otherwise. */
export function moment(at_ms: number, now_ms: number): string {
  return date(at_ms) === date(now_ms) ? clock(at_ms) : `${date(at_ms).slice(5)} ${clock(at_ms)}`;
}

export function full(at_ms: number): string {
  return `${date(at_ms)} ${clock(at_ms)}`;
}

/** The two largest units, so that the eye reads one number and the width stays. */
export function age(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return t("unit.second", { n: s });
  if (s < 3600) return `${t("unit.minute", { n: Math.floor(s / 60) })} ${t("unit.second", { n: s % 60 })}`;
  if (s < 86_400) return `${t("unit.hour", { n: Math.floor(s / 3600) })} ${t("unit.minute", { n: Math.floor((s % 3600) / 60) })}`;
  return `${t("unit.day", { n: Math.floor(s / 86_400) })} ${t("unit.hour", { n: Math.floor((s % 86_400) / 3600) })}`;
}

/** A span that was configured: "5 min", not "5 min 0 s". */
export function span(s: number): string {
  if (s !== 0 && s % 3600 === 0) return t("unit.hour", { n: s / 3600 });
  if (s !== 0 && s % 60 === 0) return t("unit.minute", { n: s / 60 });
  return t("unit.second", { n: s });
}

/** Units as an operator writes them; a state and a bare number have none. */
const UNITS: Readonly<Record<string, string>> = { degC: "℃", deg: "°", "mg/m3": "mg/m³", "m3/h": "m³/h", "%CH4": "%CH₄", state: "", unit: "" };

export function unitWord(unit: string | null): string {
  return unit === null ? "" : (UNITS[unit] ?? unit);
}

/** At most four significant digits after what is whole; a dash where there is no value. */
export function value(v: number | null | undefined, unit: string | null = null): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return "—";
  const digits = Math.abs(v) >= 1000 ? 0 : Math.abs(v) >= 100 ? 1 : Math.abs(v) >= 1 ? 2 : 3;
  const text = v.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  const words = unitWord(unit);
  return words ? `${text} ${words}` : text;
}

/** Name of an alarm as tag and kind: `TF.CL2-GD01.gas2` is "TF.CL2-GD01 气体二级报警". */
export function alarmName(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot < 0 ? name : `${name.slice(0, dot)} ${word("setpoint", name.slice(dot + 1))}`;
}

/** The same for an alarm that may be about no point: the subject's own name stands for it then. */
export function namedAlarm(named: NamedAlarm): string {
  const subject = say(named.subject);
  if (named.tag !== null || subject === "") return alarmName(named.alarm);
  return `${subject} ${word("setpoint", named.alarm.slice(named.alarm.lastIndexOf(".") + 1))}`;
}

/** Who did something; the system has a word of its own. */
export function who(by: string): string {
  return word("who", by);
}

export function isGood(quality: Quality): boolean {
  return quality === "good";
}

/** The grade and, if it is not good, its cause. */
export function quality(q: Quality): string {
  if (typeof q === "string") return word("quality", q);
  const [grade, cause] = Object.entries(q)[0] ?? ["bad", ""];
  // A cause may carry a number (a Modbus exception): `{"exception": 2}`.
  const named = typeof cause === "string" ? word("quality", cause) : Object.entries(cause as object).flat().join(" ");
  return `${word("quality", grade)} · ${named}`;
}

export function changeBy(change: AlarmChange): string {
  return "by" in change.cause ? who(change.cause.by) : "";
}

export function changeComment(change: AlarmChange): string {
  return "comment" in change.cause ? (change.cause.comment ?? "") : "";
}

/**
 * The steps of a text that numbers them (`1. … 2. …`), each to stand on its own line; a text that
 * does not is one step. A number counts only where it is the next one and begins a sentence.
 */
export function steps(text: string): string[] {
  const starts: number[] = [];
  for (const match of text.matchAll(/(?<=^|[。.；;！!]\s*)(\d+)[.．、](?=\D)/g)) {
    if (Number(match[1]) === starts.length + 1) starts.push(match.index);
  }
  const cuts = [0, ...starts, text.length];
  return cuts.slice(1).map((end, at) => text.slice(cuts[at], end).trim()).filter((step) => step !== "");
}
