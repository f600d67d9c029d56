//! Settling a batch until it is settled: what is away is waited for, what is lost is let go, and one
//! bad message does not take the others with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::entry::Key;
use crate::config::RetryPolicy;
use crate::db::{Db, DbError, Meaning};
use crate::lane::Lease;
use crate::pipeline::decide::{Budget, Verdict, decide};
use crate::pipeline::outcome::{End, Fault};
use crate::settle::{Settled, Settlement, Whose, settle};

/// A decided message on its way to be settled.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) key: Key,
    pub(super) settlement: Settlement,
    /// The database refused its effects, and it was judged anew.
    pub(super) blamed: bool,
}

impl Decided {
    pub(super) fn new(key: Key, settlement: Settlement) -> Self {
        Self { key, settlement, blamed: false }
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Fate {
    /// Settled as decided.
    Settled(Decided),
    /// Somebody else ended it meanwhile, or its lane is another's: it is out of our hands.
    Gone(Decided),
    /// The state it read was overtaken: it is called again.
    Redo(Decided),
}

/// What settling needs.
#[derive(Debug, Clone)]
pub(super) struct Settler {
    pub(super) db: Db,
    pub(super) of: Whose,
    pub(super) policy: RetryPolicy,
}

impl Settler {
    /// Settles the batch. Ends when each message has its fate, or when all its lanes are lost.
    pub(super) async fn settle(self, leases: HashMap<i32, Lease>, batch: Vec<Decided>) -> Vec<Fate> {
        let mut outage = self.db.outage();
        let mut fates = Vec::with_capacity(batch.len());
        let mut rest = batch;
        rest.sort_by_key(|decided| (decided.settlement.message.lane, decided.settlement.message.seq));
        // Bad data somewhere in the batch: what is left goes one by one.
        let mut at_once = usize::MAX;
        while !rest.is_empty() {
            let (lost, kept): (Vec<_>, Vec<_>) = rest
                .into_iter()
                .partition(|decided| leases.get(&decided.key.lane).is_none_or(Lease::is_lost));
            fates.extend(lost.into_iter().map(Fate::Gone));
            let mut now = kept;
            rest = now.split_off(at_once.min(now.len()));
            if now.is_empty() {
                continue;
            }
            match self.attempt(&leases, &mut now).await {
                Ok(ended) => {
                    outage.over();
                    fates.extend(ended);
                    now.append(&mut rest);
                    rest = now;
                }
                Err(error) if error.meaning() == Meaning::BadData && now.len() > 1 => {
                    at_once = 1;
                    now.append(&mut rest);
                    rest = now;
                }
                Err(error) if error.meaning() == Meaning::BadData => {
                    let keys: BTreeSet<Key> = now.iter().map(|guilty| guilty.key).collect();
                    now.iter_mut().for_each(|guilty| self.blame(guilty, &error));
                    // Later messages of the same key saw effects that are none.
                    let (redo, others): (Vec<_>, Vec<_>) =
                        rest.into_iter().partition(|decided| keys.contains(&decided.key));
                    fates.extend(redo.into_iter().map(Fate::Redo));
                    rest = others;
                    now.append(&mut rest);
                    rest = now;
                }
                Err(error) => {
                    now.append(&mut rest);
                    rest = now;
                    tokio::time::sleep(outage.failed(&error)).await;
                }
            }
        }
        fates
    }

    /// One transaction. Gives the fates of what it ended and leaves the others in `batch`.
    async fn attempt(
        &self,
        leases: &HashMap<i32, Lease>,
        batch: &mut Vec<Decided>,
    ) -> Result<Vec<Fate>, DbError> {
        let lanes: BTreeSet<i32> = batch.iter().map(|decided| decided.key.lane).collect();
        let leases: BTreeMap<i32, Lease> =
            lanes.iter().filter_map(|lane| Some((*lane, leases.get(lane)?.clone()))).collect();
        let (keys, items): (Vec<(Key, bool)>, Vec<Settlement>) =
            batch.drain(..).map(|decided| ((decided.key, decided.blamed), decided.settlement)).unzip();
        let settled = settle(&self.db, &self.of, &leases, &items).await;
        let all = keys.into_iter().zip(items).map(|((key, blamed), settlement)| Decided {
            key,
            settlement,
            blamed,
        });
        let place = |decided: &Decided| (decided.settlement.message.lane, decided.settlement.message.seq);
        match settled {
            Err(error) => {
                batch.extend(all);
                Err(error)
            }
            Ok(Settled::Done { missed, rereads }) => {
                for (lane, counter) in rereads {
                    if let Some(lease) = leases.get(&lane) {
                        lease.saw_reread(counter);
                    }
                }
                let fate = |decided| {
                    if missed.contains(&place(&decided)) {
                        Fate::Gone(decided)
                    } else {
                        Fate::Settled(decided)
                    }
                };
                Ok(all.map(fate).collect())
            }
            Ok(Settled::LanesLost(lost)) => {
                for lease in lost.iter().filter_map(|lane| leases.get(lane)) {
                    tracing::warn!(handler.name = %self.of.handler, "Lane {} is another host's now", lease.lane);
                    lease.lose();
                }
                batch.extend(all);
                Ok(Vec::new())
            }
            Ok(Settled::StateLost(lost)) => {
                let all: Vec<Decided> = all.collect();
                // Later messages of the same key saw what the overtaken one wrote.
                let keys: BTreeSet<Key> =
                    all.iter().filter(|decided| lost.contains(&place(decided))).map(|of| of.key).collect();
                let (redo, others): (Vec<_>, Vec<_>) =
                    all.into_iter().partition(|decided| keys.contains(&decided.key));
                batch.extend(others);
                Ok(redo.into_iter().map(Fate::Redo).collect())
            }
        }
    }

    /// The message's own effects are refused by the database: that is a failure of its handler.
    fn blame(&self, guilty: &mut Decided, error: &DbError) {
        guilty.blamed = true;
        let settlement = &mut guilty.settlement;
        let message = &settlement.message;
        let budget = Budget {
            attempts_made: message.attempts_made,
            attempts_max: message.attempts_max,
            deliveries: message.deliveries,
        };
        let reason = format!("its effects are refused: {error}");
        settlement.verdict =
            decide(End::Faulted(Fault::BadReply { reason }), budget, &self.policy, fastrand::f64());
        settlement.outgoing.clear();
        settlement.writes.clear();
        tracing::warn!(
            handler.name = %self.of.handler, message.id = %message.id, %error,
            "The effects of message {} are refused by the database", message.id
        );
    }
}

/// How long a retried message waits, once it is settled.
pub(super) fn wait_of(verdict: &Verdict) -> Option<Duration> {
    match verdict {
        Verdict::Retry { delay, .. } | Verdict::Again { delay, .. } => Some(*delay),
        Verdict::Completed | Verdict::Skipped { .. } | Verdict::Dead { .. } => None,
    }
}
