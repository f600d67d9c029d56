//! Kafka: the only home of rdkafka. Consumers, the producer, topic metadata, and what errors mean.
//!
//! Nothing here knows Postgres. A rebalance is handed to the caller as an event and answered by it.

mod client;
mod consumer;
mod error;
mod log_ends;
mod login;
mod meaning;
mod member;
mod mock;
mod native;
mod probe;
mod producer;
mod queue;
mod settings;
mod topic_settings;
mod topic_watch;
mod topics;
mod voice;

pub(crate) use consumer::{Consumer, Event};
pub(crate) use error::{KafkaError, ProduceMeaning};
pub(crate) use log_ends::LogEnds;
pub(crate) use mock::MockKafka;
pub(crate) use probe::{Damage, Reading, behind_damage, read_from};
pub(crate) use producer::{Delivery, Outbound, Producer};
pub(crate) use settings::check_settings;
pub(crate) use topic_settings::{ClusterSettings, TopicSettings, topic_settings};
pub(crate) use topic_watch::{TopicWatch, WatchedTopics};
pub(crate) use topics::{Bounds, Spot, TopicState, Topics, hidden_from, may_join};
