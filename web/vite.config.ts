import { fileURLToPath, URL } from "node:url";

import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [vue()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  define: {
    __VUE_OPTIONS_API__: "false",
    __VUE_I18N_LEGACY_API__: "false",
    __VUE_I18N_FULL_INSTALL__: "false",
    __INTLIFY_PROD_DEVTOOLS__: "false",
  },
  worker: { format: "es" },
  build: {
    outDir: "../dashboard_api/static",
    emptyOutDir: true,
    target: "es2022",
    // The content security policy has no `data:` for scripts and fonts: everything is a file.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1200,
    rolldownOptions: {
      output: {
        // Some servers do not know .mjs as JavaScript, and browsers then refuse the worker.
        assetFileNames: (asset) =>
          asset.names.some((name) => name.endsWith(".mjs"))
            ? "assets/[name]-[hash].js"
            : "assets/[name]-[hash][extname]",
      },
    },
  },
  server: {
    host: "127.0.0.1",
    proxy: {
      "/api": { target: "http://127.0.0.1:8000", changeOrigin: false },
      "/sign-in": { target: "http://127.0.0.1:8000", changeOrigin: false },
    },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
