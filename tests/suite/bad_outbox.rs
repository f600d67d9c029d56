//! Outbox rows that Kafka cannot take: each fails alone.

use mailroom_tests::{SOON, Setup, World, becomes, in_world};

/// A plain insert, which any client may do, past the checks of `mailroom.publish`.
async fn insert(world: &World, topic: &str, bytes: usize) -> anyhow::Result<()> {
    let statement = "insert into mailroom.outbox (topic, key, event_type, payload)
                     values ($1, 'k', 'thing.done', $2)";
    let payload = vec![b'x'; bytes];
    sqlx::query(statement).bind(topic).bind(payload).execute(world.db.pool()).await?;
    Ok(())
}

#[test]
fn a_row_that_kafka_cannot_take_fails_alone_with_a_dead_letter_and_the_rest_is_published() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 1).await?;
        insert(world, "no topic: has spaces", 1).await?;
        insert(world, "", 1).await?;
        insert(world, &topic, 3_000_000).await?;
        insert(world, &topic, 10).await?;
        insert(world, &topic, 11).await?;

        let host = world.start_host("a")?;

        becomes("the good ones are out", vec![10, 11], SOON, async || {
            let records = world.kafka.read_all(&topic).await?;
            Ok(records.iter().map(|record| record.payload.as_deref().map_or(0, <[u8]>::len)).collect())
        })
        .await?;
        let failed = "select count(*) from mailroom.outbox where status = 'failed'";
        becomes("the three have failed", 3, SOON, async || world.db.one::<i64>(failed).await).await?;
        let letters = "select count(*) from mailroom.dead_letter d join mailroom.outbox o on o.id = d.message
                        where d.origin = 'outbox' and d.error <> '' and o.last_error <> ''";
        assert_eq!(world.db.one::<i64>(letters).await?, 3);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_row_with_headers_that_are_none_fails_alone() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 1).await?;
        let statement = "insert into mailroom.outbox (topic, key, event_type, payload, headers)
                         values ($1, 'k', 'thing.done', 'x', '[[\"name\"]]')";
        sqlx::query(statement).bind(&topic).execute(world.db.pool()).await?;
        insert(world, &topic, 1).await?;

        let host = world.start_host("a")?;

        becomes("the good one is out", 1, SOON, async || Ok(world.kafka.read_all(&topic).await?.len()))
            .await?;
        let failed =
            "select count(*) from mailroom.outbox where status = 'failed' and last_error like '%header%'";
        becomes("the other has failed", 1, SOON, async || world.db.one::<i64>(failed).await).await?;
        host.stop().await?;
        Ok(())
    });
}
