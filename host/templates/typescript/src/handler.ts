import { defineHandler, publish, reject, state } from "mailroom-guest";

interface Order {
  customer: string;
  amount_cents: number;
}

export const handler = defineHandler({
  subscriptions: [{ topics: ["orders"], eventTypes: ["order.placed"] }],

  handle(message) {
    const { customer, amount_cents } = message.json<Order>();
    if (amount_cents < 0) throw reject("the amount is negative");
    const total_cents = (state.keyed.get<number>("total_cents") ?? 0) + amount_cents;
    state.keyed.set("total_cents", total_cents);
    const total = { customer, total_cents };
    publish({ topic: "totals", eventType: "total.changed", key: message.key, json: total });
  },
});
