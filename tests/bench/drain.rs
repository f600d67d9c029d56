//! Backlog drain: rows that lie pending in the inbox when the host starts.

use anyhow::Result;

use crate::figure::Figure;
use crate::floor;
use crate::ground::{Ground, Handler};
use crate::payload::{EVENT_TYPE, KEYS, PARTITIONS, payload};
use crate::rounds::all_handlers;
use crate::stage::Stage;

const PENDING: &str =
    "select count(*) from (select from mailroom.inbox where status = 'pending' and not held limit 1) pending";

const RATE: &str =
    "select count(*), extract(epoch from max(completed_at) - min(completed_at))::double precision
                      from mailroom.inbox where status = 'completed'";

/// The floor and mailroom with either handler.
pub(crate) async fn measure(stage: &Stage, messages: u32) -> Result<Vec<Figure>> {
    let of = [
        "backlog drain, native no-op handler",
        "backlog drain, Rust component",
        "backlog drain, Rust component, reused instances",
    ];
    let mailroom = async |handler| mailroom(stage, handler, messages).await;
    all_handlers(of, async || floor(stage, messages).await, mailroom).await
}

async fn floor(stage: &Stage, messages: u32) -> Result<f64> {
    let ground = ground(stage, "drainfloor", Handler::Component, messages).await?;
    floor::drain::run(&ground).await?;
    ground.rated(RATE, messages).await
}

async fn mailroom(stage: &Stage, handler: Handler, messages: u32) -> Result<f64> {
    let ground = ground(stage, "drain", handler, messages).await?;
    ground.worked_off(PENDING, RATE, messages).await
}

/// A host has been there and made the lanes; then rows came, and none was handled.
async fn ground(stage: &Stage, name: &str, handler: Handler, messages: u32) -> Result<Ground> {
    let ground = Ground::new(stage, name, handler).await?;
    ground.host_up().await?.stop().await?;
    let insert = r#"
        insert into mailroom.inbox (lane, okey, id, message_id, consumer_group, topic, partition, "offset", source,
                                    event_type, key, payload, headers, produced_at_ms)
        select l.id, hashtextextended(m.key, 0), mailroom.uuid_v7(), m.name, l.consumer_group, l.topic, l.partition,
               m.n, l.topic, $1, convert_to(m.key, 'UTF8'), $2,
               jsonb_build_array(jsonb_build_array('message_id', m.name), jsonb_build_array('event_type', $1)), 0
          from (select n, 'bench-' || n as name, 'key-' || n % $3 as key from generate_series(1, $4) n) m
          join mailroom.lane l on l.kind = 'inbox' and l.partition = m.n % $3 % $5
         order by m.n"#;
    sqlx::query(insert)
        .bind(EVENT_TYPE)
        .bind(payload())
        .bind(i32::try_from(KEYS)?)
        .bind(i32::try_from(messages)?)
        .bind(PARTITIONS)
        .execute(ground.db.pool())
        .await?;
    ground.level().await?;
    Ok(ground)
}
