//! Reading a topic once, from its start.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use crate::payload::PARTITIONS;

/// Longest wait for the next record of a topic that has one.
const BOUND: Duration = Duration::from_secs(30);

/// A consumer that has found its topic and has fetched nothing.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    topic: String,
}

impl Reader {
    /// Blocks.
    pub(crate) fn connect(brokers: &str, topic: &str) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "bench-floor")
            .set("enable.auto.commit", "false")
            .create()?;
        consumer.fetch_metadata(Some(topic), BOUND)?;
        Ok(Self { consumer, topic: topic.to_owned() })
    }

    /// Gives `records` records to `take`, in order within each partition. Blocks.
    pub(crate) fn read(
        &self,
        records: u32,
        mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
    ) -> Result<()> {
        let Self { consumer, topic } = self;
        let mut from = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            from.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&from)?;
        for _ in 0..records {
            let record = consumer.poll(BOUND).with_context(|| format!("no more records in {topic}"))?;
            take(&record?)?;
        }
        Ok(())
    }
}
