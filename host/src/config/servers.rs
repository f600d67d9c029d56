//! Reads `[postgres]` and `[kafka]`: where the servers are, and what librdkafka is told besides.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Table;

use super::host::{HOUR, MILLISECOND, SECOND};
use super::reader::{Reader, Source};
use super::secret::{MASK, Secret, is_secret};
use super::section::{Kafka, Postgres};
use super::{Servers, source};

/// What the promises rest on, under librdkafka's names and their aliases.
const OURS: [&str; 14] = [
    "acks",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "group.id",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "transactional.id",
];

pub(super) fn postgres(reader: &mut Reader, servers: Servers, expiry: Duration) -> Postgres {
    Postgres {
        idle_timeout: expiry / 3,
        url: postgres_url(reader, servers),
        connections_max: reader.count("postgres.connections-max", 16, 2..=1000),
        lock_timeout: reader.duration("postgres.lock-timeout", 5 * SECOND, MILLISECOND..=HOUR),
        statement_timeout: reader.duration(
            "postgres.statement-timeout",
            30 * SECOND,
            10 * MILLISECOND..=HOUR,
        ),
    }
}

fn postgres_url(reader: &mut Reader, servers: Servers) -> Secret {
    let direct = reader.secret("postgres.url");
    let file = reader.text("postgres.url-file", None);
    let url = match (direct, file) {
        (Some(_), Some(file)) => {
            let problem = "must not be given together with postgres.url; remove one of the two".to_owned();
            reader.refuse("postgres.url-file", Some(format!("{file:?}")), problem);
            None
        }
        (Some(url), None) => Some(url),
        (None, Some(file)) => match source::read_secret(&file) {
            Ok(url) => Some(url),
            Err(problem) => {
                reader.refuse("postgres.url-file", Some(format!("{file:?}")), problem);
                None
            }
        },
        (None, None) => {
            if servers == Servers::Needed && !reader.refused("postgres.url") {
                let remedy = "is missing: set it to postgres://USER:PASSWORD@HOST:PORT/DATABASE in [postgres] or as \
                              MAILROOM__POSTGRES__URL, or let postgres.url-file name a file that holds it";
                reader.refuse("postgres.url", None, remedy.to_owned());
            }
            None
        }
    };
    let Some(url) = url else { return Secret::default() };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        let problem = "must be a URL such as postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned();
        reader.refuse("postgres.url", None, problem);
    }
    Secret::new(url)
}

pub(super) fn kafka(reader: &mut Reader, servers: Servers) -> Kafka {
    let brokers = reader.text("kafka.brokers", None);
    if brokers.is_none() && servers == Servers::Needed && !reader.refused("kafka.brokers") {
        let remedy =
            "is missing: set it to HOST:PORT, several with commas, in [kafka] or as MAILROOM__KAFKA__BROKERS";
        reader.refuse("kafka.brokers", None, remedy.to_owned());
    }
    Kafka { brokers: brokers.unwrap_or_default(), properties: properties(reader) }
}

fn properties(reader: &mut Reader) -> BTreeMap<String, String> {
    const KEY: &str = "kafka.properties";
    let mut found = BTreeMap::new();
    if let Some(given) = reader.take(KEY) {
        match given.value.as_table() {
            Some(table) => flat(table, "", &mut found),
            None => reader.refuse(
                KEY,
                Some(given.shown()),
                "must be a table of librdkafka's properties".to_owned(),
            ),
        }
    }
    let named = reader.take_env_below(KEY).into_iter().map(|(name, value)| (name, (value, Source::Env)));
    found.extend(named);
    for (name, (value, source)) in &found {
        let key = format!("{KEY}.{name}");
        let shown = if is_secret(name) { MASK.to_owned() } else { format!("{value:?}") };
        if OURS.contains(&name.as_str()) {
            let problem = "is set by mailroom, whose promises rest on it; remove it".to_owned();
            reader.refuse(&key, Some(shown), problem);
        } else {
            reader.note(&key, shown, *source);
        }
    }
    found.into_iter().map(|(name, (value, _))| (name, value)).collect()
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
