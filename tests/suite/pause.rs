//! A paused handler: nothing of it is started on any host, nothing is spent, and its messages are stored.

use anyhow::Result;
use mailroom_tests::{SOON, Setup, World, becomes, in_world};
use serde_json::json;

use crate::arrange::Scripted;

async fn spent(world: &World) -> Result<i64> {
    world.db.one("select coalesce(sum(deliveries + attempts_made), 0)::bigint from mailroom.inbox").await
}

async fn stored(world: &World) -> Result<i64> {
    world.db.one("select count(*) from mailroom.inbox").await
}

#[test]
fn a_paused_handler_starts_nothing_on_any_host_nor_after_a_restart_until_it_is_resumed() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 2).await?;
        let (first, second) = (world.start_host("a")?, world.start_host("b")?);
        world.kafka.send(&scripted.emits("k", 0)).await?;
        becomes("it works", 1, SOON, async || world.db.completed().await).await?;
        let before = spent(world).await?;

        world.mailroom(&["handler", "pause", "scripted", "--reason", "the bank is closed"]).await?.ok()?;
        for host in [&first, &second] {
            host.wait_log("is paused: nothing of it is started").await?;
        }
        let messages: Vec<_> = (0..20).map(|key| scripted.emits(&format!("k{key}"), key)).collect();
        world.kafka.send_all(&messages).await?;
        becomes("all are stored", 21, SOON, async || stored(world).await).await?;
        let third = second.stop().await?.restart()?;
        let running = "select count(*) from mailroom.handler l join mailroom.host h on h.id = l.host
                        where h.worker = 'b' and l.state = 'running'";
        becomes("the host is back", 1, SOON, async || world.db.one::<i64>(running).await).await?;
        world.kafka.send_all(&messages).await?;
        becomes("these are stored too", 41, SOON, async || stored(world).await).await?;

        assert_eq!((world.db.completed().await?, spent(world).await?), (1, before), "nothing is spent");
        let status = world.mailroom(&["status"]).await?.ok()?;
        assert!(status.contains("is paused since") && status.contains("(the bank is closed)"), "{status}");
        let listed = world.mailroom(&["handler", "list"]).await?.ok()?;
        assert!(listed.contains("paused"), "{listed}");

        world.mailroom(&["handler", "resume", "scripted"]).await?.ok()?;

        becomes("all are done", 41, SOON, async || world.db.completed().await).await?;
        let status = world.mailroom(&["status"]).await?.ok()?;
        assert!(!status.contains("is paused"), "{status}");
        first.stop().await?;
        third.stop().await?;
        Ok(())
    });
}

#[test]
fn a_call_under_way_ends_and_is_settled_and_its_retry_waits() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        // It sleeps until its deadline of two seconds.
        let sleeps = json!({"behave": "sleep", "until_attempt": 2});
        world.kafka.send(&scripted.says("k", &sleeps)).await?;
        becomes("it runs", 1, SOON, async || stored(world).await).await?;

        world.mailroom(&["handler", "pause", "scripted"]).await?.ok()?;

        let attempts = "select attempts_made from mailroom.inbox";
        becomes("its call is settled", 1, SOON, async || world.db.one::<i32>(attempts).await).await?;
        world.kafka.send(&scripted.emits("other", 1)).await?;
        becomes("what comes is stored", 2, SOON, async || stored(world).await).await?;
        let due = "select count(*) from mailroom.inbox where attempts_made = 1 and scheduled_at < clock_timestamp()";
        becomes("the retry is due", 1, SOON, async || world.db.one::<i64>(due).await).await?;
        assert_eq!((world.db.completed().await?, spent(world).await?), (0, 2), "one delivery, one attempt");
        world.mailroom(&["handler", "resume", &world.group("scripted")]).await?.ok()?;
        becomes("both are done", 2, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_is_not_known_or_not_paused_is_said_with_its_exit_code() {
    in_world(Setup::default(), async |world| {
        Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let group = world.group("scripted");
        let claimed = "select count(*) from mailroom.consumer_group";
        becomes("the host has it", 1, SOON, async || world.db.one::<i64>(claimed).await).await?;

        world.mailroom(&["handler", "resume", "scripted"]).await?.refused(3, &["scripted is not paused"])?;
        world.mailroom(&["handler", "pause", "absent"]).await?.refused(3, &["absent", "handler list"])?;
        world.mailroom(&["handler", "pause", &group]).await?.ok()?;
        let status = world.mailroom(&["status", "--json"]).await?.json()?;
        assert_eq!(status["paused"][0]["consumer_group"], group, "{status}");
        host.stop().await?;
        Ok(())
    });
}
