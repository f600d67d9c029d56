// Compiled only: what authors write has types, and mistakes are found.

import {
  Dispatcher, type Data, PublishError, SqlError, StateError, config, defineHandler, fail, http, log, publish, reject,
  retry, skip, sql, state,
} from "mailroom-guest";
import { TestHost } from "mailroom-guest/testing";

interface Order {
  customer: string;
}

const dispatcher = new Dispatcher()
  .upcast("order.placed", "1", "2", (payload) => ({ ...payload, currency: "EUR" }))
  .on("order.placed", { schemaVersion: "2" }, (message) => {
    const order = message.json<Order>();
    const checked: number = message.json((value) => Number(value));
    const id: string = publish({ topic: "t", eventType: "e", key: message.key, json: { order, checked } });
    publish({ topic: "t", eventType: "e", tombstone: true, headers: [["a", null], ["b", new Uint8Array()]] });
    log.info(id, "context");
    // @ts-expect-error a message without a payload must say that it is a tombstone
    publish({ topic: "t", eventType: "e" });
  })
  .on("order.*", (message) => (message.attempt > 1 ? fail("no", { code: "c" }) : retry("r", { afterMs: 5 })))
  .on("order.refused", (message) => {
    const id: string = typeof message.key === "string" ? message.key : reject("an order without a key");
    if (id === "") skip("a test");
    log.info(id);
  })
  .on("order.**", async () => skip("nothing"));

export const handler = defineHandler({
  subscriptions: dispatcher.subscriptions(["orders"]),
  handle(message) {
    const header: Data | null | undefined = message.header("a");
    const total: number = state.keyed.get<number>("total") ?? 0;
    try {
      state.shared.set("total", { total, header: header ?? null });
      sql.query("select $1", [null, true, 1, 2n, "x", new Uint8Array(), sql.float(3)]).rows[0]?.a;
    } catch (error) {
      if (error instanceof StateError && error.kind === "no-key") throw reject(error.message);
      if (error instanceof PublishError && error.kind === "too-large") return skip(`${error.limit}`);
      if (error instanceof SqlError) throw fail(error.message, { code: error.sqlstate });
    }
    const { status } = http.request(config.get("URL"), { json: {}, timeoutMs: 1000 });
    return status === 200 ? dispatcher.handle(message) : undefined;
  },
});

// @ts-expect-error a subscription names its topics
defineHandler({ subscriptions: [{}], handle() {} });

export const call = new TestHost({ keyed: { a: { b: 1 } } }).invoke(handler, { payload: { a: 1 } });
