//! Settings that an operator decides: `mailroom.toml`, the environment over it, and a manifest per handler.
//!
//! Everything is read once, here, into plain validated values; no other module reads the environment
//! or knows a default. All errors come at once, each with its key, its value and what is allowed.

mod admin;
mod declare;
mod error;
mod given;
mod handler_values;
mod harmless;
mod host;
mod limits;
mod login_file;
mod manifest;
mod name;
mod origin;
mod postgres_url;
mod properties;
mod reader;
mod rule;
mod secret;
mod servers;
mod source;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use admin::{Admin, AdminToken, Role};
use declare::settings;
pub use declare::{ByDefault, Declaration, markdown};
pub use error::{ConfigError, ConfigErrors};
pub use host::{DeadLetters, Gap, Host, Http, Ingest, Log, LogFormat, Relay, Retention, Worker};
pub use limits::{CallLimits, Limits};
pub use manifest::{
    Ack, BehindDead, BreakerPolicy, CommitOffset, Form, Grants, Instances, LogLevel, Manifest, RetryPolicy,
    Settle, Start, Subscribe,
};
pub(crate) use manifest::{is_pattern, is_topic};
pub use name::{BadName, HandlerName, Namespace, WorkerName};
pub use origin::Origin;
pub use postgres_url::PostgresUrl;
#[cfg(test)]
pub(crate) use properties::is_known as is_known_property;
pub(crate) use properties::refused_property;
use reader::Reader;
pub use reader::{Setting, Source};
pub use secret::Secret;
pub use servers::{Kafka, PoolMode, Postgres, SqlRole};
pub use source::environment;

settings! {
    /// The host's settings, each within its bounds.
    #[derive(Debug, Clone)]
    pub struct Config(reader, servers: Servers) {
        /// First part of every consumer group's name; two installations on one Kafka differ in it.
        namespace: Namespace = "namespace",
            name("mailroom", Namespace::parse, Namespace::ALLOWED, Namespace::standard());
    } and {
        /// This process.
        host: Host = Host::read(reader);
        /// The database.
        postgres: Postgres = Postgres::read(reader, servers, host.expiry);
        /// Reading and changing over HTTP.
        admin: Admin = admin::admin(reader);
        /// Roles that handlers may be granted, by name.
        sql: BTreeMap<String, SqlRole> = servers::sql_roles(reader);
        /// Values that handlers may be granted to read, by names in lower case with dashes.
        handler_config: BTreeMap<String, Secret> = handler_values::handler_values(reader);
        /// The broker.
        kafka: Kafka = Kafka::read(reader, servers);
        /// Settings of the way from Kafka into the inbox.
        ingest: Ingest = Ingest::read(reader);
        /// Settings of the way from the inbox through the handlers.
        worker: Worker = Worker::read(reader);
        /// Attempts of a failed message, and the delays between them.
        retry: RetryPolicy = host::retry(reader, RetryPolicy::DEFAULT);
        /// Rule by which a handler that only faults is left alone, and for how long.
        breaker: BreakerPolicy = host::breaker(reader, BreakerPolicy::DEFAULT);
        /// Limits of one call of a handler.
        limits: Limits = Limits::read(reader);
        /// Bounds of what handlers reach of the network.
        http: Http = Http::read(reader);
        /// Settings of the way from the outbox to Kafka.
        relay: Relay = Relay::read(reader);
        /// Times for which settled rows stay.
        retention: Retention = Retention::read(reader);
        /// Handling of dead letters beyond their rows.
        dead_letters: DeadLetters = DeadLetters::read(reader, None);
        /// Lines that the host writes to standard error.
        log: Log = Log::read(reader);
    }
}

/// Demand on the servers' addresses: needed, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    /// The command talks to them.
    Needed,
    /// The command reads limits only.
    Unneeded,
}

impl Config {
    /// Reads the file and the environment over it. Without a path the file is the one that
    /// `MAILROOM_CONFIG` names, else `mailroom.toml` in the working directory where there is one.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::load_with(path, env, Servers::Needed).map(|(config, _)| config)
    }

    /// Loads like [`Config::load`], and gives each setting's value and where it comes from, for
    /// `config show`.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn load_with(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        servers: Servers,
    ) -> Result<(Self, Vec<Setting>), ConfigErrors> {
        let mut reader = source::open(path, env)?;
        let config = host::read(&mut reader, servers);
        reader.finish().map(|settings| (config, settings))
    }

    /// Lists all settings of `mailroom.toml` as they are declared.
    #[must_use]
    pub fn declared() -> Vec<Declaration> {
        let table = source::parse("[sql.NAME]\n[admin.tokens.NAME]").unwrap_or_default();
        let mut reader = Reader::new(table, BTreeMap::new());
        Self::read(&mut reader, Servers::Unneeded);
        reader.declared()
    }

    /// Names of the sections `[sql.NAME]`, whatever is in them.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(crate) fn sql_sections(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<BTreeSet<String>, ConfigErrors> {
        Ok(source::open(path, env)?.tables("sql"))
    }
}
