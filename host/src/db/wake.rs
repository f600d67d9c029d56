//! Wake-ups: a hint by NOTIFY while a relay sleeps; polling is the truth.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::timeout;
use uuid::Uuid;

use super::error::no_answer;
use super::servers::unlike_postgres;
use super::{Db, DbError, Tx};

/// Something was inserted into the outbox while a relay slept.
pub(crate) const OUTBOX: &str = "mailroom_outbox";
/// Lanes were given back, or an operator replayed, discarded or unlocked something.
pub(crate) const INBOX: &str = "mailroom_inbox";

const LISTENING: &str = "listening for wake-ups";

/// Wakes all hosts once the transaction commits.
pub(super) async fn notify(tx: &mut Tx, channel: &str) -> Result<(), DbError> {
    sqlx::query!("select pg_notify($1, '')", channel)
        .execute(&mut **tx)
        .await
        .map_err(DbError::new("waking hosts"))?;
    Ok(())
}

/// A connection of its own that listens.
pub(crate) struct Listener {
    inner: PgListener,
    /// Interval at which it is asked whether it is still there, and its time to answer.
    limit: Duration,
}

impl Listener {
    pub(crate) async fn connect(db: &Db) -> Result<Self, DbError> {
        let limit = db.limit();
        let servers = db.listener().ok_or(sqlx::Error::PoolClosed).map_err(DbError::new(LISTENING))?;
        // A standby, which may be among the servers, lets nobody listen.
        let listens = |options: PgConnectOptions| async move {
            let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
            let mut inner =
                PgListener::connect_with(&pool.connect_lazy_with(options)).await.map_err(unlike_postgres)?;
            inner.listen_all([OUTBOX, INBOX]).await?;
            Ok(Self { inner, limit })
        };
        within(limit, servers.connect(limit, listens)).await
    }

    /// The channel of the next wake-up.
    ///
    /// # Errors
    /// Where the connection is lost, or silent; another has to be made then.
    pub(crate) async fn next(&mut self) -> Result<String, DbError> {
        loop {
            match timeout(self.limit, self.inner.recv()).await {
                Ok(wake) => return Ok(wake.map_err(DbError::new(LISTENING))?.channel().to_owned()),
                // Nothing to hear, or nobody there.
                Err(_) => {
                    let asked = sqlx::raw_sql("select 1").execute(&mut self.inner);
                    within(self.limit, asked).await?;
                }
            }
        }
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DbError> {
    let answer = timeout(limit, answer).await.unwrap_or_else(|_| Err(no_answer(limit)));
    answer.map_err(DbError::new(LISTENING))
}

/// Says that this host's relay sleeps for at most `time`, so that producers wake it. The caller looks
/// once more afterwards: what was inserted before this row was there is seen by that look.
pub(crate) async fn sleep(db: &Db, host: Uuid, time: Duration) -> Result<(), DbError> {
    sqlx::query!(
        "insert into mailroom.relay_sleep (host, asleep_until)
         values ($1, clock_timestamp() + make_interval(secs => $2))
         on conflict (host) do update set asleep_until = excluded.asleep_until",
        host,
        time.as_secs_f64(),
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("going to sleep"))?;
    Ok(())
}

/// Says that this host's relay is awake, so that producers pay for no wake-up.
pub(crate) async fn awake(db: &Db, host: Uuid) -> Result<(), DbError> {
    sqlx::query!("delete from mailroom.relay_sleep where host = $1", host)
        .execute(db.pool())
        .await
        .map_err(DbError::new("waking up"))?;
    Ok(())
}
