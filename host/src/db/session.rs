//! Settings of a connection: set after connecting, since a pooler may refuse them in the startup packet, and looked at
//! afterwards, since it may drop them.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Row as _};

use super::SEARCH_PATH;
use super::servers::open;
use crate::config::PoolMode;

/// Settings that hold for the statements of a pool.
#[derive(Debug, Clone)]
pub(super) struct Session {
    mode: PoolMode,
    settings: Vec<(&'static str, String)>,
    /// Settings that not every server knows.
    extras: String,
}

impl Session {
    pub(super) fn new(
        mode: PoolMode,
        (statement_timeout, lock_timeout): (Duration, Duration),
        limit: Duration,
    ) -> Self {
        let [statement, lock, idle] =
            [statement_timeout, lock_timeout, limit].map(|limit| limit.as_millis().to_string());
        // Postgres lets go of us as soon as we let go of it.
        let extras = format!("set tcp_user_timeout = {idle}; set client_connection_check_interval = '1s'");
        let text = |(name, value): (&'static str, &str)| (name, value.to_owned());
        // A database's own defaults are for its applications: statements here are made for these.
        let mut settings = Vec::from(
            [
                ("default_transaction_isolation", "read committed"),
                ("default_transaction_read_only", "off"),
                // Statements are planned once for any number of rows; their plans are held still by tests. Bounds are
                // unknown to such a plan, which would sort a whole backlog for one page of it.
                ("plan_cache_mode", "force_generic_plan"),
                ("enable_sort", "off"),
                ("jit", "off"),
                ("search_path", SEARCH_PATH),
            ]
            .map(text),
        );
        settings.push(("statement_timeout", statement));
        settings.push(("lock_timeout", lock));
        settings.push(("idle_in_transaction_session_timeout", idle));
        Self { mode, settings, extras }
    }

    /// Tells whether each statement has to be a transaction of its own.
    pub(super) fn is_per_transaction(&self) -> bool {
        self.mode == PoolMode::Transaction
    }

    /// The statements that begin a transaction.
    pub(super) fn begin(&self) -> String {
        match self.mode {
            PoolMode::Session => "begin".to_owned(),
            PoolMode::Transaction => {
                format!("begin isolation level read committed read write; {}", self.set(true))
            }
        }
    }

    fn set(&self, local: bool) -> String {
        let each =
            self.settings.iter().map(|(name, value)| format!("set_config('{name}', '{value}', {local})"));
        format!("select {}", each.collect::<Vec<_>>().join(", "))
    }

    /// Connects to a server that takes writes, and has these settings hold there.
    pub(super) async fn connect(self, options: PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let mut connection = open(options).await?;
        if self.mode == PoolMode::Session {
            sqlx::raw_sql(AssertSqlSafe(self.set(false))).execute(&mut connection).await?;
            match sqlx::raw_sql(AssertSqlSafe(self.extras.as_str())).execute(&mut connection).await {
                Ok(_) | Err(sqlx::Error::Database(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.check(&mut connection).await?;
        Ok(connection)
    }

    async fn check(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let wanted = self.settings.iter().map(|(name, value)| format!("('{name}', '{value}')"));
        let query = format!(
            "select pg_is_in_recovery(), (select string_agg(name, ', ') from pg_settings
                join (values {}) wanted(name, value) using (name) where setting <> value)",
            wanted.collect::<Vec<_>>().join(", ")
        );
        let row = sqlx::raw_sql(AssertSqlSafe(query)).fetch_one(connection).await?;
        if row.try_get(0)? {
            return Err(standby());
        }
        match row.try_get::<Option<String>, _>(1)? {
            Some(lost) if self.mode == PoolMode::Session => {
                let why =
                    format!("{lost}, which were set a moment ago, do not hold: {}", super::pooler::REMEDY);
                Err(sqlx::Error::Configuration(why.into()))
            }
            _ => Ok(()),
        }
    }
}

/// Error of a connection to a server that takes no writes, which a failover may change.
fn standby() -> sqlx::Error {
    let why = "this server is a standby, which takes no writes";
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::NotConnected, why))
}

/// Fails on a standby.
pub(super) async fn refuse_standby(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let row = sqlx::raw_sql("select pg_catalog.pg_is_in_recovery()").fetch_one(connection).await?;
    if row.try_get(0)? { Err(standby()) } else { Ok(()) }
}
