import assert from "node:assert/strict";
import { test } from "node:test";

import { TestHost } from "mailroom-guest/testing";

import { handler } from "../src/handler.js";

test("an order is added to its customer's total", async () => {
  const host = new TestHost({ keyed: { ada: { total_cents: 100 } } });

  const { outcome, published } = await host.invoke(handler, {
    eventType: "order.placed",
    key: "ada",
    payload: { customer: "ada", amount_cents: 4200 },
  });

  assert.deepEqual(outcome, { kind: "completed" });
  assert.deepEqual(host.keyed("ada"), { total_cents: 4300 });
  assert.equal(published.length, 1);
});
