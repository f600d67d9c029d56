//! Handlers that every host has loaded, for `handler list` and `status`.

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
    /// True if the host's last sign of life is recent enough.
    pub(crate) alive: bool,
    /// State as hosts record it, or `paused` of one that runs.
    pub(crate) state: String,
    pub(crate) digest: Option<String>,
    /// Version that its manifest names.
    pub(crate) version: Option<String>,
    pub(crate) subscriptions: Value,
    pub(crate) last_error: Option<String>,
    /// Time at which state and digest came about.
    pub(crate) since: DateTime<Utc>,
}

/// All handlers of all hosts, by name.
pub(crate) async fn list(db: &Db) -> Result<Vec<Loaded>, DbError> {
    sqlx::query_as!(
        Loaded,
        r#"select l.name, l.consumer_group, h.worker, h.expires_at > clock_timestamp() as "alive!",
                  case when l.state = 'running' and p.paused_at is not null then 'paused' else l.state end
                      as "state!",
                  l.digest, l.version, l.subscriptions, l.last_error,
                  case when l.state = 'running' then greatest(l.since, p.paused_at) else l.since end as "since!"
             from mailroom.handler l join mailroom.host h on h.id = l.host
             left join mailroom.handler_pause p on p.consumer_group = l.consumer_group
            order by l.name, h.worker, l.host"#
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("listing handlers"))
}
