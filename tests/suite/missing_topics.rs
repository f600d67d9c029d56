//! Topics that do not exist, on either side: the log names them, the rest goes on, and they work once made.

use mailroom_tests::{Manifest, SOON, Setup, becomes, in_world};

use crate::arrange::{Scripted, waits};

#[test]
fn a_subscribed_topic_that_does_not_exist_is_named_and_taken_once_it_is_there() {
    in_world(Setup::default(), async |world| {
        let present = Scripted::drop_into(world, 1).await?;
        let missing = world.kafka.topic_name("later");
        let manifest = Manifest::takes(&[&present.input, &missing]).publishes(&[&present.output]);
        world.drop_handler("scripted", "scripted", &manifest)?;
        let host = world.start_host("a")?;

        world.kafka.send(&present.emits("k", 1)).await?;
        becomes("the other topic is taken", 1, SOON, async || world.db.completed().await).await?;
        host.wait_log(&missing).await?;
        let named = format!("topic {missing}, which handler scripted takes");
        becomes("status names it", vec![named], SOON, async || waits(world).await).await?;
        world.kafka.topic("later", 1).await?;
        let late = Scripted { input: missing, output: present.output };
        world.kafka.send(&late.emits("k", 2)).await?;

        becomes("the new topic is taken too", 2, SOON, async || world.db.completed().await).await?;
        becomes("status names it no more", vec![], SOON, async || waits(world).await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn an_outbox_row_for_a_missing_topic_waits_uncounted_and_holds_up_no_other() {
    in_world(Setup::default(), async |world| {
        let present = world.kafka.topic("present", 1).await?;
        let missing = world.kafka.topic_name("later");
        let host = world.start_host("a")?;
        let publish = "select mailroom.publish($1, 'k', 'thing.done', '{\"n\": 1}')";
        for topic in [&missing, &present] {
            sqlx::query(publish).bind(topic).execute(world.db.pool()).await?;
        }

        becomes("the other is out", 1, SOON, async || Ok(world.kafka.read_all(&present).await?.len()))
            .await?;
        host.wait_log(&missing).await?;
        let row = "select status, attempts_made from mailroom.outbox where topic like '%later'";
        assert_eq!(world.db.rows::<(String, i32)>(row).await?, [("pending".into(), 0)]);
        world.kafka.topic("later", 1).await?;

        becomes("it is out", 1, SOON, async || Ok(world.kafka.read_all(&missing).await?.len())).await?;
        becomes("uncounted", vec![("completed".to_owned(), 0)], SOON, async || world.db.rows(row).await)
            .await?;
        host.stop().await?;
        Ok(())
    });
}
