//! Producers commit when they like: out of the order of `seq`, late, or not for a long time. What the relay
//! makes of it: nothing is lost, a key keeps its order, and nobody waits for another.

mod producer;

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use mailroom_tests::{SOON, Setup, World, becomes, eventually, in_world};
use tokio::time::Instant;

use producer::{AGGREGATES, Order, Producer};

/// The relay looks at least this often, 500 ms, and is given time for Kafka, the mark and a busy machine.
const BACKSTOP: Duration = Duration::from_secs(3);

/// Count of the rows that are published and marked.
const RELAYED: &str = "select count(*) from mailroom.outbox where status = 'completed'";

/// Has producers commit out of the order of `seq`.
pub(crate) async fn commits_out_of_order(world: &World) -> Result<()> {
    let topic = world.kafka.topic("out", 1).await?;
    let host = world.start_host("a")?;
    for [early, late] in producer::pairs_of_one_lane(world, &topic).await? {
        let mut open = world.db.pool().begin().await?;
        producer::publish(&mut open, &topic, &late, 0).await?;
        producer::publish_alone(world, &topic, &early, 0).await?;
        relayed(world, &early, SOON).await?;

        open.commit().await?;

        relayed(world, &late, BACKSTOP).await?;
    }
    host.stop().await?;
    Ok(())
}

#[test]
fn a_lower_seq_that_is_committed_after_higher_ones_were_relayed_is_relayed_within_the_backstop() {
    in_world(Setup::default(), commits_out_of_order);
}

#[test]
fn so_it_is_where_its_transaction_began_after_all_that_have_ended() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 1).await?;
        let host = world.start_host("a")?;
        for [early, late] in producer::pairs_of_one_lane(world, &topic).await? {
            let mut older = world.db.pool().begin().await?;
            sqlx::query("select pg_current_xact_id()").execute(&mut *older).await?;
            let mut open = world.db.pool().begin().await?;
            producer::publish(&mut open, &topic, &late, 0).await?;
            producer::publish(&mut older, &topic, &early, 0).await?;
            older.commit().await?;
            relayed(world, &early, SOON).await?;

            open.commit().await?;

            relayed(world, &late, BACKSTOP).await?;
        }
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn producers_that_lock_their_aggregate_first_see_its_messages_in_their_order() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 1).await?;
        world.db.execute(AGGREGATES).await?;
        let host = world.start_host("a")?;

        let producers = (0..4).map(|_| Producer { world, topic: &topic, order: Order::RowLock }.run(50));
        try_join_all(producers).await?;

        becomes("all are published", 200, SOON, async || Ok(world.kafka.read_all(&topic).await?.len()))
            .await?;
        let numbers: Result<Vec<i64>> =
            world.kafka.read_all(&topic).await?.iter().map(|record| record.number("value")).collect();
        assert_eq!(numbers?, (1..=200).collect::<Vec<i64>>());
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn an_ordered_publish_keeps_the_order_of_the_calls_without_a_lock_of_the_producers_own() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 1).await?;
        let host = world.start_host("a")?;

        let producers = (0..4).map(|_| Producer { world, topic: &topic, order: Order::Ordered }.run(50));
        try_join_all(producers).await?;

        becomes("all are published", 200, SOON, async || Ok(world.kafka.read_all(&topic).await?.len()))
            .await?;
        let published: Result<Vec<String>> =
            world.kafka.read_all(&topic).await?.iter().map(mailroom_tests::Record::id).collect();
        let called: Vec<String> =
            world.db.column("select id::text from mailroom.outbox order by seq").await?;
        assert_eq!(published?, called);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_producers_transaction_that_stays_open_delays_no_other_row() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 1).await?;
        let host = world.start_host("a")?;
        producer::publish_alone(world, &topic, "first", 0).await?;
        relayed(world, "first", SOON).await?;
        let mut open = world.db.pool().begin().await?;
        producer::publish(&mut open, &topic, "open", 0).await?;

        let until = Instant::now() + Duration::from_secs(10);
        let mut rows = 0;
        while Instant::now() < until {
            rows += 1;
            let key = format!("beside-{rows}");
            producer::publish_alone(world, &topic, &key, rows).await?;
            relayed(world, &key, BACKSTOP).await?;
        }
        open.commit().await?;
        relayed(world, "open", BACKSTOP).await?;

        // From the insert to the mark: Kafka's acknowledgement is within.
        let took = "select percentile_cont(array[0.5, 0.95]) within group (
                               order by extract(epoch from completed_at - created_at)::float8 * 1000)
                      from mailroom.outbox where key not in ('first', 'open')";
        let millis: Vec<f64> = world.db.one(took).await?;
        assert!(rows > 50, "only {rows} rows were published beside it");
        assert!(
            millis[0] < 50.0 && millis[1] < 250.0,
            "half of them took {} ms, 95 % {} ms",
            millis[0],
            millis[1]
        );
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn twenty_thousand_rows_beside_an_open_transaction_are_relayed_and_not_walked_over_again() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 4).await?;
        let host = world.start_host("a")?;
        producer::publish_alone(world, &topic, "first", 0).await?;
        relayed(world, "first", SOON).await?;
        let mut open = world.db.pool().begin().await?;
        producer::publish(&mut open, &topic, "open", 0).await?;

        for batch in 1..=20 {
            producer::publish_many(world.db.pool(), &topic, 1_000).await?;
            becomes("all but the open one are relayed", 1 + batch * 1_000, SOON, async || {
                world.db.one::<i64>(RELAYED).await
            })
            .await?;
        }
        open.commit().await?;
        relayed(world, "open", BACKSTOP).await?;
        host.stop().await?;

        // A mark finds each row once, looks find it while it is in hand and until the horizon is above it.
        let walked = "select idx_tup_read from pg_stat_all_indexes where indexrelname = 'outbox_ready'";
        let walked: i64 = world.db.one(walked).await?;
        assert!((20_000..600_000).contains(&walked), "{walked} entries of the index were walked over");
        Ok(())
    });
}

#[test]
fn a_large_transaction_that_is_committed_late_is_relayed_whole() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 4).await?;
        let host = world.start_host("a")?;
        let mut open = world.db.pool().begin().await?;
        producer::publish_many(&mut *open, &topic, 5_000).await?;
        producer::publish_many(world.db.pool(), &topic, 2_000).await?;
        let relayed = async || world.db.one::<i64>(RELAYED).await;
        becomes("those beside it are relayed", 2_000, SOON, relayed).await?;

        open.commit().await?;

        becomes("all of it is relayed", 7_000, SOON, relayed).await?;
        host.stop().await?;
        Ok(())
    });
}

/// Leaves the database as a failover to an asynchronous standby does: the last commits are gone, and their
/// numbers are drawn again.
#[test]
fn rows_that_come_after_the_sequence_fell_back_are_published_by_the_same_relay() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 1).await?;
        let host = world.start_host("a")?;
        producer::publish_many(world.db.pool(), &topic, 1_000).await?;
        becomes("all are relayed", 1_000, SOON, async || world.db.one::<i64>(RELAYED).await).await?;
        // The horizon is above them.
        producer::publish_alone(world, &topic, "last", 0).await?;
        relayed(world, "last", SOON).await?;

        let mut failover = world.db.pool().begin().await?;
        sqlx::query("delete from mailroom.outbox where seq > 500").execute(&mut *failover).await?;
        sqlx::query("select setval('mailroom.outbox_seq_seq', 500)").execute(&mut *failover).await?;
        failover.commit().await?;
        producer::publish_many(world.db.pool(), &topic, 50).await?;

        becomes("the new ones are relayed", 550, SOON, async || world.db.one::<i64>(RELAYED).await).await?;
        host.wait_log("sequence fell back").await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_delayed_row_that_is_committed_late_is_published_when_it_is_due() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 1).await?;
        let host = world.start_host("a")?;
        for [early, late] in producer::pairs_of_one_lane(world, &topic).await? {
            let mut open = world.db.pool().begin().await?;
            let delayed = "select mailroom.publish($1, $2, 't', '{\"value\": 0}',
                                                   scheduled_at => clock_timestamp() + interval '1.5 seconds')";
            sqlx::query(delayed).bind(&topic).bind(&late).execute(&mut *open).await?;
            producer::publish_alone(world, &topic, &early, 0).await?;
            relayed(world, &early, SOON).await?;
            open.commit().await?;
            // The horizon goes on.
            producer::publish_many(world.db.pool(), &topic, 100).await?;

            relayed(world, &late, 2 * BACKSTOP).await?;
        }
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_delayed_row_is_published_when_it_is_due_and_not_before() {
    in_world(Setup::default(), async |world| {
        let host = world.start_host("a")?;
        is_published_when_due(world, "alone").await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_delayed_row_is_published_when_it_is_due_though_a_producers_transaction_is_open() {
    in_world(Setup::default(), async |world| {
        let host = world.start_host("a")?;
        let mut open = world.db.pool().begin().await?;
        producer::publish(&mut open, "nowhere", "open", 0).await?;
        is_published_when_due(world, "beside").await?;
        open.rollback().await?;
        host.stop().await?;
        Ok(())
    });
}

/// Publishes a row that is due in two seconds, and rows beside it that pass it.
async fn is_published_when_due(world: &World, key: &str) -> Result<()> {
    let topic = world.kafka.topic(key, 1).await?;
    let delayed = "select mailroom.publish($1, $2, 't', '{\"value\": 0}',
                                           scheduled_at => clock_timestamp() + interval '2 seconds')";
    sqlx::query(delayed).bind(&topic).bind(key).execute(world.db.pool()).await?;
    for row in 1..=20 {
        let passing = format!("passing-{row}");
        producer::publish_alone(world, &topic, &passing, row).await?;
        relayed(world, &passing, SOON).await?;
    }
    relayed(world, key, SOON).await?;

    let late = "select extract(epoch from completed_at - scheduled_at)::float8
                  from mailroom.outbox where scheduled_at > created_at + interval '1 second'";
    let late: f64 = world.db.one(late).await?;
    assert!((0.0..BACKSTOP.as_secs_f64()).contains(&late), "it was published {late} s after it was due");
    let records = world.kafka.read_all(&topic).await?;
    let values: Result<Vec<i64>> = records.iter().map(|record| record.number("value")).collect();
    assert_eq!(values?.len(), 21, "each once");
    Ok(())
}

/// Waits until the row of this key is published and marked.
async fn relayed(world: &World, key: &str, within: Duration) -> Result<()> {
    let query = "select count(*) = 1 from mailroom.outbox where key = convert_to($1, 'UTF8') and status = 'completed'";
    eventually(&format!("the row of {key} is relayed"), within, async || {
        Ok(sqlx::query_scalar(query).bind(key).fetch_one(world.db.pool()).await?)
    })
    .await
}
