//! An application with the host inside: it places an order in its own table and in the outbox, in one transaction
//! of its own, and the host in the same process publishes it, takes it from Kafka and bills it.
//!
//! ```sh
//! mailroom dev            # in another terminal: Postgres, Kafka, and their addresses
//! MAILROOM__POSTGRES__URL=… MAILROOM__KAFKA__BROKERS=… DATABASE_URL=… cargo run --example embedded
//! ```
//!
//! `DATABASE_URL` is the application's own connection to the same database. `ORDERS` names another topic than `orders`.

#![expect(
    clippy::disallowed_methods,
    reason = "a program of its own reads its environment and spawns its tasks"
)]

use std::error::Error;

use mailroom::config::{Config, Manifest, environment};
use mailroom::{Call, Failure, Handler, Host, Message, Outcome, Subscription};
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};

/// Bills orders, and tells the application of each.
struct Bills {
    orders: String,
    billed: mpsc::UnboundedSender<String>,
}

impl Handler for Bills {
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::topic(&self.orders).event_type("order.placed")]
    }

    async fn handle(&self, message: Message<'_>, call: &mut Call) -> Result<Outcome, Failure> {
        let customer = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
        call.keyed().set("billed", message.payload().unwrap_or_default()).await?;
        // Beside the transaction, and so it may be told twice: what must not goes into the state or the outbox.
        self.billed.send(customer)?;
        Ok(Outcome::Completed)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let orders = std::env::var("ORDERS").unwrap_or_else(|_| "orders".to_owned());
    let config = Config::load(None, environment())?;
    let manifest = Manifest::parse("[grants]\nstate = true\n", &config)?;
    let (billed, mut bills) = mpsc::unbounded_channel();
    let handler = Bills { orders: orders.clone(), billed };
    let host = Host::builder(config).handler("bills", manifest, handler).log_to_stderr();
    let (stop, stopped) = oneshot::channel::<()>();
    let host = tokio::spawn(host.run(async { drop(stopped.await) }));

    place_order(&orders, "ada", 12).await?;
    println!("placed an order of ada's");
    let customer = bills.recv().await.ok_or("the host has ended; its log says why")?;
    println!("billed an order of {customer}'s");

    // It settles what runs, and gives its lanes back.
    drop(stop);
    Ok(host.await??)
}

/// Writes the order and its event, both or none.
async fn place_order(topic: &str, customer: &str, amount: i32) -> Result<(), sqlx::Error> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL").unwrap_or_default()).await?;
    let mut tx = pool.begin().await?;
    sqlx::query("create table if not exists orders (customer text not null, amount integer not null)")
        .execute(&mut *tx)
        .await?;
    sqlx::query("insert into orders values ($1, $2)").bind(customer).bind(amount).execute(&mut *tx).await?;
    sqlx::query("select mailroom.publish($1, $2, 'order.placed', json_build_object('amount', $3::integer))")
        .bind(topic)
        .bind(customer)
        .bind(amount)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}
