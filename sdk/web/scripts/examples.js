// Bundles the examples into build/web of the checkout: a page that any web server can serve, and a program for Node.
import { cpSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const out = join(root, "../../build/web");
const page = "rock-paper-scissors";

mkdirSync(join(out, page), { recursive: true });
cpSync(join(root, "examples", page, "index.html"), join(out, page, "index.html"));
await build({
  absWorkingDir: root,
  entryPoints: [`examples/${page}/main.ts`, `examples/${page}/main.css`],
  outdir: join(out, page),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  logLevel: "warning",
});
await build({
  absWorkingDir: root,
  entryPoints: ["examples/node-grpc/player.ts"],
  outfile: join(out, "node-grpc/player.js"),
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  logLevel: "warning",
});
console.log(`bundled the examples into ${out}`);
