//! Relay: rows that lie in the outbox, to Kafka.

use anyhow::Result;

use crate::figure::{Figure, Measured, Rates};
use crate::floor;
use crate::ground::{Ground, Handler, ROUNDS};
use crate::payload::{EVENT_TYPE, KEYS, payload};
use crate::stage::Stage;

/// Rows that are not on Kafka; 1 stands for some.
pub(crate) const PENDING: &str = "select count(*) from (select from mailroom.outbox where status = 'pending' and not held limit 1) pending";

const RATE: &str =
    "select count(*), extract(epoch from max(completed_at) - min(completed_at))::double precision
                      from mailroom.outbox where status = 'completed'";

/// Floor and mailroom in turn.
pub(crate) async fn measure(stage: &Stage, messages: u32) -> Result<Figure> {
    let mut rates = Rates::aiming_at(0.5);
    for _ in 0..ROUNDS {
        let floor = floor(stage, messages).await?;
        rates.add(mailroom(stage, messages).await?, floor);
    }
    Ok(Figure { of: "outbox → Kafka, order kept", is: Measured::Rates(rates) })
}

async fn floor(stage: &Stage, messages: u32) -> Result<f64> {
    let ground = ground(stage, "relayfloor", messages).await?;
    floor::relay::run(&ground, stage.brokers()).await?;
    ground.rated(RATE, messages).await
}

async fn mailroom(stage: &Stage, messages: u32) -> Result<f64> {
    let ground = ground(stage, "relay", messages).await?;
    ground.worked_off(PENDING, RATE, messages).await
}

async fn ground(stage: &Stage, name: &str, messages: u32) -> Result<Ground> {
    let ground = Ground::new(stage, name, Handler::Component).await?;
    fill(&ground, messages).await?;
    ground.level().await?;
    Ok(ground)
}

/// Fills the outbox with so many rows, in one transaction.
pub(crate) async fn fill(ground: &Ground, messages: u32) -> Result<()> {
    let insert = "
        insert into mailroom.outbox (topic, key, event_type, payload)
        select $1, convert_to('key-' || n % $2, 'UTF8'), $3, $4 from generate_series(1, $5) n";
    sqlx::query(insert)
        .bind(&ground.out)
        .bind(i32::try_from(KEYS)?)
        .bind(EVENT_TYPE)
        .bind(payload())
        .bind(i32::try_from(messages)?)
        .execute(ground.db.pool())
        .await?;
    Ok(())
}
