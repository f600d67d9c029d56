//! Postgres: the pool, its timeouts, what an error means, and the tables that are not inbox or outbox.

pub(crate) mod breakers;
pub(crate) mod dead_letters;
mod error;
pub(crate) mod handlers;
pub(crate) mod handlers_list;
pub(crate) mod hosts;
pub(crate) mod lanes;
pub(crate) mod migrate;
pub(crate) mod offsets;
pub(crate) mod pauses;
pub(crate) mod reach;
pub(crate) mod retention;
pub(crate) mod rounds;
pub(crate) mod status;
pub(crate) mod wake;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use error::{DbError, Meaning};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::config;
use crate::outage::Outage;

/// The host's connections.
#[derive(Debug, Clone)]
pub(crate) struct Db {
    pool: PgPool,
    /// Where it is, for people.
    place: Arc<str>,
}

impl Db {
    /// A pool that connects when it is first used: Postgres may be away.
    ///
    /// # Errors
    /// Where the URL cannot be read.
    pub(crate) fn new(postgres: &config::Postgres) -> Result<Self, DbError> {
        let options: PgConnectOptions =
            postgres.url.expose().parse().map_err(DbError::new("reading postgres.url"))?;
        let place = Arc::from(reach::place(&options));
        let milliseconds = |limit: Duration| limit.as_millis().to_string();
        let options = options.application_name("mailroom").options([
            ("lock_timeout", milliseconds(postgres.lock_timeout)),
            ("statement_timeout", milliseconds(postgres.statement_timeout)),
            ("idle_in_transaction_session_timeout", milliseconds(postgres.idle_timeout)),
            // Planned once for any number of rows; plans of generic statements are held still by tests.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            ("jit", "off".to_owned()),
            // Bounds are unknown to such a plan, which then sorts a whole backlog for one page of it.
            ("enable_sort", "off".to_owned()),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(postgres.connections_max)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options);
        Ok(Self { pool, place })
    }

    /// For telling of outages of this database.
    pub(crate) fn outage(&self) -> Outage {
        Outage::of(format!("Postgres at {}", self.place))
    }

    /// The pool, for the modules that hold SQL.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Ends the pool once its connections are given back.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}
