//! SIGKILL where it hurts most: while the settle transaction is open.

use anyhow::Result;
use mailroom_tests::{SOON, Setup, World, becomes, eventually, in_world};
use serde_json::json;

use crate::arrange::Scripted;

/// Sum in state, emitted rows, completed messages: what a settled message leaves.
async fn traces(world: &World) -> Result<(Option<String>, i64, i64)> {
    let query = "select (select convert_from(value, 'UTF8') from mailroom.state where name = 'sum'),
                        (select count(*) from mailroom.outbox),
                        (select count(*) from mailroom.inbox where status = 'completed')";
    let rows = world.db.rows(query).await?;
    rows.into_iter().next().ok_or_else(|| anyhow::anyhow!("a query without from gave no row"))
}

/// Kills a host within its settle transaction, and starts it again.
pub(crate) async fn kill_while_settling(world: &World) -> Result<()> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let host = world.start_host("a")?;
    let adds = |n: i64| scripted.says("k", &json!({"topic": scripted.output, "add": n}));
    world.kafka.send(&adds(1)).await?;
    let relayed = "select count(*) from mailroom.outbox where status = 'completed'";
    becomes("a first message is through", 1, SOON, async || world.db.one::<i64>(relayed).await).await?;

    // The host stops within its settle transaction: it cannot insert what the handler emitted.
    let held = world.db.hold("lock table mailroom.outbox in share mode").await?;
    world.kafka.send(&adds(10)).await?;
    let waits = async || world.db.waits_for_lock("insert into mailroom.outbox").await;
    eventually("the settle transaction is open", SOON, waits).await?;
    let killed = host.kill().await?;
    held.release().await?;
    becomes("the dead host's sessions are gone", 0, SOON, async || world.db.busy_sessions().await).await?;
    assert_eq!(traces(world).await?, (Some("1".into()), 1, 1), "nothing of the second message is there");

    let host = killed.restart()?;
    becomes("all of it is there, once", (Some("11".into()), 2, 2), SOON, async || traces(world).await)
        .await?;
    becomes("both sums are on Kafka, in order", vec![1, 11], SOON, async || {
        let records = world.kafka.read_all(&scripted.output).await?;
        records.iter().map(|record| record.number("sum")).collect()
    })
    .await?;
    // Begun before the kill only where its call was slow to end, and then the lost delivery counts.
    let query = "select deliveries - crashes, attempts_made from mailroom.inbox order by seq desc limit 1";
    let seen: Vec<(i32, i32)> = world.db.rows(query).await?;
    assert_eq!(seen, [(1, 0)], "one delivery ended it, and the one that was lost is no attempt");
    host.stop().await?;
    Ok(())
}

#[test]
fn state_emitted_message_and_completion_are_all_there_or_all_absent_after_a_kill_while_settling() {
    in_world(Setup::default(), kill_while_settling);
}

/// Kills a host four times while it handles messages.
pub(crate) async fn kill_again_and_again(world: &World) -> Result<()> {
    let scripted = Scripted::drop_into(world, 2).await?;
    let mut host = world.start_host("a")?;
    let adds = |n: i64| {
        scripted.says(&format!("k{}", n % 5), &json!({"topic": scripted.output, "add": 1, "value": n}))
    };
    for round in 0..4_i64 {
        let messages: Vec<_> = (0..100).map(|n| adds(round * 100 + n)).collect();
        world.kafka.send_all(&messages).await?;
        let some = async || Ok(world.db.completed().await? > round * 100 + 10);
        eventually("some of the round are completed", SOON, some).await?;
        host = host.kill().await?.restart()?;
    }

    // The last one cannot have been the killed host's: once it is done, the new host is up and can be stopped.
    world.kafka.send(&adds(400)).await?;
    becomes("all are completed", 401, 2 * SOON, async || world.db.completed().await).await?;

    let sum =
        "select sum(convert_from(value, 'UTF8')::bigint)::bigint from mailroom.state where name = 'sum'";
    assert_eq!(world.db.one::<i64>(sum).await?, 401, "each message was added once");
    assert_eq!(world.db.one::<i64>("select count(*) from mailroom.outbox").await?, 401);
    assert_eq!(world.db.one::<i64>("select sum(attempts_made)::bigint from mailroom.inbox").await?, 0);
    host.stop().await?;
    Ok(())
}

#[test]
fn hosts_killed_again_and_again_lose_nothing_and_repeat_no_effect() {
    in_world(Setup::default(), kill_again_and_again);
}

/// The ids of the messages that the log says are done.
fn done(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.split_once(" is done")?.0.rsplit(' ').next()).collect()
}

#[test]
fn a_message_has_the_same_id_on_every_delivery_though_its_host_was_killed_before_it_had_a_row() {
    in_world(Setup::default(), kill_before_it_has_a_row);
}

pub(crate) async fn kill_before_it_has_a_row(world: &World) -> Result<()> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let host = world.start_host("a")?;
    world.kafka.send(&scripted.emits("k", 1)).await?;
    becomes("a first message is through", 1, SOON, async || world.db.completed().await).await?;

    let held = world.db.hold("select * from mailroom.partition_offset for update").await?;
    world.kafka.send(&scripted.emits("k", 2)).await?;
    eventually("the second is called", SOON, async || Ok(done(&host.log()?).len() == 2)).await?;
    let log = host.log()?;
    let killed = host.kill().await?;
    held.release().await?;
    let host = killed.restart()?;
    becomes("the second is through", 2, SOON, async || world.db.completed().await).await?;

    let id = world.db.one::<String>("select id::text from mailroom.inbox order by seq desc limit 1").await?;
    assert_eq!(done(&log).last(), Some(&id.as_str()), "the killed host called it by the same id");
    let shown = world.mailroom(&["inbox", "show", &id]).await?.ok()?;
    assert!(shown.contains(&id), "{shown}");
    host.stop().await?;
    Ok(())
}
