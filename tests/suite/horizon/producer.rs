//! Applications that write to the outbox.

use anyhow::{Result, ensure};
use mailroom_tests::World;
use sqlx::{PgConnection, PgExecutor};

/// An aggregate with a version, as many applications have it.
pub(crate) const AGGREGATES: &str = "create table public.aggregate as select 0::bigint as version";

/// Means by which a producer's messages keep their order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// Locks its aggregate before it publishes.
    RowLock,
    /// Asks for it.
    Ordered,
}

/// One of several that publish under one key.
#[derive(Debug)]
pub(crate) struct Producer<'w> {
    pub(crate) world: &'w World,
    pub(crate) topic: &'w str,
    pub(crate) order: Order,
}

impl Producer<'_> {
    /// Publishes so many messages, each in a transaction that takes its time after it.
    pub(crate) async fn run(self, messages: i64) -> Result<()> {
        for number in 0..messages {
            let mut transaction = self.world.db.pool().begin().await?;
            match self.order {
                Order::RowLock => {
                    let change = "update public.aggregate set version = version + 1 returning version";
                    let version = sqlx::query_scalar(change).fetch_one(&mut *transaction).await?;
                    publish(&mut transaction, self.topic, "k", version).await?;
                }
                Order::Ordered => {
                    let call =
                        "select mailroom.publish($1, 'k', 't', json_build_object('n', $2), ordered => true)";
                    sqlx::query(call).bind(self.topic).bind(number).execute(&mut *transaction).await?;
                }
            }
            sqlx::query("select pg_sleep(random() * 0.02)").execute(&mut *transaction).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}

/// Publishes in a transaction that goes on.
pub(crate) async fn publish(session: &mut PgConnection, topic: &str, key: &str, value: i64) -> Result<()> {
    let call = "select mailroom.publish($1, $2, 't', json_build_object('value', $3))";
    sqlx::query(call).bind(topic).bind(key).bind(value).execute(session).await?;
    Ok(())
}

/// Publishes so many at once, under many keys.
pub(crate) async fn publish_many(to: impl PgExecutor<'_>, topic: &str, messages: i32) -> Result<()> {
    let insert = "insert into mailroom.outbox (topic, key, event_type, payload)
                  select $1, int4send(n), 't', '{}' from generate_series(1, $2) n";
    sqlx::query(insert).bind(topic).bind(messages).execute(to).await?;
    Ok(())
}

/// Publishes in a transaction of its own.
pub(crate) async fn publish_alone(world: &World, topic: &str, key: &str, value: i64) -> Result<()> {
    let mut session = world.db.pool().acquire().await?;
    publish(&mut session, topic, key, value).await
}

/// Keys that go through the same lane, two by two: what one lane has read does not hide what another has.
pub(crate) async fn pairs_of_one_lane(world: &World, topic: &str) -> Result<Vec<[String; 2]>> {
    let keys = "select array['k' || min(n), 'k' || max(n)]
                  from (select n, row_number() over (order by n) / 2 as pair
                          from generate_series(1, 10000) n
                         where mailroom.order_key($1, convert_to('k' || n, 'UTF8')) & 63 = 7) k
                 group by pair having count(*) = 2 order by pair limit 5";
    let pairs: Vec<Vec<String>> = sqlx::query_scalar(keys).bind(topic).fetch_all(world.db.pool()).await?;
    let pairs: Vec<[String; 2]> = pairs.into_iter().filter_map(|pair| pair.try_into().ok()).collect();
    ensure!(pairs.len() == 5, "the lane has too few keys: {pairs:?}");
    Ok(pairs)
}
