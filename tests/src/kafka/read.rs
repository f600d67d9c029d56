//! Reads a topic from its start to the end that it has now.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::Record;

/// For the next record, and for an answer: a large topic may take longer, a silent one is broken.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Blocks until everything is read.
pub(super) fn all(brokers: &str, topic: &str) -> Result<Vec<Record>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "the-tests-read-only")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .create()?;
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
