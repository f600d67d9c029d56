// What the host gives, in a component. On Node.js `imports-in-memory.js` stands in for it.

export { publish } from "mailroom:contract/outbox@0.1.0";
export {
  get as stateGet,
  names as stateNames,
  remove as stateRemove,
  set as stateSet,
} from "mailroom:contract/state@0.1.0";
export { execute, query } from "mailroom:contract/sql@0.1.0";
export { get as configGet, getAll as configGetAll } from "wasi:config/store@0.2.0-rc.1";
export { log } from "wasi:logging/logging@0.1.0-draft";
export { exchange } from "./exchange.js";

// QuickJS takes 64 bits as a number and calls no promise; StarlingMonkey takes either.
const isQuickJs = "__cqjs" in globalThis;

export const awaitsPromises = !isQuickJs;

export function toS64(value) {
  if (!isQuickJs) return BigInt(value);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) {
    throw new RangeError(`${value} is too large for an integer on QuickJS: send it as text and cast it`);
  }
  return number;
}
