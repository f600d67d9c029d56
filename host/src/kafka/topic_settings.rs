//! Settings of topics, and how many brokers have their records.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::metadata::MetadataTopic;

use super::topics::blocking;
use super::voice::Quiet;
use super::{KafkaError, client};
use crate::config;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const ASKING: &str = "asking Kafka for the settings of topics";

/// A topic as its brokers keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    /// Brokers that should have the records of its least copied partition.
    pub(crate) replicas: usize,
    /// Brokers that have all records of the partition that fewest have.
    pub(crate) in_sync: usize,
    pub(crate) min_in_sync: usize,
    pub(crate) unclean_election: bool,
    pub(crate) cleanup_policy: String,
    /// Negative where records are kept for ever.
    pub(crate) retention_ms: i64,
    pub(crate) message_bytes_max: i64,
}

/// Brokers and topics of a cluster.
#[derive(Debug)]
pub(crate) struct ClusterSettings {
    pub(crate) brokers: usize,
    /// Topics that there are and that we may look at.
    pub(crate) topics: BTreeMap<String, TopicSettings>,
}

/// Asks for the settings of those of these topics that there are.
///
/// # Errors
/// Where the cluster does not answer.
pub(crate) async fn topic_settings(
    kafka: &config::Kafka,
    topics: &BTreeSet<String>,
) -> Result<ClusterSettings, KafkaError> {
    let admin: AdminClient<Quiet> = client::metadata(kafka)
        .create_with_context(Quiet)
        .map_err(KafkaError::new("making a Kafka client"))?;
    let asked = topics.clone();
    let ask = move || {
        let metadata = admin.inner().fetch_metadata(None, ANSWER_WITHIN)?;
        let is_asked = |topic: &&MetadataTopic| topic.error().is_none() && asked.contains(topic.name());
        let there = metadata.topics().iter().filter(is_asked);
        let there: HashMap<String, Copies> =
            there.map(|topic| (topic.name().to_owned(), Copies::of(topic))).collect();
        Ok((admin, metadata.brokers().len(), there))
    };
    let (admin, brokers, there) = blocking(ask).await.map_err(KafkaError::new(ASKING))?;
    let mut settings = ClusterSettings { brokers, topics: BTreeMap::new() };
    if there.is_empty() {
        return Ok(settings);
    }
    let asked: Vec<ResourceSpecifier<'_>> = there.keys().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN));
    let described = admin.describe_configs(&asked, &options).await.map_err(KafkaError::new(ASKING))?;
    for resource in described.into_iter().flatten() {
        let OwnedResourceSpecifier::Topic(name) = &resource.specifier else { continue };
        if let Some(copies) = there.get(name) {
            settings.topics.insert(name.clone(), read(*copies, &resource));
        }
    }
    Ok(settings)
}

/// Brokers that should have, and that have, a partition's records; the fewest of all partitions.
#[derive(Debug, Clone, Copy)]
struct Copies {
    replicas: usize,
    in_sync: usize,
}

impl Copies {
    fn of(topic: &MetadataTopic) -> Self {
        let fewest = |counts: &mut dyn Iterator<Item = usize>| counts.min().unwrap_or(0);
        let partitions = topic.partitions();
        Self {
            replicas: fewest(&mut partitions.iter().map(|partition| partition.replicas().len())),
            in_sync: fewest(&mut partitions.iter().map(|partition| partition.isr().len())),
        }
    }
}

/// Reads what a broker tells of a topic. What an old one does not know is as it is by default.
fn read(Copies { replicas, in_sync }: Copies, resource: &ConfigResource) -> TopicSettings {
    let entries = resource.entry_map();
    let text = |name: &str| entries.get(name).and_then(|entry| entry.value.as_deref());
    let number = |name: &str| text(name).and_then(|text| text.parse().ok());
    TopicSettings {
        replicas,
        in_sync,
        min_in_sync: text("min.insync.replicas").and_then(|text| text.parse().ok()).unwrap_or(1),
        unclean_election: text("unclean.leader.election.enable") == Some("true"),
        cleanup_policy: text("cleanup.policy").unwrap_or("delete").to_owned(),
        retention_ms: number("retention.ms").unwrap_or(-1),
        message_bytes_max: number("max.message.bytes").unwrap_or(i64::MAX),
    }
}
