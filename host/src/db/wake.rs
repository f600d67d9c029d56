//! Wake-ups: a hint by NOTIFY while a relay sleeps; polling is the truth.

use std::time::Duration;

use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::{Db, DbError};

/// Something was inserted into the outbox while a relay slept.
pub(crate) const OUTBOX: &str = "mailroom_outbox";
/// Lanes were given back, or an operator replayed, discarded or unlocked something.
pub(crate) const INBOX: &str = "mailroom_inbox";

/// One connection that listens; it reconnects by itself on the next call after a loss.
pub(crate) struct Listener {
    inner: PgListener,
}

impl Listener {
    pub(crate) async fn connect(db: &Db) -> Result<Self, DbError> {
        let failed = || DbError::new("listening for wake-ups");
        let mut inner = PgListener::connect_with(db.pool()).await.map_err(failed())?;
        inner.listen_all([OUTBOX, INBOX]).await.map_err(failed())?;
        Ok(Self { inner })
    }

    /// The channel of the next wake-up.
    pub(crate) async fn next(&mut self) -> Result<String, DbError> {
        let wake = self.inner.recv().await.map_err(DbError::new("listening for wake-ups"))?;
        Ok(wake.channel().to_owned())
    }
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
