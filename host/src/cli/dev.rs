//! `mailroom dev`: the same host with a Postgres and a Kafka of its own on a data folder, which keeps
//! everything between starts.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use mailroom_servers::{
    Kafka, KafkaOptions, Postgres, PostgresOptions, fetch_kafka_jars, java_is_there, kafka_jars_are_there,
    kafka_jars_default, postgres_programs, reachable_dir,
};

use super::failure::Failure;
use super::{Settings, print, run};
use crate::config::{Config, environment};
use crate::db::{migrate, reach};
use crate::telemetry;

#[derive(Debug, Args)]
pub(super) struct Dev {
    /// Where the servers keep their data; delete it to begin anew
    #[arg(long, value_name = "DIR", default_value = "mailroom-dev")]
    data: PathBuf,
    /// The folder of handlers; the configuration's by default
    #[arg(long, value_name = "DIR")]
    handlers: Option<PathBuf>,
}

/// Dropping them stops them.
struct Servers {
    postgres: Postgres,
    kafka: Kafka,
}

pub(super) async fn dev(dev: &Dev, settings: &Settings) -> Result<(), Failure> {
    let data = dev.data.clone();
    let servers = blocking(move || start(&data)).await?;
    let ended = host(dev, settings, &servers).await;
    print::line("Stopping Kafka and Postgres.")?;
    let stopped = blocking(move || stop(servers)).await;
    ended.and(stopped)
}

async fn host(dev: &Dev, settings: &Settings, servers: &Servers) -> Result<(), Failure> {
    let own = [
        Some(("MAILROOM__POSTGRES__URL", servers.postgres.url().to_owned())),
        Some(("MAILROOM__KAFKA__BROKERS", servers.kafka.brokers().to_owned())),
        dev.handlers.as_ref().map(|folder| ("MAILROOM__HOST__HANDLERS", folder.display().to_string())),
    ];
    let own = own.into_iter().flatten();
    let variables: Vec<String> =
        own.clone().map(|(name, value)| format!("  export {name}='{value}'")).collect();
    let own = own.map(|(name, value)| (name.to_owned(), value));
    // What is said last wins over the same variable of the environment.
    let config = Config::load(settings.0.as_deref(), environment().chain(own))?;
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

fn start(data: &Path) -> Result<Servers, Failure> {
    // Both at once, so that nobody installs one thing only to hear of the next.
    let missing: Vec<String> = [postgres_programs().map(drop), java_is_there()]
        .into_iter()
        .filter_map(Result::err)
        .map(|error| error.to_string())
        .collect();
    if !missing.is_empty() {
        return Err(Failure::Host(missing.join("\n")));
    }
    let dir = reachable_dir(data)?;
    print::line(&format!("The data is in {}.", dir.display()))?;
    let jars = kafka_jars_default();
    if !kafka_jars_are_there(&jars) {
        print::line(&format!("Fetching Apache Kafka (45 MB) into {}.", jars.display()))?;
        fetch_kafka_jars(&jars)?;
    }
    print::line("Starting Postgres.")?;
    let postgres = Postgres::start(&dir.join("postgres"), PostgresOptions::default())?;
    print::line("Starting Apache Kafka.")?;
    let properties = vec![("auto.create.topics.enable".to_owned(), "true".to_owned())];
    let kafka = Kafka::start(&dir.join("kafka"), KafkaOptions { port: None, jars, properties })?;
    Ok(Servers { postgres, kafka })
}

fn stop(mut servers: Servers) -> Result<(), Failure> {
    let kafka = servers.kafka.stop();
    servers.postgres.stop()?;
    Ok(kafka?)
}

/// Servers are started and stopped by waiting for them, which must not hold up the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::Io("handling servers", io::Error::other(error)))?
}
