//! The contract's imports as the host gives them to a guest. They translate; what is granted and bounded
//! is decided in `effects`. Only what the host itself cannot do ends the call.

mod config;
pub(super) mod http;
pub(super) mod keyvalue;
mod logging;
pub(super) mod messaging;
mod outbox;
mod script;
mod sql;
mod state;
pub(super) mod wasmcloud;

use super::bindings::mailroom::contract::types;
use super::guest::Guest;

/// Types have no functions.
impl types::Host for Guest {}
