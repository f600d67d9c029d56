#!/usr/bin/env node
// Bundles a handler by esbuild and makes a component of it.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const USAGE =
  "usage: mailroom-guest build ENTRY OUTPUT.wasm [--engine quickjs|starlingmonkey] [--world full-handler|script-handler]";
const sdk = (path) => realpathSync(fileURLToPath(new URL(`../${path}`, import.meta.url)));

function main() {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      engine: { type: "string", default: "quickjs" },
      // That of scripts has their source, too; it is for interpreters of them.
      world: { type: "string", default: "full-handler" },
    },
  });
  const [command, entry, output, ...rest] = positionals;
  const build = { quickjs: buildQuickJs, starlingmonkey: buildStarlingMonkey }[values.engine];
  if (command !== "build" || !output?.endsWith(".wasm") || rest.length > 0 || !build) throw new Error(USAGE);
  build(entry, output, output.replace(/wasm$/, "js"), values.world);
}

// An engine makes a component of a script without a handler, too, which fails at its first call.
function bundle(entry, script, ...more) {
  const told = `${script}.meta.json`;
  run("esbuild", entry, "--bundle", "--format=esm", "--platform=neutral", "--main-fields=module,main", "--log-level=warning",
    "--external:mailroom:*", "--external:wasi:*", `--outfile=${script}`, `--metafile=${told}`, ...more);
  const { outputs } = JSON.parse(readFileSync(told, "utf8"));
  rmSync(told);
  if (!Object.values(outputs).some(({ exports }) => exports.includes("handler"))) {
    throw new Error(`${entry} exports no handler: export const handler = defineHandler({ … })`);
  }
}

function buildStarlingMonkey(entry, output, script, handlerWorld) {
  bundle(entry, script);
  run("componentize-js", script, "--wit", sdk("wit"), "--world-name", handlerWorld, "--out", output);
}

// componentize-qjs brings WASI of its own to the evaluation of the script, whose streams are not those of
// `wasi:http`. Under another name, `wasx`, nobody has them then; and as version 0.2.11 their right name, which they
// get in the component, is not that of the imports of QuickJS itself.
function buildQuickJs(entry, output, script, handlerWorld) {
  bundle(entry, script, `--inject:${sdk("src/quickjs.js")}`);
  const hidden = (text) =>
    text
      .replace(/wasi:(cli|clocks|io)(\/[a-z-]+)?@0\.2\.12/g, "wasx:$1$2@0.2.11")
      .replaceAll("@since(version = 0.2.12)", "@since(version = 0.2.11)");
  writeFileSync(script, hidden(readFileSync(script, "utf8")));
  const wit = mkdtempSync(join(tmpdir(), "mailroom-wit-"));
  try {
    cpSync(sdk("wit"), wit, { recursive: true });
    for (const name of readdirSync(wit, { recursive: true })) {
      const file = join(wit, name);
      if (!statSync(file).isFile()) continue;
      const text = hidden(readFileSync(file, "utf8"));
      const isContract = name === "mailroom.wit";
      const world = `world quickjs-handler { include ${handlerWorld}; import wasx:cli/stdout@0.2.11; }\n`;
      writeFileSync(file, isContract ? text + world : text);
    }
    run("componentize-qjs", "--sync", "--js", script, "--wit", wit, "--world", "quickjs-handler", "--output", output);
  } finally {
    rmSync(wit, { recursive: true });
  }
  const component = readFileSync(output);
  for (let at = -1; (at = component.indexOf("wasx:", at + 1)) >= 0; ) component.write("wasi:", at, "latin1");
  writeFileSync(output, component);
}

function run(tool, ...args) {
  // Tools of a project are programs of its node_modules/.bin, which npm puts into PATH.
  const { status, error } = spawnSync(tool, args, { stdio: "inherit", shell: process.platform === "win32" });
  if (error?.code === "ENOENT") {
    throw new Error(`${tool} is missing: add it to devDependencies, and run this by npm run or npx`);
  }
  if (error) throw error;
  if (status !== 0) throw new Error(`${tool} ended with ${status}`);
}

try {
  main();
} catch (error) {
  console.error(`mailroom-guest: ${error.message}`);
  process.exitCode = 1;
}
