//! A world's Kafka: topics of its own, records in, and everything that a topic holds out.

pub mod message;
pub mod record;

mod acl;
mod header_name;
mod read;
mod transaction;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

pub use message::Message;
pub use record::Record;
pub use transaction::OpenTransaction;

use crate::{SOON, eventually};

/// A broker and the prefix of this world's topics.
pub struct Kafka {
    brokers: String,
    prefix: String,
    producer: FutureProducer,
    admin: AdminClient<DefaultClientContext>,
    made: Mutex<Vec<String>>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("brokers", &self.brokers).field("prefix", &self.prefix).finish()
    }
}

impl Kafka {
    /// A client of `brokers` whose topics begin with `prefix`.
    ///
    /// # Errors
    /// librdkafka's own.
    pub fn connect(brokers: &str, prefix: &str) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("reconnect.backoff.max.ms", "200");
        let admin = config.create()?;
        let producer = config
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .set("message.timeout.ms", "100000")
            .create()?;
        Ok(Self {
            brokers: brokers.to_owned(),
            prefix: prefix.to_owned(),
            producer,
            admin,
            made: Mutex::default(),
        })
    }

    /// Returns the address by which the host finds it.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The full name of this world's topic `name`, which may not exist.
    #[must_use]
    pub fn topic_name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// Creates this world's topic `name` and gives its full name.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn topic(&self, name: &str, partitions: i32) -> Result<String> {
        self.topic_with(name, partitions, &[]).await
    }

    /// The same with settings of the topic's own.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<String> {
        let topic = self.topic_name(name);
        self.create_with(&topic, partitions, settings).await?;
        Ok(topic)
    }

    /// Creates a topic under its full name. One that exists is left as it is.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn create(&self, topic: &str, partitions: i32) -> Result<()> {
        self.create_with(topic, partitions, &[]).await
    }

    /// The same with settings of the topic's own.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn create_with(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        let made = self.admin.create_topics([&new], &admin_options()).await?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(topic.to_owned());
        match made.into_iter().next().context("the broker did not answer for the topic")? {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
            Err((topic, code)) => bail!("could not create topic {topic}: {code}"),
        }
    }

    /// Removes the topics that were created here: a broker that keeps them all becomes slow.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn remove_topics(&self) -> Result<()> {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        let names: Vec<&str> = made.iter().map(String::as_str).collect();
        if !names.is_empty() {
            self.admin.delete_topics(&names, &admin_options()).await?;
        }
        Ok(())
    }

    /// Gives a topic more partitions, and waits until they can be written to.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn add_partitions(&self, topic: &str, in_all: usize) -> Result<()> {
        let made =
            self.admin.create_partitions([&NewPartitions::new(topic, in_all)], &admin_options()).await?;
        if let Some(Err((topic, code))) = made.into_iter().next() {
            bail!("could not add partitions to topic {topic}: {code}");
        }
        let producer = self.producer.clone();
        let topic = topic.to_owned();
        eventually("the producer knows the partitions", SOON, async move || {
            let (producer, topic) = (producer.clone(), topic.clone());
            let ask = move || producer.client().fetch_metadata(Some(&topic), Duration::from_secs(5));
            let metadata = tokio::task::spawn_blocking(ask).await??;
            Ok(metadata.topics().iter().any(|topic| topic.partitions().len() == in_all))
        })
        .await
    }

    /// Deletes a topic and waits until it is gone.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn delete_topic(&self, topic: &str) -> Result<()> {
        let deleted = self.admin.delete_topics(&[topic], &admin_options()).await?;
        if let Some(Err((topic, code))) = deleted.into_iter().next() {
            bail!("could not delete topic {topic}: {code}");
        }
        eventually("the topic is gone", SOON, async || Ok(self.read_all(topic).await.is_err())).await
    }

    /// Deletes the records of a partition that come before `offset`, as retention does.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        let deleted = self.admin.delete_records(&before, &admin_options()).await?;
        Ok(deleted.elements().iter().try_for_each(|partition| partition.error())?)
    }

    /// Denies everybody everything on a consumer group, or takes that back.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn deny_group(&self, group: &str, deny: bool) -> Result<()> {
        let (brokers, group) = (self.brokers.clone(), group.to_owned());
        tokio::task::spawn_blocking(move || acl::deny_group(&brokers, &group, deny)).await?
    }

    /// Forgets what Kafka knows of a consumer group, its offsets too. Its members must be gone.
    ///
    /// # Errors
    /// The broker's own, while a member is there too.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let deleted = self.admin.delete_groups(&[group], &admin_options()).await?;
        match deleted.into_iter().next().context("the broker did not answer for the group")? {
            Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => Ok(()),
            Err((group, code)) => bail!("could not delete group {group}: {code}"),
        }
    }

    /// The offset that a consumer group has committed for the first partition of a topic; `None` where it has not.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn committed(&self, group: &str, topic: &str) -> Result<Option<i64>> {
        let (brokers, group, topic) = (self.brokers.clone(), group.to_owned(), topic.to_owned());
        tokio::task::spawn_blocking(move || read::committed(&brokers, &group, &topic)).await?
    }

    /// Sends one message and waits for the broker's acknowledgement.
    ///
    /// # Errors
    /// librdkafka's own.
    pub async fn send(&self, message: &Message) -> Result<(i32, i64)> {
        let record = FutureRecord {
            topic: &message.topic,
            partition: None,
            payload: message.payload.as_ref(),
            key: message.key.as_ref(),
            timestamp: message.timestamp_ms,
            headers: header_name::headers(&message.headers)?,
        };
        match self.producer.send(record, Duration::from_secs(100)).await {
            Ok(delivery) => Ok((delivery.partition, delivery.offset)),
            Err((error, _)) => Err(error).with_context(|| format!("could not send to {}", message.topic)),
        }
    }

    /// Sends all, pipelined; messages of one partition keep their order.
    ///
    /// # Errors
    /// librdkafka's own.
    pub async fn send_all(&self, messages: &[Message]) -> Result<()> {
        try_join_all(messages.iter().map(|message| self.send(message))).await?;
        Ok(())
    }

    /// Sends all in a transaction that is aborted.
    ///
    /// # Errors
    /// librdkafka's own.
    pub async fn send_and_abort(&self, messages: &[Message]) -> Result<()> {
        let (brokers, messages) = (self.brokers.clone(), messages.to_vec());
        tokio::task::spawn_blocking(move || OpenTransaction::with(&brokers, &messages)?.abort()).await?
    }

    /// Sends all in a transaction that stays open.
    ///
    /// # Errors
    /// librdkafka's own.
    pub async fn send_and_leave_open(&self, messages: &[Message]) -> Result<OpenTransaction> {
        let (brokers, messages) = (self.brokers.clone(), messages.to_vec());
        tokio::task::spawn_blocking(move || OpenTransaction::with(&brokers, &messages)).await?
    }

    /// Every record from the topic's start to its end, partition by partition, in order.
    ///
    /// # Errors
    /// Where the topic does not exist or the broker is away.
    pub async fn read_all(&self, topic: &str) -> Result<Vec<Record>> {
        let (brokers, topic) = (self.brokers.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || read::all(&brokers, &topic)).await?
    }
}

fn admin_options() -> AdminOptions {
    let bound = Some(Duration::from_secs(20));
    AdminOptions::new().request_timeout(bound).operation_timeout(bound)
}
