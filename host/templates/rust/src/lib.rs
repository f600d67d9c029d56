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

#[cfg(test)]
mod tests {
    use super::*;
    use mailroom_guest::testing::{self, TestHost};

    #[test]
    fn an_order_is_added_to_its_customers_total() {
        let order = json!({ "customer": "ada", "amount_cents": 4200 });
        let order = testing::message("orders", "order.placed", &order);
        let mut host = TestHost::new().publish(["totals"]);
        let call = host.call::<Totals>(Message { key: Some("ada".into()), ..order });

        assert_eq!(call.ending, Ok(()));
        assert_eq!(host.keyed("ada", "total_cents"), Some(4200));
        assert_eq!(call.published.len(), 1);
    }
}
