//! `[postgres]`, `[sql.NAME]` and `[kafka]`: where the servers are, and what librdkafka is told besides.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Servers;
use super::declare::{Key, settings};
use super::host::{HOUR, MILLISECOND, SECOND};
use super::login_file::LoginFile;
use super::postgres_url::PostgresUrl;
use super::reader::{Reader, Source};
use super::secret::Secret;

const URL_REMEDY: &str = "is missing: set it to postgres://USER:PASSWORD@HOST:PORT/DATABASE in [postgres] or as \
                          MAILROOM__POSTGRES__URL, or let postgres.url-file name a file that holds it";
const ROLE_REMEDY: &str = "is missing: set it to postgres://ROLE:PASSWORD@HOST:PORT/DATABASE, with a role that may do \
                           what the handler's SQL does and nothing else, or let url-file name a file that holds it";
const LOCK: &str = "postgres.lock-timeout";
const STATEMENT: &str = "postgres.statement-timeout";

settings! {
    /// The database (`[postgres]`).
    #[derive(Debug, Clone)]
    pub struct Postgres(reader, servers: Servers, expiry: Duration) {
        /// Address of the database and the user: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, several hosts with commas.
        url: PostgresUrl = "postgres.url" => "required", needed_url(servers, URL_REMEDY);
        /// Address of Postgres past a pooler in transaction mode, for wake-ups and migrations.
        direct_url: Option<PostgresUrl> = "postgres.direct-url", url();
        /// Mode of a pooler that stands before Postgres: with `"transaction"` it passes backends on between transactions.
        pool_mode: PoolMode = "postgres.pool-mode",
            choice(&[("session", PoolMode::Session), ("transaction", PoolMode::Transaction)], PoolMode::Session);
        /// Connections of this process: one listens, one renews its sign of life, the others do all else.
        connections_max: u32 = "postgres.connections-max", count(16, 3..=1000);
        /// Time for which a statement waits for a lock; in a host at most four fifths of a third of `host.expiry`.
        lock_timeout: Duration = LOCK, duration(5 * SECOND, MILLISECOND..=HOUR);
        /// Time that a statement may take; in a host at most four fifths of a third of `host.expiry`, which is 8 seconds by
        /// default.
        statement_timeout: Duration = STATEMENT, duration(30 * SECOND, 10 * MILLISECOND..=HOUR);
    } and {
        /// Time that a command of the host may take with all of its statements, and a transaction be idle before Postgres
        /// ends it: a third of the host's expiry, at least a second.
        limit: Duration = (expiry / 3).max(SECOND);
        /// Keys of those of the two timeouts that somebody set to more than a host has.
        above_limit: Vec<&'static str> = {
            let timeouts = [(LOCK, lock_timeout), (STATEMENT, statement_timeout)];
            let is_above =
                |(key, timeout): &(&str, Duration)| *timeout > Postgres::most(limit) && reader.is_given(key);
            timeouts.into_iter().filter(is_above).map(|(key, _)| key).collect()
        };
    }
}

/// Time for which a connection to Postgres keeps its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// Mode in which a connection keeps it as long as it lasts: Postgres itself, or a pooler in session mode.
    Session,
    /// Mode in which a connection keeps it for a transaction: a pooler in transaction mode. Nothing of a
    /// session is relied on.
    Transaction,
}

impl Postgres {
    /// The same with a connection whose session is ours, past a pooler; `None` where the way is not known.
    #[must_use]
    pub fn direct(&self) -> Option<Self> {
        match (&self.direct_url, self.pool_mode) {
            (Some(url), _) => Some(Self { url: url.clone(), pool_mode: PoolMode::Session, ..self.clone() }),
            (None, PoolMode::Session) => Some(self.clone()),
            (None, PoolMode::Transaction) => None,
        }
    }

    /// The host's own timeouts of statements and of locks: Postgres gives up before the host does, so that the host
    /// hears why.
    #[must_use]
    pub fn of_host(&self) -> (Duration, Duration) {
        let most = Self::most(self.limit);
        (self.statement_timeout.min(most), self.lock_timeout.min(most))
    }

    /// Returns what a statement may have of a command's limit.
    fn most(limit: Duration) -> Duration {
        limit * 4 / 5
    }
}

settings! {
    /// A role of the database that handlers may be granted, by the section's name (`[sql.NAME]`).
    #[derive(Debug, Clone)]
    pub struct SqlRole(reader, name: &str) {
        /// Address of the database and the role that SQL of handlers with `grants.sql = "NAME"` runs as.
        url: PostgresUrl = &format!("sql.{name}.url") => "required", needed_url(Servers::Needed, ROLE_REMEDY);
        /// Connections of this process as the role: calls that use SQL at once.
        connections_max: u32 = &format!("sql.{name}.connections-max"), count(8, 1..=1000);
    }
}

/// `[sql.NAME]`, of which there may be any number.
pub(super) fn sql_roles(reader: &mut Reader) -> BTreeMap<String, SqlRole> {
    let names = reader.tables("sql");
    names.into_iter().map(|name| (name.clone(), SqlRole::read(reader, &name))).collect()
}

settings! {
    /// The broker (`[kafka]`).
    #[derive(Clone)]
    pub struct Kafka(reader, servers: Servers) {
        /// Addresses `HOST:PORT` of brokers, several with commas.
        brokers: String = "kafka.brokers" => "required", brokers(servers);
        /// Properties that are passed to librdkafka as they are: TLS, SASL, `message.max.bytes` and so on.
        properties: BTreeMap<String, String> = "kafka.properties", properties();
        /// File that holds `sasl.username` instead; it is read again where Kafka refuses the login.
        sasl_username_file: Option<LoginFile> = "kafka.sasl-username-file", login_file("sasl.username");
        /// File that holds `sasl.password` instead; it is read again where Kafka refuses the login.
        sasl_password_file: Option<LoginFile> = "kafka.sasl-password-file", login_file("sasl.password");
    }
}

impl Kafka {
    /// Name and password as their files have them now, and else as the properties do; `None` where neither is in a file.
    pub(crate) fn login(&self) -> Option<(Secret, Secret)> {
        let (name, password) = (&self.sasl_username_file, &self.sasl_password_file);
        let now = |file: &Option<LoginFile>, property: &str| {
            let given = || Secret::new(self.properties.get(property).cloned().unwrap_or_default());
            file.as_ref().map_or_else(given, LoginFile::read_again)
        };
        let in_file = name.is_some() || password.is_some();
        in_file.then(|| (now(name, "sasl.username"), now(password, "sasl.password")))
    }
}

impl fmt::Debug for Kafka {
    /// Names of properties only: their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("Kafka").field("brokers", &self.brokers).field("properties", &names).finish()
    }
}

impl Reader {
    /// The URL of a setting, or what the file holds that the other setting names; one of the environment takes the place
    /// of either.
    fn url(&mut self, key: Key<'_>) -> Option<PostgresUrl> {
        let (name, file_name) = (key.name, file_of(key.name));
        let meaning =
            format!("File that holds `{name}` instead; it is read again where no connection is to be had.");
        let (mut url, mut file) = (self.secret(key), self.text(Key::new(&file_name, &meaning), None));
        match (self.source(name), self.source(&file_name)) {
            (Some(Source::Env), Some(Source::File)) => {
                self.overrule(&file_name);
                file = None;
            }
            (Some(Source::File), Some(Source::Env)) => {
                self.overrule(name);
                url = None;
            }
            (_, _) => {}
        }
        let (key, url) = match (url, file) {
            (Some(_), Some(file)) => {
                let problem = format!("must not be given together with {name}; remove one of the two");
                self.refuse(&file_name, Some(format!("{file:?}")), problem);
                return None;
            }
            (Some(url), None) => (name, PostgresUrl::parse(&url)),
            (None, Some(file)) => {
                let url = PostgresUrl::of_file(&file);
                (file_name.as_str(), url.map_err(|problem| format!("{file:?}: {problem}")))
            }
            (None, None) => return None,
        };
        url.map_err(|problem| self.refuse(key, None, problem)).ok()
    }

    /// A URL that has to be there, which is said once, and not where what was given is refused.
    fn needed_url(&mut self, key: Key<'_>, servers: Servers, remedy: &str) -> PostgresUrl {
        let url = self.url(key);
        let is_missing = url.is_none() && servers == Servers::Needed;
        if is_missing && !self.refused(key.name) && !self.refused(&file_of(key.name)) {
            self.refuse(key.name, None, remedy.to_owned());
        }
        url.unwrap_or_default()
    }

    fn brokers(&mut self, key: Key<'_>, servers: Servers) -> String {
        let brokers = self.text(key, None);
        if brokers.is_none() && servers == Servers::Needed && !self.refused(key.name) {
            let remedy = "is missing: set it to HOST:PORT, several with commas, in [kafka] or as MAILROOM__KAFKA__BROKERS";
            self.refuse(key.name, None, remedy.to_owned());
        }
        brokers.unwrap_or_default()
    }
}

/// The setting that names a file with a secret in it.
fn file_of(key: &str) -> String {
    format!("{key}-file")
}
