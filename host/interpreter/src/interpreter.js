// Runs a handler that is a script: one file of JavaScript or TypeScript, whose types are stripped. It has the SDK, and
// no packages.

import * as sdk from "mailroom-guest";
import { name, source } from "mailroom:contract/script@0.1.0";
import { transform } from "sucrase";

let script;

export const handler = {
  subscriptions: () => loaded().subscriptions(),

  handle(message) {
    const script = loaded();
    try {
      return script.handle(message);
    } catch (failure) {
      // QuickJS has no other name for what it evaluates.
      if (typeof failure?.detail === "string") failure.detail = failure.detail.replaceAll("<input>", name());
      throw failure;
    }
  },
};

function loaded() {
  script ??= load(name());
  return script;
}

function load(file) {
  // Lines stay where they are, so that those of errors are the script's.
  const { code } = transform(source(), { filePath: file, preserveDynamicImport: true, transforms: ["typescript", "imports"] });
  const exports = {};
  const run = (0, eval)(`(function (exports, require) {${code}\n})`);
  run(exports, (module) => imported(file, module));
  if (typeof exports.handler?.handle !== "function") {
    throw new TypeError(`${file} exports no handler: export const handler = defineHandler({ … })`);
  }
  return exports.handler;
}

function imported(file, module) {
  if (module === "mailroom-guest") return sdk;
  throw new Error(
    `${file} imports ${module}, and a script has mailroom-guest alone: make a project of it, which may have packages, by ` +
      "mailroom handler new NAME --lang javascript",
  );
}
