// Globals that QuickJS lacks and packages expect: TextEncoder, TextDecoder (UTF-8 only) and console.
// `mailroom-guest build` puts this file before all others.

import { getStdout } from "wasi:cli/stdout@0.2.12";

import { component } from "./running.js";

const CHUNK = 8192;
const WRITE_BYTES_MAX = 4096;

globalThis.TextEncoder ??= class TextEncoder {
  encoding = "utf-8";

  encode(text = "") {
    const binary = unescape(encodeURIComponent(String(text).toWellFormed()));
    const bytes = new Uint8Array(binary.length);
    for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
    return bytes;
  }
};

globalThis.TextDecoder ??= class TextDecoder {
  encoding = "utf-8";
  #fatal;
  #keepsMark;

  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!/^utf-?8$/i.test(label)) throw new RangeError(`TextDecoder of QuickJS knows UTF-8 only, not ${label}`);
    this.#fatal = fatal;
    this.#keepsMark = ignoreBOM;
  }

  decode(data = new Uint8Array()) {
    const bytes = ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : new Uint8Array(data);
    let text;
    try {
      text = decodeURIComponent(escape(binaryOf(bytes)));
    } catch {
      if (this.#fatal) throw new TypeError("the bytes are not UTF-8");
      text = decodeLossy(bytes);
    }
    return this.#keepsMark || text.charCodeAt(0) !== 0xfeff ? text : text.slice(1);
  }
};

function binaryOf(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    binary += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK));
  }
  return binary;
}

// One U+FFFD for each longest part of a character, as the Encoding Standard says.
function decodeLossy(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes[at++];
    if (lead < 0x80) {
      text += String.fromCharCode(lead);
      continue;
    }
    const following = lead >= 0xc2 && lead < 0xe0 ? 1 : (lead & 0xf0) === 0xe0 ? 2 : lead >= 0xf0 && lead < 0xf5 ? 3 : 0;
    let low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    let high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    let point = lead & (0x3f >> following);
    let missing = following;
    while (missing > 0 && bytes[at] >= low && bytes[at] <= high) {
      point = (point << 6) | (bytes[at++] & 0x3f);
      [low, high] = [0x80, 0xbf];
      missing--;
    }
    text += following > 0 && missing === 0 ? String.fromCodePoint(point) : "\ufffd";
  }
  return text;
}

const print = (...values) => {
  if (!component.isRunning) return;
  const bytes = new TextEncoder().encode(`${values.map(show).join(" ")}\n`);
  const stdout = getStdout();
  for (let at = 0; at < bytes.length; at += WRITE_BYTES_MAX) {
    stdout.blockingWriteAndFlush(bytes.subarray(at, at + WRITE_BYTES_MAX));
  }
  stdout[Symbol.dispose]();
};

function show(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value}\n${value.stack}`.trimEnd();
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

globalThis.console ??= { debug: print, error: print, info: print, log: print, trace: print, warn: print };
