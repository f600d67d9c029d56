//! Applications that write to the outbox in their own transactions, and commit out of order.

use super::RelayWorld;
use super::store::{Flaw, Message, OutboxRow, Status};
use crate::postgres::table::Tx;

/// A transaction of an application.
#[derive(Debug, Clone)]
pub(crate) struct Application {
    pub(super) tx: Tx,
    has_id: bool,
    left: u32,
    seqs: Vec<i64>,
    /// Pause before this many rows are left, and its length.
    rest: Option<(u32, u64)>,
    /// Time before which it does nothing.
    pub(super) until: u64,
    commits: bool,
    notifies: bool,
}

impl RelayWorld {
    pub(super) fn begin_application(&mut self) {
        let left = self.chance(5);
        let is_long = self.choices.percent(self.setup.long);
        let rest = is_long.then(|| {
            let millis = self.choices.pick(&[300, 2500, 20_000]).unwrap_or(300);
            (self.choices.draw(left + 1), millis)
        });
        let commits = !self.choices.percent(10);
        let tx = self.store.begin();
        let (until, seqs) = (self.now, Vec::new());
        self.applications.push(Application {
            tx,
            has_id: false,
            left,
            seqs,
            rest,
            until,
            commits,
            notifies: false,
        });
    }

    /// One statement of a transaction.
    pub(super) fn go_on_with(&mut self, at: usize) {
        let Some(mut application) = self.applications.get(at).cloned() else { return };
        if !application.has_id {
            application.has_id = true;
            let id = self.store.assign_id(application.tx);
            self.history.note(|| format!("an application begins transaction {id}"));
        } else if let Some((_, millis)) = application.rest.filter(|(left, _)| *left >= application.left) {
            application.rest = None;
            application.until = self.now + if self.calm.is_some() { 0 } else { millis };
        } else if application.left > 0 {
            application.left -= 1;
            application.notifies |= self.store.sleeps.values().any(|until| *until > self.now);
            self.insert(&mut application);
        } else {
            self.applications.remove(at);
            self.end_application(&application);
            return;
        }
        if let Some(place) = self.applications.get_mut(at) {
            *place = application;
        }
    }

    fn insert(&mut self, application: &mut Application) {
        let topic =
            usize::try_from(self.chance(u32::try_from(self.setup.topics.len()).unwrap_or(1))).unwrap_or(0);
        let key = Some(self.chance(self.setup.keys + 1)).filter(|key| *key < self.setup.keys);
        let bytes = 50 + usize::try_from(self.chance(4)).unwrap_or(0) * 100;
        let flaw = match self.chance(100) {
            drawn if drawn + self.setup.poison >= 100 => Flaw::Poison,
            drawn if drawn + self.setup.poison + self.setup.unfit >= 100 => Flaw::Unfit,
            drawn if drawn + self.setup.poison + 2 * self.setup.unfit >= 100 => Flaw::TooLarge,
            _ => Flaw::Nothing,
        };
        let delay =
            if self.chance(100) + self.setup.scheduled >= 100 { 1 + u64::from(self.chance(3000)) } else { 0 };
        let is_undone = self.chance(100) >= 96;
        self.last_message += 1;
        let message = Message { id: self.last_message, key, flaw };
        let hash = key.map_or(message.id, |key| u64::from(key) + u64::try_from(topic).unwrap_or(0));
        let lanes = u64::try_from(self.setup.lanes).unwrap_or(1).max(1);
        let lane = i32::try_from(hash % lanes).unwrap_or(0);
        let seq = self.store.draw_seq();
        let row = OutboxRow {
            message,
            lane,
            topic,
            bytes,
            status: Status::Pending,
            scheduled_at: self.now + delay,
            created_at: self.now,
            touched: false,
            tx: application.tx,
            drawn_at: self.clock,
            committed_at: 0,
        };
        self.history.note(|| {
            let name = self.setup.topics.get(topic).map_or("", |name| name);
            let key = key.map_or_else(|| "-".to_owned(), |key| key.to_string());
            let flaw = if flaw == Flaw::Nothing { String::new() } else { format!(" {flaw:?}") };
            let delay = if delay > 0 { format!(" in {delay} ms") } else { String::new() };
            format!(
                "row {seq}: message {} for {name}/{key}, lane {lane}, {bytes} bytes{flaw}{delay}",
                message.id
            )
        });
        // What a savepoint took back was drawn all the same.
        if !is_undone {
            self.store.outbox.put(application.tx, seq, Some(row));
            application.seqs.push(seq);
        }
    }

    fn end_application(&mut self, application: &Application) {
        let (tx, clock) = (application.tx, self.clock);
        let seqs = &application.seqs;
        self.history.note(|| {
            format!("rows {seqs:?} are {}", if application.commits { "committed" } else { "rolled back" })
        });
        for seq in seqs {
            self.store.outbox.update(tx, seq, |row| row.committed_at = clock);
        }
        self.store.end(tx, application.commits);
        if application.notifies && application.commits {
            self.wake_hosts();
        }
    }

    /// Wakes the hosts that listen.
    pub(super) fn wake_hosts(&mut self) {
        let now = self.now;
        for host in self.hosts.iter_mut().filter(|host| host.relays() && host.cut_until <= now) {
            host.woken = true;
        }
    }
}
