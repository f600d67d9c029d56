//! Lanes that had stopped for ever: read again while memory was full, while a query failed, behind a duplicate, while
//! rows of a waiting key were read.

use std::time::Duration;

use anyhow::{Result, ensure};
use mailroom_tests::{
    Host, Keep, LATER, Message, Proxy, Request, SOON, Setup, World, becomes, eventually, in_world, passes,
};
use serde_json::json;

use crate::arrange::Scripted;

/// Memory for this many messages is full at once.
const SMALL: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[("MAILROOM__INGEST__IN_HAND_MAX", "200"), ("MAILROOM__INGEST__BATCH_ROWS_MAX", "100")],
};
/// A message that is rejected on every delivery.
fn dies(scripted: &Scripted, key: &str, id: &str) -> Message {
    scripted.says(key, &json!({"behave": "reject"})).id(id)
}

/// Waits until there are so many letters in all: whatever is replayed dies again.
async fn letters(world: &World, count: i64) -> Result<()> {
    let letters = "select count(*) from mailroom.dead_letter";
    becomes("letters", count, LATER, async || world.db.one::<i64>(letters).await).await
}

async fn handled(world: &World, count: i64) -> Result<()> {
    becomes("messages done", count, LATER, async || world.db.completed().await).await
}

/// The values that a key emitted, in the order of the log.
async fn values(world: &World, scripted: &Scripted) -> Result<Vec<i64>> {
    let records = world.kafka.read_all(&scripted.output).await?;
    records.iter().map(|record| record.number("value")).collect()
}

#[test]
fn a_letter_that_is_replayed_while_memory_is_full_is_handled_and_everything_behind_it() {
    in_world(SMALL, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&dies(&scripted, "dead", "dead-1")).await?;
        letters(world, 1).await?;
        world.mailroom(&["handler", "pause", "scripted"]).await?.ok()?;
        host.wait_log("is paused").await?;
        let waiting: Vec<Message> = (0..600).map(|n| scripted.emits(&format!("k{}", n % 50), n)).collect();
        world.kafka.send_all(&waiting).await?;
        passes(Duration::from_secs(3)).await;

        world.mailroom(&["dead", "replay", "--all"]).await?.ok()?;
        passes(Duration::from_secs(2)).await;
        world.mailroom(&["handler", "resume", "scripted"]).await?.ok()?;

        handled(world, 600).await?;
        letters(world, 2).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn more_letters_than_memory_holds_are_replayed_at_once() {
    in_world(SMALL, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let dead: Vec<Message> =
            (0..1_000).map(|n| dies(&scripted, &format!("k{}", n % 160), &format!("d{n}"))).collect();
        world.kafka.send_all(&dead).await?;
        letters(world, 1_000).await?;

        world.mailroom(&["dead", "replay", "--all"]).await?.ok()?;

        letters(world, 2_000).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_reread_whose_query_fails_once_goes_on_by_itself() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let proxy = Proxy::of_postgres(&world.db.address()).await?;
        let host = world.start_host_behind("a", &proxy)?;
        world.kafka.send(&dies(&scripted, "dead", "dead-1")).await?;
        letters(world, 1).await?;

        proxy.freeze(Request::Statement("from mailroom.blocked_key"), Keep::Connection);
        world.mailroom(&["dead", "replay", "--all"]).await?.ok()?;
        eventually("the query is silent", SOON, async || Ok(proxy.frozen() > 0)).await?;
        let more: Vec<Message> = (0..20).map(|n| scripted.emits("n", n)).collect();
        world.kafka.send_all(&more).await?;

        handled(world, 20).await?;
        letters(world, 2).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_replay_beside_a_producers_duplicates_waits_for_no_other_record() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let twice = || scripted.emits("x", 1).id("dup");
        world.kafka.send_all(&[dies(&scripted, "dead", "dead-1"), twice()]).await?;
        letters(world, 1).await?;
        handled(world, 1).await?;

        let replay = async {
            passes(Duration::from_millis(300)).await;
            world.mailroom(&["dead", "replay", "--all"]).await?.ok()
        };
        let produce = async {
            for _ in 0..60 {
                world.kafka.send_all(&[twice(), twice(), twice()]).await?;
            }
            Ok(())
        };
        tokio::try_join!(produce, async { replay.await.map(drop) })?;

        letters(world, 2).await?;
        handled(world, 1).await?;
        host.stop().await?;
        Ok(())
    });
}

/// A host whose key `k` waits for its first message's retry, with `followers` behind it in Postgres.
async fn with_followers(world: &World, proxy: &Proxy, followers: i64) -> Result<(Scripted, Host)> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let host = world.start_host_behind("a", proxy)?;
    let waits = json!({"behave": "retry-after", "after_ms": 4_000, "until_attempt": 2,
                       "topic": scripted.output, "value": 0});
    let mut messages = vec![scripted.says("k", &waits)];
    messages.extend((1..=followers).map(|value| scripted.emits("k", value)));
    world.kafka.send_all(&messages).await?;
    let held = "select count(*) from mailroom.inbox where held";
    becomes("all of the key is held", followers + 1, SOON, async || world.db.one::<i64>(held).await).await?;
    Ok((scripted, host))
}

async fn in_order(world: &World, scripted: &Scripted, count: i64) -> Result<()> {
    let expected: Vec<i64> = (0..count).collect();
    becomes("all of the key, in order", expected, LATER, async || values(world, scripted).await).await?;
    let held: i64 = world.db.one("select count(*) from mailroom.inbox where held").await?;
    ensure!(held == 0, "{held} rows are held by nobody");
    Ok(())
}

#[test]
fn records_that_come_while_the_rows_of_their_waiting_key_are_read_follow_them() {
    in_world(Setup::default(), async |world| {
        let proxy = Proxy::of_postgres(&world.db.address()).await?;
        let (scripted, host) = with_followers(world, &proxy, 160).await?;

        proxy.freeze(Request::Statement("The first held rows"), Keep::Reply);
        eventually("rows of the key are read", LATER, async || Ok(proxy.frozen() > 0)).await?;
        let later: Vec<Message> = (161..170).map(|value| scripted.emits("k", value)).collect();
        world.kafka.send_all(&later).await?;
        let stored = "select count(*) from mailroom.inbox";
        becomes("they are stored", 170, SOON, async || world.db.one::<i64>(stored).await).await?;
        proxy.release();

        in_order(world, &scripted, 170).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn rows_whose_reading_was_answered_and_lost_are_read_again() {
    in_world(Setup::default(), async |world| {
        let proxy = Proxy::of_postgres(&world.db.address()).await?;
        let (scripted, host) = with_followers(world, &proxy, 600).await?;

        proxy.freeze(Request::Statement("The first held rows"), Keep::Reply);
        eventually("rows of the key are read", LATER, async || Ok(proxy.frozen() > 0)).await?;
        proxy.cut();
        let later: Vec<Message> = (601..605).map(|value| scripted.emits("k", value)).collect();
        world.kafka.send_all(&later).await?;

        in_order(world, &scripted, 605).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn messages_that_wait_for_their_retries_take_no_memory_from_a_healthy_key() {
    in_world(SMALL, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let waits = json!({"behave": "retry-after", "after_ms": 600_000});
        let waiting: Vec<Message> = (0..1_000).map(|n| scripted.says(&format!("k{n}"), &waits)).collect();
        world.kafka.send_all(&waiting).await?;
        let held = "select count(*) from mailroom.inbox where held and wakes and attempts_made = 1";
        becomes("all of them wait", 1_000, LATER, async || world.db.one::<i64>(held).await).await?;

        let healthy: Vec<Message> = (0..20).map(|n| scripted.emits("healthy", n)).collect();
        world.kafka.send_all(&healthy).await?;

        becomes("the healthy key is done", 20, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}
