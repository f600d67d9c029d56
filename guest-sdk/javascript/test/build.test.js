import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../bin/mailroom-guest.js", import.meta.url));

// What esbuild would write for an entry with these exports.
const esbuild = (exports) => `#!${process.execPath}
const { writeFileSync } = require("node:fs");
const value = (name) => process.argv.find((word) => word.startsWith(name)).slice(name.length);
writeFileSync(value("--outfile="), "");
writeFileSync(value("--metafile="), JSON.stringify({ outputs: { "a.js": { exports: ${JSON.stringify(exports)} } } }));
`;

function build(exports) {
  const folder = mkdtempSync(join(tmpdir(), "mailroom-build-"));
  try {
    writeFileSync(join(folder, "esbuild"), esbuild(exports), { mode: 0o755 });
    const env = { PATH: [folder, "/usr/bin", "/bin"].join(delimiter) };
    const args = [bin, "build", "src/a.js", join(folder, "a.wasm")];
    return spawnSync(process.execPath, args, { cwd: folder, env, encoding: "utf8" });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("an entry without a handler is no build", () => {
  const { status, stderr } = build(["default"]);
  assert.equal(status, 1);
  assert.match(stderr, /src\/a\.js exports no handler: export const handler/);
});

test("an entry with a handler goes on to its engine", () => {
  assert.match(build(["handler"]).stderr, /componentize-qjs is missing/);
});
