//! A key that waits, with half a million messages behind it: what it costs the other keys of its lane.

use anyhow::Result;

use crate::figure::{Figure, Measured, Rates};
use crate::ground::{Ground, Handler, ROUNDS};
use crate::payload::{EVENT_TYPE, KEYS, payload};
use crate::stage::Stage;

const FOLLOWERS: i32 = 500_000;

/// Query for a row that can be handled; the head of the blocked key is not due.
const PENDING: &str = "
    select count(*) from (
        select from mailroom.inbox
         where status = 'pending' and not held and scheduled_at < clock_timestamp() limit 1) pending";

const RATE: &str =
    "select count(*), extract(epoch from max(completed_at) - min(completed_at))::double precision
                      from mailroom.inbox where status = 'completed'";

/// Rows `$3` to `$4` of one lane, over `$5` keys that begin with `$6`, due in `$7` seconds, held or not.
const INSERT: &str = r#"
    insert into mailroom.inbox (lane, okey, id, message_id, consumer_group, topic, partition, "offset", source,
                                event_type, key, payload, headers, produced_at_ms, scheduled_at, held)
    select l.id, hashtextextended(m.key, 0), mailroom.uuid_v7(), m.name, l.consumer_group, l.topic, l.partition,
           m.n, l.topic, $1, convert_to(m.key, 'UTF8'), $2,
           jsonb_build_array(jsonb_build_array('message_id', m.name), jsonb_build_array('event_type', $1)), 0,
           clock_timestamp() + make_interval(secs => $7), $8
      from (select n, 'bench-' || n as name, $6 || n % $5 as key from generate_series($3, $4) n) m
      join mailroom.lane l on l.kind = 'inbox' and l.partition = 0
     order by m.n"#;

/// The lane without such a key and with it, in turn.
pub(crate) async fn measure(stage: &Stage, messages: u32) -> Result<Figure> {
    let mut rates = Rates::aiming_at(0.8);
    for _ in 0..ROUNDS {
        let alone = run(stage, messages, false).await?;
        rates.add(run(stage, messages, true).await?, alone);
    }
    Ok(Figure { of: "other keys beside one with 500,000 followers", is: Measured::Rates(rates) })
}

async fn run(stage: &Stage, messages: u32, blocked: bool) -> Result<f64> {
    let ground = Ground::new(stage, "blocked", Handler::Component).await?;
    ground.host_up().await?.stop().await?;
    let others = i32::try_from(messages)?;
    if blocked {
        let blocked = Rows { keys: 1, prefix: "blocked-", due_secs: 86_400.0, held: false };
        blocked.insert(&ground, others + 1, others + 1).await?;
        Rows { held: true, ..blocked }.insert(&ground, others + 2, others + 1 + FOLLOWERS).await?;
    }
    let ready = Rows { keys: i32::try_from(KEYS)?, prefix: "key-", due_secs: 0.0, held: false };
    ready.insert(&ground, 1, others).await?;
    ground.level().await?;
    ground.worked_off(PENDING, RATE, messages).await
}

/// Rows of the lane of partition 0.
struct Rows {
    keys: i32,
    prefix: &'static str,
    due_secs: f64,
    held: bool,
}

impl Rows {
    async fn insert(&self, ground: &Ground, from: i32, to: i32) -> Result<()> {
        let rows = sqlx::query(INSERT).bind(EVENT_TYPE).bind(payload()).bind(from).bind(to);
        let rows = rows.bind(self.keys).bind(self.prefix).bind(self.due_secs).bind(self.held);
        rows.execute(ground.db.pool()).await?;
        Ok(())
    }
}
