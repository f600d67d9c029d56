import { during } from "#imports";

import { bytesOf, fromData, textOf, toData, toJson } from "./data.js";
import { matches } from "./pattern.js";

const MESSAGE_ID = "00000000-0000-7000-8000-000000000001";

export class TestHost {
  #options;
  #keyed = new Map();
  #shared = new Map();
  #used = new Map();
  #count = 0;
  #call;

  constructor(options = {}) {
    this.#options = options;
    for (const [key, values] of Object.entries(options.keyed ?? {})) {
      this.#keyed.set(key, stored(values));
    }
    this.#shared = stored(options.shared ?? {});
  }

  /** Calls a handler once. Effects are kept where it completes. */
  async invoke(handler, message = {}) {
    const wire = toWire(message);
    const key = wire.key && keyOf(wire.key);
    const keyed = key === undefined ? undefined : (this.#keyed.get(key) ?? new Map());
    this.#call = {
      id: wire.id,
      keyed: keyed && new Map(keyed),
      shared: new Map(this.#shared),
      used: new Map(this.#used),
      published: [],
      log: [],
      requests: [],
    };
    const call = this.#call;
    const outcome = await during(this.#answers(), async () => {
      try {
        return outcomeOf(await handler.handle(wire));
      } catch (failure) {
        if (typeof failure?.message !== "string" || failure instanceof Error) throw failure;
        return { kind: "failed", message: failure.message, code: failure.code ?? null, detail: failure.detail ?? null };
      }
    });
    if (outcome.kind === "completed") {
      if (key !== undefined) this.#keyed.set(key, call.keyed);
      this.#shared = call.shared;
      this.#used = call.used;
    } else {
      call.published.length = 0;
    }
    return { outcome, published: call.published, log: call.log, requests: call.requests };
  }

  keyed(key) {
    return plain(this.#keyed.get(key) ?? new Map());
  }

  shared() {
    return plain(this.#shared);
  }

  /** True if one of the handler's subscriptions takes the message. */
  takes(handler, message = {}) {
    const { position, eventType, source, schemaVersion } = toWire(message);
    const any = (list, takes) => list.length === 0 || list.some(takes);
    return handler.subscriptions().some(
      (subscription) =>
        any(subscription.topics, (topic) => topic === position.topic) &&
        any(subscription.eventTypes, (pattern) => matches(pattern, eventType)) &&
        any(subscription.sources, (pattern) => matches(pattern, source)) &&
        any(subscription.schemaVersions, (prefix) => `${schemaVersion}.`.startsWith(`${prefix}.`)),
    );
  }

  #answers() {
    const call = this.#call;
    const { grants = {}, config = {}, query, execute, http } = this.#options;
    const scopeOf = (scope, name) => {
      if (grants.state === false) throw refusal("not-granted");
      if (scope === "keyed" && !call.keyed) throw refusal("no-key");
      const length = bytesOf(name).length;
      if (length > 255 || name.includes("\0")) {
        throw refusal("invalid-name", `state name "${name}" must have 1 to 255 bytes without U+0000`);
      }
      return scope === "keyed" ? call.keyed : call.shared;
    };
    const named = (scope, name) => {
      const values = scopeOf(scope, name);
      if (name === "") throw refusal("invalid-name", 'state name "" must have 1 to 255 bytes without U+0000');
      return values;
    };
    const sql = (answer, statement, params) => {
      if (!answer) {
        throw { payload: { sqlstate: "42501", message: "the test host has no answer to SQL" } };
      }
      const values = params.map(({ tag, val }) => (tag === "null" ? null : val));
      try {
        return answer(statement, values);
      } catch (error) {
        if (error?.sqlstate === undefined) throw error;
        throw { payload: { sqlstate: error.sqlstate, message: error.message } };
      }
    };
    return {
      publish: (message) => {
        if (grants.publish && !grants.publish.includes(message.topic)) throw refusal("not-granted", message.topic);
        if (message.topic === "") throw refusal("invalid", "topic: must not be empty");
        const used = message.idempotencyKey && call.used.get(message.idempotencyKey);
        if (used) return used;
        const id = `00000000-0000-7000-9000-${String(++this.#count).padStart(12, "0")}`;
        if (message.idempotencyKey) call.used.set(message.idempotencyKey, id);
        call.published.push(published(id, message));
        return id;
      },
      stateGet: (scope, name) => named(scope, name).get(name),
      stateSet: (scope, name, value) => void named(scope, name).set(name, Uint8Array.from(value)),
      stateRemove: (scope, name) => void named(scope, name).delete(name),
      stateNames: (scope, prefix, after, limit) =>
        [...scopeOf(scope, prefix).keys()]
          .filter((name) => name.startsWith(prefix))
          .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
          .filter((name) => after === undefined || Buffer.compare(Buffer.from(name), Buffer.from(after)) > 0)
          .slice(0, limit),
      query: (statement, params) => {
        const { columns, values } = sql(query, statement, params);
        return { columns, rows: values.map((row) => row.map(toValue)) };
      },
      execute: (statement, params) => BigInt(sql(execute, statement, params)),
      configGet: (key) => {
        if (!(key in config)) throw refusal("upstream", `the handler may not read the configuration key ${key}`);
        return config[key];
      },
      configGetAll: () => Object.entries(config),
      log: (level, context, text) => void call.log.push({ level, context, text }),
      exchange: (request) => {
        const { method, url, headers, body } = request;
        call.requests.push({ method, url, headers: headers.map(([name, value]) => [name, textOf(value) ?? value]), body });
        if (!http) return { error: "denied" };
        const { status = 200, headers: answered = [], body: content = "" } = http(call.requests.at(-1));
        const pairs = answered.map(([name, value]) => [name, bytesOf(value)]);
        return { status, headers: pairs, body: bytesOf(content) };
      },
    };
  }
}

const refusal = (tag, val) => ({ payload: { tag, val } });

const keyOf = (key) => (key.tag === "text" ? key.val : `base64:${Buffer.from(key.val).toString("base64")}`);

const stored = (values) =>
  new Map(
    Object.entries(values).map(([name, value]) => [
      name,
      value instanceof Uint8Array ? value : bytesOf(toJson(value, `the state ${name}`)),
    ]),
  );

/** JSON where it is, bytes where it is not. */
function plain(values) {
  return Object.fromEntries(
    [...values].map(([name, bytes]) => {
      try {
        return [name, JSON.parse(textOf(bytes))];
      } catch {
        return [name, bytes];
      }
    }),
  );
}

function toWire(message) {
  const topic = message.topic ?? "orders";
  let { payload = {} } = message;
  if (payload !== null && typeof payload !== "string" && !(payload instanceof Uint8Array)) {
    payload = JSON.stringify(payload);
  }
  const partition = message.partition ?? 0;
  const offset = message.offset ?? 0;
  return {
    id: message.id ?? MESSAGE_ID,
    messageId: message.messageId ?? `${topic}:${partition}:${offset}`,
    eventType: message.eventType ?? "",
    source: message.source ?? topic,
    schemaVersion: message.schemaVersion ?? undefined,
    position: { topic, partition, offset: BigInt(offset) },
    key: message.key == null ? undefined : toData(message.key, "the key"),
    payload: payload === null ? undefined : toData(payload, "the payload"),
    contentType: message.contentType ?? undefined,
    headers: (message.headers ?? []).map(([name, value]) => ({
      name,
      value: value == null ? undefined : toData(value, "a header"),
    })),
    producedAtMs: BigInt(message.producedAtMs ?? 0),
    correlationId: message.correlationId ?? undefined,
    causationId: message.causationId ?? undefined,
    traceparent: message.traceparent ?? undefined,
    attempt: message.attempt ?? 1,
    maxAttempts: message.maxAttempts ?? 6,
    delivery: message.delivery ?? message.attempt ?? 1,
  };
}

function outcomeOf({ tag, val }) {
  switch (tag) {
    case "retry":
      return { kind: "retry", reason: val.reason, afterMs: val.afterMs ?? null, counts: val.counts };
    case "skipped":
    case "rejected":
      return { kind: tag, reason: val };
    default:
      return { kind: "completed" };
  }
}

function published(id, message) {
  const payload = fromData(message.payload);
  return {
    id,
    topic: message.topic,
    eventType: message.eventType,
    key: fromData(message.key),
    payload,
    contentType: message.contentType ?? null,
    headers: message.headers.map(({ name, value }) => [name, fromData(value)]),
    schemaVersion: message.schemaVersion ?? null,
    idempotencyKey: message.idempotencyKey ?? null,
    delayMs: message.delayMs ?? null,
    json: () => JSON.parse(textOf(payload)),
  };
}

function toValue(value) {
  if (value === null) return { tag: "null" };
  switch (typeof value) {
    case "boolean":
      return { tag: "boolean", val: value };
    case "bigint":
      return { tag: "integer", val: value };
    case "number":
      return Number.isSafeInteger(value) ? { tag: "integer", val: BigInt(value) } : { tag: "float", val: value };
    case "string":
      return { tag: "text", val: value };
    default:
      return { tag: "bytes", val: value };
  }
}
