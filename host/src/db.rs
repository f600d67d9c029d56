//! Postgres: the pool, its timeouts, what an error means, and the tables that are not inbox or outbox.

pub(crate) mod breakers;
pub(crate) mod dead_letters;
mod error;
mod guest_error;
mod guest_sql;
mod guest_values;
pub(crate) mod handlers;
pub(crate) mod handlers_list;
pub(crate) mod hosts;
pub(crate) mod lanes;
pub(crate) mod migrate;
pub(crate) mod offsets;
pub(crate) mod pauses;
pub(crate) mod reach;
pub(crate) mod retention;
mod roles;
pub(crate) mod rounds;
pub(crate) mod status;
pub(crate) mod wake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use error::{DbError, Meaning};
pub(crate) use guest_error::SqlError;
pub(crate) use guest_sql::{GuestTx, Table};
pub(crate) use guest_values::Value;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::config;
use crate::outage::Outage;

/// Under which name Postgres' notices are logged.
pub(crate) const NOTICES: &str = "sqlx::postgres::notice";

/// The host's connections.
#[derive(Debug, Clone)]
pub(crate) struct Db(Arc<Pools>);

#[derive(Debug)]
struct Pools {
    ours: PgPool,
    /// Where it is, for people.
    place: String,
    /// What handlers with `sql` are logged in as.
    roles: roles::Roles,
}

impl Db {
    /// Pools that connect when they are first used: Postgres may be away. `roles` are those that manifests may
    /// grant.
    ///
    /// # Errors
    /// Where a URL cannot be read.
    pub(crate) fn new(
        postgres: &config::Postgres,
        roles: &BTreeMap<String, config::SqlRole>,
    ) -> Result<Self, DbError> {
        let options: PgConnectOptions =
            postgres.url.expose().parse().map_err(DbError::new("reading postgres.url"))?;
        let place = reach::place(&options);
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
        let ours = PgPoolOptions::new()
            .max_connections(postgres.connections_max)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options);
        Ok(Self(Arc::new(Pools { ours, place, roles: roles::pools(roles)? })))
    }

    /// For telling of outages of this database.
    pub(crate) fn outage(&self) -> Outage {
        Outage::of(format!("Postgres at {}", self.0.place))
    }

    /// The pool, for the modules that hold SQL.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.0.ours
    }

    fn role(&self, name: &str) -> Option<&PgPool> {
        self.0.roles.get(name)
    }

    /// Ends the pool once its connections are given back.
    pub(crate) async fn close(&self) {
        self.0.ours.close().await;
        for pool in self.0.roles.values() {
            pool.close().await;
        }
    }
}
