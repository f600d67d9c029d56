//! Turns each placed order into an invoice that knows the customer's total so far.

use mailroom_guest::{Handler, Message, Outgoing, Stop, Subscription, json, state};

const EDITION: u32 = if cfg!(feature = "second-edition") { 2 } else { 1 };

#[derive(serde::Deserialize)]
struct Order {
    order_id: String,
    customer: String,
    amount_cents: i64,
}

struct Invoice;

impl Handler for Invoice {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("orders").event_type("order.placed")]
    }

    fn handle(message: Message) -> Result<(), Stop> {
        let Order { order_id, customer, amount_cents } = message.json()?;
        let total_cents = state::keyed().get("total_cents")?.unwrap_or(0_i64).saturating_add(amount_cents);
        state::keyed().set("total_cents", &total_cents)?;
        let invoice = json!({
            "invoice_id": format!("inv-{}", message.id), // The same on every delivery.
            "order_id": order_id, "customer": customer, "amount_cents": amount_cents,
            "total_cents": total_cents, "edition": EDITION,
        });
        Outgoing::json("invoices", "invoice.issued", &invoice)?.key(customer).publish()?;
        Ok(())
    }
}

mailroom_guest::export!(Invoice);
