//! Rows that were read, and keys that were found to wait no longer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::items::{Row, order_of};
use super::waiting::STAYS_MAX;
use super::{Blocked, Lane, Phase, Scan, Source, Spilled};
use crate::handler_machine::command::ReadWhat;
use crate::handler_machine::event::{DueKeys, InboxRow, RowsRead, StandingPage};
use crate::ids::{OrderBy, OrderKey, Seq};
use crate::time::Moment;
use crate::verdict::Blocking;

/// Longest interval at which keys are looked for that wait in Postgres.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl<S: Clone, E: Clone> Lane<S, E> {
    /// A page of what is known of the lane's keys came.
    pub(crate) fn standing(&mut self, page: StandingPage, now: Moment) {
        for (key, how) in page.blocked {
            self.blocked.insert(key, Blocked { how, by: None, written: true, another_stands: false });
        }
        let last = page.held.last().map(|(key, _)| *key);
        for (key, wakes) in page.held {
            let spilled = if wakes { Spilled::Wakes } else { Spilled::BehindScan };
            self.spilled.insert(OrderBy::Key(key), spilled);
        }
        self.progress_at = now;
        if page.more {
            self.phase = Phase::Opening { after: last };
            return;
        }
        self.phase = Phase::Working;
        self.due.next = Some(now);
    }

    /// Rows came that were asked for as `what`.
    pub(crate) fn rows_read(&mut self, what: &ReadWhat, rows: RowsRead, now: Moment) {
        self.progress_at = now;
        match what {
            ReadWhat::Lane { .. } => self.scanned(rows, now),
            ReadWhat::Keys { keys, up_to } => self.keys_read(keys, *up_to, rows, now),
        }
    }

    fn scanned(&mut self, rows: RowsRead, now: Moment) {
        let strict = matches!(self.scan, Scan::Strict { .. });
        let last = rows.rows.last().map(|row| Seq(row.message.seq));
        for row in rows.rows {
            let seq = Seq(row.message.seq);
            if self.items.contains(seq) || self.to_spill.contains_key(&seq) {
                continue;
            }
            if strict { self.scan_row(row, now) } else { self.unknown_row(&row, now) }
        }
        match (rows.more_of_lane, last) {
            (true, Some(last)) if strict => self.scan = Scan::Strict { after: last },
            (true, Some(last)) => self.scan = Scan::Lax { after: last },
            (_, _) => self.scan_ended(),
        }
    }

    fn scan_row(&mut self, row: InboxRow, now: Moment) {
        let (seq, order) = (Seq(row.message.seq), order_of(&row.message));
        if !row.claimed {
            // Without a key nothing waits behind it: it stays where it is, to be found by the next scan.
            if order.key().is_some() {
                self.to_spill.insert(seq, (false, order));
                self.spilled.entry(order).or_insert(Spilled::Unclaimed);
            }
        } else if self.spilled.contains_key(&order) {
            self.to_spill.insert(seq, (false, order));
        } else if self.waits_behind_dead(order) {
            self.to_spill.insert(seq, (false, order));
            self.spilled.insert(order, Spilled::Follows { from_start: false });
        } else if row.due_in > STAYS_MAX {
            self.to_spill.insert(seq, (true, order));
            if order.key().is_some() {
                self.spilled.insert(order, Spilled::Wakes);
            }
            self.wakes_in(row.due_in, now);
        } else {
            self.add(row.message, row.unfit, Row::Ready, now + row.due_in, Source::Read, false, now);
        }
    }

    /// A row that nobody here knows of: somebody edited it by hand. It waits until its key is at rest.
    fn unknown_row(&mut self, row: &InboxRow, now: Moment) {
        let order = order_of(&row.message);
        if !row.claimed && order.key().is_none() {
            return;
        }
        self.to_spill.insert(Seq(row.message.seq), (true, order));
        if order.key().is_some() && !self.spilled.contains_key(&order) {
            self.spilled.insert(order, Spilled::Wakes);
        }
        self.wakes_in(row.due_in, now);
    }

    fn scan_ended(&mut self) {
        self.scan = Scan::Done;
        let behind: Vec<OrderBy> = self
            .spilled
            .iter()
            .filter(|(_, spilled)| **spilled == Spilled::BehindScan)
            .map(|(order, _)| *order)
            .collect();
        for order in behind {
            self.spilled.insert(order, Spilled::Follows { from_start: true });
            self.tidy(order);
        }
    }

    fn keys_read(&mut self, keys: &[(OrderBy, Seq)], up_to: Option<Seq>, rows: RowsRead, now: Moment) {
        for (order, _) in keys {
            self.to_read.remove(order);
        }
        let mut stopped = Vec::new();
        for row in rows.rows {
            let order = order_of(&row.message);
            if stopped.contains(&order) || self.items.contains(Seq(row.message.seq)) {
                continue;
            }
            if self.changed_since(keys, order) {
                stopped.push(order);
                continue;
            }
            if let Some(spilled) = self.key_row(row, order, now) {
                stopped.push(order);
                if order.key().is_some() {
                    self.spilled.insert(order, spilled);
                }
            }
        }
        for (order, _) in keys {
            if order.key().is_none() && rows.more.contains(order) {
                self.to_read.insert(*order);
            }
            // A message without a key has no followers.
            if order.key().is_none() || stopped.contains(order) || self.changed_since(keys, *order) {
                continue;
            }
            if rows.more.contains(order) {
                self.spilled.insert(*order, Spilled::Follows { from_start: false });
            } else if up_to.is_some() {
                self.spilled.insert(*order, Spilled::BehindScan);
            } else {
                self.caught_up(*order, now);
            }
            self.tidy(*order);
        }
    }

    /// Tells whether something became known of a key while it was read, by which it goes on otherwise.
    fn changed_since(&self, keys: &[(OrderBy, Seq)], order: OrderBy) -> bool {
        let from_start = |after: &Seq| *after == Seq(i64::MIN);
        match self.spilled.get(&order) {
            _ if self.waits_behind_dead(order) => true,
            Some(Spilled::Follows { from_start: true }) => {
                !keys.iter().any(|(of, after)| *of == order && from_start(after))
            }
            Some(Spilled::Follows { from_start: false }) | None => false,
            Some(Spilled::Wakes | Spilled::Waits { .. } | Spilled::BehindScan | Spilled::Unclaimed) => true,
        }
    }

    /// Takes a held row of a key that is read; gives what the key waits for instead, where it does.
    fn key_row(&mut self, row: InboxRow, order: OrderBy, now: Moment) -> Option<Spilled> {
        if !row.claimed {
            return Some(Spilled::Unclaimed);
        }
        if row.due_in > STAYS_MAX {
            // It was found before its time, or nothing wakes it yet.
            if !row.wakes {
                self.to_spill.insert(Seq(row.message.seq), (true, order));
            }
            self.wakes_in(row.due_in, now);
            return Some(Spilled::Waits { until: now + row.due_in });
        }
        self.add(row.message, row.unfit, Row::Held, now + row.due_in, Source::Read, false, now);
        None
    }

    /// All rows of the key are in memory. Its records that wait to be stored follow them.
    fn caught_up(&mut self, order: OrderBy, now: Moment) {
        self.spilled.remove(&order);
        for (row, stored_first) in self.inserts.unhold(|message| order_of(message) == order) {
            self.add(
                Arc::clone(&row.message),
                row.unfit,
                Row::Unstored,
                now,
                Source::Polled,
                stored_first,
                now,
            );
        }
    }

    /// A row wakes after this time.
    pub(super) fn wakes_in(&mut self, time: Duration, now: Moment) {
        let at = now + time;
        self.due.next = Some(self.due.next.map_or(at, |next| next.min(at)));
    }

    /// Keys were found whose rows are due, or were touched.
    pub(crate) fn due_found(&mut self, found: DueKeys, now: Moment) {
        self.progress_at = now;
        let rereads = self.due.reread.is_some() || found.blocked.is_some();
        if let Some(blocked) = found.blocked {
            self.due.reread = Some(found.rereads);
            self.unblock(&blocked, now);
        }
        for (order, seq) in found.due {
            // A key that is read on comes to the row, unless it was replayed behind where the reading stands.
            let comes =
                self.to_read.contains(&order) && self.key_read_from(order).is_none_or(|from| from < seq);
            if self.items.contains(seq) || self.to_spill.contains_key(&seq) || comes {
                continue;
            }
            // What is due behind a first row that waits comes after it.
            let waits = matches!(self.spilled.get(&order), Some(Spilled::Waits { until }) if *until > now);
            if waits && !rereads {
                continue;
            }
            if order.key().is_some() {
                self.touched(order, now);
            } else {
                self.to_read.insert(order);
            }
        }
        self.due.cursor = found.more_after;
        if found.more_after.is_some() {
            self.due.next = Some(now);
            return;
        }
        let next_in = found.next_in.map(|time| now + time);
        let look = (!self.spilled.is_empty()).then(|| now + LOOK_EVERY);
        // What was spilled while this was read wakes too.
        self.due.next = next_in.into_iter().chain(look).chain(self.due.next).min();
        if rereads && let Some(seen) = self.due.reread.take() {
            self.reread_seen = self.reread_seen.max(seen);
            // What has no row yet may start again.
            let orders: Vec<OrderBy> = self.keys.keys().copied().collect();
            orders.into_iter().for_each(|order| self.arm(order, now));
            if self.scan == Scan::Done {
                self.scan = Scan::Lax { after: Seq(i64::MIN) };
            }
        }
    }

    /// Keys go on whose letters are closed: only those whose death was committed before can have been.
    fn unblock(&mut self, blocked: &[(OrderKey, Blocking)], now: Moment) {
        let still: BTreeSet<OrderKey> = blocked.iter().map(|(key, _)| *key).collect();
        let freed: Vec<OrderKey> = self
            .blocked
            .iter()
            .filter(|(key, of)| of.written && !still.contains(*key))
            .map(|(key, _)| *key)
            .collect();
        for key in freed {
            if self.blocked.remove(&key).is_some() {
                self.touched(OrderBy::Key(key), now);
            }
        }
    }
}
