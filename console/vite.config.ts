import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

// In development the pages come from Vite and everything else from the centre or, here, the mock.
const centre = "http://127.0.0.1:8089";

export default defineConfig({
  plugins: [vue()],
  server: { host: "127.0.0.1", port: 5173, proxy: { "/api": centre } },
  build: { outDir: "dist", target: "es2022", assetsInlineLimit: 0 },
  test: { include: ["tests/**/*.test.ts"] },
});
