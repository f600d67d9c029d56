//! Looks that a host repeats, in one statement.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::lanes::Owned;
use super::{Db, DbError};

/// Result of such a look.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// This host's lanes: where the reread counter has risen, its owner looks for what was touched; what another wants
    /// is given up, unless Kafka gave us its partition as well.
    pub(crate) lanes: Vec<Owned>,
    /// The consumer groups whose breaker is open, and how long until a probe may be claimed.
    pub(crate) open: Vec<(String, Duration)>,
    /// The consumer groups that an operator paused.
    pub(crate) paused: HashSet<String>,
}

/// Looks at the lanes of a host, and at the breakers and pauses of all.
pub(crate) async fn look(db: &Db, host: Uuid) -> Result<Seen, DbError> {
    let rows = sqlx::query!(
        r#"select l.id as "lane?", l.token as "token?", l.reread as "reread?",
                  exists (select 1 from mailroom.host h where h.id = l.wanted_by) as "wanted?",
                  null as "consumer_group?", null::double precision as "secs?"
             from mailroom.lane l where l.owner = $1
            union all
           select null, null, null, null, consumer_group,
                  greatest(0, extract(epoch from paused_until - clock_timestamp()))::double precision
             from mailroom.breaker
            union all
           select null, null, null, null, consumer_group, null from mailroom.handler_pause"#,
        host,
    );
    let mut seen = Seen::default();
    for row in
        rows.fetch_all(db.pool()).await.map_err(DbError::new("looking at lanes, breakers and pauses"))?
    {
        if let (Some(lane), Some(token), Some(reread)) = (row.lane, row.token, row.reread) {
            seen.lanes.push(Owned { lane, token, reread, wanted: row.wanted.unwrap_or(false) });
        }
        match (row.consumer_group, row.secs) {
            (Some(group), Some(secs)) => {
                seen.open.push((group, Duration::try_from_secs_f64(secs).unwrap_or_default()));
            }
            (Some(group), None) => drop(seen.paused.insert(group)),
            (None, _) => {}
        }
    }
    Ok(seen)
}
