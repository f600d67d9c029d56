//! Topics as the cluster describes them: their ids, their partitions and the bounds of their logs. Calls
//! block in librdkafka, so each runs on a thread of its own with a time limit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mailroom_core::ids::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use uuid::Uuid;

use super::login::Login;
use super::voice::Quiet;
use super::{KafkaError, client, native};
use crate::config;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A client for looking at topics.
#[derive(Clone)]
pub(crate) struct Topics {
    client: Arc<BaseConsumer<Quiet>>,
    login: Arc<Login>,
}

/// The bounds of a partition's log: the first offset in it and the next that will be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

/// State of a topic, as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicState {
    /// The topic is there. A topic that was deleted and made again has another id; the id is nil where the
    /// cluster has no topic ids.
    Known {
        id: Uuid,
        partitions: Vec<i32>,
        /// Partitions of which nothing can be read or written, since no broker that lives leads them.
        leaderless: Vec<i32>,
    },
    /// The topic does not exist.
    Missing,
    /// The cluster does not say, or not to us.
    Refused(Code),
}

/// A place in a log that is described and not numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// The first record.
    First,
    /// Offset behind the last record.
    End,
    /// The first record whose time is not before this, in milliseconds since 1970; else the end.
    At(i64),
}

impl Topics {
    pub(crate) fn new(kafka: &config::Kafka) -> Result<Self, KafkaError> {
        let client = client::metadata(kafka)
            .create_with_context(Quiet)
            .map_err(KafkaError::new("making a Kafka client"))?;
        Ok(Self { client: Arc::new(client), login: Arc::new(Login::of(kafka)) })
    }

    /// Asks on a thread of its own. What fails may be a login that Kafka refuses, which the library's answers do not say.
    async fn asked<T: Send + 'static>(
        &self,
        doing: &'static str,
        ask: impl FnOnce(&BaseConsumer<Quiet>) -> Asked<T> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let (client, login) = (Arc::clone(&self.client), Arc::clone(&self.login));
        let ask = move || {
            let answered = ask(&client);
            if answered.is_err() {
                login.renew(client.client().native_ptr());
            }
            answered
        };
        blocking(ask).await.map_err(KafkaError::new(doing))
    }

    /// The bounds of a partition's log.
    pub(crate) async fn bounds(&self, place: &TopicPartition) -> Result<Bounds, KafkaError> {
        let place = place.clone();
        let fetch = move |client: &BaseConsumer<_>| {
            client.fetch_watermarks(&place.topic, place.partition, ANSWER_WITHIN)
        };
        let (low, high) = self.asked("asking for the bounds of a partition", fetch).await?;
        Ok(Bounds { low, high })
    }

    /// The offset of a spot in each of these partitions of a topic.
    ///
    /// # Errors
    /// Where that of any partition cannot be told.
    pub(crate) async fn offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        spot: Spot,
    ) -> Result<Vec<(i32, i64)>, KafkaError> {
        let (topic, partitions) = (topic.to_owned(), partitions.to_vec());
        let ask = move |client: &BaseConsumer<_>| match spot {
            Spot::First => offsets_for(client, &topic, &partitions, Offset::Beginning).and_then(all_of),
            Spot::End => offsets_for(client, &topic, &partitions, Offset::End).and_then(all_of),
            Spot::At(moment_ms) => {
                let ends = offsets_for(client, &topic, &partitions, Offset::End)?;
                let found = offsets_for(client, &topic, &partitions, Offset::Offset(moment_ms))?;
                let at = |(partition, end): (i32, Option<i64>)| {
                    let at = found.iter().find(|(other, _)| *other == partition).and_then(|(_, at)| *at);
                    (partition, at.or(end))
                };
                all_of(ends.into_iter().map(at).collect())
            }
        };
        self.asked("asking for offsets", ask).await
    }

    /// Asks where the logs of these partitions of a topic end, with the records of open transactions, which
    /// [`Spot::End`] leaves out unless consumers read what is not committed.
    ///
    /// # Errors
    /// Where that of any partition cannot be told.
    pub(crate) async fn log_ends(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let (topic, partitions) = (topic.to_owned(), partitions.to_vec());
        let timeout_ms = i32::try_from(ANSWER_WITHIN.as_millis()).unwrap_or(i32::MAX);
        let ask = move |client: &BaseConsumer<_>| {
            native::log_ends(client.client().native_ptr(), &topic, &partitions, timeout_ms)
                .map_err(rdkafka::error::KafkaError::OffsetFetch)
        };
        self.asked("asking for the ends of logs", ask).await
    }

    /// Returns what the cluster says of these topics, in one request. Each of them is answered.
    ///
    /// # Errors
    /// Where the cluster does not answer.
    pub(crate) async fn describe(
        &self,
        topics: Vec<String>,
    ) -> Result<HashMap<String, TopicState>, KafkaError> {
        if topics.is_empty() {
            return Ok(HashMap::new());
        }
        let timeout_ms = i32::try_from(ANSWER_WITHIN.as_millis()).unwrap_or(i32::MAX);
        let ask = move |client: &BaseConsumer<_>| {
            let described = native::describe_topics(client.client().native_ptr(), &topics, timeout_ms)
                .map_err(rdkafka::error::KafkaError::AdminOp)?;
            let states = described.into_iter().map(|of| {
                let state = if of.error == Code::NoError {
                    TopicState::Known { id: of.id, partitions: of.partitions, leaderless: of.leaderless }
                } else if matches!(of.error, Code::UnknownTopicOrPartition | Code::UnknownTopic) {
                    TopicState::Missing
                } else {
                    TopicState::Refused(of.error)
                };
                (of.name, state)
            });
            Ok(states.collect())
        };
        self.asked("asking Kafka for its topics", ask).await
    }

    /// Checks that the cluster answers.
    ///
    /// # Errors
    /// Where it does not, or refuses us.
    pub(crate) async fn answers(&self) -> Result<(), KafkaError> {
        let ask = |client: &BaseConsumer<_>| client.fetch_metadata(None, ANSWER_WITHIN).map(drop);
        self.asked("asking Kafka for its brokers", ask).await
    }

    /// Returns those of `topics` that the cluster does not have. Each is asked for by its name: where the
    /// cluster and `allow.auto.create.topics` say so, that makes it.
    pub(crate) async fn missing(&self, topics: &[String]) -> Result<Vec<String>, KafkaError> {
        let topics = topics.to_vec();
        let ask = move |client: &BaseConsumer<_>| {
            let mut missing = Vec::new();
            for topic in topics {
                let metadata = client.fetch_metadata(Some(&topic), ANSWER_WITHIN)?;
                if !metadata.topics().iter().any(|there| there.name() == topic && there.error().is_none()) {
                    missing.push(topic);
                }
            }
            Ok(missing)
        };
        self.asked("asking Kafka for its topics", ask).await
    }
}

/// Checks that this host's user may be in a consumer group, by asking for its offsets.
///
/// # Errors
/// Where it may not, or the cluster does not tell.
pub(crate) async fn may_join(
    kafka: &config::Kafka,
    group: &str,
    topics: &BTreeSet<String>,
) -> Result<(), KafkaError> {
    let (settings, topics) = (client::consumer(kafka, group), topics.clone());
    let ask = move || {
        let consumer: BaseConsumer<Quiet> = settings.create_with_context(Quiet)?;
        let mut asked = TopicPartitionList::with_capacity(topics.len());
        for topic in &topics {
            asked.add_partition(topic, 0);
        }
        consumer.committed_offsets(asked, ANSWER_WITHIN).map(drop)
    };
    blocking(ask).await.map_err(KafkaError::new("asking for its offsets"))
}

/// The offset from which on an open transaction hides records of a partition, where one does.
///
/// # Errors
/// Where the cluster does not tell.
pub(crate) async fn hidden_from(
    kafka: &config::Kafka,
    place: &TopicPartition,
) -> Result<Option<i64>, KafkaError> {
    let [committed, all] = ["read_committed", "read_uncommitted"].map(|level| {
        let mut settings = client::metadata(kafka);
        settings.set("isolation.level", level);
        settings.create_with_context(Quiet).map_err(KafkaError::new("making a Kafka client"))
    });
    let login = Arc::new(Login::of(kafka));
    let end = |client| Topics { client: Arc::new(client), login: Arc::clone(&login) };
    let (committed, all) = (end(committed?), end(all?));
    let (committed, all) = tokio::join!(committed.bounds(place), all.bounds(place));
    let (stable, end) = (committed?.high, all?.high);
    Ok((stable < end).then_some(stable))
}

pub(super) type Asked<T> = Result<T, rdkafka::error::KafkaError>;

/// The offsets, where that of each partition is known.
fn all_of(found: Vec<(i32, Option<i64>)>) -> Asked<Vec<(i32, i64)>> {
    let known = |(partition, offset): (i32, Option<i64>)| Some((partition, offset?));
    let all: Option<Vec<(i32, i64)>> = found.into_iter().map(known).collect();
    all.ok_or(rdkafka::error::KafkaError::OffsetFetch(Code::NoOffset))
}

/// One offset for each partition; `None` where every record is older than the moment asked for.
fn offsets_for(
    client: &BaseConsumer<Quiet>,
    topic: &str,
    partitions: &[i32],
    spot: Offset,
) -> Asked<Vec<(i32, Option<i64>)>> {
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        // Kafka's ListOffsets takes the two ends of a log as moments of their own.
        asked.add_partition_offset(topic, *partition, spot)?;
    }
    let answered = client.offsets_for_times(asked, ANSWER_WITHIN)?;
    let offset = |partition: &i32| {
        let Some(found) = answered.find_partition(topic, *partition) else {
            return Err(rdkafka::error::KafkaError::OffsetFetch(Code::UnknownPartition));
        };
        found.error()?;
        let offset = match found.offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => {
                None
            }
        };
        Ok((*partition, offset))
    };
    partitions.iter().map(offset).collect()
}

/// Waits for an answer of librdkafka off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Asked<T> + Send + 'static,
) -> Asked<T> {
    tokio::task::spawn_blocking(call).await.unwrap_or(Err(rdkafka::error::KafkaError::Canceled))
}
