//! Outbox rows that Kafka cannot take: each fails alone.

use anyhow::Result;
use mailroom_tests::kafka::record::{ensure_rising_per_key, first_occurrences};
use mailroom_tests::{LATER, SOON, Setup, World, becomes, in_world};

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

/// Counts the rows in each status, with the reason of failed ones.
async fn ends(world: &World, topic: &str) -> Result<Vec<(String, Option<String>, i64)>> {
    let ends = "select status, failed_reason, count(*) from mailroom.outbox where topic = $1
                 group by 1, 2 order by 1, 2";
    Ok(sqlx::query_as(ends).bind(topic).fetch_all(world.db.pool()).await?)
}

fn completed(rows: i64) -> (String, Option<String>, i64) {
    ("completed".to_owned(), None, rows)
}

fn rejected(rows: i64) -> (String, Option<String>, i64) {
    ("failed".to_owned(), Some("rejected".to_owned()), rows)
}

/// Rows of two kilobytes under ten keys, at one stroke; every one in `large` has thirty.
async fn insert_batch(world: &World, topic: &str, rows: i32, large: &[i32]) -> Result<()> {
    let insert = "insert into mailroom.outbox (topic, key, event_type, payload)
                  select $1, convert_to('k' || n % 10, 'UTF8'), 't', convert_to(json_build_object(
                             'value', n, 'pad', repeat('x', case when n = any ($3) then 30000 else 2000 end))::text, 'UTF8')
                    from generate_series(1, $2) n";
    sqlx::query(insert).bind(topic).bind(rows).bind(large).execute(world.db.pool()).await?;
    Ok(())
}

async fn is_on_kafka_in_order(world: &World, topic: &str, rows: usize) -> Result<()> {
    let records = world.kafka.read_all(topic).await?;
    let first = first_occurrences(&records)?;
    assert_eq!(first.len(), rows);
    ensure_rising_per_key(&first, "value")
}

#[test]
fn rows_that_are_only_together_too_large_for_their_topic_are_all_published_in_order() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic_with("small", 1, &[("max.message.bytes", "20000")]).await?;
        insert_batch(world, &topic, 200, &[]).await?;

        let host = world.start_host("a")?;

        becomes("all are out", vec![completed(200)], LATER, async || ends(world, &topic).await).await?;
        is_on_kafka_in_order(world, &topic, 200).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn of_a_batch_that_the_broker_refuses_only_the_row_that_is_too_large_by_itself_dies() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic_with("small", 1, &[("max.message.bytes", "20000")]).await?;
        insert_batch(world, &topic, 100, &[31, 77]).await?;

        let host = world.start_host("a")?;

        let expected = vec![completed(98), rejected(2)];
        becomes("all have ended", expected, LATER, async || ends(world, &topic).await).await?;
        is_on_kafka_in_order(world, &topic, 98).await?;
        let dead = "select array_agg((convert_from(payload, 'UTF8')::json ->> 'value')::int order by seq)
                      from mailroom.outbox where status = 'failed'";
        assert_eq!(world.db.one::<Vec<i32>>(dead).await?, [31, 77]);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn of_a_batch_for_a_compacted_topic_only_the_row_without_a_key_dies() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic_with("compacted", 1, &[("cleanup.policy", "compact")]).await?;
        let insert = "insert into mailroom.outbox (topic, key, event_type, payload)
                      select $1, case when n <> 10 then convert_to('k' || n, 'UTF8') end, 't', 'x'
                        from generate_series(1, 20) n";
        sqlx::query(insert).bind(&topic).execute(world.db.pool()).await?;

        let host = world.start_host("a")?;

        let expected = vec![completed(19), rejected(1)];
        becomes("all have ended", expected, LATER, async || ends(world, &topic).await).await?;
        let alive = "select count(*) from mailroom.outbox where status = 'failed' and key is not null";
        assert_eq!(world.db.one::<i64>(alive).await?, 0);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_topic_that_refuses_our_time_gets_its_rows_without_one() {
    in_world(Setup::default(), async |world| {
        // Older by the time it arrives.
        let strict = [("message.timestamp.before.max.ms", "0")];
        let topic = world.kafka.topic_with("strict", 1, &strict).await?;
        insert_batch(world, &topic, 50, &[]).await?;

        let host = world.start_host("a")?;

        becomes("all are out", vec![completed(50)], LATER, async || ends(world, &topic).await).await?;
        is_on_kafka_in_order(world, &topic, 50).await?;
        host.wait_log("without a time").await?;
        host.stop().await?;
        Ok(())
    });
}
