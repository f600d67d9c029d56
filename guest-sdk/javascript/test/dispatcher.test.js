import assert from "node:assert/strict";
import { test } from "node:test";

import { Dispatcher, defineHandler } from "mailroom-guest";
import { TestHost } from "mailroom-guest/testing";

import { isVersion, matches } from "../src/pattern.js";

const seen = [];
const note = (name) => (message) => void seen.push([name, message.json(), message.schemaVersion]);

const dispatcher = new Dispatcher()
  .upcast("order.placed", "1", "2", ({ amount }) => ({ amount_cents: amount * 100 }))
  .upcast("order.placed", "2", "3", (order) => ({ ...order, currency: "EUR" }))
  .on("order.placed", { schemaVersion: "3" }, note("placed"))
  .on("order.cancelled", { source: "shop.*" }, note("cancelled"))
  .on("order.*", { source: "audit" }, note("any"));

const handler = defineHandler({
  subscriptions: dispatcher.subscriptions(["orders"]),
  handle: (message) => dispatcher.handle(message),
});

async function dispatched(message) {
  seen.length = 0;
  const { outcome } = await new TestHost().invoke(handler, message);
  return seen[0] ?? outcome;
}

test("names match by segments, as the host's subscriptions do", () => {
  for (const [pattern, name, expected] of [
    ["order.placed", "order.placed", true],
    ["order.placed", "order", false],
    ["order", "order.placed", false],
    ["order.*", "order.placed", true],
    ["order.*", "order.placed.late", false],
    ["*.placed", "order.placed", true],
    ["order.**", "order.placed.late", true],
    ["order.**", "order", true],
    ["**", "anything.at.all", true],
    ["**.placed", "a.placed", false],
    ["ord*", "order", false],
  ]) {
    assert.equal(matches(pattern, name), expected, `${pattern} against ${name}`);
  }
  assert.deepEqual(
    [isVersion("1", "1.2.3"), isVersion("1.2", "1"), isVersion("1", "10"), isVersion("1", "1")],
    [true, false, false, true],
  );
});

test("an old version is brought to the newest", async () => {
  const newest = { amount_cents: 1250, currency: "EUR" };
  const order = { eventType: "order.placed" };
  assert.deepEqual(await dispatched({ ...order, schemaVersion: "1.4", payload: { amount: 12.5 } }), ["placed", newest, "3"]);
  assert.deepEqual(await dispatched({ ...order, schemaVersion: "2", payload: { amount_cents: 1250 } }), ["placed", newest, "3"]);
  assert.deepEqual(await dispatched({ ...order, schemaVersion: "3.1", payload: newest }), ["placed", newest, "3.1"]);
});

test("a message without a version counts as the newest", async () => {
  assert.deepEqual(await dispatched({ eventType: "order.placed", payload: { a: 1 } }), ["placed", { a: 1 }, null]);
});

test("an old version that is no JSON is rejected", async () => {
  const { kind } = await dispatched({ eventType: "order.placed", schemaVersion: "1", payload: "{oops" });
  assert.equal(kind, "rejected");
});

test("the first match is called, by type and source", async () => {
  const cancelled = { eventType: "order.cancelled", payload: {} };
  assert.equal((await dispatched({ ...cancelled, source: "shop.north" }))[0], "cancelled");
  assert.equal((await dispatched({ ...cancelled, source: "audit" }))[0], "any");
});

test("a message without a match is skipped with a reason", async () => {
  assert.deepEqual(await dispatched({ eventType: "order.placed", schemaVersion: "4", payload: {} }), {
    kind: "skipped",
    reason: "no route for order.placed from orders in version 4",
  });
});

test("subscriptions follow from the table", () => {
  assert.deepEqual(dispatcher.subscriptions(["orders"]), [
    { topics: ["orders"], eventTypes: ["order.placed", "order.cancelled", "order.*"], form: "text" },
  ]);
  const host = new TestHost();
  assert.equal(host.takes(handler, { eventType: "order.placed" }), true);
  assert.equal(host.takes(handler, { eventType: "parcel.sent" }), false);
});

test("a chain that would never end is refused", () => {
  assert.throws(() => new Dispatcher().upcast("a", "1", "1.1", (payload) => payload), /would never end/);
});
