//! Keeps the running total of each customer's orders.

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

    fn order() -> Message {
        let order =
            testing::message("orders", "order.placed", &json!({ "customer": "ada", "amount_cents": 4200 }));
        Message { key: Some("ada".into()), ..order }
    }

    #[test]
    fn the_total_grows_and_is_published() {
        let mut host = TestHost::new().publish(["totals"]);
        host.call::<Totals>(order());
        let call = host.call::<Totals>(order());

        assert_eq!(call.ending, Ok(()));
        assert_eq!(host.keyed("ada", "total_cents"), Some(8400));
        let total = json!({ "customer": "ada", "total_cents": 8400 });
        assert_eq!(call.published, [Outgoing::json("totals", "total.changed", &total).unwrap().key("ada")]);
    }

    #[test]
    fn what_is_no_order_is_rejected() {
        assert!(testing::takes::<Totals>(&order()));
        let call = TestHost::new().call::<Totals>(Message { payload: Some("no order".into()), ..order() });
        assert!(matches!(call.ending, Err(Stop::Reject(_))));
    }
}
