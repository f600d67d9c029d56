//! Reads `[postgres]`, `[sql.NAME]` and `[kafka]`: where the servers are, and what librdkafka is told besides.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Servers;
use super::host::{HOUR, MILLISECOND, SECOND};
use super::postgres_url::PostgresUrl;
use super::properties::properties;
use super::reader::{Reader, Source};
use super::section::{Kafka, PoolMode, Postgres, SqlRole};

pub(super) fn postgres(reader: &mut Reader, servers: Servers, expiry: Duration) -> Postgres {
    const LOCK: &str = "postgres.lock-timeout";
    const STATEMENT: &str = "postgres.statement-timeout";
    let limit = (expiry / 3).max(SECOND);
    let url = postgres_url(reader, servers);
    let direct_url = read_url(reader, "postgres.direct-url");
    let modes = [("session", PoolMode::Session), ("transaction", PoolMode::Transaction)];
    let pool_mode = reader.choice("postgres.pool-mode", &modes, PoolMode::Session);
    // One for the heartbeat, one for the listener, one for all else.
    let connections_max = reader.count("postgres.connections-max", 16, 3..=1000);
    let lock_timeout = reader.duration(LOCK, 5 * SECOND, MILLISECOND..=HOUR);
    let statement_timeout = reader.duration(STATEMENT, 30 * SECOND, 10 * MILLISECOND..=HOUR);
    let timeouts = [(LOCK, lock_timeout), (STATEMENT, statement_timeout)];
    let above =
        timeouts.iter().filter(|(key, timeout)| *timeout > Postgres::most(limit) && reader.is_given(key));
    let above_limit = above.map(|(key, _)| *key).collect();
    Postgres {
        url,
        direct_url,
        pool_mode,
        connections_max,
        lock_timeout,
        statement_timeout,
        limit,
        above_limit,
    }
}

fn postgres_url(reader: &mut Reader, servers: Servers) -> PostgresUrl {
    let url = read_url(reader, "postgres.url");
    if url.is_none() && servers == Servers::Needed {
        let remedy = "is missing: set it to postgres://USER:PASSWORD@HOST:PORT/DATABASE in [postgres] or as \
                      MAILROOM__POSTGRES__URL, or let postgres.url-file name a file that holds it";
        refuse_missing(reader, "postgres", remedy);
    }
    url.unwrap_or_default()
}

/// `[sql.NAME]`, of which there may be any number.
pub(super) fn sql_roles(reader: &mut Reader) -> BTreeMap<String, SqlRole> {
    let mut roles = BTreeMap::new();
    for name in reader.tables("sql") {
        let section = format!("sql.{name}");
        let url = read_url(reader, &format!("{section}.url"));
        if url.is_none() {
            let remedy = "is missing: set it to postgres://ROLE:PASSWORD@HOST:PORT/DATABASE, with a role that may do \
                          what the handler's SQL does and nothing else, or let url-file name a file that holds it";
            refuse_missing(reader, &section, remedy);
        }
        let connections_max = reader.count(&format!("{section}.connections-max"), 8, 1..=1000);
        roles.insert(name, SqlRole { url: url.unwrap_or_default(), connections_max });
    }
    roles
}

/// Says it once, and not where what was given is refused.
fn refuse_missing(reader: &mut Reader, section: &str, remedy: &str) {
    let (url, file) = (format!("{section}.url"), format!("{section}.url-file"));
    if !reader.refused(&url) && !reader.refused(&file) {
        reader.refuse(&url, None, remedy.to_owned());
    }
}

/// The URL of a setting, or what the file holds that the other setting names; one of the environment takes the place of
/// either.
fn read_url(reader: &mut Reader, key: &str) -> Option<PostgresUrl> {
    let file_key = format!("{key}-file");
    let (mut url, mut file) = (reader.secret(key), reader.text(&file_key, None));
    match (reader.source(key), reader.source(&file_key)) {
        (Some(Source::Env), Some(Source::File)) => {
            reader.overrule(&file_key);
            file = None;
        }
        (Some(Source::File), Some(Source::Env)) => {
            reader.overrule(key);
            url = None;
        }
        (_, _) => {}
    }
    let (key, url) = match (url, file) {
        (Some(_), Some(file)) => {
            let problem = format!("must not be given together with {key}; remove one of the two");
            reader.refuse(&file_key, Some(format!("{file:?}")), problem);
            return None;
        }
        (Some(url), None) => (key, PostgresUrl::parse(&url)),
        (None, Some(file)) => {
            let url = PostgresUrl::of_file(&file);
            (file_key.as_str(), url.map_err(|problem| format!("{file:?}: {problem}")))
        }
        (None, None) => return None,
    };
    url.map_err(|problem| reader.refuse(key, None, problem)).ok()
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
