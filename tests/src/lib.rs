//! The black-box harness: it drives the real binary against a real Postgres and a real Apache Kafka,
//! and sees the product only from outside: rows, topics, exit codes, output.
//!
//! A test is one call of [`in_world`]: it gets a database, a namespace, a handlers folder and topics of
//! its own on servers that the tests of a process share. Nothing here knows the product's code.

pub mod admin;
pub mod browser;
pub mod db;
pub mod exposition;
pub mod guests;
pub mod history;
pub mod host;
pub mod kafka;
pub mod load;
pub mod page;
pub mod paths;
pub mod pooler;
pub mod proxy;
pub mod servers;
pub mod settings;
pub mod shell;
pub mod snapshot;
pub mod wait;
pub mod wat;
pub mod web;
pub mod world;

mod in_world;

pub use admin::{Admin, Answer};
pub use exposition::Exposition;
pub use guests::{Manifest, guest, second_edition};
pub use host::{Host, Ran, Start};
pub use in_world::{in_world, in_world_on, in_world_with_kafka_proxy, in_world_with_pooler};
pub use kafka::{Kafka, Message, Record};
pub use load::Load;
pub use page::Page;
pub use pooler::{PoolMode, Pooler};
pub use proxy::{Keep, Proxy, Request};
pub use servers::Releases;
pub use shell::Shell;
pub use wait::{LATER, SOON, becomes, eventually, passes};
pub use web::Web;
pub use world::{Setup, World};
