import { createHash } from "node:crypto";
import { defineConfig, type Plugin } from "vite";

const SERVICE_WORKER = "service_worker.js";
const PUBLIC_FILES = ["./", "icon.svg", "licences.txt"];

/** Tells the service worker which files the page is made of. */
function listedFiles(): Plugin {
  return {
    name: "listed-files",
    generateBundle(_, bundle) {
      const names = Object.keys(bundle).filter((name) => name !== SERVICE_WORKER && name !== "index.html");
      const files = JSON.stringify([...PUBLIC_FILES, ...names.sort()]);
      const version = createHash("sha256").update(files).digest("hex");
      const worker = bundle[SERVICE_WORKER];
      if (worker?.type !== "chunk") throw new Error("the build has no service worker");
      worker.code = worker.code.replaceAll("__FILES__", files).replaceAll("__VERSION__", JSON.stringify(version));
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [listedFiles()],
  worker: { format: "es" },
  build: {
    outDir: "../speech_commands_kws/page",
    emptyOutDir: true,
    // Nothing is put into the page as data:, which its content security policy refuses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    rollupOptions: {
      input: { index: "index.html", service_worker: "src/service_worker.ts" },
      output: {
        entryFileNames: ({ name }) => (name === "service_worker" ? SERVICE_WORKER : "assets/[name]-[hash].js"),
      },
    },
  },
});
