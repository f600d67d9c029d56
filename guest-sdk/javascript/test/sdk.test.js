import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ConfigError, HttpError, PublishError, SqlError, StateError, Stop, config, defineHandler, fail, http, log, publish, reject,
  retry, skip, sql, state,
} from "mailroom-guest";
import { TestHost } from "mailroom-guest/testing";

const handlerOf = (handle) => defineHandler({ subscriptions: [{ topics: ["orders"] }], handle });

/** What `handle` returned in a call that had to complete. */
async function returned(handle, message, options) {
  let value;
  const host = new TestHost(options);
  const call = await host.invoke(handlerOf((message) => void (value = handle(message))), message);
  assert.deepEqual(call.outcome, { kind: "completed" });
  return { value, host, ...call };
}

const caught = (call) => {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error");
};

test("every end of a call reaches the host as it was said, thrown, returned or called alone", async () => {
  for (const [stop, outcome] of [
    [() => retry("busy"), { kind: "retry", reason: "busy", afterMs: null, counts: true }],
    [() => retry("busy", { afterMs: 50, uncounted: true }), { kind: "retry", reason: "busy", afterMs: 50, counts: false }],
    [() => skip("a test"), { kind: "skipped", reason: "a test" }],
    [() => reject("never"), { kind: "rejected", reason: "never" }],
    [() => fail("no", { code: "c", detail: "d" }), { kind: "failed", message: "no", code: "c", detail: "d" }],
  ]) {
    const thrown = () => {
      throw stop();
    };
    const alone = () => {
      stop();
      publish({ topic: "t", eventType: "e", json: {} });
    };
    const kept = () => {
      try {
        stop();
      } catch (error) {
        assert.ok(error instanceof Stop);
        return error;
      }
    };
    for (const handle of [thrown, alone, kept, () => stop(), async () => stop(), async () => void stop()]) {
      const call = await new TestHost().invoke(handlerOf(handle));
      assert.deepEqual([call.outcome, call.published], [outcome, []]);
    }
  }
});

test("an uncaught error is a failure with its words, its stack and its causes", async () => {
  const deepInTheStack = () => {
    throw new TypeError("boom 😀", { cause: new Error("why") });
  };
  for (const handle of [() => deepInTheStack(), async () => deepInTheStack()]) {
    const { outcome } = await new TestHost().invoke(handlerOf(handle));

    assert.equal(outcome.kind, "failed");
    assert.equal(outcome.message, "boom 😀");
    assert.match(outcome.detail, /^TypeError: boom 😀\n.*deepInTheStack/);
    assert.match(outcome.detail, /\ncaused by: Error: why\n/);
  }
});

test("whatever is thrown is a failure", async () => {
  for (const [thrown, message] of [["words", "words"], [{ a: 1 }, '{"a":1}'], [undefined, "undefined"], [7n, "7"]]) {
    const handler = handlerOf(() => {
      throw thrown;
    });
    assert.equal((await new TestHost().invoke(handler)).outcome.message, message);
  }
});

test("what is published in a call that does not complete is dropped, and so is its state", async () => {
  const host = new TestHost();
  const handler = handlerOf(() => {
    publish({ topic: "t", eventType: "e", json: {} });
    state.keyed.set("a", 1);
    state.shared.set("a", 1);
    throw fail("after effects");
  });

  const { published } = await host.invoke(handler, { key: "ada" });

  assert.deepEqual(published, []);
  assert.deepEqual([host.keyed("ada"), host.shared()], [{}, {}]);
});

test("a message has all its fields", async () => {
  const { value } = await returned((message) => ({ ...message }), {
    topic: "orders",
    partition: 2,
    offset: 7,
    key: "ada",
    payload: Uint8Array.of(0xff),
    headers: [["a", null], ["b", Uint8Array.of(0xfe)]],
  });

  assert.deepEqual(value, {
    id: "00000000-0000-7000-8000-000000000001",
    messageId: "orders:2:7",
    eventType: "",
    source: "orders",
    schemaVersion: null,
    topic: "orders",
    partition: 2,
    offset: 7,
    key: "ada",
    payload: Uint8Array.of(0xff),
    contentType: null,
    headers: [["a", null], ["b", Uint8Array.of(0xfe)]],
    producedAtMs: 0,
    correlationId: null,
    causationId: null,
    traceparent: null,
    attempt: 1,
    maxAttempts: 6,
    delivery: 1,
  });
});

test("a payload is read as JSON, as text and as bytes", async () => {
  for (const payload of ['{"a":"ü"}', new TextEncoder().encode('{"a":"ü"}')]) {
    const { value } = await returned((message) => [message.json(), message.text(), message.bytes()], { payload });
    assert.deepEqual(value, [{ a: "ü" }, '{"a":"ü"}', new TextEncoder().encode('{"a":"ü"}')]);
  }
});

test("a tombstone is not an empty payload", async () => {
  const read = (message) => [message.text(), message.bytes()];
  assert.deepEqual((await returned(read, { payload: null })).value, [null, null]);
  assert.deepEqual((await returned(read, { payload: "" })).value, ["", new Uint8Array()]);
});

test("what is not the expected JSON is rejected with the message and the reason", async () => {
  const isText = (value) => {
    if (typeof value !== "string") throw new Error("it is no text");
    return value;
  };
  for (const [payload, reason] of [
    [null, /^message `orders:0:0` has no payload$/],
    ["{oops", /^the payload of message `orders:0:0` is not the JSON that this handler expects: .*JSON/],
    ["7", /expects: it is no text$/],
  ]) {
    const { outcome } = await new TestHost().invoke(handlerOf((message) => void message.json(isText)), { payload });
    assert.equal(outcome.kind, "rejected");
    assert.match(outcome.reason, reason);
  }
});

test("of repeated headers the last one counts", async () => {
  const headers = [["a", "1"], ["a", "2"], ["b", null]];
  const { value } = await returned(
    (message) => [message.header("a"), message.header("b"), message.header("c"), message.headersNamed("a")],
    { headers },
  );
  assert.deepEqual(value, ["2", null, undefined, ["1", "2"]]);
});

test("a message is published with all its fields", async () => {
  const { published } = await returned(() =>
    publish({
      topic: "t",
      eventType: "e",
      key: Uint8Array.of(1),
      text: "hello 😀\ud800",
      headers: [["a", "1"], ["a", null], ["b", Uint8Array.of(0xff)]],
      contentType: "text/plain",
      schemaVersion: "2.1",
      idempotencyKey: "once",
      delayMs: 50.7,
    }),
  );

  const { json, id, ...message } = published[0];
  assert.deepEqual(message, {
    topic: "t",
    eventType: "e",
    key: Uint8Array.of(1),
    payload: "hello 😀\ufffd",
    contentType: "text/plain",
    headers: [["a", "1"], ["a", null], ["b", Uint8Array.of(0xff)]],
    schemaVersion: "2.1",
    idempotencyKey: "once",
    delayMs: 50,
  });
});

test("JSON says its content type, and a tombstone has no payload", async () => {
  const { published } = await returned(() => {
    publish({ topic: "t", eventType: "e", json: [1] });
    publish({ topic: "t", eventType: "e", json: [1], contentType: "application/vnd.a+json" });
    publish({ topic: "t", eventType: "e", tombstone: true, headers: { a: "1" } });
    publish({ topic: "t", eventType: "e", bytes: Uint8Array.of(0, 255) });
  });
  assert.deepEqual(
    published.map(({ payload, contentType }) => [payload, contentType]),
    [["[1]", "application/json"], ["[1]", "application/vnd.a+json"], [null, null], [Uint8Array.of(0, 255), null]],
  );
});

test("an idempotency key already used gives the first id", async () => {
  const once = () => publish({ topic: "t", eventType: "e", text: "", idempotencyKey: "once" });
  const { value, published } = await returned(() => once() === once());
  assert.equal(value, true);
  assert.equal(published.length, 1);
});

test("a message of the wrong form is a mistake of the handler", async () => {
  await returned(() => {
    for (const [fields, words] of [
      [{}, /one of json, text, bytes and tombstone/],
      [{ json: 1, text: "1" }, /one of json, text, bytes and tombstone/],
      [{ json: undefined }, /the payload cannot be written as JSON/],
      [{ text: 7 }, /the payload must be a string, not 7/],
      [{ tombstone: false }, /tombstone must be true/],
      [{ text: "", key: 7 }, /the key must be a string or a Uint8Array, not 7/],
      [{ text: "", delayMs: -1 }, /delayMs must be a number of milliseconds/],
      [{ text: "", headers: [["a", 7]] }, /the header a must be/],
    ]) {
      const error = caught(() => publish({ topic: "t", eventType: "e", ...fields }));
      assert.ok(error instanceof TypeError);
      assert.match(error.message, words);
    }
  });
});

test("what the host does not publish is a typed error", async () => {
  await returned(
    () => {
      const denied = caught(() => publish({ topic: "elsewhere", eventType: "e", text: "" }));
      assert.ok(denied instanceof PublishError);
      assert.equal(denied.kind, "not-granted");
      assert.equal(
        denied.message,
        "this handler may not publish to `elsewhere`: add it to `publish` under `[grants]` in its manifest",
      );
    },
    {},
    { grants: { publish: ["t"] } },
  );
  await returned(() => {
    const invalid = caught(() => publish({ topic: "", eventType: "e", text: "" }));
    assert.equal(invalid.kind, "invalid");
    assert.match(invalid.message, /cannot be published: topic: must not be empty$/);
  });
});

test("state keeps JSON and bytes by name", async () => {
  const { value, host } = await returned(
    () => {
      const { keyed, shared } = state;
      keyed.set("a", { n: 1 });
      keyed.setBytes("b", Uint8Array.of(0, 255));
      shared.set("count", shared.get("count") + 1);
      const bytes = keyed.getBytes("b");
      keyed.remove("b");
      keyed.remove("never");
      return [keyed.get("a"), bytes, keyed.get("b"), keyed.getBytes("b")];
    },
    { key: "ada" },
    { shared: { count: 1 } },
  );
  assert.deepEqual(value, [{ n: 1 }, Uint8Array.of(0, 255), undefined, undefined]);
  assert.deepEqual([host.keyed("ada"), host.keyed("bob"), host.shared()], [{ a: { n: 1 } }, {}, { count: 2 }]);
});

test("names of state come page by page", async () => {
  const shared = Object.fromEntries(Array.from({ length: 2001 }, (_, n) => [`c/${String(n).padStart(4, "0")}`, n]));
  const { value } = await returned(() => [...state.shared.names("c/")], {}, { shared: { ...shared, d: 1 } });
  assert.deepEqual(value, Object.keys(shared));
});

test("what state refuses is a typed error", async () => {
  const kind = (call) => {
    const error = caught(call);
    assert.ok(error instanceof StateError);
    return error.kind;
  };
  await returned(() => assert.equal(kind(() => state.keyed.set("a", 1)), "no-key"));
  await returned(() => assert.equal(kind(() => state.shared.set("", 1)), "invalid-name"));
  await returned(() => assert.equal(kind(() => state.shared.get("a")), "not-json"), {}, {
    shared: { a: Uint8Array.of(0xff) },
  });
  await returned(() => assert.equal(kind(() => state.shared.get("a")), "not-granted"), {}, { grants: { state: false } });
});

test("SQL values go and come with their types", async () => {
  const { value } = await returned(
    () => sql.query("select", [null, undefined, true, 1, -0, 1.5, sql.float(2), 2n ** 60n, "ü", Uint8Array.of(1)]),
    {},
    {
      query: (statement, params) => {
        assert.deepEqual(params, [null, null, true, 1n, -0, 1.5, 2, 2n ** 60n, "ü", Uint8Array.of(1)]);
        return { columns: ["a", "b", "a"], values: [[1, 2n ** 60n, null]] };
      },
    },
  );
  assert.deepEqual(value, {
    columns: ["a", "b", "a"],
    rows: [{ a: null, b: 2n ** 60n }],
    values: [[1, 2n ** 60n, null]],
  });
});

test("an error of SQL has its sqlstate", async () => {
  const execute = (statement) => {
    if (statement === "insert") return 3;
    throw Object.assign(new Error("division by zero"), { sqlstate: "22012" });
  };
  const { value } = await returned(() => [sql.execute("insert"), caught(() => sql.execute("select 1/0"))], {}, { execute });
  assert.equal(value[0], 3);
  assert.ok(value[1] instanceof SqlError);
  assert.deepEqual([value[1].sqlstate, value[1].message], ["22012", "division by zero"]);
});

test("configuration is read by key", async () => {
  const { value } = await returned(
    () => [config.get("GREETING"), [...config.all()], caught(() => config.get("ABSENT"))],
    {},
    { config: { GREETING: "hi" } },
  );
  assert.deepEqual(value.slice(0, 2), ["hi", [["GREETING", "hi"]]]);
  assert.ok(value[2] instanceof ConfigError);
  assert.match(value[2].message, /ABSENT/);
});

test("lines are logged with their level and context", async () => {
  const { log: lines } = await returned(() => {
    log.info("one");
    log.critical(2, "context");
  });
  assert.deepEqual(lines, [
    { level: "info", context: "", text: "one" },
    { level: "critical", context: "context", text: "2" },
  ]);
});

test("a request has its parts, and so has its response", async () => {
  const { value, requests } = await returned(
    () => {
      const response = http.request("https://a.example/b?c#d", { json: { a: 1 }, headers: { "x-y": "z" } });
      return [response.status, response.ok, response.header("Content-Type"), response.json()];
    },
    {},
    { http: () => ({ status: 201, headers: [["content-type", "application/json"]], body: '{"b":2}' }) },
  );
  assert.deepEqual(value, [201, true, "application/json", { b: 2 }]);
  assert.deepEqual(requests, [
    {
      method: "POST",
      url: "https://a.example/b?c#d",
      headers: [["x-y", "z"], ["content-type", "application/json"], ["content-length", "7"]],
      body: new TextEncoder().encode('{"a":1}'),
    },
  ]);
});

test("a request that cannot be sent or is denied is a typed error", async () => {
  await returned(() => {
    for (const [url, options, kind, words] of [
      ["ftp://a/", {}, "invalid", /it is no http or https URL$/],
      ["https:///b", {}, "invalid", /it is no http or https URL$/],
      ["https://a/", { method: "A B" }, "invalid", /its method is none$/],
      ["https://a:1/", {}, "denied", /^this handler may not send requests to `a:1`/],
    ]) {
      const error = caught(() => http.request(url, options));
      assert.ok(error instanceof HttpError);
      assert.equal(error.kind, kind);
      assert.match(error.message, words);
    }
  });
});

test("subscriptions have defaults, and what is none is a mistake", () => {
  const subscriptions = (...list) => defineHandler({ subscriptions: () => list, handle() {} }).subscriptions();
  assert.deepEqual(subscriptions({ topics: ["a"] }), [
    { topics: ["a"], eventTypes: [], sources: [], schemaVersions: [], form: "text" },
  ]);
  assert.throws(() => subscriptions({ topics: ["a"], form: "json" }), /form is text or binary, not json/);
  assert.throws(() => subscriptions({ topics: [7] }), /a topic must be a string, not 7/);
});
