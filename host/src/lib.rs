//! mailroom: a host for event handlers compiled to WebAssembly components. It takes Kafka messages
//! into a Postgres inbox, runs the handler in a sandbox, and commits what the handler changed, what it
//! emitted and "this message is done" in one Postgres transaction; its relay publishes what was emitted.
//!
//! The modules stand in the order in which a message passes them; `ARCHITECTURE.md` is the map.

pub mod cli;
pub mod config;

mod app;
mod message;

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

mod db;
mod kafka;
mod outage;
mod telemetry;
