//! Choice of the rows that are read next.
//!
//! What an operator touched goes first: it is looked for from the start, with the lane to itself for the first page,
//! and until the last page has come no key is read on. The look brings keys and places, so that it needs no room in
//! memory and comes where memory is full; what is there goes on beside it.

use super::items::Row;
use super::{Lane, Phase, ReadInFlight, Scan, Spilled, Weight};
use crate::handler_machine::command::{Command, Read, ReadId, ReadWhat};
use crate::ids::{OrderBy, Seq};
use crate::time::Moment;

/// Keys that are read at once.
const KEYS_MAX: usize = 100;
/// Rows of a key that are read at once.
const KEY_ROWS_MAX: usize = 100;
/// No more keys are looked for while as many are known.
const DUE_KEYS_ENOUGH: usize = 1000;

/// Bounds of a read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadBounds {
    /// Free memory.
    pub(crate) room: Weight,
    /// The most rows of a page.
    pub(crate) page: usize,
    /// A settlement of the lane is due.
    pub(crate) write_due: bool,
}

impl<S: Clone, E: Clone> Lane<S, E> {
    /// Says whether a read of the inbox is under way.
    pub(crate) fn reads(&self) -> bool {
        self.in_flight.read.is_some() || (self.in_flight.own && matches!(self.phase, Phase::Opening { .. }))
    }

    /// Gives the next read, where one is to be made now.
    pub(crate) fn plan_read(&mut self, id: ReadId, bounds: ReadBounds, now: Moment) -> Option<Command<S, E>> {
        if self.in_flight.read.is_some() {
            return None;
        }
        if let Phase::Opening { after } = self.phase {
            if self.in_flight.own {
                return None;
            }
            self.in_flight.own = true;
            return Some(Command::ReadStanding { lease: self.lease, after });
        }
        if self.phase != Phase::Working {
            return None;
        }
        if self.reread_wanted > self.reread_seen && self.due.reread.is_none() {
            // Alone: a death that is committed beside it would look like a letter that was closed.
            if !self.may_be_alone(bounds) {
                return None;
            }
            self.due.cursor = None;
            self.read_last = true;
            return Some(self.read_due(id, true));
        }
        // What came after a replay must not be read before the replay is found.
        if self.due.reread.is_some() {
            return Some(self.read_due(id, false));
        }
        let read = self.plan_keys(id, bounds);
        if read.is_some() {
            return read;
        }
        if self.due.next.is_some_and(|next| next <= now) && self.to_read.len() < DUE_KEYS_ENOUGH {
            return Some(self.read_due(id, false));
        }
        self.plan_scan(id, bounds)
    }

    fn read_due(&mut self, read: ReadId, with_blocked: bool) -> Command<S, E> {
        self.in_flight.read =
            Some(ReadInFlight { id: read, exclusive: with_blocked, reserved: Weight::default() });
        self.due.next = None;
        Command::ReadDue { lease: self.lease, read, after: self.due.cursor, with_blocked }
    }

    /// Tells whether a read that runs alone may begin: settlements and such reads take turns.
    fn may_be_alone(&self, bounds: ReadBounds) -> bool {
        self.in_flight.write.is_none()
            && self.in_flight.sql.is_empty()
            && !(self.read_last && bounds.write_due)
    }

    fn plan_keys(&mut self, read: ReadId, bounds: ReadBounds) -> Option<Command<S, E>> {
        // A key is not read while one of its rows is still to be marked as held.
        if self.to_read.is_empty()
            || bounds.room.messages == 0
            || !self.to_spill.is_empty()
            || !self.may_be_alone(bounds)
        {
            return None;
        }
        let up_to = match self.scan {
            Scan::Strict { after } => Some(after),
            Scan::Lax { .. } | Scan::Done => None,
        };
        let mut keys: Vec<(OrderBy, Seq)> = Vec::new();
        let mut not_now: Vec<OrderBy> = Vec::new();
        // A message without a key that lies ahead of the scan is read when the scan has come there.
        let is_ahead =
            |order: &OrderBy| matches!((order, up_to), (OrderBy::Nothing(seq), Some(up_to)) if *seq > up_to);
        for order in self.to_read.iter().filter(|order| !is_ahead(order)).take(DUE_KEYS_ENOUGH) {
            match self.key_read_from(*order) {
                Some(after) => keys.push((*order, after)),
                None => not_now.push(*order),
            }
            if keys.len() >= KEYS_MAX.min(bounds.room.messages) {
                break;
            }
        }
        // What they wait for has them read.
        for order in &not_now {
            self.to_read.remove(order);
        }
        if keys.is_empty() {
            return None;
        }
        let limit = (bounds.room.messages / keys.len()).clamp(1, KEY_ROWS_MAX);
        let bytes_max = bounds.room.bytes;
        let reserved = Weight { messages: limit.saturating_mul(keys.len()), bytes: bytes_max };
        self.in_flight.read = Some(ReadInFlight { id: read, exclusive: true, reserved });
        self.read_last = true;
        let what = ReadWhat::Keys { keys, up_to };
        Some(Command::Read(Read { lease: self.lease, read, what, limit, bytes_max }))
    }

    /// Gives from where a key is read on; `None` where something of it goes first.
    pub(super) fn key_read_from(&self, order: OrderBy) -> Option<Seq> {
        if self.waits_behind_dead(order) {
            return None;
        }
        let from_start = match self.spilled.get(&order) {
            Some(Spilled::Follows { from_start }) => *from_start,
            // A message without a key.
            None => true,
            Some(Spilled::Wakes | Spilled::Waits { .. } | Spilled::BehindScan | Spilled::Unclaimed) => {
                return None;
            }
        };
        match self.keys.get(&order).and_then(|queue| queue.seqs.back()) {
            Some(_) if from_start => None,
            Some(last) => Some(*last),
            None => Some(Seq(i64::MIN)),
        }
    }

    fn plan_scan(&mut self, read: ReadId, bounds: ReadBounds) -> Option<Command<S, E>> {
        let (after, exclusive) = match self.scan {
            Scan::Strict { after } => (after, false),
            Scan::Lax { after } => (after, true),
            Scan::Done => return None,
        };
        // Rows that are to be marked go first, so that keys are read beside a long scan.
        let keys_wait = !self.to_read.is_empty() && !self.to_spill.is_empty();
        if bounds.room.messages == 0 || keys_wait || (exclusive && !self.may_be_alone(bounds)) {
            return None;
        }
        let limit = bounds.page.min(bounds.room.messages).max(1);
        let bytes_max = bounds.room.bytes;
        let reserved = Weight { messages: limit, bytes: bytes_max };
        self.in_flight.read = Some(ReadInFlight { id: read, exclusive, reserved });
        self.read_last |= exclusive;
        let what = ReadWhat::Lane { after };
        Some(Command::Read(Read { lease: self.lease, read, what, limit, bytes_max }))
    }

    /// Gives up to where the next messages are to be noted as begun, about `count` of them.
    pub(crate) fn next_mark(&self, count: usize) -> Option<Seq> {
        let first = self.ready.first().map(|(seq, _)| *seq)?;
        let has_row = |item: &super::items::Item<E>| item.row != Row::Unstored;
        if !self.items.get(first).is_some_and(has_row) {
            return None;
        }
        let from = first.max(Seq(self.started_to.0.saturating_add(1)));
        // Records without rows lie above the others.
        let next = self.items.range(from..).take_while(|(_, item)| has_row(item));
        let next = next.filter(|(_, item)| item.is_waiting());
        next.take(count.max(1)).last().map(|(seq, _)| *seq)
    }
}
