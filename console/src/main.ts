/**
 * The control-room console. `api.ts` is the centre's interface, `live.ts` the stream and the watch
 * over it, `store.ts` what is known; `presentation.ts`, `sounder.ts` and `list.ts` decide, without
 * Vue, how alarms look, sound and stand. Pages are in `pages/`, what they share in `components/`.
 */
import { createApp } from "vue";
import App from "./App.vue";
import * as horn from "./horn";
import { startFlashing } from "./theme";
import "./style.css";

startFlashing(document.documentElement);
// Any touch of the page lets the browser sound, so that the horn is ready before it is needed.
for (const touch of ["pointerdown", "keydown"]) {
  window.addEventListener(touch, () => horn.blocked.value && void horn.enable());
}
createApp(App).mount("#app");
