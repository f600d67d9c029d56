//! The ends of the partitions' logs. Kafka has a few seconds to answer. What it does not tell is named with the reason;
//! the rest of the status does not depend on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::config;
use crate::db::status::Read;
use crate::kafka::{KafkaError, Spot, TopicState, Topics};

/// Time for all questions together.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Kafka's answers about the topics that are read.
#[derive(Debug, Default)]
pub(super) struct LogEnds {
    topics: BTreeMap<String, TopicLog>,
    /// Sentences about what is not known, and why.
    pub(super) unknown: Vec<String>,
}

/// Kafka's answer about one topic.
#[derive(Debug, Default)]
struct TopicLog {
    /// Nil where it is not known.
    id: Uuid,
    ends: BTreeMap<i32, i64>,
    unknown: Vec<String>,
}

impl LogEnds {
    /// Asks for the ends of the logs of these partitions.
    pub(super) async fn ask(kafka: &config::Kafka, reads: &[Read]) -> Self {
        let deadline = Instant::now() + ANSWERS_WITHIN;
        let mut ends = Self::default();
        let mut partitions: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
        for read in reads {
            partitions.entry(read.topic.as_str()).or_default().insert(read.partition);
        }
        if partitions.is_empty() {
            return ends;
        }
        let names: Vec<String> = partitions.keys().map(|topic| (*topic).to_owned()).collect();
        // A topic that does not exist would let the question for its ends wait in vain.
        let (client, mut states) = match describe(kafka, names, deadline).await {
            Ok(described) => described,
            Err(why) => {
                let brokers = &kafka.brokers;
                ends.unknown.push(format!(
                    "Kafka at {brokers} does not tell where the logs end, so END and LAG are not known: {why}"
                ));
                return ends;
            }
        };
        let client = &client;
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

    /// The offset that the partition's next record will have.
    pub(super) fn end(&self, topic: &str, partition: i32) -> Option<i64> {
        self.topics.get(topic)?.ends.get(&partition).copied()
    }

    /// Kafka's id of the topic, nil where it is not known.
    pub(super) fn topic_id(&self, topic: &str) -> Uuid {
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
        match answer(client.offsets(topic, &asked, Spot::End), deadline).await {
            Ok(ends) => log.ends = ends.into_iter().collect(),
            Err(why) => log.unknown.push(format!("END and LAG of topic {topic} are not known: {why}")),
        }
        log
    }

    fn unknown(why: String) -> Self {
        Self { unknown: vec![why], ..Self::default() }
    }
}

/// Makes a client and asks it for the topics.
async fn describe(
    kafka: &config::Kafka,
    topics: Vec<String>,
    deadline: Instant,
) -> Result<(Topics, HashMap<String, TopicState>), String> {
    let client = Topics::new(kafka).map_err(|error| error.to_string())?;
    let states = answer(client.describe(topics), deadline).await?;
    Ok((client, states))
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
