/**
 * The two languages of the console. Chinese is the default; a choice is remembered in the browser.
 * Words stand in `words/`; a test sees that both have every key with the same places to fill.
 */
import { computed, ref } from "vue";
import type { Text } from "./api";
import { recall, remember } from "./remember";
import { en } from "./words/en";
import { zh, type WordKey } from "./words/zh";

export type { WordKey };

export type Language = "zh" | "en";

export const language = ref<Language>(recall("language") === "en" ? "en" : "zh");

export function switchLanguage(): void {
  language.value = language.value === "zh" ? "en" : "zh";
  remember("language", language.value);
}

/** Value of the page's `lang`, which also picks the right Chinese glyphs. */
export const languageTag = computed(() => (language.value === "zh" ? "zh-CN" : "en"));

export function fill(words: string, places: Record<string, string | number>): string {
  return words.replace(/\{(\w+)\}/g, (whole, place: string) => String(places[place] ?? whole));
}

export function t(key: WordKey, places: Record<string, string | number> = {}): string {
  return fill((language.value === "zh" ? zh : en)[key], places);
}

/** A word for a name that the centre sent. One that this console does not know is shown as sent. */
export function word(group: string, name: string): string {
  const key = `${group}.${name}`;
  return key in zh ? t(key as WordKey) : name;
}

/** The text in the person's language; the other one is better than nothing. */
export function say(text: Text | null | undefined): string {
  if (!text) return "";
  return (language.value === "zh" ? text.zh || text.en : text.en || text.zh) ?? "";
}
