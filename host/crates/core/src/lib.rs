//! The rules of delivery, as pure state machines.
//!
//! Events go in, commands come out. Nothing here does IO, knows a clock or draws a random number: time and chance
//! arrive with events, so that every interleaving can be replayed. It must not know tokio, sqlx, rdkafka or wasmtime.

pub mod handler_machine;
pub mod ids;
mod lane;
pub mod message;
pub mod rejoin;
pub mod relay;
pub mod seq_stock;
pub mod state;
pub mod time;
pub mod topic;
pub mod verdict;
