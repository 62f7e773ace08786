/** Light or dark, remembered; and the common beat of everything that flashes. */
import { ref, watchEffect } from "vue";
import { FLASH_HALF_MS } from "./presentation";
import { recall, remember } from "./remember";

export type Theme = "light" | "dark";

export const theme = ref<Theme>(recall("theme") === "dark" ? "dark" : "light");

export function switchTheme(): void {
  theme.value = theme.value === "light" ? "dark" : "light";
  remember("theme", theme.value);
}

/** All flashing shapes go on and off together: one beat is read, many are noise. */
export function startFlashing(root: HTMLElement): void {
  watchEffect(() => {
    root.dataset.theme = theme.value;
  });
  let halves = 0;
  const slowEvery = FLASH_HALF_MS.slow / FLASH_HALF_MS.fast;
  setInterval(() => {
    halves += 1;
    root.classList.toggle("fast-off", halves % 2 === 1);
    root.classList.toggle("slow-off", Math.floor(halves / slowEvery) % 2 === 1);
  }, FLASH_HALF_MS.fast);
}
