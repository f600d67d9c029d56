//! Postgres: the pool, its timeouts, what an error means, and the tables that are not inbox or outbox.

mod error;

pub use error::{DbError, Meaning};
use sqlx::PgPool;

/// The host's connections.
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
}

impl Db {
    /// The pool, for the modules that hold SQL.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }
}
