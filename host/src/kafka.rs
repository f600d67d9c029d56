//! Kafka: the only home of rdkafka. Consumers, the producer, topic metadata, and what errors mean.
//!
//! Nothing here knows Postgres. A rebalance is handed to the caller as an event and answered by it.

mod client;
mod consumer;
mod error;
mod member;
mod mock;
mod native;
mod producer;
mod topic_watch;
mod topics;
mod voice;

pub(crate) use consumer::{Consumer, Event};
pub(crate) use error::{KafkaError, ProduceMeaning};
pub(crate) use mock::MockKafka;
pub(crate) use producer::{Delivery, Outbound, Producer};
pub(crate) use topic_watch::{TopicWatch, WatchedTopics};
pub(crate) use topics::{Bounds, Spot, TopicState, Topics, has_record_from};
