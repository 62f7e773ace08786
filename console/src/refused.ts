/**
 * Why the ledger refused a step, in the person's language. The centre sends a code and arguments;
 * the sentences stand in `words/` as `refused.<code>`. Moments end in `_ms` and are written as dates.
 */
import type { Refused } from "./api";
import { alarmName, full } from "./format";
import { t, word } from "./i18n";

/** What a field of a step is called, short where it is one of the five items. */
function fieldName(field: string): string {
  const short = word("field", `${field}_short`);
  return short === `${field}_short` ? word("field", field) : short;
}

function argument(name: string, value: string | number | string[], refused: Refused): string {
  if (Array.isArray(value)) return value.map(fieldName).join(t("list.comma"));
  if (name.endsWith("_ms")) return full(Number(value));
  if (name === "alarm") return alarmName(String(value));
  if (name === "field") return fieldName(String(value));
  if (name === "state" || name === "from") return word("hazard", String(value));
  if (name === "step") return word(refused.code === "no_comment" ? "comment" : "event", String(value));
  return String(value);
}

/** The sentence; null for a code that this console does not know. */
export function refusal(refused: Refused): string | null {
  const words = word("refused", refused.code);
  if (words === refused.code) return null;
  return words.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = refused[name];
    return value === undefined ? whole : argument(name, value, refused);
  });
}
