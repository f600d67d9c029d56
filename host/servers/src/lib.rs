//! A Postgres and an Apache Kafka of one's own, as child processes on the loopback interface: for
//! `mailroom dev`, the tests and xtask. Nothing here speaks SQL or Kafka's protocol; a server is ready
//! when it says so itself. A directory belongs to one server of one living process at a time.

mod child;
mod error;
mod kafka;
mod maven;
mod place;
mod port;
mod postgres;
mod user;

pub use error::Error;
pub use kafka::{Kafka, KafkaOptions, KafkaRelease, java_is_there, kafka_jars_are_there};
pub use place::stop_leftover;
pub use postgres::{Postgres, PostgresOptions, PostgresRelease, postgres_programs};
pub use user::reachable_dir;
