//! The application: it knows Postgres and nothing of Kafka. An order and its message are one transaction
//! of its own, and it publishes by calling a SQL function.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use sqlx::postgres::PgPool;
use tokio::time::interval;

use crate::order::Order;

/// Connections that write at once; as many orders may commit in another sequence than they were begun.
const WRITERS: u32 = 4;

/// Time for which the orders are to flow, if the machine is fast enough.
const FLOW: Duration = Duration::from_secs(10);

/// The application with its two tables.
#[derive(Debug)]
pub(crate) struct Shop<'d> {
    pool: &'d PgPool,
}

/// Returns the pause from one order of a writer to its next.
pub(crate) fn pace(orders: usize) -> Duration {
    FLOW * WRITERS / u32::try_from(orders).unwrap_or(u32::MAX).max(1)
}

impl<'d> Shop<'d> {
    /// Creates the tables.
    pub(crate) async fn open(pool: &'d PgPool) -> Result<Self> {
        let tables = "create table customers (customer text primary key);
            create table orders (
                order_id text primary key, customer text not null references customers,
                amount_cents bigint not null, message uuid not null
            )";
        sqlx::raw_sql(tables).execute(pool).await?;
        Ok(Self { pool })
    }

    /// Writes the orders by several connections.
    pub(crate) async fn write(&self, orders: &[Order], pace: Duration) -> Result<()> {
        let left = RefCell::new(orders.iter());
        let next = || left.borrow_mut().next();
        let writer = async || -> Result<()> {
            let mut ticks = interval(pace);
            while let Some(order) = next() {
                ticks.tick().await;
                self.place(order).await?;
            }
            Ok(())
        };
        try_join_all((0..WRITERS).map(|_| writer())).await?;
        Ok(())
    }

    async fn place(&self, order: &Order) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        // The customer is locked first: its orders commit one after another, in the order of their messages.
        sqlx::query("insert into customers values ($1) on conflict (customer) do update set customer = $1")
            .bind(order.customer)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "insert into orders (order_id, customer, amount_cents, message)
             select $1::text, $2::text, $3::bigint, mailroom.publish('orders', $2::text, 'order.placed',
                json_build_object('order_id', $1::text, 'customer', $2::text, 'amount_cents', $3::bigint))",
        )
        .bind(&order.id)
        .bind(order.customer)
        .bind(order.amount_cents)
        .execute(&mut *transaction)
        .await?;
        if order.withdrawn {
            transaction.rollback().await?
        } else {
            transaction.commit().await?
        }
        Ok(())
    }
}
