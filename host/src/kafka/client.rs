//! Client settings: ours where the operator is silent, the operator's where they speak, and ours again
//! where a promise depends on it.

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::config;

/// Defaults for every client; `[kafka.properties]` may override them.
const DEFAULTS: [(&str, &str); 4] = [
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    // How soon a topic that appears, or gets partitions, is noticed.
    ("topic.metadata.refresh.interval.ms", "5000"),
    ("allow.auto.create.topics", "false"),
];

/// Defaults for consumers.
const CONSUMER_DEFAULTS: [(&str, &str); 5] = [
    ("fetch.queue.backoff.ms", "20"),
    ("fetch.error.backoff.ms", "100"),
    ("queued.max.messages.kbytes", "16384"),
    ("session.timeout.ms", "20000"),
    ("heartbeat.interval.ms", "1000"),
];

/// Properties that the offset row in Postgres, and handing partitions over one by one, rest on.
const CONSUMER_MUSTS: [(&str, &str); 4] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("partition.assignment.strategy", "cooperative-sticky"),
];

/// Defaults for the producer.
const PRODUCER_DEFAULTS: [(&str, &str); 3] =
    [("linger.ms", "0.5"), ("compression.type", "none"), ("queue.buffering.max.messages", "100000")];

/// Properties that "no gap, no repeat, in order" rests on: after a record that could not be delivered none of
/// its partition's later ones is.
const PRODUCER_MUSTS: [(&str, &str); 3] =
    [("enable.idempotence", "true"), ("acks", "all"), ("enable.gapless.guarantee", "true")];

fn base() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("client.id", "mailroom");
    set(&mut client, &DEFAULTS);
    client
}

fn set(client: &mut ClientConfig, pairs: &[(&str, &str)]) {
    for (key, value) in pairs {
        client.set(*key, *value);
    }
}

fn overlay(client: &mut ClientConfig, kafka: &config::Kafka) {
    for (key, value) in &kafka.properties {
        client.set(key, value);
    }
    if let Some((name, password)) = kafka.login() {
        client.set("sasl.username", name.expose()).set("sasl.password", password.expose());
    }
    client.set("bootstrap.servers", &kafka.brokers);
}

/// Settings for a consumer of `group`.
pub(super) fn consumer(kafka: &config::Kafka, group: &str) -> ClientConfig {
    let mut client = base();
    set(&mut client, &CONSUMER_DEFAULTS);
    overlay(&mut client, kafka);
    set(&mut client, &CONSUMER_MUSTS);
    client.set("group.id", group);
    client
}

/// Settings for the relay's producer. A record that is not acknowledged within `publish_timeout` fails.
pub(super) fn producer(kafka: &config::Kafka, publish_timeout: Duration) -> ClientConfig {
    let mut client = base();
    set(&mut client, &PRODUCER_DEFAULTS);
    overlay(&mut client, kafka);
    set(&mut client, &PRODUCER_MUSTS);
    client.set("message.timeout.ms", publish_timeout.as_millis().to_string());
    client
}

/// Settings for looking into a partition, of which the broker answers at once, and with more than one batch.
const PROBE_MUSTS: [(&str, &str); 7] = [
    ("enable.partition.eof", "true"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.min.bytes", "1"),
    ("fetch.error.backoff.ms", "10"),
    ("fetch.message.max.bytes", "16777216"),
    ("queued.min.messages", "1"),
    // It tells how often what came could not be read.
    ("statistics.interval.ms", "200"),
];

/// Settings for looking into a partition. Consumers need a group's name; this one joins nothing.
pub(super) fn probe(kafka: &config::Kafka) -> ClientConfig {
    let mut client = consumer(kafka, "mailroom.status");
    set(&mut client, &PROBE_MUSTS);
    client
}

/// Settings for looking into a partition, records of transactions that are open or aborted included.
pub(super) fn uncommitted_probe(kafka: &config::Kafka) -> ClientConfig {
    let mut client = probe(kafka);
    client.set("isolation.level", "read_uncommitted");
    client
}

/// Settings for looking at topics.
pub(super) fn metadata(kafka: &config::Kafka) -> ClientConfig {
    let mut client = base();
    overlay(&mut client, kafka);
    client
}
