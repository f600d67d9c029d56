//! Postgres away for 3 s, Kafka away for 10 s, under load and with calls in flight: the same process
//! goes on, and a message has exactly the attempts that it was told to fail, however often it was called.

use std::time::Duration;

use anyhow::{Result, ensure};
use mailroom_tests::kafka::record::{ensure_rising_per_key, first_occurrences};
use mailroom_tests::{Host, LATER, Message, SOON, Setup, World, becomes, eventually, in_world, passes};
use serde_json::json;
use tokio::try_join;

use crate::arrange::Scripted;

/// Nobody is taken for dead meanwhile: a call whose host was buried is lost, and would fail again.
const LIVES_ON: &[(&str, &str)] = &[("MAILROOM__HOST__EXPIRY", "30s"), ("MAILROOM__LIMITS__DEADLINE", "3s")];

const MESSAGES: i64 = 600;
const PANICS: i64 = MESSAGES / 10;
const SLEEPS: i64 = MESSAGES / 100;

/// Query for a message that sleeps, was started and is not settled.
const ASLEEP: &str = "select count(*) > 0 from mailroom.inbox i join mailroom.lane l on l.id = i.lane
    where i.status = 'pending' and i.attempts_made = 0 and i.seq <= l.started_to
      and position('sleep'::bytea in i.payload) > 0";

/// Makes the nth of a hundred messages: in their first attempts ten panic, which the guest itself tells its
/// log, and one sleeps until its deadline, so that calls are in flight.
fn message(scripted: &Scripted, n: i64) -> Message {
    let behave = match (n % 10, n % 100) {
        (3, _) => "panic",
        (_, 7) => "sleep",
        _ => "emit",
    };
    let says = json!({"behave": behave, "until_attempt": 2, "topic": scripted.output, "value": n});
    scripted.says(&format!("k{}", n % 16), &says).id(&format!("m-{n}"))
}

async fn survives(world: &World, away: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let scripted = Scripted::drop_into(world, 2).await?;
    let mut host = world.start_host("a")?;
    let load = async {
        for n in 0..MESSAGES {
            world.kafka.send(&message(&scripted, n)).await?;
        }
        Ok(())
    };
    let disturbed = async {
        eventually("messages flow", SOON, async || Ok(world.db.completed().await? > 30)).await?;
        eventually("a call is in flight", SOON, async || world.db.one(ASLEEP).await).await?;
        away().await
    };
    try_join!(load, disturbed)?;

    becomes("every message completed", MESSAGES, LATER, async || world.db.completed().await).await?;
    let relayed = "select count(*) from mailroom.outbox where status = 'completed'";
    becomes("every emitted row relayed", MESSAGES, LATER, async || world.db.one::<i64>(relayed).await)
        .await?;
    host.still_runs()?;
    let records = world.kafka.read_all(&scripted.output).await?;
    let firsts = first_occurrences(&records)?;
    ensure!(i64::try_from(firsts.len())? == MESSAGES, "{} of {MESSAGES} on Kafka", firsts.len());
    ensure_rising_per_key(&firsts, "value")?;
    attempts_are_the_guests_failures(world, &host).await?;
    host.stop().await?;
    Ok(())
}

async fn attempts_are_the_guests_failures(world: &World, host: &Host) -> Result<()> {
    let log = host.log()?;
    // The guest's own words, as the host passes them on.
    let own_count = log.lines().filter(|line| line.contains("scripted: told to panic")).count();
    let own_count = i64::try_from(own_count)?;
    // A settlement that Postgres took down with it never was: its messages are called again, and fail again.
    let is_call_repeated = log.contains("were settled is not known");
    ensure!(
        own_count == PANICS || (own_count > PANICS && is_call_repeated),
        "the guest failed {own_count} times, it was told to {PANICS} times"
    );
    let sums = "select attempts_made::bigint as attempts, count(*) from mailroom.inbox
        group by attempts_made order by attempts_made";
    let attempts: Vec<(i64, i64)> = world.db.rows(sums).await?;
    let failed_once = PANICS + SLEEPS;
    ensure!(
        attempts == [(0, MESSAGES - failed_once), (1, failed_once)],
        "messages by their attempts: {attempts:?}; {failed_once} were to fail once"
    );
    let spent = "select count(*) from mailroom.outbox where attempts_made > 0";
    ensure!(world.db.one::<i64>(spent).await? == 0, "an outage cost an emitted message an attempt");
    Ok(())
}

#[test]
fn attempts_are_what_the_guest_failed_though_postgres_was_away_for_three_seconds() {
    let setup = Setup { own_postgres: true, env: LIVES_ON, ..Setup::default() };
    in_world(setup, async |world| {
        survives(world, async || {
            world.with_postgres(|postgres| postgres.kill()).await?;
            passes(Duration::from_secs(3)).await;
            world.with_postgres(|postgres| postgres.restart()).await
        })
        .await
    });
}

#[test]
fn attempts_are_what_the_guest_failed_though_kafka_was_away_for_ten_seconds() {
    let setup = Setup { own_kafka: true, env: LIVES_ON, ..Setup::default() };
    in_world(setup, async |world| {
        survives(world, async || {
            world.with_kafka(|kafka| kafka.kill()).await?;
            passes(Duration::from_secs(10)).await;
            world.with_kafka(|kafka| kafka.restart()).await
        })
        .await
    });
}
