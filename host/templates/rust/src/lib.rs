//! Keeps each customer's running total of orders, and tells of its changes.

use mailroom_guest::{Handler, Message, Outgoing, Stop, Subscription, json, state};

#[derive(serde::Deserialize)]
struct Order {
    customer: String,
    amount_cents: i64,
}

struct Totals;

impl Handler for Totals {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("orders").event_type("order.placed")]
    }

    fn handle(message: Message) -> Result<(), Stop> {
        let order: Order = message.json()?;
        if order.amount_cents < 0 {
            return Err(Stop::reject("the amount is negative"));
        }
        let total = state::keyed().get("total_cents")?.unwrap_or(0) + order.amount_cents;
        state::keyed().set("total_cents", &total)?;
        let total = json!({ "customer": order.customer, "total_cents": total });
        Outgoing::json("totals", "total.changed", &total)?.key_of(&message).publish()?;
        Ok(())
    }
}

mailroom_guest::export!(Totals);
