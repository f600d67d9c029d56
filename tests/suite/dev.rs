//! `mailroom dev`: one command gives servers and a host, on Apache Kafka and on the mock cluster alike.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use mailroom_servers::{reachable_dir, stop_leftover};
use mailroom_tests::host::tail;
use mailroom_tests::{LATER, Manifest, SOON, Start, becomes, eventually, guest, paths};
use sqlx::{Connection as _, Executor as _};
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

#[tokio::test]
async fn the_version_of_postgres_that_is_asked_for_is_used_whatever_is_installed() -> Result<()> {
    let place = Place::new()?;
    let taken = place.takes_an_order(&["--mock-kafka", "--postgres", "14"], 1).await;
    let data = reachable_dir(&place.folder.join("data"))?;
    let made_by = fs::read_to_string(data.join("mock-postgres/data/PG_VERSION"));
    place.stop_servers()?;
    taken.with_context(|| format!("{}:\n{}", place.log().display(), tail(&place.log(), 60)))?;
    assert_eq!(made_by?.trim(), "14");
    Ok(fs::remove_dir_all(place.folder)?)
}

/// A project in C with the handler `totals`, which `dev` builds.
async fn follows_a_project(place: &Place) -> Result<()> {
    let new = ["handler", "new", "totals", "--lang", "c", "--into", "totals"];
    let made = Command::new(paths::binary()?).current_dir(&place.folder).args(new).output().await?;
    ensure!(made.status.success(), "{made:?}");
    let source = place.folder.join("totals/totals.c");
    let written = fs::read_to_string(&source)?;
    let mut dev = place.start(&["--mock-kafka", "totals"])?;
    let shell = dev.shell().await?;
    let says = async |text: &str, times: usize| {
        let said = async || Ok(fs::read_to_string(place.log())?.matches(text).count());
        becomes(text, times, LATER, said).await
    };
    says("built in", 1).await?;
    says("Handler totals runs", 1).await?;

    fs::write(&source, written.replace("mailroom_reject(", "mailroom_no_such_word("))?;
    says("totals: what ran before runs on", 1).await?;
    fs::write(&source, &written)?;
    says("built in", 2).await?;

    let order = r#"{"customer": "ada", "amount_cents": 250}"#;
    let publish = ["outbox", "publish", "--topic", "orders", "--type", "order.placed", "--key", "ada"];
    shell.ran(&[&publish[..], &["--payload", order]].concat()).await?.ok()?;
    let list = ["outbox", "list", "--topic", "totals", "--status", "completed", "--json"];
    becomes("its total is published", 1, SOON, async || {
        let listed = shell.ran(&list).await?.json()?;
        Ok(listed.as_array().context("not a list")?.len())
    })
    .await?;
    dev.interrupt().await
}

#[tokio::test]
async fn a_project_is_built_as_it_changes_and_what_ran_runs_on_where_it_does_not_build() -> Result<()> {
    let place = Place::new()?;
    let followed = follows_a_project(&place).await;
    place.stop_servers()?;
    followed.with_context(|| format!("{}:\n{}", place.log().display(), tail(&place.log(), 60)))?;
    Ok(fs::remove_dir_all(place.folder)?)
}

/// A handler whose SQL writes to a table of dev's own Postgres, as a role that the configuration has elsewhere.
async fn runs_sql(place: &Place) -> Result<()> {
    fs::write(place.folder.join("dev.toml"), "[sql.shop]\nurl-file = \"/not/on/this/machine\"\n")?;
    let manifest = Manifest::takes(&["sql"]).sql("shop");
    fs::write(place.folder.join("handlers/sql-runner.toml"), manifest.to_toml())?;
    fs::copy(guest("sql-runner")?, place.folder.join("handlers/sql-runner.wasm"))?;
    let mut dev = place.start(&["--mock-kafka"])?;
    let shell = dev.shell().await?;
    let url = shell.env.iter().find(|(name, _)| name == "MAILROOM__POSTGRES__URL");
    let mut postgres = sqlx::PgConnection::connect(&url.context("dev prints no URL")?.1).await?;
    postgres.execute("create table public.sale (id text); grant insert on public.sale to shop_sql").await?;

    let insert = r#"{"statements": [{"sql": "insert into sale values ($1)", "params": ["one"]}]}"#;
    let publish = ["outbox", "publish", "--topic", "sql", "--type", "sale", "--payload", insert];
    shell.ran(&publish).await?.ok()?;
    becomes("the handler has written", 1_i64, SOON, async || {
        Ok(sqlx::query_scalar("select count(*) from public.sale").fetch_one(&mut postgres).await?)
    })
    .await?;
    dev.interrupt().await
}

#[tokio::test]
async fn sql_of_a_handler_runs_as_a_role_of_devs_own_postgres() -> Result<()> {
    let place = Place::new()?;
    let ran = runs_sql(&place).await;
    place.stop_servers()?;
    ran.with_context(|| format!("{}:\n{}", place.log().display(), tail(&place.log(), 60)))?;
    Ok(fs::remove_dir_all(place.folder)?)
}

#[tokio::test]
async fn a_folder_that_is_no_project_is_refused_before_a_server_is_started() -> Result<()> {
    let place = Place::new()?;
    let mut dev = place.start(&["handlers"])?;
    let ended = timeout(SOON, dev.child.wait()).await.context("it goes on")??;
    let said = fs::read_to_string(place.log())?;
    ensure!(ended.code() == Some(2) && said.contains("it is no project of a handler"), "{ended}: {said}");
    ensure!(!said.contains("Starting"), "{said}");
    Ok(fs::remove_dir_all(place.folder)?)
}
