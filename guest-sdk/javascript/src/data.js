// Text and bytes as JavaScript has them, and as the contract's variant `data`.

const encoder = new TextEncoder();

export const bytesOf = (data) => (typeof data === "string" ? encoder.encode(data) : data);

export function textOf(data) {
  if (typeof data === "string") return data;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return undefined;
  }
}

/** Text that is Unicode: QuickJS traps on half of a surrogate pair. */
export const toText = (value, what) => {
  if (typeof value !== "string") throw new TypeError(`${what} must be a string, not ${nameOf(value)}`);
  return value.toWellFormed();
};

// StarlingMonkey gives what it makes itself another `Uint8Array`, of which `instanceof` knows nothing.
const isBytes = (value) => Object.prototype.toString.call(value) === "[object Uint8Array]";
const isBuffer = (value) => Object.prototype.toString.call(value) === "[object ArrayBuffer]";

export function toBytes(value, what) {
  if (isBytes(value)) return value;
  if (isBuffer(value)) return new Uint8Array(value);
  throw new TypeError(`${what} must be a Uint8Array, not ${nameOf(value)}`);
}

export const toOptionalText = (value, what) => (value == null ? undefined : toText(value, what));

export function toData(value, what) {
  if (typeof value === "string") return { tag: "text", val: value.toWellFormed() };
  if (isBytes(value) || isBuffer(value)) {
    return { tag: "binary", val: toBytes(value, what) };
  }
  throw new TypeError(`${what} must be a string or a Uint8Array, not ${nameOf(value)}`);
}

export const toOptionalData = (value, what) => (value == null ? undefined : toData(value, what));

export const fromData = (data) => (data == null ? null : data.val);

export function toJson(value, what) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`${what} cannot be written as JSON`);
  return text.toWellFormed();
}

/** Milliseconds for a `u64`, which is a number in QuickJS. */
export function toMilliseconds(value, what) {
  if (value == null) return undefined;
  if (typeof value !== "number" || !(value >= 0)) {
    throw new TypeError(`${what} must be a number of milliseconds, 0 or more`);
  }
  return Math.min(Math.trunc(value), Number.MAX_SAFE_INTEGER);
}

const nameOf = (value) =>
  value === null || typeof value !== "object" ? String(value) : (value.constructor?.name ?? "object");
