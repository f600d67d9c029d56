//! Promises that must hold with every record, every mark and every death.
//!
//! `tests/planted/README.md` has a table of all rules of the simulator by their names.
//!
//! What the models say of librdkafka is compared with nothing.

use std::collections::{BTreeMap, BTreeSet};

use mailroom_core::relay::Row;

use super::RelayWorld;
use super::broker::Place;
use super::job::Task;
use super::store::{Flaw, Message, OutboxRow, Status};
use super::writes::Tokens;
use crate::postgres::table::{Change, NOBODY};

/// Records and refusals that were seen so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Messages on the logs, with their places.
    published: BTreeMap<u64, BTreeSet<(Place, i64)>>,
    /// Messages that a broker refused with nobody beside them.
    pub(super) refused_alone: BTreeSet<u64>,
}

impl RelayWorld {
    /// S10: the first records of a key come in the order in which its messages were written: those of one
    /// transaction, and one that was drawn after another was committed.
    pub(super) fn appended(&mut self, place: Place, offset: i64, ids: &[u64]) {
        for (id, at) in ids.iter().zip(0_i64..) {
            let places = self.oracle.published.entry(*id).or_default();
            let is_first = places.is_empty();
            places.insert((place, offset + at));
            if is_first && let Some(text) = self.overtaken(*id) {
                self.violate("S10 order", text);
            }
        }
    }

    fn overtaken(&self, id: u64) -> Option<String> {
        let rows = || self.store.outbox.rows(NOBODY);
        // A row that a failover took away has no order any more.
        let (seq, row) = rows().find(|(_, row)| row.message.id == id)?;
        if self.is_without_order(row) {
            return None;
        }
        let precedes = |other: &OutboxRow| other.tx == row.tx || other.committed_at < row.drawn_at;
        let (before, _) = rows().take_while(|(other, _)| *other < seq).find(|(_, other)| {
            other.is_pending()
                && (other.topic, other.message.key) == (row.topic, row.message.key)
                && precedes(other)
                && !self.is_without_order(other)
                && !self.oracle.published.contains_key(&other.message.id)
                && !self.is_condemned(&other.message)
        })?;
        Some(format!("row {seq} is on the log before row {before} of its key"))
    }

    fn is_without_order(&self, row: &OutboxRow) -> bool {
        row.touched || row.is_scheduled() || row.message.key.is_none()
    }

    /// Tells whether it may die: it can be seen to be unfit, or was refused with nobody beside it.
    fn is_condemned(&self, message: &Message) -> bool {
        matches!(message.flaw, Flaw::Unfit | Flaw::TooLarge)
            || self.oracle.refused_alone.contains(&message.id)
    }

    /// A record is handed over once at a time, and not again once its mark was heard of.
    pub(super) fn check_sent(&mut self, index: usize, row: &Row<Message>) {
        let id = row.record.id;
        let Some(host) = self.hosts.get(index) else { return };
        let mut open = host.clients.all.values().flat_map(|client| client.open.values());
        if open.any(|(_, open)| *open == id) {
            self.violate("S10 twice", format!("row {} is handed over while it is in flight", row.seq));
        } else if host.marked.contains(&id) {
            self.violate("S10 twice", format!("row {} is handed over though its mark was heard of", row.seq));
        }
    }

    /// S10 of what a transaction wrote.
    pub(super) fn check_committed(&mut self, task: &Task, changes: &[Change<i64, OutboxRow>]) {
        for change in changes {
            let Some(row) = &change.new else { continue };
            let breach = match task {
                Task::Mark(batch, tokens) => {
                    let published =
                        batch.published.iter().find(|published| published.row.record == row.message);
                    let place = published.map(|published| (published.partition, published.offset));
                    self.marked(change.key, row, place).or_else(|| self.unfenced(change.key, row, tokens))
                }
                Task::Replay(_) => {
                    for host in &mut self.hosts {
                        host.marked.remove(&row.message.id);
                    }
                    None
                }
                Task::Command(_)
                | Task::Beat
                | Task::Bury
                | Task::Share { .. }
                | Task::Look
                | Task::Release(_) => None,
            };
            self.history.note(|| format!("row {} is {:?}", change.key, row.status));
            if let Some((rule, text)) = breach {
                self.violate(rule, text);
            }
        }
    }

    fn marked(&self, seq: i64, row: &OutboxRow, at: Option<(i32, i64)>) -> Option<(&'static str, String)> {
        let id = row.message.id;
        if row.status == Status::Failed {
            let text = || format!("row {seq} dies, and was not refused alone");
            return (!self.is_condemned(&row.message)).then(|| ("S10 death", text()));
        }
        let (partition, offset) = at?;
        let partition = usize::try_from(partition).unwrap_or(usize::MAX);
        let places = self.oracle.published.get(&id);
        let is_there = places.is_some_and(|places| places.contains(&((row.topic, partition), offset)));
        (!is_there).then(|| ("S10 mark", format!("row {seq} is marked at a place where it is not")))
    }

    /// Nothing is written under an old token.
    fn unfenced(&self, seq: i64, row: &OutboxRow, tokens: &Tokens) -> Option<(&'static str, String)> {
        let token = self.store.lanes.get(NOBODY, &row.lane).map(|lane| lane.token);
        let held = tokens.get(&row.lane).copied();
        (held != token).then(|| {
            (
                "S10 token",
                format!("row {seq} is written under token {held:?} of its lane, which has {token:?}"),
            )
        })
    }
}
