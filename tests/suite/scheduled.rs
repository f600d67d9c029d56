//! Rows that are published later: on time, and at no cost to those beside them.

use anyhow::Result;
use mailroom_tests::{LATER, SOON, Setup, World, becomes, in_world};

const COMPLETED: &str = "select count(*) from mailroom.outbox where status = 'completed'";

/// Rows of a kilobyte that are due one after another, from 3 seconds on.
async fn schedule(world: &World, topic: &str, rows: i32, spread: &str) -> Result<()> {
    let insert = "insert into mailroom.outbox (topic, key, event_type, payload, scheduled_at)
                  select $1, convert_to('k' || n, 'UTF8'), 't', convert_to(repeat('x', 1000), 'UTF8'),
                         clock_timestamp() + interval '3 seconds' + random() * $3::text::interval
                    from generate_series(1, $2) n";
    sqlx::query(insert).bind(topic).bind(rows).bind(spread).execute(world.db.pool()).await?;
    Ok(())
}

#[test]
fn thousands_of_scheduled_rows_are_published_on_time_and_rows_beside_them_at_once() {
    in_world(Setup::default(), async |world| {
        let (later, now) = (world.kafka.topic("later", 4).await?, world.kafka.topic("now", 1).await?);
        schedule(world, &later, 20_000, "60 seconds").await?;
        let host = world.start_host("a")?;

        let mut beside = 0;
        while world.db.one::<i64>("select count(*) from mailroom.outbox where status = 'pending'").await? > 0
        {
            beside += 1;
            let publish = "select mailroom.publish($1, 'k', 't', '{\"a\": 1}')";
            sqlx::query(publish).bind(&now).execute(world.db.pool()).await?;
            let of_now =
                "select count(*) from mailroom.outbox where status = 'completed' and event_type = 't'
                             and payload <> convert_to(repeat('x', 1000), 'UTF8')";
            becomes("the row beside is out", beside, SOON, async || world.db.one::<i64>(of_now).await)
                .await?;
        }

        becomes("all are out", 20_000 + beside, LATER, async || world.db.one::<i64>(COMPLETED).await).await?;
        let late = "select percentile_cont(array[0.5, 0.95]) within group (
                               order by extract(epoch from completed_at - scheduled_at)::float8)
                      from mailroom.outbox where topic = $1";
        let late_of = async |topic: &str| -> Result<Vec<f64>> {
            Ok(sqlx::query_scalar(late).bind(topic).fetch_one(world.db.pool()).await?)
        };
        let (later, now) = (late_of(&later).await?, late_of(&now).await?);
        for (of, late) in [("scheduled", later), ("immediate", now)] {
            assert!(
                late[0] < 1.0 && late[1] < 3.0,
                "half of the {of} rows were {} s late, 95 % {} s",
                late[0],
                late[1]
            );
        }
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn rows_of_a_missing_topic_that_are_due_wait_and_hold_up_no_other_that_is() {
    in_world(Setup::default(), async |world| {
        let (missing, there) = (world.kafka.topic_name("missing"), world.kafka.topic("there", 1).await?);
        let host = world.start_host("a")?;
        schedule(world, &missing, 3_000, "1 second").await?;
        schedule(world, &there, 100, "6 seconds").await?;

        becomes("the others are out", 100, SOON, async || world.db.one::<i64>(COMPLETED).await).await?;
        let late = "select max(extract(epoch from completed_at - scheduled_at))::float8 from mailroom.outbox";
        let late: f64 = world.db.one(late).await?;
        assert!(late < 3.0, "they were up to {late} s late");
        host.wait_log(&missing).await?;
        world.kafka.topic("missing", 1).await?;
        becomes("all are out", 3_100, SOON, async || world.db.one::<i64>(COMPLETED).await).await?;
        host.stop().await?;
        Ok(())
    });
}
