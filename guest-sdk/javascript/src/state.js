import * as host from "#imports";
import { bytesOf, textOf, toBytes, toJson, toText } from "./data.js";

const PAGE_NAMES = 1000;

export class StateError extends Error {
  constructor(kind, stateName, { limit, reason, cause } = {}) {
    super(words(kind, stateName, limit, reason), { cause });
    this.name = "StateError";
    this.kind = kind;
    this.stateName = stateName;
    this.limit = limit;
    this.reason = reason;
  }
}

class State {
  #scope;

  constructor(scope) {
    this.#scope = scope;
  }

  get(name) {
    const bytes = this.getBytes(name);
    if (bytes === undefined) return undefined;
    try {
      return JSON.parse(textOf(bytes));
    } catch (cause) {
      throw new StateError("not-json", name, { cause });
    }
  }

  set(name, value) {
    this.setBytes(name, bytesOf(toJson(value, `the value of \`${name}\``)));
  }

  getBytes(name) {
    return this.#ask(name, (name) => host.stateGet(this.#scope, name)) ?? undefined;
  }

  setBytes(name, value) {
    const bytes = toBytes(value, `the value of \`${name}\``);
    this.#ask(name, (name) => host.stateSet(this.#scope, name, bytes));
  }

  remove(name) {
    this.#ask(name, (name) => host.stateRemove(this.#scope, name));
  }

  *names(prefix = "") {
    for (let after; ; ) {
      const page = this.#ask(prefix, (prefix) => host.stateNames(this.#scope, prefix, after, PAGE_NAMES));
      yield* page;
      if (page.length < PAGE_NAMES) return;
      after = page.at(-1);
    }
  }

  #ask(name, question) {
    const text = toText(name, "a name in state");
    try {
      return question(text);
    } catch (error) {
      throw stateError(error, text);
    }
  }
}

export const state = Object.freeze({ keyed: new State("keyed"), shared: new State("shared") });

function stateError(error, name) {
  const { tag, val } = error?.payload ?? {};
  switch (tag) {
    case "not-granted":
    case "no-key":
      return new StateError(tag, name);
    case "invalid-name":
      return new StateError(tag, name, { reason: val });
    case "too-large":
    case "too-many":
      return new StateError(tag, name, { limit: Number(val) });
    default:
      return error;
  }
}

function words(kind, name, limit, reason) {
  switch (kind) {
    case "not-granted":
      return "this handler may not use state: say `state = true` under `[grants]` in its manifest";
    case "no-key":
      return `\`${name}\` is keyed state, and this message has no key: use \`state.shared\` or produce with a key`;
    case "invalid-name":
      return `\`${name}\` cannot be a name in state: ${reason}`;
    case "too-large":
      return `the value of \`${name}\` is larger than the ${limit} bytes that are allowed`;
    case "too-many":
      return `\`${name}\` is one more than the ${limit} names that are allowed`;
    default:
      return `the value of \`${name}\` is not JSON`;
  }
}
