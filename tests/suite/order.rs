//! Order per key, while messages of a key fail and wait.

use mailroom_tests::{SOON, Setup, becomes, in_world};
use serde_json::json;

use crate::arrange::Scripted;

#[test]
fn a_retry_keeps_the_order_of_its_key() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let fails_twice =
            json!({"behave": "retry", "until_attempt": 3, "topic": scripted.output, "value": 1});

        let mut messages = vec![scripted.says("k1", &fails_twice)];
        messages.extend((2..=10).map(|value| scripted.emits("k1", value)));
        world.kafka.send_all(&messages).await?;

        let in_order: Vec<i64> = (1..=10).collect();
        becomes("all of the key, in order", in_order, SOON, async || {
            let records = world.kafka.read_all(&scripted.output).await?;
            records.iter().map(|record| record.number("value")).collect()
        })
        .await?;
        let first = &world.kafka.read_all(&scripted.output).await?[0];
        assert_eq!(first.number("attempt")?, 3);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn other_keys_go_on_while_one_waits() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let waits = json!({"behave": "retry-after", "after_ms": 3_600_000});

        let mut messages = vec![scripted.says("k1", &waits), scripted.emits("k1", 1)];
        messages.extend((0..20).map(|value| scripted.emits("k2", value)));
        world.kafka.send_all(&messages).await?;

        becomes("the other key is through", 20, SOON, async || world.db.completed().await).await?;
        let rows =
            "select attempts_made, deliveries from mailroom.inbox where status = 'pending' order by seq";
        becomes("one waits, its follower was not started", vec![(1, 1), (0, 0)], SOON, async || {
            world.db.rows::<(i32, i32)>(rows).await
        })
        .await?;
        host.stop().await?;
        Ok(())
    });
}
