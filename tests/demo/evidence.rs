//! Evidence that the database and the topics hold after the play, as plain values for the check. Nothing is
//! judged here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use mailroom_tests::{Record, guest, second_edition};
use sqlx::FromRow;

use crate::stage::{Stage, TOPICS};

/// Rows and records that the check goes by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// Orders that the application committed, in the order of its outbox rows.
    pub(crate) orders: Vec<Placed>,
    pub(crate) outbox: Vec<Outgoing>,
    pub(crate) inbox: Vec<Taken>,
    pub(crate) letters: Vec<Letter>,
    /// Totals of each customer in the invoice handler's state, in cents.
    pub(crate) totals: BTreeMap<String, i64>,
    /// The records of all topics, partition by partition in order of offset.
    pub(crate) records: Vec<Emitted>,
    /// The edition that each digest stands for.
    pub(crate) editions: BTreeMap<String, i64>,
}

/// An order of the application's table.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Placed {
    pub(crate) order_id: String,
    pub(crate) customer: String,
    pub(crate) amount_cents: i64,
    /// The id under which it was published.
    pub(crate) message: String,
    /// Place of its outbox row, if there is one.
    pub(crate) seq: Option<i64>,
}

/// An outbox row.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Outgoing {
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) order_id: String,
    pub(crate) status: String,
}

/// An inbox row.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Taken {
    pub(crate) handler: String,
    pub(crate) message_id: String,
    pub(crate) status: String,
    pub(crate) attempts_made: i32,
    pub(crate) handler_digest: Option<String>,
}

/// A dead letter.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Letter {
    pub(crate) message_id: String,
    pub(crate) reason: String,
    pub(crate) code: Option<String>,
    pub(crate) attempts: i32,
}

/// A record of a topic.
#[derive(Debug, Clone)]
pub(crate) struct Emitted {
    pub(crate) topic: &'static str,
    pub(crate) message_id: String,
    pub(crate) order_id: String,
    /// Key of the message.
    pub(crate) customer: String,
    pub(crate) total_cents: Option<i64>,
    pub(crate) edition: Option<i64>,
}

impl Evidence {
    /// Reads everything; the play must be over.
    pub(crate) async fn gather(stage: &Stage) -> Result<Self> {
        let db = &stage.db;
        let totals: Vec<(String, i64)> = db
            .rows(
                "select convert_from(key, 'UTF8'), convert_from(value, 'UTF8')::bigint from mailroom.state
                  where scope = 'keyed' and name = 'total_cents'",
            )
            .await?;
        let mut records = Vec::new();
        for topic in TOPICS {
            for record in stage.kafka.read_all(topic).await? {
                records.push(emitted(topic, &record).with_context(|| format!("a record of {topic}"))?);
            }
        }
        let editions = [(guest("invoice")?, 1), (second_edition("invoice")?, 2)];
        let mut digests = BTreeMap::new();
        for (component, edition) in editions {
            digests.insert(db.digest_of(&component).await?, edition);
        }
        Ok(Self {
            orders: db
                .rows(
                    "select o.order_id, o.customer, o.amount_cents, o.message::text, b.seq
                       from orders o left join mailroom.outbox b on b.id = o.message order by b.seq, o.order_id",
                )
                .await?,
            outbox: db
                .rows(
                    "select id::text, topic, coalesce(payload_json->>'order_id', '') as order_id, status
                       from mailroom.outbox_messages order by seq",
                )
                .await?,
            inbox: db
                .rows(
                    "select g.handler, i.message_id, i.status, i.attempts_made, i.handler_digest
                       from mailroom.inbox i join mailroom.consumer_group g on g.name = i.consumer_group
                      order by i.seq",
                )
                .await?,
            letters: db.rows("select message_id, reason, code, attempts from mailroom.dead_letter").await?,
            totals: totals.into_iter().collect(),
            records,
            editions: digests,
        })
    }

    /// The records of one topic.
    pub(crate) fn on<'e>(&'e self, topic: &'e str) -> impl Iterator<Item = &'e Emitted> {
        self.records.iter().filter(move |record| record.topic == topic)
    }
}

fn emitted(topic: &'static str, record: &Record) -> Result<Emitted> {
    let json = record.json()?;
    let number = |name: &str| json.get(name).and_then(serde_json::Value::as_i64);
    let order_id = json.get("order_id").and_then(serde_json::Value::as_str);
    Ok(Emitted {
        topic,
        message_id: record.id()?,
        order_id: order_id.context("it names no order")?.to_owned(),
        customer: record.key_text(),
        total_cents: number("total_cents"),
        edition: number("edition"),
    })
}
