/**
 * What is wrong with a call, in the person's language. The centre sends what, where, which, found and
 * allowed (`fault` of a problem); the sentences stand in `words/` as `fault.*`, `place.*`, `allowed.*`.
 */
import type { Allowed, Fault } from "./api";
import { t, word, type WordKey } from "./i18n";

function allowedWords(allowed: Allowed): string {
  if (typeof allowed === "string") return word("allowed", allowed);
  if ("one_of" in allowed) return allowed.one_of.length > 0 ? allowed.one_of.join(t("list.comma")) : t("allowed.none");
  if ("numbers" in allowed) return t("allowed.numbers", { least: allowed.numbers[0], most: allowed.numbers[1] });
  if ("name" in allowed) return t("allowed.name", { most: allowed.name });
  if ("bytes" in allowed) return t("allowed.bytes", { most: allowed.bytes });
  return t("allowed.seconds", { most: allowed.seconds });
}

/** The sentence; null for a fault that this console does not know. */
export function faulty(fault: Fault): string | null {
  // What is too much or too late has no words of its own.
  const key = fault.code === "not_allowed" && fault.found === undefined ? "beyond" : fault.code;
  if (word("fault", key) === key) return null;
  // `five_items.funds` is the field `funds` of the form.
  const field = fault.name.split(".").at(-1)!;
  const name = fault.place === "field" ? word("field", field) : fault.name;
  const where = t(`place.${fault.place}` as WordKey, { name });
  return t(`fault.${key}` as WordKey, { where, found: fault.found ?? "", allowed: allowedWords(fault.allowed) });
}
