//! Breaks what the check must notice: real rows and a real record, after everything was settled.

use anyhow::{Context as _, Result};
use mailroom_tests::Message;

use crate::args::Tampering;
use crate::stage::Stage;

/// Does it, and says what was done.
pub(crate) async fn tamper(tampering: Tampering, stage: &Stage) -> Result<String> {
    match tampering {
        Tampering::Lose => lose(stage).await,
        Tampering::Repeat => repeat(stage).await,
        Tampering::Reorder => reorder(stage).await,
    }
}

/// A settled message without a trace, as if its transaction had been lost.
async fn lose(stage: &Stage) -> Result<String> {
    let mut transaction = stage.db.pool().begin().await?;
    let victim = "select order_id, message::text from orders order by order_id
                  offset (select count(*) / 2 from orders) limit 1";
    let (order, message): (String, String) = sqlx::query_as(victim).fetch_one(&mut *transaction).await?;
    sqlx::query("delete from mailroom.inbox where message_id = $1")
        .bind(&message)
        .execute(&mut *transaction)
        .await?;
    let emitted = "delete from mailroom.outbox o using mailroom.outbox_messages m
                    where m.seq = o.seq and m.topic = 'invoices' and m.payload_json->>'order_id' = $1";
    sqlx::query(emitted).bind(&order).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(format!("order {order} has lost its inbox row and its invoice's outbox row"))
}

/// A record once more, as a relay would send it that forgot what it has sent.
async fn repeat(stage: &Stage) -> Result<String> {
    let records = stage.kafka.read_all("invoices").await?;
    let record = records.get(records.len() / 2).context("there is no invoice to repeat")?;
    let mut copy = Message::to("invoices");
    copy = record.key.iter().fold(copy, Message::key);
    copy = record.payload.iter().fold(copy, Message::payload);
    for (name, value) in &record.headers {
        copy = match value {
            Some(value) => copy.header(name, value),
            None => copy.null_header(name),
        };
    }
    let (partition, offset) = stage.kafka.send(&copy).await?;
    Ok(format!(
        "record {} of invoices/{} was sent again and is now at {partition}/{offset} too",
        record.offset, record.partition
    ))
}

/// Two messages of one customer change their places in the outbox, as if the relay had overtaken one.
async fn reorder(stage: &Stage) -> Result<String> {
    let mut transaction = stage.db.pool().begin().await?;
    let neighbours = "
        select o.customer, o.order_id, o.message::text, lag(o.order_id) over mine, lag(o.message::text) over mine
          from orders o join mailroom.outbox b on b.id = o.message
        window mine as (partition by o.customer order by b.seq)
         order by lag(o.order_id) over mine is null, b.seq limit 1";
    let (customer, later, later_message, earlier, earlier_message): (
        String,
        String,
        String,
        Option<String>,
        Option<String>,
    ) = sqlx::query_as(neighbours).fetch_one(&mut *transaction).await?;
    let (earlier, earlier_message) = earlier.zip(earlier_message).context("no customer has two orders")?;
    // A row's seq cannot be changed, so the two exchange all else that tells them apart.
    let exchange = "
        with pair as materialized (select * from mailroom.outbox where id::text in ($1, $2)),
             gone as (delete from mailroom.outbox where id::text in ($1, $2) returning seq)
        insert into mailroom.outbox (seq, id, topic, key, event_type, payload, content_type, status, completed_at,
                                     published_partition, published_offset, created_at)
        overriding system value
        select other.seq, this.id, this.topic, this.key, this.event_type, this.payload, this.content_type,
               this.status, this.completed_at, this.published_partition, this.published_offset, this.created_at
          from pair this join pair other on other.id <> this.id
         where (select count(*) from gone) = 2";
    let exchange = sqlx::query(exchange).bind(&earlier_message).bind(&later_message);
    exchange.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(format!("the outbox rows of {customer}'s orders {earlier} and {later} have changed places"))
}
