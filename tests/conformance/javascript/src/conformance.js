// Does by event type what the suite of all SDKs expects.

import {
  Dispatcher, PublishError, SqlError, StateError, ConfigError, HttpError, config, defineHandler, fail, http, log, publish,
  reject, retry, skip, sql, state,
} from "mailroom-guest";

const RESULTS = "conformance-results";

const answer = (message, json) =>
  publish({ topic: RESULTS, eventType: "conformance.result", key: message.key, json });

const base64 = (bytes) => {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 4096) binary += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return btoa(binary);
};

const shown = (data) => {
  if (data === null) return null;
  return typeof data === "string" ? { text: data } : { base64: base64(data) };
};

const deepInTheStack = () => {
  throw new Error("boom 😀");
};

/** Words of an error of class `kind`; any other goes on. */
const caught = (kind, call) => {
  try {
    call();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error(`expected a ${kind.name}`);
};

const dispatcher = new Dispatcher();
const on = (name, handle) => dispatcher.on(`conformance.${name}`, handle);

on("echo", (message) => {
  answer(message, {
    id: message.id,
    message_id: message.messageId,
    event_type: message.eventType,
    source: message.source,
    schema_version: message.schemaVersion,
    topic: message.topic,
    partition: message.partition,
    offset: message.offset,
    key: shown(message.key),
    payload: shown(message.payload),
    content_type: message.contentType,
    headers: message.headers.map(([name, value]) => [name, shown(value)]),
    produced_at_ms: message.producedAtMs,
    correlation_id: message.correlationId,
    causation_id: message.causationId,
    traceparent: message.traceparent,
    attempt: message.attempt,
    max_attempts: message.maxAttempts,
    delivery: message.delivery,
  });
});

on("size", (message) => {
  const bytes = message.bytes();
  if (!globalThis.crypto?.subtle) {
    let sum = 0;
    for (const byte of bytes) sum = (sum + byte) % 2 ** 32;
    answer(message, { bytes: bytes.length, sum });
    return;
  }
  return crypto.subtle.digest("SHA-256", bytes).then((digest) => {
    const sha256 = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
    answer(message, { bytes: bytes.length, sha256 });
  });
});

on("json", (message) => {
  const order = message.json(({ order_id, amount_cents }) => {
    if (typeof order_id !== "string") throw new TypeError("order_id must be text");
    if (!Number.isInteger(amount_cents)) throw new TypeError("amount_cents must be an integer");
    return { order_id, amount_cents };
  });
  answer(message, order);
});

on("completed", () => {});

on("retry-after", (message) => {
  const { after_ms } = message.json();
  if (message.attempt === 1) throw retry("later", { afterMs: after_ms });
  answer(message, { attempt: message.attempt, delivery: message.delivery });
});

on("uncounted", (message) => {
  if (message.delivery <= 2) throw retry("not yet", { afterMs: 50, uncounted: true });
  answer(message, { attempt: message.attempt, delivery: message.delivery });
});

on("skipped", () => skip("nothing to do"));

on("rejected", () => {
  throw reject("never");
});

on("failed", () => {
  throw fail("the bank refused", { code: "bank-refused", detail: "account 7" });
});

on("uncaught", () => deepInTheStack());

on("published-then-failed", (message) => {
  answer(message, { never: true });
  state.keyed.set("never", true);
  throw fail("after effects");
});

on("publish", (message) => {
  const { delay_ms } = message.json();
  const to = { topic: RESULTS, eventType: "conformance.result" };
  publish({
    ...to,
    key: "k😀",
    headers: [["a", "1"], ["a", null], ["b", Uint8Array.of(0xff, 0x00)]],
    contentType: "text/plain",
    schemaVersion: "2.1",
    text: "hello 😀",
  });
  publish({ ...to, bytes: Uint8Array.of(0x00, 0xff) });
  publish({ ...to, tombstone: true });
  publish({ ...to, json: { delayed: true }, delayMs: delay_ms });
  const once = () => publish({ ...to, json: { once: true }, idempotencyKey: `once-${message.id}` });
  answer(message, { same_id: once() === once() });
});

on("publish-denied", (message) => {
  const error = caught(PublishError, () => publish({ topic: "elsewhere", eventType: "conformance.result", json: {} }));
  answer(message, { error: error.kind, topic: error.topic });
});

on("publish-invalid", (message) => {
  const error = caught(PublishError, () => publish({ topic: "", eventType: "conformance.result", json: {} }));
  answer(message, { error: error.kind, words: error.message });
});

on("state", (message) => {
  const { keyed } = state;
  keyed.set("a", { n: 1 });
  keyed.setBytes("b", Uint8Array.of(0x00, 0xff));
  for (const name of ["c/1", "c/2", "c/3"]) keyed.set(name, name);
  keyed.remove("b");
  answer(message, { a: keyed.get("a"), b: keyed.getBytes("b") ?? null, names: [...keyed.names("c/")] });
});

on("state-kept", (message) => {
  answer(message, { a: state.keyed.get("a") ?? null });
});

on("state-invalid", (message) => {
  answer(message, { error: caught(StateError, () => state.keyed.set("", 1)).kind });
});

on("state-no-key", (message) => {
  answer(message, { error: caught(StateError, () => state.keyed.set("a", 1)).kind });
});

on("shared", () => {
  state.shared.set("count", (state.shared.get("count") ?? 0) + 1);
});

on("shared-read", (message) => {
  answer(message, { count: state.shared.get("count") ?? 0 });
});

on("sql", (message) => {
  const { columns, values } = sql.query(
    "select $1::boolean, $2::bigint, $3::float8, $4::text, $5::bytea, null::text",
    [true, Number.MAX_SAFE_INTEGER, 1.5, "ü😀", Uint8Array.of(0x00, 0xff)],
  );
  const [[flag, integer, float, text, bytes, none]] = values;
  answer(message, { columns: columns.length, row: [flag, String(integer), float, text, base64(bytes), none] });
  answer(message, { inserted: sql.execute("insert into conformance (id) values ($1)", [message.id]) });
});

on("sql-error", () => {
  const error = caught(SqlError, () => sql.query("select 1/0"));
  throw fail(error.message, { code: error.sqlstate });
});

on("config", (message) => {
  const greeting = config.get("GREETING");
  answer(message, { greeting, absent: caught(ConfigError, () => config.get("ABSENT")).message });
});

on("log", () => {
  for (const level of ["trace", "debug", "info", "warn", "error", "critical"]) {
    log[level](`a line at ${level.toUpperCase()} 😀`, "conformance");
  }
  console.log("printed 😀");
});

on("http", (message) => {
  const { url } = message.json();
  let result;
  try {
    const response = http.request(url, { method: "POST", headers: { "x-conformance": "yes" }, body: "ping 😀" });
    result = { status: response.status, body: response.text() };
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    result = { error: error.message };
  }
  answer(message, result);
});

on("spin", () => {
  for (;;);
});

on("allocate", () => {
  const all = [];
  for (;;) all.push(new Uint8Array(1 << 20).fill(1));
});

dispatcher
  .upcast("order.placed", "1", "2", ({ amount }) => ({ amount_cents: Math.round(amount * 100) }))
  .upcast("order.placed", "2", "3", (order) => ({ ...order, currency: "EUR" }))
  .on("order.placed", { schemaVersion: "3" }, (message) => void answer(message, message.json()))
  .on("order.cancelled", { source: "shop.*" }, (message) => void answer(message, { cancelled_by: message.source }));

export const handler = defineHandler({
  subscriptions: [{ topics: ["conformance"], eventTypes: ["conformance.**", "order.**"], form: "binary" }],
  handle: (message) => dispatcher.handle(message),
});
