// The globals for QuickJS must do as those of Node.js, where both are there.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

const source = await readFile(new URL("../src/quickjs.js", import.meta.url), "utf8");
const written = [];
const bare = {
  getStdout: () => ({ blockingWriteAndFlush: (bytes) => written.push(...bytes) }),
  component: { isRunning: false },
  console: null,
};
// A new context has neither the modules nor `Symbol.dispose`.
runInNewContext(source.replaceAll(/^import .*$|^.*\[Symbol\.dispose\].*$/gm, ""), bare);

const encode = (text) => Buffer.from(new bare.TextEncoder().encode(text));

test("text is encoded as everywhere", () => {
  for (const text of ["", "a", "ü", "€", "😀", "\ud800x", "x\udc00", "\0", "ü€😀".repeat(5000)]) {
    assert.deepEqual(encode(text), Buffer.from(new TextEncoder().encode(text)));
  }
});

test("bytes are decoded as everywhere", () => {
  const cases = [[0xff], [0xc3], [0xe2, 0x82], [0xe2, 0x82, 0x41], [0xf0, 0x9f, 0x98], [0xed, 0xa0, 0x80], [0xc0, 0xaf]];
  cases.push([0xf4, 0x90, 0x80, 0x80], [0xe0, 0x80, 0x80], [0xf0, 0x80, 0x80, 0x80], [0xef, 0xbb, 0xbf, 0x41], [0x80], []);
  cases.push([...Buffer.from("ü€😀a")], [0x41, 0xff, ...Buffer.from("ü€😀a")], [...Buffer.from("ü😀".repeat(9000))]);
  for (let seed = 1; seed < 2000; seed++) {
    cases.push(Array.from({ length: 6 }, (_, at) => (Math.imul(seed * 6 + at + 1, 2654435761) >>> 16) & 0xff));
  }
  for (const ignoreBOM of [false, true]) {
    const ours = new bare.TextDecoder("utf-8", { ignoreBOM });
    const strict = new bare.TextDecoder("utf-8", { ignoreBOM, fatal: true });
    for (const bytes of cases) {
      const data = Uint8Array.from(bytes);
      const expected = new TextDecoder("utf-8", { ignoreBOM }).decode(data);
      assert.equal(ours.decode(data), expected);
      let isText = true;
      try {
        new TextDecoder("utf-8", { fatal: true }).decode(data);
      } catch {
        isText = false;
      }
      if (isText) assert.equal(strict.decode(data), expected);
      else assert.throws(() => strict.decode(data), /not UTF-8/);
    }
  }
});

test("the console prints once there is a host", () => {
  bare.console.log("too early");
  bare.component.isRunning = true;
  bare.console.log("printed 😀", { a: 1 }, undefined, 7n);
  assert.equal(Buffer.from(written).toString(), 'printed 😀 {"a":1} undefined 7\n');
});
