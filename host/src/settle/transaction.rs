//! The transaction itself.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::state::Write;
use super::{DeadLetter, block, emit, rows, write, write_dead_letters};
use crate::config::BehindDead;
use crate::db::{Db, DbError};
use crate::lane::Lease;
use crate::message::{Message, Outgoing};
use crate::pipeline::decide::Verdict;
use crate::pipeline::outcome::Usage;

/// One delivery to end.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) message: Message,
    pub(crate) verdict: Verdict,
    /// What ran; `None` where nothing did.
    pub(crate) digest: Option<Arc<str>>,
    pub(crate) outgoing: Vec<Outgoing>,
    pub(crate) writes: Vec<Write>,
    pub(crate) last_output: Option<String>,
    pub(crate) usage: Usage,
}

/// What came of a batch.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Committed.
    Done {
        /// Rows that were no longer as we left them; nothing was written for these.
        missed: HashSet<(i32, i64)>,
        /// The reread counters of the lanes.
        rereads: Vec<(i32, i64)>,
    },
    /// These lanes are another's; nothing was written.
    LanesLost(Vec<i32>),
    /// Another wrote this state after it was read; nothing was written. The messages at these places of
    /// the batch are to be redone.
    StateLost(HashSet<(i32, i64)>),
}

/// Whose messages are settled.
#[derive(Debug, Clone)]
pub(crate) struct Whose {
    pub(crate) handler: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) behind_dead: BehindDead,
    /// The Kafka topic that gets copies of dead letters.
    pub(crate) dead_letters: Option<Arc<str>>,
}

/// Settles a batch of one handler, sorted by (lane, seq), all of it or nothing.
pub(crate) async fn settle(
    db: &Db,
    of: &Whose,
    leases: &BTreeMap<i32, Lease>,
    items: &[Settlement],
) -> Result<Settled, DbError> {
    let mut tx = db.pool().begin().await.map_err(DbError::new("settling messages"))?;
    let lanes: Vec<i32> = leases.keys().copied().collect();
    let tokens: Vec<i64> = leases.values().map(|lease| lease.token).collect();
    let ours = sqlx::query!(
        "select l.id, l.reread from unnest($1::integer[], $2::bigint[]) w(id, token)
           join mailroom.lane l on l.id = w.id and l.token = w.token
          order by l.id for key share of l",
        &lanes,
        &tokens,
    );
    let ours = ours.fetch_all(&mut *tx).await.map_err(DbError::new("fencing lanes"))?;
    if ours.len() < lanes.len() {
        let ours: HashSet<i32> = ours.iter().map(|lane| lane.id).collect();
        return Ok(Settled::LanesLost(lanes.into_iter().filter(|lane| !ours.contains(lane)).collect()));
    }
    let hit = rows::update(&mut tx, items).await?;
    emit::insert(&mut tx, items, &hit).await?;
    let dead: Vec<DeadLetter> = items
        .iter()
        .filter(|item| hit.contains(&(item.message.lane, item.message.seq)))
        .filter_map(|item| DeadLetter::of(&of.handler, item))
        .collect();
    write_dead_letters(&mut tx, &dead, of.dead_letters.as_deref()).await?;
    block::keys(&mut tx, of.behind_dead, items, &hit).await?;
    let lost = write::state(&mut tx, &of.group, items, &hit).await?;
    if !lost.is_empty() {
        return Ok(Settled::StateLost(lost));
    }
    let all = items.iter().map(|item| (item.message.lane, item.message.seq));
    let mut missed: HashSet<(i32, i64)> = all.filter(|row| !hit.contains(row)).collect();
    if !missed.is_empty() {
        let ours = rows::retried(&mut tx, items, &missed).await?;
        missed.retain(|row| !ours.contains(row));
    }
    tx.commit().await.map_err(DbError::new("settling messages"))?;
    Ok(Settled::Done { missed, rereads: ours.into_iter().map(|lane| (lane.id, lane.reread)).collect() })
}
