//! `mailroom dev`: the same host with a Postgres and a Kafka of its own on a data folder. With Apache
//! Kafka everything is kept between starts, with its stand-in nothing is.

mod servers;

use std::io;
use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::{Settings, print, run};
use crate::config::{Config, environment};
use crate::db::{migrate, reach};
use crate::telemetry;
use servers::Servers;

#[derive(Debug, Clone, Args)]
pub(super) struct Dev {
    /// Where the servers keep their data; delete it to begin anew
    #[arg(long, value_name = "DIR", default_value = "mailroom-dev")]
    data: PathBuf,
    /// The folder of handlers; the configuration's by default
    #[arg(long, value_name = "DIR")]
    handlers: Option<PathBuf>,
    /// Use librdkafka's mock cluster, which needs no Java and keeps nothing, even if Apache Kafka can be had
    #[arg(long)]
    mock_kafka: bool,
}

pub(super) async fn dev(dev: &Dev, settings: &Settings) -> Result<(), Failure> {
    let wanted = dev.clone();
    let servers = blocking(move || Servers::start(&wanted)).await?;
    let ended = host(dev, settings, &servers).await;
    print::line("Stopping Kafka and Postgres.")?;
    let stopped = blocking(move || servers.stop()).await;
    ended.and(stopped)
}

async fn host(dev: &Dev, settings: &Settings, servers: &Servers) -> Result<(), Failure> {
    let handlers =
        dev.handlers.as_ref().map(|folder| ("MAILROOM__HOST__HANDLERS", folder.display().to_string()));
    let own: Vec<(&str, String)> = servers.addresses().into_iter().chain(handlers).collect();
    let variables: Vec<String> =
        own.iter().map(|(name, value)| format!("  export {name}='{value}'")).collect();
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    let properties = servers.properties().into_iter().map(|(name, value)| (property(name), value.to_owned()));
    // What is said last wins over the same variable of the environment.
    let config = Config::load(settings.0.as_deref(), environment().chain(own).chain(properties))?;
    telemetry::init(&config.log);
    let db = reach::reach(&config.postgres).await?;
    migrate::apply(&db, |migration| eprintln!("Applying {:04} {}", migration.version, migration.description))
        .await?;
    print::line(&format!(
        "Ready. Handlers are taken from {}. In another terminal:\n{}\n  mailroom status",
        config.host.handlers.display(),
        variables.join("\n"),
    ))?;
    run::until_stopped(config).await
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
