//! Servers of the demo's own, the drop folder, and the real binary; all below `demo` in cargo's target
//! folder, made anew each time. The host gets a configuration that names only where things are: what it
//! does otherwise are its defaults.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mailroom_servers::{
    Kafka as KafkaServer, KafkaOptions, Postgres, PostgresOptions, reachable_dir, stop_leftover,
};
use mailroom_tests::db::Db;
use mailroom_tests::servers::stop_with_this_process;
use mailroom_tests::{Host, Kafka, SOON, Start, becomes, guest, host, paths, second_edition};
use tokio::time::interval;

use crate::tell::{Colour, Tell};

/// The topics of the two handlers.
pub(crate) const TOPICS: [&str; 3] = ["orders", "invoices", "parcels"];
const HANDLERS: [&str; 2] = ["invoice", "shipping"];
const PARTITIONS: i32 = 3;

/// Pause between two looks at the host's process.
const LOOK: Duration = Duration::from_millis(200);

/// Everything that runs. Dropping it stops it too, only less politely.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) db: Db,
    pub(crate) kafka: Kafka,
    start: Start,
    handlers: PathBuf,
    // Dropped in this order: the host before its servers.
    host: RefCell<Host>,
    kafka_server: KafkaServer,
    postgres: Postgres,
}

impl Stage {
    /// Starts all of it and waits until both handlers run.
    pub(crate) async fn start(tell: &Tell) -> Result<Self> {
        let folder = reachable_dir(&paths::target()?.join("demo"))?;
        tell.event(
            Colour::Bold,
            &format!("starting a Postgres and a Kafka of the demo's own in {}", folder.display()),
        );
        let (postgres, kafka_server) = servers(&folder).await?;
        tell.event(Colour::Green, &format!("Postgres and Kafka ({}) are ready", kafka_server.brokers()));
        let db = Db::create(postgres.url(), "demo").await?;
        let kafka = Kafka::connect(kafka_server.brokers(), "demo")?;
        for topic in TOPICS {
            kafka.create(topic, PARTITIONS).await?;
        }
        let handlers = folder.join("handlers");
        drop_handlers(&handlers)?;
        let config = folder.join("mailroom.toml");
        fs::write(&config, settings(&handlers, &db.url(), kafka.brokers()))?;
        let start =
            Start { binary: paths::binary()?, config, env: Vec::new(), log: folder.join("mailroom.log") };
        start.ran(&["migrate"]).await?.ok().context("could not migrate the demo's database")?;
        tell.event(
            Colour::Green,
            &format!("the database is migrated, the topics {} are there", TOPICS.join(", ")),
        );
        let host = start.clone().host_apart()?;
        stop_with_this_process("TERM", host.pid()?)?;
        let stage = Self { db, kafka, start, handlers, host: host.into(), kafka_server, postgres };
        stage.is_up().await.with_context(|| format!("the end of the host's log:\n{}", stage.log_tail()))?;
        tell.event(Colour::Green, "`mailroom run` is up with the handlers invoice and shipping");
        Ok(stage)
    }

    /// Waits until both handlers run and all partitions of their topics are being read.
    async fn is_up(&self) -> Result<()> {
        let running = "select name from mailroom.handler where state = 'running' order by name";
        becomes("both handlers run", HANDLERS.map(str::to_owned).into(), SOON, async || {
            self.db.column::<String>(running).await
        })
        .await?;
        let read = "select count(*) from mailroom.partition_offset where owner is not null";
        let all = i64::from(PARTITIONS) * 2;
        becomes("all partitions are read", all, SOON, async || self.db.one::<i64>(read).await).await
    }

    /// Gives an error as soon as the host has ended by itself.
    pub(crate) async fn host_ends(&self) -> Result<()> {
        let mut ticks = interval(LOOK);
        loop {
            ticks.tick().await;
            self.host.borrow_mut().still_runs()?;
        }
    }

    /// Puts the second edition where the first one is, at one stroke.
    pub(crate) fn replace_invoice(&self) -> Result<()> {
        let apart = self.handlers.with_extension("part");
        fs::copy(second_edition("invoice")?, &apart)?;
        Ok(fs::rename(apart, self.handlers.join("invoice.wasm"))?)
    }

    /// The configuration file of the host that runs.
    pub(crate) fn config(&self) -> &Path {
        &self.start.config
    }

    /// The binary that runs.
    pub(crate) fn binary(&self) -> &Path {
        &self.start.binary
    }

    /// The last that the host said.
    pub(crate) fn log_tail(&self) -> String {
        host::tail(&self.start.log, 30)
    }

    /// Ends the host orderly, then the servers.
    pub(crate) async fn stop(self, tell: &Tell) -> Result<()> {
        tell.event(Colour::Bold, "stopping the host, Kafka and Postgres");
        let Self { db, host, mut kafka_server, mut postgres, .. } = self;
        let host = host.into_inner().stop().await;
        db.pool().close().await;
        let servers = tokio::task::spawn_blocking(move || kafka_server.stop().and(postgres.stop())).await?;
        host?;
        Ok(servers?)
    }
}

/// Both at once, in empty folders. A demo that was killed may have left its own.
async fn servers(folder: &Path) -> Result<(Postgres, KafkaServer)> {
    let (for_postgres, for_kafka) = (folder.join("postgres"), folder.join("kafka"));
    stop_leftover(&for_postgres)?;
    stop_leftover(&for_kafka)?;
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not empty {}", folder.display()))?;
    }
    let postgres = tokio::task::spawn_blocking(move || -> Result<_> {
        let server = Postgres::start(&for_postgres, PostgresOptions::default())?;
        stop_with_this_process("INT", server.pid())?;
        Ok(server)
    });
    let kafka = tokio::task::spawn_blocking(move || -> Result<_> {
        let options =
            KafkaOptions { port: None, jars: paths::kafka_jars(), properties: Vec::new(), logins: false };
        let server = KafkaServer::start(&for_kafka, options)?;
        stop_with_this_process("TERM", server.pid())?;
        Ok(server)
    });
    let (postgres, kafka) = tokio::join!(postgres, kafka);
    Ok((postgres?.context("could not start Postgres")?, kafka?.context("could not start Kafka")?))
}

/// Each with the manifest that stands beside its source.
fn drop_handlers(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for name in HANDLERS {
        let manifest = paths::root().join(format!("handlers/{name}/{name}.toml"));
        fs::copy(&manifest, folder.join(format!("{name}.toml")))
            .with_context(|| format!("could not copy {}", manifest.display()))?;
        fs::copy(guest(name)?, folder.join(format!("{name}.wasm")))?;
    }
    Ok(())
}

fn settings(handlers: &Path, postgres_url: &str, brokers: &str) -> String {
    let compiled = handlers.with_file_name("compiled");
    format!(
        "[host]\nworker = \"demo\"\nhandlers = {handlers:?}\ncompiled = {compiled:?}\n\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [postgres]\nurl = \"{postgres_url}\"\n\n\
         [kafka]\nbrokers = \"{brokers}\"\n"
    )
}
