//! Postgres and Kafka go away and come back under load: the same process goes on.

use anyhow::{Result, ensure};
use mailroom_tests::kafka::record::{ensure_rising_per_key, first_occurrences};
use mailroom_tests::{Host, LATER, Load, Manifest, SOON, Setup, World, becomes, eventually, in_world};
use tokio::try_join;

use crate::arrange::Scripted;

/// Load, `disturb` once messages flow, more load; then everything has to be there.
async fn survives(world: &World, disturb: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let scripted = Scripted::drop_into(world, 2).await?;
    let mut host = world.start_host("a")?;
    let load = Load::new(&world.kafka, &scripted.input, &scripted.output);
    let disturbed = async {
        eventually("messages flow", SOON, async || Ok(world.db.completed().await? > 50)).await?;
        disturb().await?;
        let before = world.db.completed().await?;
        let flows = async || Ok(world.db.completed().await? > before + 50);
        eventually("messages flow again", LATER, flows).await?;
        load.stop();
        Ok(())
    };

    try_join!(load.run(), disturbed)?;

    becomes("every message completed", load.sent()?, LATER, async || world.db.completed().await).await?;
    everything_is_on_kafka(world, &scripted, load.sent()?).await?;
    host.still_runs()?;
    no_attempt_was_spent(world, host).await
}

async fn everything_is_on_kafka(world: &World, scripted: &Scripted, sent: i64) -> Result<()> {
    let relayed = "select count(*) from mailroom.outbox where status = 'completed'";
    becomes("every emitted row relayed", sent, LATER, async || world.db.one::<i64>(relayed).await).await?;
    let records = world.kafka.read_all(&scripted.output).await?;
    let first = first_occurrences(&records)?;
    ensure!(i64::try_from(first.len())? == sent, "{} of {sent} ids are on Kafka", first.len());
    ensure_rising_per_key(&first, "value")
}

async fn no_attempt_was_spent(world: &World, host: Host) -> Result<()> {
    let spent = "select count(*) from mailroom.inbox where attempts_made > 0";
    ensure!(world.db.one::<i64>(spent).await? == 0, "an outage cost a message an attempt");
    let spent = "select count(*) from mailroom.outbox where attempts_made > 0";
    ensure!(world.db.one::<i64>(spent).await? == 0, "an outage cost an emitted message an attempt");
    host.stop().await?;
    Ok(())
}

#[test]
fn every_message_is_completed_once_though_postgres_is_restarted_under_load() {
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        survives(world, async || world.with_postgres(|postgres| postgres.restart()).await).await
    });
}

#[test]
fn every_message_is_completed_once_though_postgres_crashes_under_load() {
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        survives(world, async || {
            world
                .with_postgres(|postgres| {
                    postgres.kill()?;
                    postgres.restart()
                })
                .await
        })
        .await
    });
}

#[test]
fn every_message_is_completed_once_though_kafka_is_restarted_under_load() {
    in_world(Setup { own_kafka: true, ..Setup::default() }, async |world| {
        for number in 0..4 {
            let topic = world.kafka.topic(&format!("idle-{number}"), 1).await?;
            world.drop_handler(&format!("idle-{number}"), "noop", &Manifest::takes(&[&topic]))?;
        }
        survives(world, async || world.with_kafka(|kafka| kafka.restart()).await).await?;
        // Five handlers and the relay speak of it as one.
        let log = std::fs::read_to_string(world.folder().join("a.log"))?;
        let said =
            |words: &str| log.lines().filter(|line| line.contains(" WARN ") && line.contains(words)).count();
        let (away, of_clients) = (said("is away or refuses"), said("Kafka: "));
        ensure!(away <= 3 && of_clients <= 4, "the outage was said {away} and {of_clients} times: {log}");
        Ok(())
    });
}
