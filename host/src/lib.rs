//! mailroom: a host for event handlers compiled to WebAssembly components. It takes Kafka messages
//! into a Postgres inbox, runs the handler in a sandbox, and commits what the handler changed, what it
//! emitted and "this message is done" in one Postgres transaction; its relay publishes what was emitted.
//!
//! # As a library
//!
//! The program `mailroom` is a thin shell around this crate. A program of your own can run the host with
//! handlers in Rust beside the components of the drop folder: the same messages, effects, grants and
//! outcomes, without the sandbox. `host/examples` has two such programs: `native`, and `embedded`, an
//! application with the host inside.
//!
//! ```no_run
//! use mailroom::config::{Config, Manifest, environment};
//! use mailroom::{Call, Failure, Handler, Host, Message, Outcome, Outgoing, Subscription};
//!
//! struct Totals;
//!
//! impl Handler for Totals {
//!     fn version(&self) -> &str {
//!         env!("CARGO_PKG_VERSION")
//!     }
//!
//!     fn subscriptions(&self) -> Vec<Subscription> {
//!         vec![Subscription::topic("orders").event_type("order.placed")]
//!     }
//!
//!     async fn handle(&self, message: Message<'_>, call: &mut Call) -> Result<Outcome, Failure> {
//!         let Some(amount) = message.payload() else {
//!             return Ok(Outcome::Rejected("an order without an amount".to_owned()));
//!         };
//!         let amount: i64 = std::str::from_utf8(amount)?.parse()?;
//!         let before = call.keyed().get("total").await?.unwrap_or_else(|| b"0".to_vec());
//!         let total = String::from_utf8(before)?.parse::<i64>()? + amount;
//!         call.keyed().set("total", total.to_string()).await?;
//!         let changed = Outgoing::new("totals", "total.changed").key_of(message);
//!         call.publish(changed.payload(total.to_string())).await?;
//!         Ok(Outcome::Completed)
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = Config::load(None, environment())?;
//!     let manifest = "[grants]\npublish = [\"totals\"]\nstate = true\n";
//!     let manifest = Manifest::parse(manifest, &config)?;
//!     let host = Host::builder(config).handler("totals", manifest, Totals).log_to_stderr();
//!     let stop = async { drop(tokio::signal::ctrl_c().await) };
//!     Ok(host.run(stop).await?)
//! }
//! ```
//!
//! # The modules
//!
//! They stand in the order in which a message passes them; `ARCHITECTURE.md` is the map.

pub mod cli;
pub mod config;

mod app;
mod author;
mod builder;
mod clock;

mod ingest;
mod inbox;
mod worker;
mod pipeline;
mod handler;
mod settle;
mod outbox;
mod relay;

mod lane;
mod sweep;
mod retention;
mod sequences;

mod admin;
mod db;
mod kafka;
mod metrics;
mod outage;
mod readiness;
mod reminder;
mod server_health;
mod shown;
mod status;
mod telemetry;
mod waits;
mod wording;

#[cfg(test)]
mod fuzz;

use mailroom_core::message;

pub use builder::{Builder, Host, HostError};
pub use handler::{
    Call, Failure, Message, NativeHandler as Handler, Outgoing, PublishError, State, StateError, Subscription,
};
pub use pipeline::outcome::Outcome;
