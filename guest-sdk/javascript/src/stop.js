import { toMilliseconds, toOptionalText, toText } from "./data.js";

export class Stop extends Error {
  #answer;

  constructor(message, answer) {
    super(message);
    this.name = "Stop";
    this.#answer = answer;
  }

  /** The outcome that the host understands; a failure is thrown as the contract's record. */
  answer() {
    if (this.#answer.tag === "failed") throw this.#answer.val;
    return this.#answer;
  }
}

// They throw, so that one which stands alone ends the call too. Throwing or returning what they give says the same.

export function retry(reason, { afterMs, uncounted = false } = {}) {
  const val = {
    reason: toText(reason, "the reason"),
    afterMs: toMilliseconds(afterMs, "afterMs"),
    counts: !uncounted,
  };
  throw new Stop(reason, { tag: "retry", val });
}

export function skip(reason) {
  throw new Stop(reason, { tag: "skipped", val: toText(reason, "the reason") });
}

export function reject(reason) {
  throw new Stop(reason, { tag: "rejected", val: toText(reason, "the reason") });
}

export function fail(message, options) {
  throw failure(message, options);
}

function failure(message, { code, detail } = {}) {
  const val = {
    message: toText(message, "the message"),
    code: toOptionalText(code, "the code"),
    detail: toOptionalText(detail, "the detail"),
  };
  return new Stop(message, { tag: "failed", val });
}

/** An uncaught error as a failure: its words, with its stack and causes as the detail. */
export function failureOf(error) {
  if (!(error instanceof Error)) return failure(describe(error));
  const detail = [stackOf(error)];
  const seen = new Set([error]);
  for (let cause = error.cause; cause != null && !seen.has(cause); cause = cause.cause) {
    seen.add(cause);
    detail.push(`caused by: ${cause instanceof Error ? stackOf(cause) : describe(cause)}`);
  }
  return failure(error.message || error.name, { detail: detail.join("\n") });
}

// Only V8 begins a stack with the error's words.
function stackOf(error) {
  const words = String(error);
  const stack = error.stack ?? "";
  return (stack.startsWith(words) ? stack : `${words}\n${stack}`).trimEnd();
}

function describe(value) {
  if (typeof value === "string") return value;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}
