//! The whole path, with the example handler: application, outbox, Kafka, inbox, handler, and back.

use anyhow::{Result, bail};
use mailroom_tests::{Manifest, SOON, Setup, World, becomes, in_world};
use sqlx::types::Uuid;

const ORDERS: &str = "create table orders (id text primary key, cents bigint not null)";

async fn invoicing(world: &World) -> Result<()> {
    world.kafka.create("orders", 1).await?;
    world.kafka.create("invoices", 1).await?;
    world.drop_handler("invoice", "invoice", &Manifest::takes(&["orders"]).publishes(&["invoices"]))?;
    world.db.execute(ORDERS).await?;
    Ok(())
}

/// Places an order as an application does: its own row and the message, in its own transaction.
async fn place_order(world: &World, order: &str, cents: i64) -> Result<Uuid> {
    let mut transaction = world.db.pool().begin().await?;
    sqlx::query("insert into orders values ($1, $2)")
        .bind(order)
        .bind(cents)
        .execute(&mut *transaction)
        .await?;
    let id = sqlx::query_scalar(
        "select mailroom.publish('orders', 'ada', 'order.placed',
             json_build_object('order_id', $1, 'customer', 'ada', 'amount_cents', $2))",
    )
    .bind(order)
    .bind(cents)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(id)
}

/// Sends two orders through the whole path.
pub(crate) async fn orders_become_invoices(world: &World) -> Result<()> {
    invoicing(world).await?;
    let host = world.start_host("a")?;

    let first = place_order(world, "o-1", 250).await?;
    place_order(world, "o-2", 300).await?;

    let invoices = async || world.kafka.read_all("invoices").await;
    becomes("both invoices are on Kafka", 2, SOON, async || Ok(invoices().await?.len())).await?;
    let invoices = invoices().await?;
    let [one, two] = invoices.as_slice() else { bail!("two invoices, not {}", invoices.len()) };
    let totals: Result<Vec<i64>> = invoices.iter().map(|invoice| invoice.number("total_cents")).collect();
    assert_eq!(totals?, [250, 550], "state holds the running total of the key");
    assert_eq!(one.key_text(), "ada");
    assert_eq!(one.header("event_type").as_deref(), Some("invoice.issued"));
    assert_eq!(one.header("causation_id"), Some(first.to_string()), "what caused it is named");

    let query = "select i.message_id, i.status, i.outcome, o.id::text
                   from mailroom.inbox i
                   join mailroom.outbox o on o.causation_id = i.message_id order by i.seq";
    let rows: Vec<(String, String, String, String)> = world.db.rows(query).await?;
    let ids = [one.id()?, two.id()?];
    let [of_first, of_second] = rows.as_slice() else { bail!("two rows, not {}", rows.len()) };
    let done = (first.to_string(), "completed".into(), "completed".into(), ids[0].clone());
    assert_eq!(*of_first, done);
    assert_eq!(of_second.3, ids[1]);
    assert!(!host.log()?.contains(" ERROR "), "the first message of a database is no error");
    host.stop().await?;
    Ok(())
}

#[test]
fn a_message_becomes_a_committed_effect_and_its_event_is_back_on_kafka() {
    in_world(Setup { own_kafka: true, ..Setup::default() }, orders_become_invoices);
}

#[test]
fn a_transaction_that_was_rolled_back_leaves_no_message() {
    in_world(Setup { own_kafka: true, ..Setup::default() }, async |world| {
        let topic = world.kafka.topic("plain", 1).await?;
        let publish = "select mailroom.publish($1, null, 'thing.done', json_build_object('n', $2))";
        let host = world.start_host("a")?;
        for (n, commits) in [(1, false), (2, true)] {
            let mut transaction = world.db.pool().begin().await?;
            sqlx::query(publish).bind(&topic).bind(n).execute(&mut *transaction).await?;
            if commits { transaction.commit().await? } else { transaction.rollback().await? }
        }

        becomes("one record", 1, SOON, async || Ok(world.kafka.read_all(&topic).await?.len())).await?;

        assert_eq!(world.kafka.read_all(&topic).await?[0].number("n")?, 2);
        host.stop().await?;
        Ok(())
    });
}
