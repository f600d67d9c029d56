//! Settling a batch until it is settled: what is away is waited for, what is lost is let go, and one
//! bad message does not take the others with it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use super::entry::Key;
use super::fresh::{Storing, Unstored};
use crate::config::RetryPolicy;
use crate::db::{Db, DbError, GuestTx, Meaning, Progress};
use crate::lane::Lease;
use crate::outage::Outage;
use crate::pipeline::decide::{Budget, Verdict, decide};
use crate::pipeline::outcome::{End, Fault};
use crate::settle::{Settled, SettledWithSql, Settlement, ToStore, Whose, settle, settle_with_sql};

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

    /// Its place in its key.
    fn place(&self) -> (Key, i64) {
        (self.key, self.settlement.message.seq)
    }

    /// The place behind it in its key.
    fn behind(&self) -> (Key, i64) {
        (self.key, self.settlement.message.seq + 1)
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

/// What became of records that had no row yet.
#[derive(Debug)]
pub(super) enum Stored {
    /// They have rows now, but for those that the group had already, by their `seq`.
    Done { storing: Storing, duplicates: HashSet<i64> },
    /// Nothing was stored: an operator touched these lanes, whose reread counters are given. It goes before the
    /// records.
    Postponed { storing: Storing, decided: Vec<Decided>, touched: Vec<(i32, i64)> },
    /// Nothing was stored, and the lane is given up: they are polled again from where the offset row stands.
    Dropped(Unstored),
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Lanes that it was about.
    pub(super) lanes: BTreeSet<i32>,
    pub(super) fates: Vec<Fate>,
    pub(super) stored: Vec<Stored>,
}

impl Ended {
    fn one(fate: Fate) -> Self {
        Self { fates: vec![fate], ..Self::default() }
    }
}

/// What settling needs.
#[derive(Debug, Clone)]
pub(super) struct Settler {
    pub(super) db: Db,
    pub(super) of: Whose,
    pub(super) policy: RetryPolicy,
}

impl Settler {
    /// Settles the batch, and stores the records that some of it are about. Ends when each message has its
    /// fate, or when all its lanes are lost.
    pub(super) async fn settle(
        self,
        leases: HashMap<i32, Lease>,
        items: Vec<Decided>,
        storing: Option<Storing>,
    ) -> Ended {
        let mut batch = Batch {
            leases,
            rest: items,
            storing,
            one_by_one: false,
            ended: Ended::default(),
            outage: self.db.outage(),
        };
        batch.rest.sort_by_key(|decided| decided.settlement.place());
        while !batch.rest.is_empty() || batch.storing.is_some() {
            batch.let_go_of_lost();
            let now = batch.next();
            if now.is_empty() && batch.storing.is_none() {
                continue;
            }
            self.attempt(&mut batch, now).await;
        }
        batch.ended
    }

    /// Settles one message in the transaction that its handler's SQL ran in. That cannot be tried twice: where it
    /// fails, the message is called again, and where that was the handler's doing, it has failed.
    pub(super) async fn settle_with_sql(
        self,
        host: Uuid,
        lease: Option<Lease>,
        mut decided: Decided,
        tx: GuestTx,
    ) -> Ended {
        let Some(lease) = lease else { return Ended::one(Fate::Gone(decided)) };
        match settle_with_sql(tx, host, &lease, &decided.settlement).await {
            Ok(SettledWithSql::Done(reread)) => {
                lease.saw_reread(reread);
                Ended::one(Fate::Settled(decided))
            }
            Ok(SettledWithSql::LaneLost) => {
                lease.lose();
                Ended::one(Fate::Gone(decided))
            }
            Ok(SettledWithSql::Gone) => Ended::one(Fate::Gone(decided)),
            Ok(SettledWithSql::StateLost) => Ended::one(Fate::Redo(decided)),
            Err(error) if error.progress() == Progress::Unknown => {
                self.doubt(std::iter::once(&lease), &error);
                Ended::one(Fate::Gone(decided))
            }
            Err(error) if error.is_guests_doing() => {
                self.blame(&mut decided, &error);
                self.settle(HashMap::from([(lease.lane, lease)]), vec![decided], None).await
            }
            Err(error) => {
                tokio::time::sleep(self.db.outage().failed(&error)).await;
                Ended::one(Fate::Redo(decided))
            }
        }
    }

    /// One transaction.
    async fn attempt(&self, batch: &mut Batch, now: Vec<Decided>) {
        let (keys, items): (Vec<(Key, bool)>, Vec<Settlement>) =
            now.into_iter().map(|decided| ((decided.key, decided.blamed), decided.settlement)).unzip();
        let leases = batch.leases_of(&items);
        let store = batch.storing.as_ref().map(|of| ToStore {
            fresh: of.lanes.iter().map(|unstored| &unstored.fresh).collect(),
            held: &of.held,
            running: &of.running,
            reread_to: &of.reread_to,
        });
        let settled = settle(&self.db, &self.of, &leases, &items, store).await;
        let now: Vec<Decided> = keys
            .into_iter()
            .zip(items)
            .map(|((key, blamed), settlement)| Decided { key, settlement, blamed })
            .collect();
        match settled {
            Ok(Settled::Done { missed, rereads, duplicates }) => {
                batch.outage.over();
                for (lane, counter) in rereads {
                    if let Some(lease) = leases.get(&lane) {
                        lease.saw_reread(counter);
                    }
                }
                let is_missed = |decided: &Decided| missed.contains(&decided.settlement.place());
                batch.fall(now.iter().filter(|decided| is_missed(decided)).map(Decided::behind));
                batch.ended.fates.extend(now.into_iter().map(|decided| {
                    if is_missed(&decided) { Fate::Gone(decided) } else { Fate::Settled(decided) }
                }));
                let storing = batch.storing.take();
                batch.ended.stored.extend(storing.map(|storing| Stored::Done { storing, duplicates }));
            }
            Ok(Settled::LanesLost(lost)) => {
                for lease in lost.iter().filter_map(|lane| leases.get(lane)) {
                    tracing::warn!(handler.name = %self.of.handler, "Lane {} is another host's now", lease.lane);
                    lease.lose();
                }
                batch.put_back(now);
            }
            Ok(Settled::Touched(touched)) => {
                for (lane, counter) in &touched {
                    if let Some(lease) = leases.get(lane) {
                        lease.saw_reread(*counter);
                    }
                }
                batch.put_back(now);
                batch.postpone(touched);
            }
            Ok(Settled::OffsetMoved) => {
                tracing::warn!(
                    handler.name = %self.of.handler,
                    "A partition is another host's, or its offset was moved by hand; finding its place again"
                );
                batch.put_back(now);
                batch.drop_unstored();
            }
            Ok(Settled::StateLost(lost)) => {
                batch.put_back(now);
                let lost = batch.rest.iter().filter(|decided| lost.contains(&decided.settlement.place()));
                let places: Vec<(Key, i64)> = lost.map(Decided::place).collect();
                batch.fall(places.into_iter());
            }
            // What hangs may still commit, so nothing that is known of the lanes counts any more.
            Err(error) if error.progress() == Progress::Unknown => {
                self.doubt(leases.values(), &error);
                batch.put_back(now);
            }
            Err(error) => self.failed(batch, now, &error).await,
        }
    }

    /// Whether a settlement was committed is not known: its lanes are given up, to be taken anew under another token,
    /// which waits for whatever is still open, and read again.
    fn doubt<'l>(&self, leases: impl Iterator<Item = &'l Lease>, error: &DbError) {
        let lanes: Vec<i32> = leases.inspect(|lease| lease.lose()).map(|lease| lease.lane).collect();
        tracing::warn!(
            handler.name = %self.of.handler, ?lanes, %error,
            "Whether messages of lanes {lanes:?} were settled is not known: the lanes are taken anew and read again"
        );
    }

    async fn failed(&self, batch: &mut Batch, mut now: Vec<Decided>, error: &DbError) {
        let bad_data = error.meaning() == Meaning::BadData;
        if bad_data && (now.len() > 1 || (batch.storing.is_some() && !now.is_empty())) {
            // Somewhere in the batch. Records are stored as undecided, and what is left goes one by one.
            batch.one_by_one = true;
            batch.put_back(now);
        } else if bad_data && !now.is_empty() {
            now.iter_mut().for_each(|guilty| self.blame(guilty, error));
            batch.fall(now.iter().map(Decided::behind));
            batch.put_back(now);
        } else {
            batch.put_back(now);
            if bad_data {
                batch.drop_unstored();
            }
            tokio::time::sleep(batch.outage.failed(error)).await;
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
        let verdict = decide(End::Faulted(Fault::BadReply { reason }), budget, &self.policy, fastrand::f64());
        settlement.verdict = if message.begun { verdict.at_most_once() } else { verdict };
        settlement.outgoing.clear();
        settlement.writes.clear();
        tracing::warn!(
            handler.name = %self.of.handler, message.id = %message.id, %error,
            "The effects of message {} are refused by the database", message.id
        );
    }
}

/// A batch on its way.
struct Batch {
    leases: HashMap<i32, Lease>,
    /// In order of their rows.
    rest: Vec<Decided>,
    storing: Option<Storing>,
    one_by_one: bool,
    ended: Ended,
    outage: Outage,
}

impl Batch {
    /// What is tried now. Records go first, alone, where their effects may be bad.
    fn next(&mut self) -> Vec<Decided> {
        let at_once = match (self.one_by_one, &self.storing) {
            (false, _) => self.rest.len(),
            (true, Some(_)) => 0,
            (true, None) => 1,
        };
        self.rest.drain(..at_once.min(self.rest.len())).collect()
    }

    fn put_back(&mut self, mut now: Vec<Decided>) {
        now.append(&mut self.rest);
        self.rest = now;
    }

    /// From these places on, keys fall: what comes there saw what is not so, and is called again. What is left of
    /// each key is settled in its order, however often the batch is divided. A message that cannot be called again
    /// relies on nothing, and stays.
    fn fall(&mut self, from: impl Iterator<Item = (Key, i64)>) {
        let mut firsts: BTreeMap<Key, i64> = BTreeMap::new();
        for (key, seq) in from {
            firsts.entry(key).and_modify(|first| *first = seq.min(*first)).or_insert(seq);
        }
        if firsts.is_empty() {
            return;
        }
        let falls = |decided: &mut Decided| {
            let message = &decided.settlement.message;
            !message.begun && firsts.get(&decided.key).is_some_and(|first| message.seq >= *first)
        };
        self.ended.fates.extend(self.rest.extract_if(.., falls).map(Fate::Redo));
    }

    fn leases_of(&self, items: &[Settlement]) -> BTreeMap<i32, Lease> {
        let lanes = items.iter().map(|item| item.message.lane);
        let of_items = lanes.filter_map(|lane| Some((lane, self.leases.get(&lane)?.clone())));
        let unstored = self.storing.iter().flat_map(|of| &of.lanes).map(|of| &of.fresh.lease);
        of_items.chain(unstored.map(|lease| (lease.lane, lease.clone()))).collect()
    }

    /// Messages whose lanes are another's.
    fn let_go_of_lost(&mut self) {
        if let Some(storing) = &mut self.storing {
            let lost = storing.lanes.extract_if(.., |of| of.fresh.lease.is_lost());
            self.ended.stored.extend(lost.map(Stored::Dropped));
        }
        self.storing.take_if(|storing| storing.lanes.is_empty());
        let leases = &self.leases;
        let is_lost = |decided: &Decided| leases.get(&decided.key.lane).is_none_or(Lease::is_lost);
        let (lost, kept): (Vec<_>, Vec<_>) = self.rest.drain(..).partition(is_lost);
        self.rest = kept;
        self.ended.fates.extend(lost.into_iter().map(Fate::Gone));
    }

    /// Leaves the records, and what was decided of them, to the next settlement.
    fn postpone(&mut self, touched: Vec<(i32, i64)>) {
        let Some(storing) = self.storing.take() else { return };
        let is_of = |decided: &Decided| {
            storing.lanes.iter().any(|unstored| unstored.has(decided.settlement.message.seq))
        };
        let (decided, rest) = self.rest.drain(..).partition(is_of);
        self.rest = rest;
        self.ended.stored.push(Stored::Postponed { storing, decided, touched });
    }

    /// Gives up the lanes of the records that have no row: all of these are found anew.
    fn drop_unstored(&mut self) {
        for unstored in self.storing.take().into_iter().flat_map(|storing| storing.lanes) {
            unstored.fresh.lease.lose();
            self.ended.stored.push(Stored::Dropped(unstored));
        }
    }
}

/// How long a retried message waits, once it is settled.
pub(super) fn wait_of(verdict: &Verdict) -> Option<Duration> {
    match verdict {
        Verdict::Retry { delay, .. } | Verdict::Again { delay, .. } => Some(*delay),
        Verdict::Completed | Verdict::Skipped { .. } | Verdict::Dead { .. } => None,
    }
}
