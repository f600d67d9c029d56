//! The ground of one run: a migrated database, a topic and a configuration that names only where things
//! are. What a host does otherwise are its defaults.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mailroom_tests::db::Db;
use mailroom_tests::servers::stop_with_this_process;
use mailroom_tests::{Host, Kafka, Manifest, SOON, Start, becomes, guest, host, paths};
use tokio::time::{Instant, interval};

use crate::payload::PARTITIONS;
use crate::stage::Stage;

/// The component that completes every message and looks at none.
pub(crate) const NOOP: &str = "noop";

/// A script that does the same.
pub(crate) const SCRIPT: &str = "import { defineHandler } from \"mailroom-guest\";\n\n\
     export const handler = defineHandler({ subscriptions: [{ topics: [\"orders\"] }], handle() {} });\n";

/// The handler of `native-host`, which does the same for the messages of a benchmark.
const NATIVE: &str = "native";

/// Lanes of the outbox.
const OUTBOX_LANES: i64 = 64;

/// Pause between two looks at a run: rare, since a look costs what is measured. Rates come from the rows'
/// times.
const LOOK: Duration = Duration::from_secs(1);

/// Longest time of one run, however slow.
const RUN: Duration = Duration::from_secs(600);

/// Handler through which a ground's host runs its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handler {
    /// `mailroom`, and a WebAssembly component built from Rust.
    Component,
    /// The same with `instances = "reuse"`.
    Reused,
    /// The same as a script, which is dropped as it is.
    Script,
    /// A program around the library, and a Rust function in it.
    Native,
}

/// Resources that one run has to itself.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) db: Db,
    pub(crate) kafka: Kafka,
    /// Topic that the handler takes.
    pub(crate) topic: String,
    /// Topic that nobody takes: the relay's.
    pub(crate) out: String,
    /// The consumer group of the handler.
    pub(crate) group: String,
    handlers: PathBuf,
    /// The component or script of the handler, where it has one.
    file: PathBuf,
    start: Start,
}

impl Ground {
    /// Makes everything for the run `name`, of letters only.
    pub(crate) async fn new(stage: &Stage, name: &str, handler: Handler) -> Result<Self> {
        let name = format!("{name}{}", stage.number());
        let folder = stage.folder.join(&name);
        let handlers = folder.join("handlers");
        fs::create_dir_all(&handlers)?;
        let db = Db::create(stage.postgres_url(), &name).await?;
        let kafka = Kafka::connect(stage.brokers(), &name)?;
        let topic = kafka.topic("in", PARTITIONS).await?;
        let out = kafka.topic("out", PARTITIONS).await?;
        let mut manifest = Manifest::takes(&[&topic]);
        if handler == Handler::Reused {
            manifest = manifest.with("instances = \"reuse\"");
        }
        let manifest = manifest.to_toml();
        let ending = if handler == Handler::Script { "js" } else { "wasm" };
        let file = handlers.join(format!("{NOOP}.{ending}"));
        let handler_name = match handler {
            Handler::Component | Handler::Reused => {
                fs::write(handlers.join(format!("{NOOP}.toml")), manifest)?;
                fs::copy(guest(NOOP)?, &file)?;
                NOOP
            }
            Handler::Script => {
                fs::write(handlers.join(format!("{NOOP}.toml")), manifest)?;
                fs::write(&file, SCRIPT)?;
                NOOP
            }
            Handler::Native => {
                fs::write(folder.join(format!("{NATIVE}.toml")), manifest)?;
                NATIVE
            }
        };
        let config = folder.join("mailroom.toml");
        let (url, brokers, compiled) = (db.url(), stage.brokers(), folder.join("compiled"));
        fs::write(
            &config,
            format!(
                "namespace = {name:?}\n\n[host]\nworker = \"bench\"\nhandlers = {handlers:?}\n\
                 compiled = {compiled:?}\n\n\
                 [postgres]\nurl = {url:?}\n\n[kafka]\nbrokers = {brokers:?}\n"
            ),
        )?;
        let log = folder.join("mailroom.log");
        let mut start = Start { binary: paths::binary()?, config, env: Vec::new(), log };
        start.ran(&["migrate"]).await?.ok().context("could not migrate")?;
        if handler == Handler::Native {
            start.binary = std::env::current_exe()?.with_file_name("native-host");
        }
        let group = format!("{name}.{handler_name}");
        Ok(Self { db, kafka, topic, out, group, handlers, file, start })
    }

    /// Puts another component beside the handler, with its manifest.
    pub(crate) fn add_handler(&self, name: &str, manifest: &str) -> Result<()> {
        fs::write(self.handlers.join(format!("{name}.toml")), manifest)?;
        fs::copy(guest(name)?, self.handlers.join(format!("{name}.wasm")))?;
        Ok(())
    }

    /// Adds to the configuration of hosts that start from now on.
    pub(crate) fn configure(&self, sections: &str) -> Result<()> {
        let config = fs::read_to_string(&self.start.config)?;
        Ok(fs::write(&self.start.config, config + sections)?)
    }

    /// Writes the handler's component or script anew, where it is.
    pub(crate) fn replace(&self, content: &[u8]) -> Result<()> {
        Ok(fs::write(&self.file, content)?)
    }

    /// Starts a host and does not wait for it.
    pub(crate) fn start_host(&self) -> Result<Host> {
        let host = self.start.clone().host()?;
        stop_with_this_process("TERM", host.pid()?)?;
        Ok(host)
    }

    /// Starts a host and waits until it has all lanes of its handler and of the outbox.
    pub(crate) async fn host_up(&self) -> Result<Host> {
        let host = self.start_host()?;
        let owned = "select count(*) from mailroom.lane where owner is not null";
        let handlers = fs::read_dir(&self.handlers)?.count().div_ceil(2).max(1);
        let all = OUTBOX_LANES + i64::from(PARTITIONS) * i64::try_from(handlers)?;
        becomes("the host has all lanes", all, SOON, async || self.db.one::<i64>(owned).await)
            .await
            .with_context(|| self.log_tail())?;
        Ok(host)
    }

    /// Levels the ground: statistics as after some minutes of life, nothing left to be written back.
    pub(crate) async fn level(&self) -> Result<()> {
        self.db.execute("vacuum (analyze)").await?;
        self.db.execute("checkpoint").await?;
        Ok(())
    }

    /// Waits until the query gives 0; the host must not end meanwhile.
    pub(crate) async fn until_none(&self, host: &mut Host, query: &'static str) -> Result<()> {
        let deadline = Instant::now() + RUN;
        let mut looks = interval(LOOK);
        loop {
            looks.tick().await;
            host.still_runs().with_context(|| self.log_tail())?;
            let left: i64 = self.db.one(query).await?;
            if left == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("not done within {RUN:?}, {left} from `{query}`\n{}", self.log_tail());
            }
        }
    }

    /// The rate at which a host works off what is there, until the query `none` gives 0.
    pub(crate) async fn worked_off(
        self,
        none: &'static str,
        query: &'static str,
        messages: u32,
    ) -> Result<f64> {
        let mut host = self.start_host()?;
        self.until_none(&mut host, none).await?;
        host.stop().await?;
        self.rated(query, messages).await
    }

    /// The rate of a run that is over; removes the ground.
    pub(crate) async fn rated(self, query: &'static str, messages: u32) -> Result<f64> {
        let rate = rate(&self.db, query, messages).await?;
        self.remove().await?;
        Ok(rate)
    }

    /// Removes what would cost the next run: tables that are still being cleaned, topics.
    pub(crate) async fn remove(self) -> Result<()> {
        self.kafka.remove_topics().await?;
        self.db.remove().await
    }

    fn log_tail(&self) -> String {
        format!("the end of the host's log:\n{}", host::tail(&self.start.log, 30))
    }
}

/// Number of times that floor and mailroom are run, in turn.
pub(crate) const ROUNDS: u32 = 3;

/// The count of completed rows over the seconds that a query gives; fails unless they are all.
async fn rate(db: &Db, query: &'static str, messages: u32) -> Result<f64> {
    let (completed, secs): (i64, f64) =
        sqlx::query_as(query).fetch_one(db.pool()).await.context("reading the rate")?;
    if completed != i64::from(messages) {
        bail!("{completed} of {messages} messages are completed: nothing was measured");
    }
    Ok(f64::from(messages) / secs)
}
