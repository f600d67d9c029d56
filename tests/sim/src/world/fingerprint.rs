//! The fingerprint of a world: equal for states from which the same can happen.
//!
//! Left out is what only tells where a run came from: history, coverage, numbers of jobs. Moments count by their
//! distance from now. Numbers of calls, reads and settlements count by their order within their host, since a machine
//! compares them and does nothing else with them, versions of values by their order among all; transactions by the job
//! that they belong to; commits by the order of those that a check compares.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use mailroom_core::handler_machine::command::Command;

use super::World;
use super::explore::{BEGINNING, VERSIONS_FROM};
use crate::history::task;
use crate::host::{CallStage, Host};
use crate::job::{Job, Task};
use crate::model::fingerprint::mixed;
use crate::postgres::locks::Mode;
use crate::postgres::table::{Table, Tx};
use crate::setup::EXPIRY;

/// Numbers that say "never" rather than when.
const NEVER: u64 = BEGINNING << 10;

/// Parts of a state, as a list of numbers.
struct Parts {
    now: u64,
    words: Vec<u64>,
    /// Places of words that are names: only their order counts.
    names: Vec<usize>,
}

impl Parts {
    fn new(now: u64) -> Self {
        Self { now, words: Vec::with_capacity(2048), names: Vec::with_capacity(64) }
    }

    fn add(&mut self, of: &impl Hash) {
        of.hash(self);
    }

    /// Gives the words with each name as its place among all names.
    fn named(mut self) -> Vec<u64> {
        let name = |at: &usize| self.words.get(*at).copied().unwrap_or(0);
        let mut order: Vec<u64> = self.names.iter().map(name).collect();
        order.sort_unstable();
        order.dedup();
        for at in &self.names {
            if let Some(word) = self.words.get_mut(*at) {
                let place = order.binary_search(word).unwrap_or(0);
                *word = u64::try_from(place).unwrap_or(0) + 1;
            }
        }
        self.words
    }
}

/// Every kind of number has a method of its own. A machine's `u64`s are moments, names, and the seconds of durations;
/// the latter have their nanoseconds, a `u32`, right behind them. A name that is taken for a duration counts as it
/// is, which tells more states apart than there are, and none too few.
impl Hasher for Parts {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.words.push(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.words.push(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        if self.names.last().is_some_and(|at| at + 1 == self.words.len()) {
            self.names.pop();
        }
        self.words.push(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let is_moment = (BEGINNING / 2..NEVER).contains(&number);
        if !is_moment && (1..BEGINNING / 2).contains(&number) {
            self.names.push(self.words.len());
        }
        self.words.push(if is_moment { number.wrapping_sub(self.now) } else { number });
    }

    fn write_usize(&mut self, number: usize) {
        self.words.push(u64::try_from(number).unwrap_or(u64::MAX));
    }

    fn write_isize(&mut self, number: isize) {
        self.words.push(i64::try_from(number).map_or(u64::MAX, i64::cast_unsigned));
    }

    fn write_i64(&mut self, number: i64) {
        self.words.push(number.cast_unsigned());
    }

    fn write_i32(&mut self, number: i32) {
        self.words.push(i64::from(number).cast_unsigned());
    }
}

/// Transactions, numbered by the jobs that they belong to.
#[derive(Default)]
struct Transactions(BTreeMap<Tx, u32>);

impl Transactions {
    fn name(&mut self, tx: Tx) {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.entry(tx).or_insert(next);
    }

    /// One that has ended has no name.
    fn of(&self, tx: Tx) -> u32 {
        self.0.get(&tx).copied().unwrap_or(u32::MAX)
    }
}

impl World {
    /// Gives 128 bits that stand for all that matters for what may happen.
    pub(crate) fn fingerprint(&self) -> u128 {
        let mut all = Parts::new(self.now);
        let mut transactions = Transactions::default();
        let mut others: Vec<&Job> = Vec::new();
        let mut of_hosts: Vec<Vec<&Job>> = vec![Vec::new(); self.hosts.len()];
        for job in &self.jobs {
            let host = job.host.filter(|(index, lives)| {
                self.hosts.get(*index).is_some_and(|host| host.lives == *lives && host.is_up())
            });
            match host.and_then(|(index, _)| of_hosts.get_mut(index)) {
                Some(jobs) => jobs.push(job),
                None => others.push(job),
            }
        }
        of_hosts
            .iter_mut()
            .chain([&mut others])
            .for_each(|jobs| jobs.sort_by_key(|job| (order(job), job.id)));
        of_hosts.iter().flatten().chain(&others).for_each(|job| transactions.name(job.tx));
        let mut orphans: Vec<_> = self.orphans.iter().collect();
        orphans.sort_by_cached_key(|orphan| (task(&orphan.task), orphan.tx));
        orphans.iter().for_each(|orphan| transactions.name(orphan.tx));
        for (host, jobs) in self.hosts.iter().zip(&of_hosts) {
            let mut parts = Parts::new(self.now);
            self.add_host(&mut parts, host, &mut transactions);
            jobs.iter().for_each(|job| self.add_job(&mut parts, job, &transactions));
            all.words.extend(parts.named());
            all.add(&u32::MAX);
        }
        for job in others {
            let mut parts = Parts::new(self.now);
            self.add_job(&mut parts, job, &transactions);
            all.words.extend(parts.named());
        }
        for orphan in orphans {
            let mut parts = Parts::new(self.now);
            parts.add(&(orphan.session, &orphan.task, orphan.commits, transactions.of(orphan.tx)));
            self.add_fence(&mut parts, orphan.tx);
            parts.write_u64(orphan.until);
            all.words.extend(parts.named());
        }
        self.add_postgres(&mut all, &transactions);
        self.add_rest(&mut all, &transactions);
        name_versions(&mut all.words);
        mixed(&all.words)
    }

    fn add_host(&self, parts: &mut Parts, host: &Host, transactions: &mut Transactions) {
        parts.add(&(host.life, host.session, &host.machine, &host.consumer));
        for (id, running) in &host.calls {
            parts.add(&(id, &running.call, running.act));
            parts.write_u64(running.until);
            match &running.stage {
                CallStage::Begin => parts.write_u8(0),
                CallStage::Load => parts.write_u8(1),
                CallStage::Body(state) => parts.add(&(2_u8, state)),
                CallStage::Ended(end) => parts.add(&(3_u8, end)),
            }
            running.tx.iter().for_each(|tx| transactions.name(*tx));
            parts.add(&running.tx.map(|tx| transactions.of(tx)));
        }
        for (id, open) in &host.open {
            transactions.name(open.tx);
            parts.add(&(id, transactions.of(open.tx), &open.message));
            parts.write_u64(open.since);
        }
        parts.add(&(&host.strays, &host.shared, host.beats, host.looks, host.frozen));
        let moments = [host.next_beat, host.next_look, host.cut_until];
        moments.into_iter().for_each(|moment| parts.write_u64(moment));
    }

    fn add_job(&self, parts: &mut Parts, job: &Job, transactions: &Transactions) {
        parts.add(&(job.session, &job.task, job.step, &job.stage, &job.notes));
        parts.add(&job.waits.map(|(tx, epoch)| (transactions.of(tx), epoch == self.pg.locks.epoch)));
        parts.write_u64(job.started);
        self.add_fence(parts, job.tx);
    }

    /// Adds which values were replaced since a settlement had its fence.
    fn add_fence(&self, parts: &mut Parts, tx: Tx) {
        let fenced_at = self.pg.fenced_at.get(&tx).copied();
        parts.add(&(fenced_at.is_some(), self.oracle.replaced_after(fenced_at)));
    }

    fn add_postgres(&self, parts: &mut Parts, transactions: &Transactions) {
        let pg = &self.pg;
        for (place, holders) in pg.locks.held() {
            let mut holders: Vec<(u32, Mode)> =
                holders.iter().map(|(tx, mode)| (transactions.of(*tx), *mode)).collect();
            holders.sort_unstable();
            parts.add(&(place, holders));
        }
        add_table(parts, &pg.hosts, transactions);
        add_table(parts, &pg.buried, transactions);
        add_table(parts, &pg.suspicions, transactions);
        add_table(parts, &pg.lanes, transactions);
        add_table(parts, &pg.offsets, transactions);
        add_table(parts, &pg.inbox, transactions);
        add_table(parts, &pg.ids, transactions);
        add_table(parts, &pg.letters, transactions);
        add_table(parts, &pg.blocked, transactions);
        add_table(parts, &pg.state, transactions);
        add_table(parts, &pg.outbox, transactions);
        add_table(parts, &pg.guest, transactions);
        add_table(parts, &pg.breaker, transactions);
        add_table(parts, &pg.paused, transactions);
        parts.add(&(pg.sequence, &pg.workers));
    }

    fn add_rest(&self, parts: &mut Parts, transactions: &Transactions) {
        let owners: Vec<usize> = self.kafka.owners.values().copied().collect();
        parts.add(&(owners, self.last_session, &self.once));
        self.oracle.add_to(parts);
        parts.write_u64(self.last_fault.max(self.now.saturating_sub(EXPIRY + 1)));
        if let Some(explored) = &self.explored {
            // Which job is first in order matters where only some orders are tried.
            if explored.is_ordered() {
                self.jobs.iter().for_each(|job| parts.add(&transactions.of(job.tx)));
            }
            parts.add(&(explored.left, explored.swapped, &explored.buried, explored.late.len()));
            if !explored.late.is_empty() {
                parts.write_u64(explored.late_by);
            }
        }
    }
}

fn add_table<K: Hash + Ord + Clone, V: Hash + Clone>(
    parts: &mut Parts,
    table: &Table<K, V>,
    transactions: &Transactions,
) {
    table.show(|key, committed, dirty| {
        parts.add(&(key, committed));
        parts.add(&dirty.map(|(tx, row)| (transactions.of(tx), row)));
    });
    parts.write_u8(0xff);
}

/// Puts places in their order for versions of values: they are drawn one after another, and compared.
fn name_versions(words: &mut [u64]) {
    let is_version = |word: &u64| (VERSIONS_FROM..VERSIONS_FROM << 1).contains(&word.cast_signed());
    let mut order: Vec<u64> = words.iter().copied().filter(is_version).collect();
    order.sort_unstable();
    order.dedup();
    for word in words.iter_mut().filter(|word| is_version(word)) {
        *word = u64::try_from(order.binary_search(word).unwrap_or(0)).unwrap_or(0);
    }
}

/// The order of a host's jobs: by what they do, then by the names that their machine gave them.
fn order(job: &Job) -> (u8, u64) {
    match &*job.task {
        Task::Command(Command::Write(write)) => (0, write.id.0),
        Task::Command(Command::Read(read)) => (1, read.read.0),
        Task::Command(Command::ReadDue { read, .. }) => (2, read.0),
        Task::Command(Command::SettleSql { call, .. }) => (3, call.0),
        Task::Command(command) => {
            (4, u64::try_from(crate::coverage::command_name(command).len()).unwrap_or(0))
        }
        Task::Beat => (5, 0),
        Task::Bury => (6, 0),
        Task::Look => (7, 0),
        Task::Sweep(_) => (8, 0),
        Task::Act(_) => (9, 0),
    }
}
