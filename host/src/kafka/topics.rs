//! What the cluster says about topics: their ids and the bounds of their logs. Calls block in
//! librdkafka, so each runs on a thread of its own with a time limit.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use uuid::Uuid;

use super::voice::Quiet;
use super::{KafkaError, Place, client, native};
use crate::config;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A client for looking at topics.
#[derive(Clone)]
pub(crate) struct Topics {
    client: Arc<BaseConsumer<Quiet>>,
}

/// The bounds of a partition's log: the first offset in it and the next that will be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

impl Topics {
    pub(crate) fn new(kafka: &config::Kafka) -> Result<Self, KafkaError> {
        let client = client::metadata(kafka)
            .create_with_context(Quiet)
            .map_err(KafkaError::new("making a Kafka client"))?;
        Ok(Self { client: Arc::new(client) })
    }

    /// The bounds of a partition's log.
    pub(crate) async fn bounds(&self, place: &Place) -> Result<Bounds, KafkaError> {
        let (client, place) = (Arc::clone(&self.client), place.clone());
        let fetch = move || client.fetch_watermarks(&place.topic, place.partition, ANSWER_WITHIN);
        let (low, high) =
            blocking(fetch).await.map_err(KafkaError::new("asking for the bounds of a partition"))?;
        Ok(Bounds { low, high })
    }

    /// The first record whose time is not before `moment_ms`, milliseconds since 1970; `None` where every
    /// record is older.
    pub(crate) async fn offset_at(&self, place: &Place, moment_ms: i64) -> Result<Option<i64>, KafkaError> {
        let (client, place) = (Arc::clone(&self.client), place.clone());
        let ask = move || {
            let mut asked = TopicPartitionList::new();
            asked.add_partition_offset(&place.topic, place.partition, Offset::Offset(moment_ms))?;
            let answered = client.offsets_for_times(asked, ANSWER_WITHIN)?;
            let Some(found) = answered.find_partition(&place.topic, place.partition) else {
                return Err(rdkafka::error::KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition));
            };
            found.error()?;
            Ok(match found.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            })
        };
        blocking(ask).await.map_err(KafkaError::new("asking for the offset of a moment"))
    }

    /// Kafka's id of the topic, where the cluster tells one.
    pub(crate) async fn id(&self, topic: &str) -> Option<Uuid> {
        let (client, topic) = (Arc::clone(&self.client), topic.to_owned());
        let ask = move || Ok(native::topic_id(client.client().native_ptr(), &topic, 5_000));
        blocking(ask).await.ok().flatten()
    }

    /// Those of `topics` that the cluster does not have. Each is asked for by its name: where the cluster
    /// and `allow.auto.create.topics` say so, that makes it.
    pub(crate) async fn missing(&self, topics: &[String]) -> Result<Vec<String>, KafkaError> {
        let (client, topics) = (Arc::clone(&self.client), topics.to_vec());
        let ask = move || {
            let mut missing = Vec::new();
            for topic in topics {
                let metadata = client.fetch_metadata(Some(&topic), ANSWER_WITHIN)?;
                if !metadata.topics().iter().any(|there| there.name() == topic && there.error().is_none()) {
                    missing.push(topic);
                }
            }
            Ok(missing)
        };
        blocking(ask).await.map_err(KafkaError::new("asking Kafka for its topics"))
    }
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, rdkafka::error::KafkaError> + Send + 'static,
) -> Result<T, rdkafka::error::KafkaError> {
    tokio::task::spawn_blocking(call).await.unwrap_or(Err(rdkafka::error::KafkaError::Canceled))
}
