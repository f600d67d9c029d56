//! Write a mailroom handler in about 20 lines of Rust.
//!
//! A handler takes one message at a time and answers with `Result`. What it published and stored
//! commits in one Postgres transaction with the fact that the message is done, or not at all.
//!
//! ```no_run
//! use mailroom_guest::{Handler, Message, Outgoing, Stop, Subscription, json, state};
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     customer: String,
//!     amount_cents: i64,
//! }
//!
//! struct Totals;
//!
//! impl Handler for Totals {
//!     fn subscriptions() -> Vec<Subscription> {
//!         vec![Subscription::topic("orders").event_type("order.placed")]
//!     }
//!
//!     fn handle(message: Message) -> Result<(), Stop> {
//!         let order: Order = message.json()?;
//!         let total = state::keyed().get("total_cents")?.unwrap_or(0) + order.amount_cents;
//!         state::keyed().set("total_cents", &total)?;
//!         let total = json!({ "customer": order.customer, "total_cents": total });
//!         Outgoing::json("totals", "total.changed", &total)?.key_of(&message).publish()?;
//!         Ok(())
//!     }
//! }
//!
//! mailroom_guest::export!(Totals);
//! ```
//!
//! # Build
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! mailroom-guest = "0.1"
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! `cargo build --release --target wasm32-wasip2` makes the component. Copy it into the host's
//! drop folder, with a `NAME.toml` beside it that grants what the handler uses; nothing is granted
//! by default:
//!
//! ```toml
//! [grants]
//! publish = ["totals"]
//! state = true
//! ```
//!
//! # How a call ends
//!
//! | The handler returns | The message |
//! |---|---|
//! | `Ok(())` | is completed, and its effects commit |
//! | `Err(Stop::skip("…"))` | is completed without effects, with the reason |
//! | `Err(Stop::retry("…").after(delay).into())` | comes again; `.uncounted()` costs no attempt |
//! | `Err(Stop::reject("…"))` | is a dead letter at once |
//! | any other error through `?`, or a panic | comes again with backoff, and after the last attempt is a dead letter |
//!
//! Effects count only with `Ok(())`; requests by [`http`] are none, and have happened in any case. The same message may be handled more than once before that:
//! derive new ids from [`Message::id`], never from the clock or from chance.
//!
//! # Tests
//!
//! On all targets but wasm32 the module `testing` has a host in memory: `cargo test` calls a handler without a
//! component, and sees what it published, stored and logged. Payloads of several types and schema versions are told
//! apart by a [`Dispatcher`].
//!
//! # Logs
//!
//! What a handler writes with `println!` and `eprintln!` is kept as the call's last output, and becomes lines of
//! the host's log at the level `debug`. A panic's words stand in the message's last error. For levels of one's own
//! there is [`log`], which the manifest grants: `log = "info"`.

#[doc(hidden)]
pub mod bindings;
pub mod config;
mod dispatcher;
mod handler;
mod host;
pub mod http;
pub mod log;
mod message;
mod outgoing;
mod pattern;
pub mod sql;
pub mod state;
mod stop;
mod subscription;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use bindings::mailroom::contract::types::{Data, Form, Header, Message, Position, Subscription};
pub use dispatcher::{Dispatcher, Pattern};
#[doc(hidden)]
pub use handler::Component;
pub use handler::Handler;
pub use outgoing::{Outgoing, PublishError};
/// Writes a JSON value in place, for [`Outgoing::json`].
pub use serde_json::json;
pub use stop::{Failure, Retry, Stop};
