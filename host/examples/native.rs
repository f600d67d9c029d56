//! A handler in Rust, in a host of its own: it counts what each customer ordered.
//!
//! ```sh
//! mailroom dev            # in another terminal: Postgres, Kafka, and their addresses
//! MAILROOM__POSTGRES__URL=… MAILROOM__KAFKA__BROKERS=… cargo run --example native
//! ```
//!
//! `ORDERS` and `TOTALS` name other topics than `orders` and `totals`.

#![expect(
    clippy::disallowed_methods,
    reason = "a program of its own reads its environment and spawns its tasks"
)]

use std::error::Error;

use mailroom::config::{Config, Manifest, environment};
use mailroom::{Call, Failure, Handler, Host, Message, Outcome, Outgoing, Subscription};
use tokio::signal::unix::{SignalKind, signal};

/// The handler, with the topics that it reads and writes.
struct Totals {
    orders: String,
    totals: String,
}

impl Handler for Totals {
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::topic(&self.orders).event_type("order.placed")]
    }

    async fn handle(&self, message: Message<'_>, call: &mut Call) -> Result<Outcome, Failure> {
        let Some(amount) = message.payload() else {
            return Ok(Outcome::Rejected("an order without an amount".to_owned()));
        };
        let amount: i64 = std::str::from_utf8(amount)?.parse()?;
        // The state of this message's key; it commits with the message.
        let before = call.keyed().get("total").await?.unwrap_or_else(|| b"0".to_vec());
        let total = String::from_utf8(before)?.parse::<i64>()? + amount;
        call.keyed().set("total", total.to_string()).await?;
        let changed = Outgoing::new(&self.totals, "total.changed").key_of(message);
        call.publish(changed.payload(total.to_string())).await?;
        Ok(Outcome::Completed)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let topic = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let handler = Totals { orders: topic("ORDERS", "orders"), totals: topic("TOTALS", "totals") };
    let config = Config::load(None, environment())?;
    let manifest = format!("[grants]\npublish = [{:?}]\nstate = true\n", handler.totals);
    let manifest = Manifest::parse(&manifest, &config)?;
    let host = Host::builder(config).handler("totals", manifest, handler).log_to_stderr();

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(host.run(stop).await?)
}
