//! `mailroom dev`: the same host with a Postgres and a Kafka of its own on a data folder. With Apache
//! Kafka everything is kept between starts, with its stand-in nothing is.

mod projects;
mod servers;
mod sql_roles;

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mailroom_servers::PostgresRelease;

use super::failure::Failure;
use super::{Settings, print, run};
use crate::author::project::Project;
use crate::config::{Config, environment};
use crate::db::{migrate, reach};
use crate::kafka::check_settings;
use crate::{Host, telemetry};
use servers::Servers;
use sql_roles::SqlRole;

#[derive(Debug, Clone, Args)]
pub(super) struct Dev {
    /// Projects of handlers: built now and as their sources change, and put into the folder of handlers
    #[arg(value_name = "DIR")]
    projects: Vec<PathBuf>,
    /// Folder of the servers' data; delete it to begin anew
    #[arg(long, value_name = "DIR", default_value = "mailroom-dev")]
    data: PathBuf,
    /// The folder of handlers; the configuration's by default
    #[arg(long, value_name = "DIR")]
    handlers: Option<PathBuf>,
    /// Use this major version of Postgres, fetched once, even if one is installed
    #[arg(long, value_name = "VERSION")]
    postgres: Option<PostgresMajor>,
    /// Use librdkafka's mock cluster, which needs no Java and keeps nothing, even if Apache Kafka can be had
    #[arg(long)]
    mock_kafka: bool,
}

/// A major version of Postgres that mailroom works with.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PostgresMajor {
    #[value(name = "14")]
    V14,
    #[value(name = "15")]
    V15,
    #[value(name = "16")]
    V16,
    #[value(name = "17")]
    V17,
    #[value(name = "18")]
    V18,
}

impl From<PostgresMajor> for PostgresRelease {
    fn from(major: PostgresMajor) -> Self {
        match major {
            PostgresMajor::V14 => Self::V14,
            PostgresMajor::V15 => Self::V15,
            PostgresMajor::V16 => Self::V16,
            PostgresMajor::V17 => Self::V17,
            PostgresMajor::V18 => Self::V18,
        }
    }
}

pub(super) async fn dev(dev: &Dev, settings: &Settings) -> Result<(), Failure> {
    let projects = projects::open(&dev.projects)?;
    let wanted = dev.clone();
    let servers = blocking(move || Servers::start(&wanted)).await?;
    let ended = host(dev, settings, &servers, projects).await;
    print::line("Stopping Kafka and Postgres.")?;
    let stopped = blocking(move || servers.stop()).await;
    ended.and(stopped)
}

async fn host(
    dev: &Dev,
    settings: &Settings,
    servers: &Servers,
    projects: Vec<Project>,
) -> Result<(), Failure> {
    let handlers =
        dev.handlers.as_ref().map(|folder| ("MAILROOM__HOST__HANDLERS", folder.display().to_string()));
    let sections = Config::sql_sections(settings.0.as_deref(), environment())?;
    let url = servers.postgres_url();
    let roles = SqlRole::of_sections(&sections, url)?;
    let own = servers.addresses().into_iter().chain(handlers);
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let own: Vec<(String, String)> = own.chain(roles.iter().map(|role| role.variable(url))).collect();
    let variables: Vec<String> =
        own.iter().map(|(name, value)| format!("  export {name}='{value}'")).collect();
    let properties = servers.properties().into_iter().map(|(name, value)| (property(name), value.to_owned()));
    // What is said last wins over the same variable of the environment.
    let config = Config::load(settings.0.as_deref(), environment().chain(own).chain(properties))?;
    telemetry::init(&config.log);
    let db = reach::reach(&config.postgres).await?;
    migrate::apply(&db, |migration| eprintln!("Applying {:04} {}", migration.version, migration.description))
        .await?;
    for role in &roles {
        role.make(&db).await?;
    }
    print::line(&format!(
        "Ready. Handlers are taken from {}. In another terminal:\n{}\n  mailroom status",
        config.host.handlers.display(),
        variables.join("\n"),
    ))?;
    check_settings(&config)?;
    let building = projects::keep_built(projects, &config.host.handlers)?;
    // What is being built when the host ends is not taken.
    tokio::select! {
        ended = run::until_stopped(Host::builder(config).waited_for()) => ended,
        never = building => match never {},
    }
}

/// The variable that sets a property of librdkafka's.
fn property(name: &str) -> String {
    format!("MAILROOM__KAFKA__PROPERTIES__{}", name.replace('.', "_").to_uppercase())
}

/// Servers are started and stopped by waiting for them, which must not hold up the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::Io("handling servers", io::Error::other(error)))?
}
