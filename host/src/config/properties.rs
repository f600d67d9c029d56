//! Reads `[kafka.properties]`: librdkafka's properties, each of which is the operator's, mailroom's own, or refused.

use std::collections::BTreeMap;

use toml::Table;

use super::declare::Key;
use super::error::ConfigError;
use super::harmless::is_harmless;
use super::reader::{Reader, Source};
use super::secret::MASK;

const KEY: &str = "kafka.properties";

/// Properties that the promises rest on, under librdkafka's names and their aliases.
const OURS: &[&str] = &[
    "acks",
    "api.version.request",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "queuing.strategy",
    "request.required.acks",
    "retries",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Properties that programs set through librdkafka's interface, and those that mailroom makes no use of.
const WITHOUT_EFFECT: &[&str] = &[
    "background_event_cb",
    "closesocket_cb",
    "connect_cb",
    "consume.callback.max.messages",
    "consume_cb",
    "default_topic_conf",
    "dr_cb",
    "dr_msg_cb",
    "enabled_events",
    "error_cb",
    "interceptors",
    "internal.termination.signal",
    "log.queue",
    "log_cb",
    "log_level",
    "msg_order_cmp",
    "oauthbearer_token_refresh_cb",
    "offset_commit_cb",
    "opaque",
    "open_cb",
    "partitioner_cb",
    "produce.offset.report",
    "rebalance_cb",
    "resolve_cb",
    "socket_cb",
    "ssl.certificate.verify_cb",
    "ssl_ca",
    "ssl_certificate",
    "ssl_engine_callback_data",
    "ssl_key",
    "statistics.interval.ms",
    "stats_cb",
    "throttle_cb",
];

/// Properties that operators decide.
const THEIRS: &[&str] = &[
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "builtin.features",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "coordinator.query.interval.ms",
    "debug",
    "enable.metrics.push",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "https.ca.location",
    "https.ca.pem",
    "isolation.level",
    "linger.ms",
    "log.connection.close",
    "log.thread.name",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "partitioner",
    "plugin.library.paths",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.sigalgs.list",
    "sticky.partitioning.linger.ms",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// A record that is as large has to fit; librdkafka's own default for `message.max.bytes`.
const MESSAGE_BYTES_MAX: u64 = 1_000_000;

impl Reader {
    /// Properties of librdkafka, each by its name.
    pub(super) fn properties(&mut self, key: Key<'_>) -> BTreeMap<String, String> {
        self.declare(key, "table", "", String::new());
        properties(self)
    }
}

fn properties(reader: &mut Reader) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Some(given) = reader.take(KEY) {
        match given.value.as_table() {
            Some(table) => flat(table, "", &mut found),
            // What stands there instead may hold a secret.
            None => reader.refuse(KEY, None, "must be a table of librdkafka's properties".to_owned()),
        }
    }
    let named = reader.take_env_below(KEY).into_iter().map(|(name, value)| (name, (value, Source::Env)));
    found.extend(named);
    let values: BTreeMap<String, String> =
        found.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect();
    for (name, (value, source)) in found {
        let key = format!("{KEY}.{name}");
        if !is_known(&name) {
            // Its value may be a secret under a mistyped name.
            reader.refuse(&key, None, "librdkafka has no property of this name".to_owned());
            continue;
        }
        let shown = shown(&name, &value);
        match refusal(&name).or_else(|| bad_value(&name, &value, &values)) {
            Some(problem) => reader.refuse(&key, Some(shown), problem.to_owned()),
            None => reader.note(&key, shown, source),
        }
    }
    values
}

/// Makes the error for what librdkafka itself refuses of what was given; of no property in particular where
/// the name is empty.
pub(crate) fn refused_property(given: &BTreeMap<String, String>, name: &str, problem: String) -> ConfigError {
    let key = if name.is_empty() { KEY.to_owned() } else { format!("{KEY}.{name}") };
    ConfigError { key, value: given.get(name).map(|value| shown(name, value)), problem }
}

/// Tells whether it is decided whose the property is.
pub(crate) fn is_known(name: &str) -> bool {
    matches!(name, "group.instance.id" | "check.crcs")
        || [OURS, WITHOUT_EFFECT, THEIRS].iter().any(|names| names.contains(&name))
}

fn shown(name: &str, value: &str) -> String {
    if is_harmless(name) { format!("{value:?}") } else { MASK.to_owned() }
}

/// Returns why a property of librdkafka cannot be given.
fn refusal(name: &str) -> Option<&'static str> {
    match name {
        "group.instance.id" => Some(
            "would be the same in every consumer of this host and in every host with this configuration, and each would \
             throw the others out of the group; remove it: a host that restarts finds its partitions by itself",
        ),
        "check.crcs" => Some(
            "must stay false: at a batch with a wrong checksum librdkafka loses its place in the log, and ends the whole \
             process; remove it",
        ),
        _ if OURS.contains(&name) => Some("is set by mailroom, whose promises rest on it; remove it"),
        _ if WITHOUT_EFFECT.contains(&name) => Some("has no effect in mailroom; remove it"),
        _ => None,
    }
}

/// Returns why a value cannot be given that librdkafka would take.
fn bad_value(name: &str, value: &str, all: &BTreeMap<String, String>) -> Option<&'static str> {
    let number = || value.parse::<u64>().ok();
    let is = |name: &str, value: &str| all.get(name).is_some_and(|of| of.eq_ignore_ascii_case(value));
    match name {
        "partitioner" if is(name, "random") => {
            Some("must not be random: records of one key would lose their order")
        }
        "queue.buffering.max.kbytes" => {
            let record = all.get("message.max.bytes").and_then(|bytes| bytes.parse().ok());
            let record: u64 = record.unwrap_or(MESSAGE_BYTES_MAX);
            number()
                .is_some_and(|kbytes| kbytes.saturating_mul(1024) < record)
                .then_some("must have room for a record of message.max.bytes")
        }
        "socket.timeout.ms" => number().is_some_and(|ms| ms < 1_000).then_some("must be at least 1000"),
        "topic.metadata.refresh.interval.ms" => {
            let is_off = value.parse::<i64>().is_ok_and(|ms| ms < 0);
            is_off.then_some("must not be negative: a topic or leader that changes would not be noticed")
        }
        "sasl.mechanism" | "sasl.mechanisms" if is(name, "OAUTHBEARER") => {
            let has_tokens =
                is("sasl.oauthbearer.method", "oidc") || is("enable.sasl.oauthbearer.unsecure.jwt", "true");
            (!has_tokens).then_some("needs sasl.oauthbearer.method = \"oidc\": nobody else gives it tokens")
        }
        _ => None,
    }
}

/// Properties with dots in their names, whether quoted (one key) or not (nested tables).
fn flat(table: &Table, prefix: &str, found: &mut BTreeMap<String, (String, Source)>) {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        if let Some(inner) = value.as_table() {
            flat(inner, &format!("{name}."), found);
        } else {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            found.insert(name, (text, Source::File));
        }
    }
}
