//! `mailroom dev`: one command gives servers and a host, on Apache Kafka and on the mock cluster alike.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use mailroom_servers::{reachable_dir, stop_leftover};
use mailroom_tests::host::tail;
use mailroom_tests::{LATER, Manifest, SOON, Start, becomes, eventually, guest, paths};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A folder for the servers' data, with the handler `invoice` beside it.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn new() -> Result<Self> {
        let folder = paths::target()?.join("worlds").join(format!("dev{:010x}", fastrand::u64(..1 << 40)));
        fs::create_dir_all(folder.join("handlers"))?;
        fs::write(folder.join("dev.toml"), "")?;
        let manifest = Manifest::takes(&["orders"]).publishes(&["invoices"]);
        fs::write(folder.join("handlers/invoice.toml"), manifest.to_toml())?;
        fs::copy(guest("invoice")?, folder.join("handlers/invoice.wasm"))?;
        Ok(Self { folder })
    }

    fn log(&self) -> PathBuf {
        self.folder.join("dev.log")
    }

    fn start(&self, flags: &[&str]) -> Result<Dev<'_>> {
        let log = File::create(self.log())?;
        let mut command = Command::new(paths::binary()?);
        command.current_dir(&self.folder).args(["--config", "dev.toml", "dev", "--data", "data"]);
        command.args(["--handlers", "handlers"]).args(flags);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        Ok(Dev { child: command.spawn()?, place: self })
    }

    /// Starts it, places one order, and waits until so many invoices are on Kafka.
    async fn takes_an_order(&self, flags: &[&str], invoices: usize) -> Result<()> {
        let mut dev = self.start(flags)?;
        let shell = dev.shell().await?;

        let order = r#"{"order_id": "o-1", "customer": "ada", "amount_cents": 250}"#;
        let publish = ["outbox", "publish", "--topic", "orders", "--type", "order.placed", "--key", "ada"];
        shell.ran(&[&publish[..], &["--payload", order]].concat()).await?.ok()?;

        let list = ["outbox", "list", "--topic", "invoices", "--status", "completed", "--json"];
        becomes("invoices are published", invoices, SOON, async || {
            let listed = shell.ran(&list).await?.json()?;
            Ok(listed.as_array().context("not a list")?.len())
        })
        .await?;
        dev.interrupt().await
    }

    /// Ends what a killed start left behind.
    fn stop_servers(&self) -> Result<()> {
        let data = reachable_dir(&self.folder.join("data"))?;
        for server in ["postgres", "mock-postgres", "kafka"] {
            stop_leftover(&data.join(server))?;
        }
        Ok(())
    }
}

/// A running `mailroom dev`.
struct Dev<'p> {
    child: Child,
    place: &'p Place,
}

impl Dev<'_> {
    /// Waits until it says that it is ready, and gives a shell in which what it says to type was typed.
    async fn shell(&mut self) -> Result<Start> {
        let said = || fs::read_to_string(self.place.log());
        let mut ended = None;
        eventually("it is ready or has ended", LATER, async || {
            ended = self.child.try_wait()?;
            Ok(ended.is_some() || said()?.contains("mailroom status"))
        })
        .await?;
        ensure!(ended.is_none(), "it ended before it was ready");
        let said = said()?;
        let exports = said.lines().filter_map(|line| line.trim().strip_prefix("export ")?.split_once('='));
        let env = exports.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()));
        let folder = &self.place.folder;
        let (config, log) = (folder.join("dev.toml"), folder.join("shell.log"));
        Ok(Start { binary: paths::binary()?, config, env: env.collect(), log })
    }

    /// Ctrl-C, and waits for the end.
    async fn interrupt(mut self) -> Result<()> {
        let pid = self.child.id().context("it has ended by itself")?;
        Command::new("kill").args(["-s", "INT", &pid.to_string()]).status().await?;
        let ended = timeout(SOON, self.child.wait()).await.context("it ignores SIGINT")??;
        ensure!(ended.success(), "it ended with {ended} after SIGINT, expected 0");
        Ok(())
    }
}

/// Starts it twice on one folder; after the second start's order there are so many invoices.
async fn start_twice(flags: &[&str], invoices: usize) -> Result<()> {
    let place = Place::new()?;
    let mut taken = place.takes_an_order(flags, 1).await;
    if taken.is_ok() {
        taken = place.takes_an_order(flags, invoices).await;
    }
    place.stop_servers()?;
    taken.with_context(|| format!("{}:\n{}", place.log().display(), tail(&place.log(), 60)))?;
    Ok(fs::remove_dir_all(place.folder)?)
}

#[tokio::test]
async fn without_java_orders_become_invoices_and_every_start_begins_anew() -> Result<()> {
    start_twice(&["--mock-kafka"], 1).await
}

#[tokio::test]
async fn with_apache_kafka_orders_become_invoices_and_the_next_start_goes_on() -> Result<()> {
    start_twice(&[], 2).await
}
