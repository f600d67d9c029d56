//! Producers: how often applications commit an outbox row of theirs, with mailroom's triggers and without.
//!
//! In both cases a host is busy with the same work, a backlog that lasts longer than the run, on the same
//! cores. Without triggers means the same insert into a copy of the table: its columns, its generated ones,
//! its checks and its indexes.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::figure::{Figure, Measured, Rates};
use crate::ground::{Ground, Handler, ROUNDS};
use crate::payload::{EVENT_TYPE, key, payload};
use crate::relay::fill;
use crate::stage::Stage;

/// Applications' connections.
const CONNECTIONS: u32 = 16;

/// Seconds of a run with 100,000 messages.
const SECS: u32 = 8;

/// Rows that the relay has to do, for each message asked for. It does not do as many meanwhile.
const BACKLOG: u32 = 4;

/// Table into which applications insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Outbox,
    Copy,
}

impl Table {
    fn insert(self) -> &'static str {
        match self {
            Self::Outbox => {
                "insert into mailroom.outbox (topic, key, event_type, payload) values ($1, $2, $3, $4)"
            }
            Self::Copy => "insert into plain (topic, key, event_type, payload) values ($1, $2, $3, $4)",
        }
    }
}

/// Measures commits without triggers and with them, in turn.
pub(crate) async fn measure(stage: &Stage, messages: u32) -> Result<Figure> {
    let mut rates = Rates::aiming_at(0.9);
    for _ in 0..ROUNDS {
        let floor = commits(stage, Table::Copy, messages).await?;
        rates.add(commits(stage, Table::Outbox, messages).await?, floor);
    }
    Ok(Figure { of: "producers' commits, relay busy", is: Measured::Rates(rates) })
}

/// Commits a second.
async fn commits(stage: &Stage, table: Table, messages: u32) -> Result<f64> {
    let ground = Ground::new(stage, "producers", Handler::Component).await?;
    ground.db.execute("create table plain (like mailroom.outbox including all)").await?;
    let mut host = ground.host_up().await?;
    fill(&ground, messages * BACKLOG).await?;
    let last: i64 = ground.db.one("select max(seq) from mailroom.outbox").await?;
    let run = Duration::from_secs(SECS.into()).mul_f64(f64::from(messages) / 100_000.0);
    let begun = Instant::now();
    let count = insert_for(run, &ground, table).await?;
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    let left = "select count(*) from (select from mailroom.outbox
                 where status = 'pending' and not held and seq <= $1 limit 1) pending";
    let left: i64 = sqlx::query_scalar(left).bind(last).fetch_one(ground.db.pool()).await?;
    host.still_runs()?;
    host.kill().await?;
    ensure!(
        left > 0,
        "the relay had done its backlog before the run was over: it was not busy for all of it"
    );
    ground.remove().await?;
    Ok(rate)
}

/// Each connection has its own keys, as applications have that lock what they write about.
async fn insert_for(run: Duration, ground: &Ground, table: Table) -> Result<u32> {
    let mut applications = JoinSet::new();
    for application in 0..CONNECTIONS {
        let mut db = PgConnection::connect(&ground.db.url()).await?;
        let topic = ground.out.clone();
        applications.spawn(async move {
            let (payload, until, mut count) = (payload(), Instant::now() + run, 0);
            while Instant::now() < until {
                let key = key(count * CONNECTIONS + application).into_bytes();
                let insert = sqlx::query(table.insert()).bind(&topic).bind(key).bind(EVENT_TYPE);
                insert.bind(&payload).execute(&mut db).await?;
                count += 1;
            }
            db.close().await?;
            Ok::<u32, sqlx::Error>(count)
        });
    }
    let mut sum = 0;
    while let Some(count) = applications.join_next().await {
        sum += count??;
    }
    Ok(sum)
}
