//! The examples of `host/examples`, as cargo builds them beside the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Message, SOON, Setup, World, becomes, in_world};
use tokio::process::{Child, Command};

#[test]
fn the_native_handler_counts_what_each_customer_ordered() {
    in_world(Setup::default(), async |world| {
        let (orders, totals) = (world.kafka.topic("orders", 1).await?, world.kafka.topic("totals", 1).await?);
        let mut host = example(world, "native")?.env("ORDERS", &orders).env("TOTALS", &totals).spawn()?;
        for (id, amount) in [("o-1", "12"), ("o-2", "no number"), ("o-3", "30")] {
            let order = Message::to(&orders).key("ada").id(id).header("event_type", "order.placed");
            world.kafka.send(&order.payload(amount)).await?;
        }
        let told = async || {
            let told = world.kafka.read_all(&totals).await?;
            let payloads = told.into_iter().map(|record| record.payload.unwrap_or_default());
            Ok(payloads.map(|payload| String::from_utf8_lossy(&payload).into_owned()).collect::<Vec<_>>())
        };
        becomes("the totals are told", vec!["12".to_owned(), "42".to_owned()], SOON, told).await?;
        stop(&mut host).await
    });
}

#[test]
fn an_application_with_the_host_inside_bills_what_it_published() {
    in_world(Setup::default(), async |world| {
        let orders = world.kafka.topic("orders", 1).await?;
        let mut application = example(world, "embedded")?;
        application.env("ORDERS", &orders).env("DATABASE_URL", world.db.url()).stdout(Stdio::piped());
        let ended = tokio::time::timeout(SOON, application.output()).await??;
        let said = String::from_utf8_lossy(&ended.stdout);
        let log = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "it ended with {}: {said}\n{log}", ended.status);
        assert_eq!(said, "placed an order of ada's\nbilled an order of ada's\n");
        assert_eq!(world.db.one::<i64>("select count(*) from orders").await?, 1);
        assert_eq!(world.db.completed().await?, 1);
        Ok(())
    });
}

/// The example, to be started with the configuration of this world.
fn example(world: &World, name: &str) -> Result<Command> {
    let folder = world.folder().join(name);
    fs::create_dir_all(&folder)?;
    fs::copy(world.settings_file()?, folder.join("mailroom.toml"))?;
    let mut command = Command::new(built(name)?);
    command.current_dir(folder).kill_on_drop(true).stdin(Stdio::null());
    Ok(command)
}

fn built(name: &str) -> Result<PathBuf> {
    let binaries =
        Path::new(env!("CARGO_BIN_EXE_native-host")).parent().context("programs are in a folder")?;
    let example = binaries.join("examples").join(name);
    ensure!(example.exists(), "{} was not built: cargo builds it with the tests", example.display());
    Ok(example)
}

/// Stops it as a supervisor would.
async fn stop(host: &mut Child) -> Result<()> {
    let pid = host.id().context("it has ended by itself")?.to_string();
    Command::new("kill").args(["-s", "TERM", &pid]).status().await?;
    let ended = tokio::time::timeout(SOON, host.wait()).await??;
    ensure!(ended.success(), "it ended with {ended}");
    Ok(())
}
