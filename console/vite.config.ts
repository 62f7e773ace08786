import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

// In development the pages come from Vite and everything else from the centre or, here, the mock.
const centre = "http://127.0.0.1:8089";

export default defineConfig({
  plugins: [vue()],
  server: { host: "127.0.0.1", port: 5173, proxy: { "/api": centre } },
  build: { outDir: "dist", target: "es2022", assetsInlineLimit: 0 },
  // Tests read the style sheet: without this it would be empty to them.
  test: { include: ["tests/**/*.test.ts"], css: true },
});
