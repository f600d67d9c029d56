//! Reads a topic from its start to the end that it has now, and what a group has committed of it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::Record;

/// Longest wait for the next record, and for an answer: a large topic may take longer, a silent one is
/// broken.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Blocks until everything is read.
pub(super) fn all(brokers: &str, topic: &str) -> Result<Vec<Record>> {
    let consumer = consumer(brokers, "the-tests-read-only")?;
    let mut from = TopicPartitionList::new();
    let mut records_left = 0;
    for partition in partitions(&consumer, topic)? {
        let (low, high) = consumer.fetch_watermarks(topic, partition, SILENCE_MAX)?;
        from.add_partition_offset(topic, partition, Offset::Offset(low))?;
        records_left += high - low;
    }
    consumer.assign(&from)?;
    let mut records = read(&consumer, records_left)?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Blocks until Kafka says what a group has committed for the first partition of a topic. It does not join the group.
pub(super) fn committed(brokers: &str, group: &str, topic: &str) -> Result<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let told = consumer(brokers, group)?.committed_offsets(asked, SILENCE_MAX)?;
    let told = told.elements_for_topic(topic);
    let told = told.first().context("the broker did not answer for the partition")?;
    told.error()?;
    Ok(if let Offset::Offset(offset) = told.offset() { Some(offset) } else { None })
}

fn consumer(brokers: &str, group: &str) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", group);
    config.set("enable.auto.commit", "false").set("fetch.wait.max.ms", "10");
    Ok(config.create()?)
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), SILENCE_MAX)?;
    let found = metadata.topics().first().context("the broker did not answer for the topic")?;
    ensure!(found.error().is_none(), "topic {topic}: {:?}", found.error());
    Ok(found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
}

fn read(consumer: &BaseConsumer, records_wanted: i64) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for _ in 0..records_wanted {
        match consumer.poll(SILENCE_MAX) {
            Some(message) => records.push(record(&message?)),
            None => {
                bail!("{} of {records_wanted} records, then none for {SILENCE_MAX:?}", records.len())
            }
        }
    }
    Ok(records)
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}
