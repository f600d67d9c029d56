//! The circuit breaker: a handler that only faults is left alone, on all hosts, until a probe succeeds.

use anyhow::Result;
use mailroom_tests::{SOON, Setup, World, becomes, eventually, in_world};
use serde_json::json;

use crate::arrange::Scripted;

const CAUTIOUS: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[
        ("MAILROOM__BREAKER__THRESHOLD", "3"),
        ("MAILROOM__BREAKER__RECOVERY", "4s"),
        ("MAILROOM__RETRY__ATTEMPTS_MAX", "20"),
    ],
};

async fn calls(world: &World) -> Result<i64> {
    world.db.one("select coalesce(sum(deliveries), 0)::bigint from mailroom.inbox").await
}

async fn open_breakers(world: &World) -> Result<i64> {
    world.db.one("select count(*) from mailroom.breaker").await
}

#[test]
fn a_handler_that_only_faults_is_called_three_times_then_once_a_recovery_whichever_host_has_it() {
    in_world(CAUTIOUS, async |world| {
        let scripted = Scripted::drop_into(world, 2).await?;
        let fails = json!({"behave": "fail"});
        let messages: Vec<_> = (0..40).map(|key| scripted.says(&format!("k{key}"), &fails)).collect();
        world.kafka.send_all(&messages).await?;

        let first = world.start_host("a")?;
        becomes("it opens", 1, SOON, async || open_breakers(world).await).await?;
        becomes("three calls were settled", 3, SOON, async || calls(world).await).await?;
        let second = world.start_host("b")?;
        let owners =
            "select count(distinct owner) from mailroom.lane where kind = 'inbox' and owner is not null";
        becomes("both hosts have a partition", 2, SOON, async || world.db.one::<i64>(owners).await).await?;
        let shown = world.mailroom(&["status"]).await?.ok()?;
        assert!(shown.contains("The breaker of") || shown.contains("breaker of"), "{shown}");

        eventually("a probe was made", SOON, async || Ok(calls(world).await? > 3)).await?;
        assert_eq!(calls(world).await?, 4, "one probe, on one host");
        assert_eq!(open_breakers(world).await?, 1);
        let counted: i64 = world.db.one("select sum(attempts_made)::bigint from mailroom.inbox").await?;
        assert_eq!(counted, 4, "what was not started cost no attempt");
        first.stop().await?;
        second.stop().await?;
        Ok(())
    });
}

#[test]
fn a_good_probe_closes_the_breaker_and_the_rest_goes_on() {
    in_world(CAUTIOUS, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let mends = json!({"behave": "fail", "until_attempt": 4, "topic": scripted.output, "value": 0});
        let mut messages = vec![scripted.says("k", &mends)];
        messages.extend((1..=20).map(|value| scripted.emits("k", value)));
        world.kafka.send_all(&messages).await?;

        let host = world.start_host("a")?;
        becomes("it opens after the third fault", 1, SOON, async || open_breakers(world).await).await?;
        becomes("all are done", 21, SOON, async || world.db.completed().await).await?;

        assert_eq!(open_breakers(world).await?, 0, "the fourth call was the probe");
        assert_eq!(calls(world).await?, 24);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn an_operator_closes_a_breaker_by_hand() {
    in_world(CAUTIOUS, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let fails = json!({"behave": "fail", "until_attempt": 2});
        let messages: Vec<_> = (0..3).map(|key| scripted.says(&format!("k{key}"), &fails)).collect();
        world.kafka.send_all(&messages).await?;
        let host = world.start_host("a")?;
        becomes("it opens", 1, SOON, async || open_breakers(world).await).await?;

        world.mailroom(&["handler", "reset", "scripted"]).await?.ok()?;

        becomes("all are done", 3, SOON, async || world.db.completed().await).await?;
        world.mailroom(&["handler", "reset", "scripted"]).await?.refused(3, &["no breaker of scripted"])?;
        host.stop().await?;
        Ok(())
    });
}
