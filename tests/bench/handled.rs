//! Kafka → handled: records that lie in a topic, through a native handler and through a component.

use anyhow::Result;
use mailroom_tests::{Kafka, Message};

use crate::figure::Figure;
use crate::floor;
use crate::ground::{Ground, Handler};
use crate::payload::{EVENT_TYPE, key, payload};
use crate::rounds::all_handlers;
use crate::stage::Stage;

/// Sent without waiting in between.
const SENT_AT_ONCE: u32 = 10_000;

/// Records that are not read, by the offsets, and rows that are not completed; 1 stands for some.
pub(crate) const UNREAD: &str = "
    select case when coalesce(sum(next_offset), 0) < (select messages from sent) then 1 else 0 end
           + (select count(*) from (
                select from mailroom.inbox where status = 'pending' and not held limit 1) pending)
      from mailroom.partition_offset";

/// Query for the rate from the first row that was made: what a host does to join its group is not counted.
pub(crate) const RATE: &str =
    "select count(*), extract(epoch from max(completed_at) - min(created_at))::double precision
       from mailroom.inbox where status = 'completed'";

/// The floor and mailroom with either handler.
pub(crate) async fn measure(stage: &Stage, messages: u32) -> Result<Vec<Figure>> {
    let of = [
        "Kafka → handled, native no-op handler",
        "Kafka → handled, Rust component",
        "Kafka → handled, Rust component, reused instances",
    ];
    let mailroom = async |handler| mailroom(stage, handler, messages).await;
    all_handlers(of, async || floor(stage, messages).await, mailroom).await
}

async fn floor(stage: &Stage, messages: u32) -> Result<f64> {
    let ground = ground(stage, "handledfloor", Handler::Component, messages).await?;
    floor::handled::run(&ground, stage.brokers(), messages).await?;
    ground.rated(RATE, messages).await
}

async fn mailroom(stage: &Stage, handler: Handler, messages: u32) -> Result<f64> {
    let ground = ground(stage, "handled", handler, messages).await?;
    ground.worked_off(UNREAD, RATE, messages).await
}

/// The ground of the native handler, its records sent.
pub(crate) async fn native(stage: &Stage, name: &str, messages: u32) -> Result<Ground> {
    ground(stage, name, Handler::Native, messages).await
}

async fn ground(stage: &Stage, name: &str, handler: Handler, messages: u32) -> Result<Ground> {
    let ground = Ground::new(stage, name, handler).await?;
    ground.db.execute("create table sent (messages bigint)").await?;
    sqlx::query("insert into sent values ($1)").bind(i64::from(messages)).execute(ground.db.pool()).await?;
    send(&ground.kafka, &ground.topic, messages).await?;
    ground.level().await?;
    Ok(ground)
}

async fn send(kafka: &Kafka, topic: &str, messages: u32) -> Result<()> {
    let payload = payload();
    for from in (0..messages).step_by(usize::try_from(SENT_AT_ONCE)?) {
        let some = from..messages.min(from + SENT_AT_ONCE);
        let some: Vec<Message> = some.map(|number| message(topic, number, &payload)).collect();
        kafka.send_all(&some).await?;
    }
    Ok(())
}

/// The message of this number.
pub(crate) fn message(topic: &str, number: u32, payload: &[u8]) -> Message {
    let message = Message::to(topic).key(key(number)).payload(payload);
    message.id(&format!("bench-{number}")).header("event_type", EVENT_TYPE)
}
