//! Looks of the doctor into the folder of handlers and at Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::finding::{Code, Finding};
use super::postgres::not_checked;
use crate::cli::config::connect::{self, UsedTopics};
use crate::config::Config;
use crate::db::Db;
use crate::db::doctor;
use crate::kafka::{ClusterSettings, TopicSettings, TopicState, topic_settings};

/// Copies of a record that survive one broker that is lost while another is mended.
const REPLICAS: usize = 3;
/// Bytes of a record that Kafka's client sends, where `message.max.bytes` is not set.
const MESSAGE_BYTES: i64 = 1_000_000;

/// Looks at handlers, topics and groups. `known` are topics that were read before.
pub(super) async fn look(
    config: &Config,
    known: BTreeSet<String>,
    db: Option<&Db>,
    retention: Duration,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let handlers = match connect::handlers(config).await {
        Ok(loadable) => {
            findings.extend(loadable.refused.into_iter().map(|(file, why)| {
                Finding::new(Code::HandlerRefused, why, format!("mailroom handler check {}", file.display()))
            }));
            loadable.handlers
        }
        Err(why) => {
            let remedy = format!("mkdir -p {}", config.host.handlers.display());
            findings.push(Finding::new(Code::HandlersFolder, why, remedy));
            Vec::new()
        }
    };
    let mut used = UsedTopics::of(config, &handlers);
    let subscribed = used.read.clone();
    used.read.extend(known);
    let states = match connect::topics(config, used.all()).await {
        Ok(states) => states,
        Err(why) => {
            let remedy = "start it, or correct kafka.brokers and [kafka.properties]";
            findings.push(Finding::new(Code::KafkaAway, why, remedy));
            return findings;
        }
    };
    let states: BTreeMap<String, TopicState> = states.into_iter().collect();
    for (topic, state) in &states {
        // One that nobody takes any more may be gone.
        let is_wanted = subscribed.contains(topic) || used.published.contains(topic);
        findings.extend(sick(config, topic, state).filter(|_| is_wanted));
    }
    let groups = connect::groups(config, &handlers).await;
    findings.extend(groups.into_iter().map(|(group, why)| {
        let brokers = &config.kafka.brokers;
        let remedy = format!(
            "kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal User:NAME --operation Read --group {group}"
        );
        Finding::new(Code::GroupRefused, why, remedy)
    }));
    findings.extend(settings(config, &used, db, retention).await);
    findings
}

fn sick(config: &Config, topic: &str, state: &TopicState) -> Option<Finding> {
    let what = connect::sick(topic, state)?;
    let brokers = &config.kafka.brokers;
    let (code, remedy) = match state {
        TopicState::Known { .. } => (
            Code::TopicLeaderless,
            format!(
                "start its brokers; kafka-topics.sh --bootstrap-server {brokers} --describe --topic {topic}"
            ),
        ),
        TopicState::Missing => (
            Code::TopicMissing,
            format!(
                "kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic} --partitions COUNT"
            ),
        ),
        TopicState::Refused(_) => (
            Code::TopicRefused,
            format!(
                "kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal User:NAME --operation Read \
                 --operation Write --operation Describe --topic {topic}"
            ),
        ),
    };
    Some(Finding::new(code, what, remedy))
}

async fn settings(config: &Config, used: &UsedTopics, db: Option<&Db>, retention: Duration) -> Vec<Finding> {
    let cluster = match topic_settings(&config.kafka, &used.all()).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let remedy = format!(
                "kafka-acls.sh --bootstrap-server {} --add --allow-principal User:NAME --operation DescribeConfigs \
                 --topic '*'",
                config.kafka.brokers
            );
            return vec![Finding::new(Code::NotChecked, error.to_string(), remedy)];
        }
    };
    let compacted = cluster.topics.iter().filter(|(_, topic)| topic.cleanup_policy.contains("compact"));
    let compacted: Vec<String> = compacted.map(|(name, _)| name.clone()).collect();
    let mut findings = Vec::new();
    let keyless = match db {
        Some(db) if !compacted.is_empty() => doctor::keyless(db, &compacted).await.unwrap_or_else(|error| {
            findings.push(not_checked(&error));
            Vec::new()
        }),
        Some(_) | None => Vec::new(),
    };
    let wanted = Wanted {
        brokers: &config.kafka.brokers,
        retention,
        inbox: config.retention.inbox,
        message_bytes: config
            .kafka
            .properties
            .get("message.max.bytes")
            .and_then(|text| text.parse().ok())
            .unwrap_or(MESSAGE_BYTES),
        keyless: keyless.into_iter().collect(),
    };
    findings.extend(judge(&cluster, used, &wanted));
    findings
}

/// Needs that topics should fit.
#[derive(Debug)]
struct Wanted<'c> {
    brokers: &'c str,
    /// The longest stop of a host.
    retention: Duration,
    /// Time for which settled messages are known; for ever where there is none.
    inbox: Option<Duration>,
    message_bytes: i64,
    /// Records without a key that were found, by their topics.
    keyless: BTreeMap<String, i64>,
}

impl Wanted<'_> {
    /// The command that gives a topic a setting.
    fn alter(&self, topic: &str, setting: &str) -> String {
        let brokers = self.brokers;
        format!(
            "kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic} \
             --add-config {setting}"
        )
    }
}

fn judge(cluster: &ClusterSettings, used: &UsedTopics, wanted: &Wanted<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, topic) in &cluster.topics {
        findings.extend(copies(cluster.brokers, name, topic, wanted));
        if used.read.contains(name) {
            findings.extend(kept(name, topic, wanted));
        }
        if let Some(records) = wanted.keyless.get(name) {
            let what =
                format!("topic {name} is compacted, and of the newest records for it {records} have no key");
            let remedy = wanted.alter(name, "cleanup.policy=delete");
            findings.push(Finding::new(Code::CompactedWithoutKeys, what, remedy));
        }
        if used.published.contains(name) && topic.message_bytes_max < wanted.message_bytes {
            let (most, sent) = (topic.message_bytes_max, wanted.message_bytes);
            let what = format!("topic {name} takes records of {most} bytes, and the host sends up to {sent}");
            let remedy = wanted.alter(name, &format!("max.message.bytes={sent}"));
            findings.push(Finding::new(Code::MessageSize, what, remedy));
        }
    }
    findings
}

/// Judges how many brokers have a topic's records. Of a cluster of one nothing better is asked.
fn copies(brokers: usize, name: &str, topic: &TopicSettings, wanted: &Wanted<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let TopicSettings { replicas, in_sync, min_in_sync, .. } = *topic;
    if replicas < brokers.min(REPLICAS) {
        let what =
            format!("topic {name} has a replication factor of {replicas} in a cluster of {brokers} brokers");
        let remedy = format!(
            "kafka-reassign-partitions.sh --bootstrap-server {} --execute --reassignment-json-file FILE, with {REPLICAS} \
             replicas for each partition of {name}",
            wanted.brokers
        );
        findings.push(Finding::new(Code::ReplicationFactor, what, remedy));
    }
    if min_in_sync > in_sync {
        let what = format!(
            "topic {name} needs {min_in_sync} brokers in sync (min.insync.replicas) and has {in_sync}"
        );
        let remedy = if min_in_sync > replicas {
            wanted.alter(name, &format!("min.insync.replicas={}", replicas.saturating_sub(1).max(1)))
        } else {
            format!(
                "start its brokers; kafka-topics.sh --bootstrap-server {} --describe --topic {name}",
                wanted.brokers
            )
        };
        findings.push(Finding::new(Code::ReplicasInSync, what, remedy));
    }
    if replicas >= REPLICAS && min_in_sync < 2 {
        let what = format!("topic {name} has {replicas} replicas and min.insync.replicas = {min_in_sync}");
        findings.push(Finding::new(
            Code::MinInsyncReplicas,
            what,
            wanted.alter(name, "min.insync.replicas=2"),
        ));
    }
    if topic.unclean_election {
        let what = format!("topic {name} has unclean.leader.election.enable = true");
        let remedy = wanted.alter(name, "unclean.leader.election.enable=false");
        findings.push(Finding::new(Code::UncleanElection, what, remedy));
    }
    findings
}

/// Judges how long records of a topic are kept that handlers read.
fn kept(name: &str, topic: &TopicSettings, wanted: &Wanted<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let deletes = topic.cleanup_policy.contains("delete");
    let kept = u64::try_from(topic.retention_ms).ok().filter(|_| deletes).map(Duration::from_millis);
    let shown = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    if let Some(kept) = kept.filter(|kept| *kept < wanted.retention) {
        let what = format!("topic {name} keeps records for {}", shown(kept));
        let remedy = wanted.alter(name, &format!("retention.ms={}", wanted.retention.as_millis()));
        findings.push(Finding::new(Code::RetentionShort, what, remedy));
    }
    if let Some(inbox) = wanted.inbox.filter(|inbox| kept.is_none_or(|kept| *inbox < kept)) {
        let on_kafka = kept.map_or_else(|| "for ever".to_owned(), |kept| format!("for {}", shown(kept)));
        let what = format!(
            "topic {name} keeps records {on_kafka}, and the inbox its settled messages for {} (retention.inbox)",
            shown(inbox)
        );
        let longer = kept.map_or_else(String::new, |kept| format!(" to more than {}", shown(kept)));
        let verb = if kept.is_some() { "set retention.inbox" } else { "leave out retention.inbox" };
        findings.push(Finding::new(Code::InboxRetention, what, format!("{verb}{longer} in mailroom.toml")));
    }
    if topic.cleanup_policy.contains("compact") {
        let what = format!("topic {name}, which handlers read, is compacted");
        findings.push(Finding::new(Code::CompactedInput, what, wanted.alter(name, "cleanup.policy=delete")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: TopicSettings = TopicSettings {
        replicas: 3,
        in_sync: 3,
        min_in_sync: 2,
        unclean_election: false,
        cleanup_policy: String::new(),
        retention_ms: 7 * 86_400_000,
        message_bytes_max: 1_048_588,
    };

    fn good() -> TopicSettings {
        TopicSettings { cleanup_policy: "delete".to_owned(), ..GOOD }
    }

    fn codes(brokers: usize, topic: TopicSettings, inbox: Option<Duration>) -> Vec<&'static str> {
        let name = "orders".to_owned();
        let cluster = ClusterSettings { brokers, topics: BTreeMap::from([(name.clone(), topic)]) };
        let used =
            UsedTopics { read: BTreeSet::from([name.clone()]), published: BTreeSet::from([name.clone()]) };
        let wanted = Wanted {
            brokers: "b:9092",
            retention: Duration::from_secs(86_400),
            inbox,
            message_bytes: MESSAGE_BYTES,
            keyless: BTreeMap::from([("others".to_owned(), 3)]),
        };
        let findings = judge(&cluster, &used, &wanted);
        assert!(findings.iter().all(|finding| finding.remedy.contains("orders") || inbox.is_some()));
        findings.iter().map(|finding| finding.code.word()).collect()
    }

    #[test]
    fn a_topic_is_good_by_what_its_cluster_can_do() {
        assert!(codes(3, good(), None).is_empty());
        assert_eq!(
            codes(1, TopicSettings { replicas: 1, in_sync: 1, min_in_sync: 1, ..good() }, None),
            [""; 0]
        );
        let single = TopicSettings { replicas: 1, in_sync: 1, min_in_sync: 1, ..good() };
        assert_eq!(codes(3, single, None), ["replication-factor"]);
        assert_eq!(codes(3, TopicSettings { min_in_sync: 1, ..good() }, None), ["min-insync-replicas"]);
        assert_eq!(codes(3, TopicSettings { in_sync: 1, ..good() }, None), ["replicas-in-sync"]);
        assert_eq!(codes(3, TopicSettings { unclean_election: true, ..good() }, None), ["unclean-election"]);
    }

    #[test]
    fn records_have_to_outlast_a_stop_of_a_host_and_the_inbox_the_records() {
        let hour = TopicSettings { retention_ms: 3_600_000, ..good() };
        assert_eq!(codes(3, hour.clone(), None), ["retention-short"]);
        assert_eq!(codes(3, TopicSettings { retention_ms: -1, ..good() }, None), [""; 0]);
        let compacted = TopicSettings { cleanup_policy: "compact".to_owned(), ..hour };
        assert_eq!(codes(3, compacted, None), ["compacted-input"], "nothing of it is deleted by its age");
        assert_eq!(codes(3, good(), Some(Duration::from_secs(86_400))), ["inbox-retention"]);
        assert_eq!(codes(3, good(), Some(Duration::from_secs(30 * 86_400))), [""; 0]);
        let for_ever = TopicSettings { retention_ms: -1, ..good() };
        assert_eq!(codes(3, for_ever, Some(Duration::from_secs(30 * 86_400))), ["inbox-retention"]);
    }
}
