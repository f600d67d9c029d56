//! The ends of the partitions' logs. Kafka has a few seconds to answer. What it does not tell is named with the reason;
//! nothing else depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use mailroom_core::topic::is_replaced;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{KafkaError, Spot, TopicState, Topics};
use crate::config;
use crate::db::status::Read;

/// Time for all questions together.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Partitions by their topics.
pub(crate) type Partitions<'p> = BTreeMap<&'p str, BTreeSet<i32>>;

/// Kafka's answers about the topics that are read.
#[derive(Debug, Default)]
pub(crate) struct LogEnds {
    topics: BTreeMap<String, TopicLog>,
    /// Sentences about what is not known, and why.
    pub(crate) unknown: Vec<String>,
}

/// Kafka's answer about one topic.
#[derive(Debug, Default)]
struct TopicLog {
    /// Nil where it is not known.
    id: Uuid,
    /// With the records of open transactions.
    ends: BTreeMap<i32, i64>,
    /// Offsets up to which consumers are given records; less than the end while a transaction is open.
    readable: BTreeMap<i32, i64>,
    unknown: Vec<String>,
}

impl LogEnds {
    /// Asks for the ends of the logs of these partitions, by a client of its own.
    pub(crate) async fn ask(kafka: &config::Kafka, partitions: &Partitions<'_>) -> Self {
        if partitions.is_empty() {
            return Self::default();
        }
        let client = match Topics::new(kafka) {
            Ok(client) => client,
            Err(error) => return Self::untold(&kafka.brokers, &error.to_string()),
        };
        let mut ends = Self::ask_by(&client, &kafka.brokers, partitions).await;
        // Asked for after the ends, so that what comes in between is not taken for an open transaction.
        let deadline = Instant::now() + ANSWERS_WITHIN;
        join_all(ends.topics.iter_mut().map(|(topic, log)| log.ask_readable(&client, topic, deadline))).await;
        ends
    }

    /// Asks for the ends of the logs of these partitions.
    pub(crate) async fn ask_by(client: &Topics, brokers: &str, partitions: &Partitions<'_>) -> Self {
        let deadline = Instant::now() + ANSWERS_WITHIN;
        let mut ends = Self::default();
        if partitions.is_empty() {
            return ends;
        }
        let names: Vec<String> = partitions.keys().map(|topic| (*topic).to_owned()).collect();
        // A topic that does not exist would let the question for its ends wait in vain.
        let mut states = match answer(client.describe(names), deadline).await {
            Ok(described) => described,
            Err(why) => return Self::untold(brokers, &why),
        };
        let logs = partitions.iter().map(|(topic, partitions)| {
            let state = states.remove(*topic);
            async move { (*topic, TopicLog::ask(client, topic, partitions, state, deadline).await) }
        });
        for (topic, mut log) in join_all(logs).await {
            ends.unknown.append(&mut log.unknown);
            ends.topics.insert(topic.to_owned(), log);
        }
        ends
    }

    fn untold(brokers: &str, why: &str) -> Self {
        let unknown = format!(
            "Kafka at {brokers} does not tell where the logs end, so END and LAG are not known: {why}"
        );
        Self { topics: BTreeMap::new(), unknown: vec![unknown] }
    }

    /// The offset that the partition's next record will have.
    pub(crate) fn end(&self, topic: &str, partition: i32) -> Option<i64> {
        self.topics.get(topic)?.ends.get(&partition).copied()
    }

    /// The offset up to which consumers are given the partition's records, where that is before its end: a transaction is
    /// open there.
    pub(crate) fn open_from(&self, topic: &str, partition: i32) -> Option<i64> {
        let log = self.topics.get(topic)?;
        let (end, readable) = (log.ends.get(&partition)?, log.readable.get(&partition)?);
        (readable < end).then_some(*readable)
    }

    /// The distance from the next offset that is read to the end of the log. Without a value where the end is not known,
    /// or the topic was made again: what was read is of another log.
    pub(crate) fn lag(&self, read: &Read) -> Option<i64> {
        let end = self.end(&read.topic, read.partition).filter(|_| !self.is_replaced(read))?;
        Some(end - read.next_offset)
    }

    /// Tells whether the topic is another than the one that was read.
    pub(crate) fn is_replaced(&self, read: &Read) -> bool {
        is_replaced(read.topic_id, self.topic_id(&read.topic))
    }

    /// Kafka's id of the topic, nil where it is not known.
    fn topic_id(&self, topic: &str) -> Uuid {
        self.topics.get(topic).map_or_else(Uuid::nil, |log| log.id)
    }
}

impl TopicLog {
    async fn ask(
        client: &Topics,
        topic: &str,
        partitions: &BTreeSet<i32>,
        state: Option<TopicState>,
        deadline: Instant,
    ) -> Self {
        let (id, present, leaderless) = match state {
            Some(TopicState::Known { id, partitions, leaderless }) => (id, partitions, leaderless),
            Some(TopicState::Missing) => {
                return Self::unknown(format!(
                    "topic {topic} does not exist any more: nothing of it is read"
                ));
            }
            Some(TopicState::Refused(code)) => {
                return Self::unknown(format!("END and LAG of topic {topic} are not known: {code}"));
            }
            None => {
                return Self::unknown(format!(
                    "END and LAG of topic {topic} are not known: Kafka did not name it"
                ));
            }
        };
        let (asked, gone): (Vec<i32>, Vec<i32>) =
            partitions.iter().copied().partition(|partition| present.contains(partition));
        let (mute, asked): (Vec<i32>, Vec<i32>) =
            asked.into_iter().partition(|partition| leaderless.contains(partition));
        let mut log = Self { id, ..Self::default() };
        if !mute.is_empty() {
            log.unknown.push(format!(
                "partitions {mute:?} of topic {topic} have no leader, as no broker that has them is alive and in sync: \
                 nothing of them is read, and nothing written to them"
            ));
        }
        if !gone.is_empty() {
            log.unknown.push(format!("partitions {gone:?} of topic {topic} do not exist any more"));
        }
        if asked.is_empty() {
            return log;
        }
        match answer(client.log_ends(topic, &asked), deadline).await {
            Ok(ends) => log.ends = ends,
            Err(why) => log.unknown.push(format!("END and LAG of topic {topic} are not known: {why}")),
        }
        log
    }

    /// Asks up to where consumers are given the records of partitions whose ends are known. Without an answer nothing is
    /// said of transactions.
    async fn ask_readable(&mut self, client: &Topics, topic: &str, deadline: Instant) {
        let asked: Vec<i32> = self.ends.keys().copied().collect();
        if asked.is_empty() {
            return;
        }
        match answer(client.offsets(topic, &asked, Spot::End), deadline).await {
            Ok(readable) => self.readable = readable.into_iter().collect(),
            Err(why) => tracing::debug!("Where transactions of {topic} are open is not known: {why}"),
        }
    }

    fn unknown(why: String) -> Self {
        Self { unknown: vec![why], ..Self::default() }
    }
}

/// Waits for an answer until the deadline; gives in words why there is none.
async fn answer<T>(
    asked: impl Future<Output = Result<T, KafkaError>>,
    deadline: Instant,
) -> Result<T, String> {
    match timeout_at(deadline, asked).await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {ANSWERS_WITHIN:?}")),
    }
}
