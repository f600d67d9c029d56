//! The transaction itself.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::fresh::{self, Advance, Fresh, FreshRow};
use super::{DeadLetter, attempt, block, emit, reads, rows, write, write_dead_letters};
use crate::config::BehindDead;
use crate::db::{Db, DbError, GuestTx, Tx, lanes};
use crate::lane::Lease;
use crate::message::{Message, Outgoing};
use crate::pipeline::decide::Verdict;
use crate::pipeline::outcome::Usage;
use mailroom_core::state::{Read, Write};

/// One delivery to end.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) message: Arc<Message>,
    pub(crate) verdict: Verdict,
    /// What ran; `None` where nothing did.
    pub(crate) digest: Option<Arc<str>>,
    pub(crate) outgoing: Vec<Outgoing>,
    /// The message before it in its key whose writes it saw, by its `seq`; it may be committed already.
    pub(crate) based_on: Option<i64>,
    /// What it read of the state and did not write.
    pub(crate) reads: Vec<Read>,
    pub(crate) writes: Vec<Write>,
    /// The transaction that the handler's SQL ran in: it is settled there.
    pub(crate) sql: Option<GuestTx>,
    pub(crate) last_output: Option<String>,
    pub(crate) usage: Usage,
}

impl Settlement {
    /// Lane and `seq` of its row.
    pub(crate) fn place(&self) -> (i32, i64) {
        (self.message.lane, self.message.seq)
    }
}

/// Records that have no row yet, a lane each, and those of them that are to be held.
#[derive(Debug, Clone)]
pub(crate) struct ToStore<'f> {
    pub(crate) fresh: Vec<&'f Fresh>,
    pub(crate) held: &'f HashSet<i64>,
    /// Those that run.
    pub(crate) running: &'f HashSet<i64>,
    /// By lane, the reread counter that its owner has acted on.
    pub(crate) reread_to: &'f HashMap<i32, i64>,
}

impl<'f> ToStore<'f> {
    /// Lanes whose records go straight to the worker though their counter says that they are to be read first.
    fn touched(&self, rereads: &HashMap<i32, i64>) -> Vec<(i32, i64)> {
        let known = |lane| self.reread_to.get(&lane).copied().unwrap_or(i64::MAX);
        let direct = self.fresh.iter().filter(|fresh| fresh.direct).map(|fresh| fresh.lease.lane);
        let counters = direct.filter_map(|lane| Some((lane, *rereads.get(&lane)?)));
        counters.filter(|(lane, counter)| *counter > known(*lane)).collect()
    }

    fn rows(&self) -> Vec<&'f FreshRow> {
        self.fresh.iter().flat_map(|fresh| &fresh.rows).collect()
    }

    fn advances(&self) -> Vec<&'f Advance> {
        self.fresh.iter().map(|fresh| &fresh.advance).collect()
    }
}

/// What came of a batch.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Committed.
    Done {
        /// Rows that were no longer as we left them; nothing was written for these.
        missed: HashSet<(i32, i64)>,
        /// The reread counters of the lanes.
        rereads: HashMap<i32, i64>,
        /// Records of which the group had a row already, by their `seq`.
        duplicates: HashSet<i64>,
    },
    /// These lanes are another's; nothing was written.
    LanesLost(Vec<i32>),
    /// An operator touched these lanes, whose reread counters are given: what was touched goes before records
    /// that have no row yet. Nothing was written.
    Touched(Vec<(i32, i64)>),
    /// An offset row is not where we left it; nothing was written.
    OffsetMoved,
    /// What the messages at these places read is not so: another wrote this state after it was read, or the message
    /// that left it has no effects. Nothing was written; they are to be redone.
    StateLost(HashSet<(i32, i64)>),
}

/// Whose messages are settled.
#[derive(Debug, Clone)]
pub(crate) struct Whose {
    pub(crate) handler: Arc<str>,
    pub(crate) group: Arc<str>,
    /// What people call this host.
    pub(crate) host: Arc<str>,
    pub(crate) behind_dead: BehindDead,
    /// The Kafka topic that gets copies of dead letters.
    pub(crate) dead_letters: Option<Arc<str>>,
}

/// Settles a batch of one handler, sorted by (lane, seq), and stores the records that some of it are about: all
/// of it or nothing.
pub(crate) async fn settle(
    db: &Db,
    of: &Whose,
    leases: &BTreeMap<i32, Lease>,
    items: &[Settlement],
    store: Option<ToStore<'_>>,
) -> Result<Settled, DbError> {
    let mut tx = db.begin_about("settling messages", leases.keys().copied()).await?;
    let settled = write_all(&mut tx, of, leases, items, store).await?;
    match settled {
        Settled::Done { .. } => tx.commit().await?,
        Settled::LanesLost(_) | Settled::Touched(_) | Settled::OffsetMoved | Settled::StateLost(_) => {
            tx.roll_back().await;
        }
    }
    Ok(settled)
}

/// Writes all of it; only [`Settled::Done`] is to be committed.
async fn write_all(
    tx: &mut Tx,
    of: &Whose,
    leases: &BTreeMap<i32, Lease>,
    items: &[Settlement],
    store: Option<ToStore<'_>>,
) -> Result<Settled, DbError> {
    let ours = lanes::fence(tx, leases.values()).await?;
    if ours.len() < leases.len() {
        let lost = leases.keys().copied().filter(|lane| !ours.contains_key(lane));
        return Ok(Settled::LanesLost(lost.collect()));
    }
    let touched = store.as_ref().map(|store| store.touched(&ours)).unwrap_or_default();
    if !touched.is_empty() {
        return Ok(Settled::Touched(touched));
    }
    let to_insert = store.as_ref().map(ToStore::rows).unwrap_or_default();
    if let Some(store) = &store
        && !fresh::advance(tx, &of.group, &store.advances()).await?
    {
        return match fresh::committed(tx, &of.group, &store.advances(), &to_insert).await? {
            None => Ok(Settled::OffsetMoved),
            Some(rows) => {
                let missed = rows::missed(tx, items, &places_of(items, &rows)).await?;
                let seqs = to_insert.iter().map(|row| row.message.seq);
                let duplicates = seqs.filter(|seq| !rows.contains(seq)).collect();
                Ok(Settled::Done { missed, rereads: ours, duplicates })
            }
        };
    }
    let new: HashSet<i64> = to_insert.iter().map(|row| row.message.seq).collect();
    let there: Vec<&Settlement> = items.iter().filter(|item| !new.contains(&item.message.seq)).collect();
    let mut hit = rows::update(tx, &there).await?;
    let mut duplicates = HashSet::new();
    if let Some(store) = &store {
        let inserted = insert(tx, of, items, store, &to_insert).await?;
        hit.extend(places_of(items, &inserted));
        duplicates.extend(new.difference(&inserted));
    }
    let lost = reads::based_on_nothing(items, &hit);
    if !lost.is_empty() {
        return Ok(Settled::StateLost(lost));
    }
    emit::insert(tx, &of.group, items, &hit).await?;
    attempt::insert(tx, of, items, &hit).await?;
    let dead = items.iter().filter(|item| hit.contains(&item.place()));
    let dead: Vec<DeadLetter> = dead.filter_map(|item| DeadLetter::of(of, item)).collect();
    write_dead_letters(tx, &dead, of.dead_letters.as_deref()).await?;
    block::keys(tx, of.behind_dead, items, &hit).await?;
    let mut lost = reads::stale(tx, &of.group, items, &hit).await?;
    lost.extend(write::state(tx, &of.group, items, &hit).await?);
    if !lost.is_empty() {
        return Ok(Settled::StateLost(lost));
    }
    let missed = rows::missed(tx, items, &hit).await?;
    Ok(Settled::Done { missed, rereads: ours, duplicates })
}

/// Where those of the items are whose rows have these `seq`s.
fn places_of(items: &[Settlement], seqs: &HashSet<i64>) -> HashSet<(i32, i64)> {
    items.iter().filter(|item| seqs.contains(&item.message.seq)).map(Settlement::place).collect()
}

/// Inserts the records, each as it was decided; gives the `seq` of each that is new.
async fn insert(
    tx: &mut Tx,
    of: &Whose,
    items: &[Settlement],
    ToStore { held, running, .. }: &ToStore<'_>,
    rows: &[&FreshRow],
) -> Result<HashSet<i64>, DbError> {
    let decided: HashMap<i64, &Settlement> = items.iter().map(|item| (item.message.seq, item)).collect();
    let inserted = fresh::insert(tx, &of.group, rows, &decided, held).await?;
    let new = rows.iter().filter(|row| inserted.contains(&row.message.seq));
    let running = new.map(|row| &*row.message).filter(|message| running.contains(&message.seq));
    let begun = running.filter(|message| !decided.contains_key(&message.seq));
    fresh::begin(tx, begun).await?;
    Ok(inserted)
}
