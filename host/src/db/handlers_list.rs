//! What every host has loaded, for `handler list` and `status`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{Db, DbError};

/// A handler on a host.
#[derive(Debug, Serialize)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) consumer_group: String,
    pub(crate) worker: String,
    /// Whether the host's last sign of life is recent enough.
    pub(crate) alive: bool,
    pub(crate) state: String,
    pub(crate) digest: Option<String>,
    pub(crate) subscriptions: Value,
    pub(crate) last_error: Option<String>,
    pub(crate) since: DateTime<Utc>,
}

/// All handlers of all hosts, by name.
pub(crate) async fn list(db: &Db) -> Result<Vec<Loaded>, DbError> {
    sqlx::query_as!(
        Loaded,
        r#"select l.name, l.consumer_group, h.worker, h.expires_at > clock_timestamp() as "alive!",
                  l.state, l.digest, l.subscriptions, l.last_error, l.since
             from mailroom.handler l join mailroom.host h on h.id = l.host
            order by l.name, h.worker, l.host"#
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("listing handlers"))
}
