//! Sends a parcel for each invoice, with a carrier that is refused, busy or well by the amount.

use mailroom_guest::{Handler, Message, Outgoing, Stop, Subscription, json};

#[derive(serde::Deserialize)]
struct Invoice {
    order_id: String,
    customer: String,
    amount_cents: i64,
}

struct Shipping;

impl Handler for Shipping {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("invoices").event_type("invoice.issued")]
    }

    fn handle(message: Message) -> Result<(), Stop> {
        let Invoice { order_id, customer, amount_cents } = message.json()?;
        if amount_cents < 0 {
            return Err(Stop::reject(format!("order `{order_id}` has a negative amount")));
        }
        match amount_cents % 100 {
            13 => return Err(Stop::fail("the carrier refused the parcel").code("carrier-refused").into()),
            7 if message.attempt <= 2 => return Err(Stop::retry("carrier busy").into()),
            _ => {}
        }
        let parcel = json!({ "order_id": order_id, "customer": customer, "attempt": message.attempt });
        Outgoing::json("parcels", "parcel.sent", &parcel)?.key(customer).publish()?;
        Ok(())
    }
}

mailroom_guest::export!(Shipping);
