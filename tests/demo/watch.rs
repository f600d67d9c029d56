//! Reports of what happens, while it happens: the first of each kind as it is seen in the database, and a
//! line of counts every second.

use std::cell::Cell;
use std::time::Duration;

use anyhow::Result;
use mailroom_tests::eventually;
use sqlx::FromRow;
use sqlx::postgres::PgPool;
use tokio::time::{Instant, interval};

use crate::tell::{Colour, Tell};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS_PER_LINE: u32 = 10;

/// Time for compiling the second edition, on a slow machine with other work.
const COMPILED: Duration = Duration::from_secs(60);

/// Time after which a standstill is final: the check says what is missing.
const STILL: Duration = Duration::from_secs(15);

/// A statement that gives a line of text once the thing has happened.
struct First {
    colour: Colour,
    query: &'static str,
    seen: Cell<bool>,
}

/// The first of each kind.
const FIRSTS: [(Colour, &str); 6] = [
    (
        Colour::Green,
        "select format('first invoice: order %s, customer %s, total so far %s cents, kept in the handler''s state',
                payload_json->>'order_id', payload_json->>'customer', payload_json->>'total_cents')
           from mailroom.outbox_messages where topic = 'invoices' order by seq limit 1",
    ),
    (
        Colour::Yellow,
        "select format('first retry: shipping said \"%s\" on attempt %s of %s; its customer''s other invoices wait',
                last_error, attempts_made, max_attempts)
           from mailroom.inbox where status = 'pending' and attempts_made > 0 order by seq limit 1",
    ),
    (
        Colour::Green,
        "select format('first parcel after retries: order %s, on attempt %s', payload_json->>'order_id',
                payload_json->>'attempt')
           from mailroom.outbox_messages
          where topic = 'parcels' and (payload_json->>'attempt')::integer > 1 order by seq limit 1",
    ),
    (
        Colour::Red,
        "select format('first rejected invoice is a dead letter at once: \"%s\"', error)
           from mailroom.dead_letter where reason = 'rejected' order by died_at limit 1",
    ),
    (
        Colour::Red,
        "select format('first invoice out of attempts is a dead letter: %s after %s attempts', code, attempts)
           from mailroom.dead_letter where reason = 'exhausted' order by died_at limit 1",
    ),
    (
        Colour::Cyan,
        "select format('first invoice by the second edition: order %s', payload_json->>'order_id')
           from mailroom.outbox_messages
          where topic = 'invoices' and payload_json->>'edition' = '2' order by seq limit 1",
    ),
];

/// Progress of everything.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
struct Counts {
    orders: i64,
    on_kafka: i64,
    invoiced: i64,
    parcels: i64,
    dead: i64,
    retrying: i64,
    shipping_ended: i64,
    waiting: i64,
}

impl Counts {
    fn line(&self) -> String {
        let Self { orders, on_kafka, invoiced, parcels, dead, retrying, .. } = self;
        format!(
            "{orders} orders, {on_kafka} of them on Kafka, {invoiced} invoiced, {parcels} parcels, {dead} dead, \
             {retrying} retrying"
        )
    }

    fn all_settled(&self) -> bool {
        self.waiting == 0 && self.invoiced == self.orders && self.shipping_ended == self.orders
    }
}

/// The onlooker.
pub(crate) struct Watch<'d> {
    pool: &'d PgPool,
    tell: &'d Tell,
    firsts: Vec<First>,
}

impl<'d> Watch<'d> {
    /// Nothing is seen yet.
    pub(crate) fn new(pool: &'d PgPool, tell: &'d Tell) -> Self {
        let firsts = FIRSTS.map(|(colour, query)| First { colour, query, seen: Cell::new(false) });
        Self { pool, tell, firsts: firsts.into() }
    }

    /// Prints what it sees; ends only with an error.
    pub(crate) async fn report_for_ever(&self) -> Result<()> {
        let mut ticks = interval(LOOK);
        for look in 1_u32.. {
            ticks.tick().await;
            for first in self.firsts.iter().filter(|first| !first.seen.get()) {
                if let Some(text) =
                    sqlx::query_scalar::<_, String>(first.query).fetch_optional(self.pool).await?
                {
                    first.seen.set(true);
                    self.tell.event(first.colour, &text);
                }
            }
            if look % LOOKS_PER_LINE == 0 {
                self.tell.event(Colour::Grey, &self.counts().await?.line());
            }
        }
        Ok(())
    }

    /// Waits until the second edition has emitted something.
    pub(crate) async fn second_edition(&self) -> Result<()> {
        let query = "select exists (select from mailroom.outbox_messages
                      where topic = 'invoices' and payload_json->>'edition' = '2')";
        let works = async || Ok(sqlx::query_scalar(query).fetch_one(self.pool).await?);
        eventually("the second edition of invoice takes over", COMPILED, works).await
    }

    /// Waits until nothing is pending, or nothing moves any more.
    pub(crate) async fn settled(&self, tell: &Tell) -> Result<()> {
        let mut ticks = interval(LOOK);
        let mut moved = (self.counts().await?, Instant::now());
        loop {
            let now = self.counts().await?;
            if now.all_settled() {
                tell.event(Colour::Green, &now.line());
                return Ok(());
            }
            if now != moved.0 {
                moved = (now, Instant::now());
            } else if moved.1.elapsed() > STILL {
                tell.event(Colour::Red, &format!("nothing has moved for {STILL:?}: {}", now.line()));
                return Ok(());
            }
            ticks.tick().await;
        }
    }

    async fn counts(&self) -> Result<Counts> {
        let query = "
            with taken as (
                select g.handler, i.status, i.attempts_made
                  from mailroom.inbox i join mailroom.consumer_group g on g.name = i.consumer_group
            )
            select (select count(*) from orders) as orders,
                   (select count(*) from mailroom.outbox where topic = 'orders' and status = 'completed') as on_kafka,
                   (select count(*) from mailroom.outbox where topic = 'parcels' and status = 'completed') as parcels,
                   (select count(*) from mailroom.outbox where status = 'pending')
                    + count(*) filter (where status = 'pending') as waiting,
                   count(*) filter (where handler = 'invoice' and status = 'completed') as invoiced,
                   count(*) filter (where status = 'failed') as dead,
                   count(*) filter (where status = 'pending' and attempts_made > 0) as retrying,
                   count(*) filter (where handler = 'shipping' and status <> 'pending') as shipping_ended
              from taken";
        Ok(sqlx::query_as(query).fetch_one(self.pool).await?)
    }
}
