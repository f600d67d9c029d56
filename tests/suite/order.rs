//! Order per key, while messages of a key fail and wait.

use anyhow::Result;
use mailroom_tests::kafka::record::first_occurrences;
use mailroom_tests::{SOON, Setup, World, becomes, eventually, in_world};
use serde_json::json;

use crate::arrange::Scripted;

/// Has the first message of a key fail twice before the others.
pub(crate) async fn retry_within_a_key(world: &World) -> Result<()> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let host = world.start_host("a")?;
    let fails_twice = json!({"behave": "retry", "until_attempt": 3, "topic": scripted.output, "value": 1});

    let mut messages = vec![scripted.says("k1", &fails_twice)];
    messages.extend((2..=10).map(|value| scripted.emits("k1", value)));
    world.kafka.send_all(&messages).await?;

    let in_order: Vec<i64> = (1..=10).collect();
    becomes("all of the key, in order", in_order, SOON, async || {
        let records = world.kafka.read_all(&scripted.output).await?;
        records.iter().map(|record| record.number("value")).collect()
    })
    .await?;
    let records = world.kafka.read_all(&scripted.output).await?;
    let attempt = records.first().map(|record| record.number("attempt")).transpose()?;
    assert_eq!(attempt, Some(3));
    host.stop().await?;
    Ok(())
}

#[test]
fn a_retry_keeps_the_order_of_its_key() {
    in_world(Setup::default(), retry_within_a_key);
}

/// Has the first message of a key wait for an hour.
pub(crate) async fn others_go_on(world: &World) -> Result<()> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let host = world.start_host("a")?;
    let waits = json!({"behave": "retry-after", "after_ms": 3_600_000});

    let mut messages = vec![scripted.says("k1", &waits), scripted.emits("k1", 1)];
    messages.extend((0..20).map(|value| scripted.emits("k2", value)));
    world.kafka.send_all(&messages).await?;

    becomes("the other key is through", 20, SOON, async || world.db.completed().await).await?;
    let rows = "select attempts_made, deliveries from mailroom.inbox where status = 'pending' order by seq";
    becomes("one waits, its follower was not started", vec![(1, 1), (0, 0)], SOON, async || {
        world.db.rows::<(i32, i32)>(rows).await
    })
    .await?;
    host.stop().await?;
    Ok(())
}

#[test]
fn other_keys_go_on_while_one_waits() {
    in_world(Setup::default(), others_go_on);
}

/// Set-up in which a host is careful with about fifty records after a take-over: it stores them before it
/// handles them.
pub(crate) const CAREFUL_WITH_FEW: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[("MAILROOM__INGEST__IN_HAND_MAX", "20"), ("MAILROOM__INGEST__BATCH_ROWS_MAX", "2")],
};

/// Has messages come while a host that took over stops being careful.
pub(crate) async fn take_over(world: &World) -> Result<()> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let host = world.start_host("a")?;
    world.kafka.send(&scripted.emits("k1", 0)).await?;
    becomes("the lane is in use", 1, SOON, async || world.db.completed().await).await?;
    let host = host.kill().await?.restart()?;
    world.kafka.send(&scripted.emits("k1", 1)).await?;
    becomes("the lane is taken over", 2, SOON, async || world.db.completed().await).await?;

    // Wherever it stops being careful, it is between two polls of which the first is still being stored.
    for first in (2..82).step_by(10) {
        let held = world.db.hold("lock table mailroom.inbox in share mode").await?;
        world.kafka.send(&scripted.emits("k1", first)).await?;
        let waits = async || world.db.waits_for_lock("insert into mailroom.inbox").await;
        eventually("a poll is being stored", SOON, waits).await?;
        for value in first + 1..first + 10 {
            world.kafka.send(&scripted.emits("k1", value)).await?;
        }
        held.release().await?;
        let done = async || world.db.completed().await;
        becomes("all of them are done", first + 10, SOON, done).await?;
    }

    let in_order: Vec<i64> = (0..82).collect();
    becomes("all of the key, in order", in_order, SOON, async || {
        let records = world.kafka.read_all(&scripted.output).await?;
        first_occurrences(&records)?.iter().map(|record| record.number("value")).collect()
    })
    .await?;
    host.stop().await?;
    Ok(())
}

#[test]
fn a_key_keeps_its_order_where_a_host_stops_being_careful_after_a_take_over() {
    in_world(CAREFUL_WITH_FEW, take_over);
}
