//! The black-box suite: each test is a sentence about the real binary, seen from outside.

mod arrange;
mod bad_components;
mod bad_outbox;
mod bad_records;
mod bad_settings;
mod commands;
mod crash;
mod dead_letters;
mod dev;
mod first_light;
mod missing_topics;
mod order;
mod outages;
mod publish;
mod redelivery;
mod reload;
mod schema;
mod shutdown;
mod two_hosts;
mod unreachable;
