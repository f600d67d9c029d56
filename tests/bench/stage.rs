//! A Postgres and a Kafka of the benchmark's own, below `bench` in cargo's target folder, made anew each
//! time. Durability is as installed: nothing is switched off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use mailroom_servers::{
    Kafka, KafkaOptions, Postgres, PostgresOptions, postgres_programs, reachable_dir, stop_leftover,
};
use mailroom_tests::paths;
use mailroom_tests::servers::stop_with_this_process;

/// The servers. Dropping it stops them too.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    /// True if Postgres counts statements.
    pub(crate) counts_statements: bool,
    grounds: AtomicU32,
    kafka: Kafka,
    postgres: Postgres,
}

impl Stage {
    /// Starts both at once in empty folders. A run that was killed may have left its own.
    pub(crate) async fn start() -> Result<Self> {
        let folder = reachable_dir(&paths::target()?.join("bench"))?;
        let (for_postgres, for_kafka) = (folder.join("postgres"), folder.join("kafka"));
        stop_leftover(&for_postgres)?;
        stop_leftover(&for_kafka)?;
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("could not empty {}", folder.display()))?;
        }
        let counts_statements = postgres_programs()?.join("../lib/pg_stat_statements.so").exists();
        eprintln!("starting a Postgres and a Kafka in {}", folder.display());
        let postgres = tokio::task::spawn_blocking(move || start_postgres(&for_postgres, counts_statements));
        let kafka = tokio::task::spawn_blocking(move || start_kafka(&for_kafka));
        let (postgres, kafka) = tokio::join!(postgres, kafka);
        let postgres = postgres?.context("could not start Postgres")?;
        let kafka = kafka?.context("could not start Kafka")?;
        Ok(Self { folder, counts_statements, grounds: AtomicU32::new(1), kafka, postgres })
    }

    /// A number that was not given before: what is removed and made again must not have one name.
    pub(crate) fn number(&self) -> u32 {
        self.grounds.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the URL of Postgres, with the password.
    pub(crate) fn postgres_url(&self) -> &str {
        self.postgres.url()
    }

    /// Returns the address of Kafka.
    pub(crate) fn brokers(&self) -> &str {
        self.kafka.brokers()
    }

    /// Ends both orderly.
    pub(crate) async fn stop(self) -> Result<()> {
        let Self { mut kafka, mut postgres, .. } = self;
        Ok(tokio::task::spawn_blocking(move || kafka.stop().and(postgres.stop())).await??)
    }
}

fn start_postgres(folder: &Path, counts_statements: bool) -> Result<Postgres> {
    // As a server of this size is set up: the tables fit into memory, no checkpoint comes amid a run.
    let mut settings = vec![("shared_buffers", "1GB"), ("max_wal_size", "8GB")];
    if counts_statements {
        settings.push(("shared_preload_libraries", "pg_stat_statements"));
    }
    let settings = settings.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let server = Postgres::start(folder, PostgresOptions { settings, ..PostgresOptions::default() })?;
    stop_with_this_process("INT", server.pid())?;
    Ok(server)
}

fn start_kafka(folder: &Path) -> Result<Kafka> {
    // Latencies are counted from and to the time at which the broker has a record.
    let properties = vec![("log.message.timestamp.type".to_owned(), "LogAppendTime".to_owned())];
    let server = Kafka::start(
        folder,
        KafkaOptions { port: None, jars: paths::kafka_jars(), properties, logins: false },
    )?;
    stop_with_this_process("TERM", server.pid())?;
    Ok(server)
}
