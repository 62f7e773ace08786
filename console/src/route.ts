/** Which page is shown, kept behind the `#` so that the centre serves one file for all. */
import { ref } from "vue";

export const PAGES = ["sources", "alarms", "trend", "hazards", "gateways"] as const;
export type Page = (typeof PAGES)[number];

export interface Route {
  page: Page;
  /** What the page is about: a tag, a hazard, an occurrence. */
  subject: string | null;
}

export function parse(hash: string): Route {
  const [page = "", ...rest] = hash.replace(/^#\/?/, "").split("/");
  let subject: string | null = rest.join("/");
  try {
    subject = decodeURIComponent(subject);
  } catch {
    subject = null;
  }
  return {
    page: (PAGES as readonly string[]).includes(page) ? (page as Page) : "sources",
    subject: subject || null,
  };
}

export const route = ref<Route>(parse(typeof location === "undefined" ? "" : location.hash));

export function go(page: Page, subject: string | number | null = null): void {
  location.hash = subject === null ? `#/${page}` : `#/${page}/${encodeURIComponent(String(subject))}`;
}

if (typeof window !== "undefined") {
  window.addEventListener("hashchange", () => {
    route.value = parse(location.hash);
  });
}
