//! Settings that an operator decides: `mailroom.toml`, the environment over it, and a manifest per handler.
//!
//! Everything is read once, here, into plain validated values; no other module reads the environment
//! or knows a default. All errors come at once, each with its key, its value and what is allowed.

mod admin;
mod error;
mod given;
mod handler_values;
mod harmless;
mod host;
mod manifest;
mod name;
mod origin;
mod postgres_url;
mod properties;
mod reader;
mod rule;
mod secret;
mod section;
mod servers;
mod source;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use error::{ConfigError, ConfigErrors};
pub use manifest::{
    Ack, BehindDead, BreakerPolicy, CallLimits, CommitOffset, Form, Grants, Instances, LogLevel, Manifest,
    RetryPolicy, Settle, Start, Subscribe,
};
pub(crate) use manifest::{is_pattern, is_topic};
pub use name::{BadName, HandlerName, Namespace, WorkerName};
pub use origin::Origin;
pub use postgres_url::PostgresUrl;
#[cfg(test)]
pub(crate) use properties::is_known as is_known_property;
pub(crate) use properties::refused_property;
pub use reader::{Setting, Source};
pub use secret::Secret;
pub use section::{
    Admin, DeadLetters, Gap, Host, Http, Ingest, Kafka, Limits, Log, LogFormat, PoolMode, Postgres, Relay,
    Retention, SqlRole, Worker,
};
pub use source::environment;

/// The host's settings, each within its bounds.
#[derive(Debug, Clone)]
pub struct Config {
    /// Part of every consumer group's name: two installations on one Kafka differ in it.
    pub namespace: Namespace,
    /// This process.
    pub host: Host,
    /// Access to what can be read of this process.
    pub admin: Admin,
    /// The database.
    pub postgres: Postgres,
    /// Roles that handlers may be granted, by name.
    pub sql: BTreeMap<String, SqlRole>,
    /// Values that handlers may be granted to read, by names in lower case with dashes.
    pub handler_config: BTreeMap<String, Secret>,
    /// The broker.
    pub kafka: Kafka,
    /// Settings of the way from Kafka into the inbox.
    pub ingest: Ingest,
    /// Settings of the way from the inbox through the handlers.
    pub worker: Worker,
    /// Attempts of a failed message, and the delays between them.
    pub retry: RetryPolicy,
    /// Rule by which a handler that only faults is left alone, and for how long.
    pub breaker: BreakerPolicy,
    /// Limits of one call of a handler.
    pub limits: Limits,
    /// Bounds of what handlers reach of the network.
    pub http: Http,
    /// Settings of the way from the outbox to Kafka.
    pub relay: Relay,
    /// Times for which settled rows stay.
    pub retention: Retention,
    /// Handling of dead letters beyond their rows.
    pub dead_letters: DeadLetters,
    /// Lines that the host writes to standard error.
    pub log: Log,
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
