//! What the cluster says about topics: their ids and the bounds of their logs. Calls block in
//! librdkafka, so each runs on a thread of its own with a time limit.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use uuid::Uuid;

use super::{KafkaError, Place, client, native};
use crate::config;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A client for looking at topics.
#[derive(Clone)]
pub(crate) struct Topics {
    client: Arc<BaseConsumer>,
}

/// The bounds of a partition's log: the first offset in it and the next that will be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

impl Topics {
    pub(crate) fn new(kafka: &config::Kafka) -> Result<Self, KafkaError> {
        let client = client::metadata(kafka).create().map_err(KafkaError::new("making a Kafka client"))?;
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

    /// Kafka's id of the topic, where the cluster tells one.
    pub(crate) async fn id(&self, topic: &str) -> Option<Uuid> {
        let (client, topic) = (Arc::clone(&self.client), topic.to_owned());
        let ask = move || Ok(native::topic_id(client.client().native_ptr(), &topic, 5_000));
        blocking(ask).await.ok().flatten()
    }

    /// Those of `topics` that the cluster does not have.
    pub(crate) async fn missing(&self, topics: &[String]) -> Result<Vec<String>, KafkaError> {
        let client = Arc::clone(&self.client);
        let ask = move || client.fetch_metadata(None, ANSWER_WITHIN);
        let metadata = blocking(ask).await.map_err(KafkaError::new("asking Kafka for its topics"))?;
        let there: Vec<&str> = metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name).collect();
        Ok(topics.iter().filter(|topic| !there.contains(&topic.as_str())).cloned().collect())
    }
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, rdkafka::error::KafkaError> + Send + 'static,
) -> Result<T, rdkafka::error::KafkaError> {
    tokio::task::spawn_blocking(call).await.unwrap_or(Err(rdkafka::error::KafkaError::Canceled))
}
