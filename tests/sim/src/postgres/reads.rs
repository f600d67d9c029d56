//! Reads of a lane, each in one snapshot.

use std::time::Duration;

use mailroom_core::handler_machine::command::{Read, ReadWhat};
use mailroom_core::handler_machine::event::{
    DueCursor, DueKeys, InboxRow, Look, OwnedLane, RowsRead, StandingPage,
};
use mailroom_core::ids::{Lease, OrderBy, OrderKey, Seq};
use mailroom_core::message::Message;
use mailroom_core::time::Moment;
use std::sync::Arc;

use super::table::NOBODY;
use super::{Postgres, Row, Session};

/// Small pages, so that there are several.
const STANDING_PAGE: usize = 2;
const DUE_PAGE: usize = 2;

impl Postgres {
    fn is_ours(&self, lease: Lease) -> bool {
        self.lanes.get(NOBODY, &lease.lane).is_some_and(|lane| lane.token == lease.token)
    }

    fn pending_of(&self, lease: Lease) -> impl Iterator<Item = (Seq, &Row)> {
        let rows = self.inbox.rows(NOBODY).map(|(seq, row)| (*seq, row));
        rows.filter(move |(_, row)| row.lane == lease.lane && row.is_pending())
    }

    pub(crate) fn read_standing(&self, lease: Lease, after: Option<OrderKey>) -> StandingPage {
        if !self.is_ours(lease) {
            return StandingPage::default();
        }
        let blocked = if after.is_none() { self.blocked_keys(NOBODY, lease.lane) } else { Vec::new() };
        let mut firsts = std::collections::BTreeMap::new();
        for (_, row) in self.pending_of(lease).filter(|(_, row)| row.held) {
            if let Some(key) = row.okey.filter(|key| after.is_none_or(|after| *key > after)) {
                firsts.entry(key).or_insert(row.wakes);
            }
        }
        let more = firsts.len() >= STANDING_PAGE;
        StandingPage { blocked, held: firsts.into_iter().take(STANDING_PAGE).collect(), more }
    }

    pub(crate) fn read(&self, read: &Read, now: u64) -> RowsRead {
        let mut found = RowsRead::default();
        if !self.is_ours(read.lease) {
            return found;
        }
        match &read.what {
            ReadWhat::Lane { after } => {
                let ready = self.pending_of(read.lease).filter(|(seq, row)| !row.held && seq > after);
                found.rows = ready.take(read.limit).map(|(seq, row)| as_read(seq, row, now)).collect();
                let is_cut = cut(&mut found.rows, read.bytes_max);
                found.more_of_lane = is_cut || found.rows.len() == read.limit;
            }
            ReadWhat::Keys { keys, up_to } => {
                for (of, after) in keys {
                    let held = self.pending_of(read.lease).filter(|(seq, row)| {
                        row.held
                            && seq > after
                            && up_to.is_none_or(|up_to| *seq <= up_to)
                            && lies_in(*seq, row, *of)
                    });
                    let rows: Vec<_> =
                        held.take(read.limit).map(|(seq, row)| as_read(seq, row, now)).collect();
                    // Without a key there is one row and no more.
                    if rows.len() == read.limit && of.key().is_some() {
                        found.more.insert(*of);
                    }
                    found.rows.extend(rows);
                }
                found.rows.sort_by_key(|row| (row.message.okey.is_none(), row.message.seq));
                if cut(&mut found.rows, read.bytes_max) {
                    let is_there = |of: &OrderBy| found.rows.iter().any(|row| order_of(&row.message) == *of);
                    let left_out = keys.iter().map(|(of, _)| *of);
                    found.more.extend(left_out.filter(|of| of.key().is_some() || !is_there(of)));
                }
            }
        }
        found
    }

    pub(crate) fn read_due(
        &self,
        lease: Lease,
        after: Option<(DueCursor, Seq)>,
        with_blocked: bool,
        now: u64,
    ) -> DueKeys {
        if !self.is_ours(lease) {
            return DueKeys::default();
        }
        let waking = self.pending_of(lease).filter(|(_, row)| row.held && row.wakes);
        let mut waking: Vec<(DueCursor, Seq, OrderBy)> =
            waking.map(|(seq, row)| (cursor(row.scheduled_at), seq, order_by(seq, row))).collect();
        waking.sort_unstable();
        let due = |entry: &&(DueCursor, Seq, OrderBy)| {
            entry.0 <= cursor(now) && after.is_none_or(|after| (entry.0, entry.1) > after)
        };
        let page: Vec<_> = waking.iter().filter(due).take(DUE_PAGE).copied().collect();
        let full = page.len() == DUE_PAGE;
        let later = waking.iter().find(|(at, _, _)| *at > cursor(now));
        let wait = |at: DueCursor| Duration::from_micros(u64::try_from(at.0 - cursor(now).0).unwrap_or(0));
        DueKeys {
            due: page.iter().map(|(_, seq, of)| (*of, *seq)).collect(),
            more_after: page.last().filter(|_| full).map(|(at, seq, _)| (*at, *seq)),
            next_in: later.filter(|_| !full).map(|(at, _, _)| wait(*at)),
            blocked: with_blocked.then(|| self.blocked_keys(NOBODY, lease.lane)),
            rereads: self.lanes.get(NOBODY, &lease.lane).map(|lane| lane.rereads).unwrap_or_default(),
        }
    }

    pub(crate) fn look(&self, session: Session, began_at: u64) -> Look {
        let ours = self.lanes.rows(NOBODY).filter(|(_, lane)| lane.owner == Some(session));
        let owned = ours.map(|(id, lane)| {
            // One that is dead waits for nothing.
            let wanted = lane.wanted_by.is_some_and(|by| self.hosts.get(NOBODY, &by).is_some());
            (*id, OwnedLane { token: lane.token, rereads: lane.rereads, wanted })
        });
        Look {
            began_at: Moment(began_at),
            lanes: owned.collect(),
            paused: self.paused.get(NOBODY, &()).is_some(),
            open_until: self.breaker.get(NOBODY, &()).map(|until| Moment(*until)),
        }
    }
}

/// Leaves out what is beyond the bytes; says whether that was anything.
fn cut(rows: &mut Vec<InboxRow>, bytes_max: usize) -> bool {
    let mut bytes = 0;
    let fitting = rows.iter().take_while(|row| {
        let fits = bytes < bytes_max;
        bytes += row.message.bytes();
        fits
    });
    let (all, fitting) = (rows.len(), fitting.count().max(1));
    rows.truncate(fitting);
    rows.len() < all
}

fn order_of(message: &Message) -> OrderBy {
    message.okey.map_or(OrderBy::Nothing(Seq(message.seq)), |okey| OrderBy::Key(OrderKey(okey)))
}

fn lies_in(seq: Seq, row: &Row, of: OrderBy) -> bool {
    order_by(seq, row) == of
}

/// Returns the order that a row keeps.
pub(crate) fn order_by(seq: Seq, row: &Row) -> OrderBy {
    row.okey.map_or(OrderBy::Nothing(seq), OrderBy::Key)
}

pub(crate) fn cursor(millis: u64) -> DueCursor {
    DueCursor(i64::try_from(millis.saturating_mul(1000)).unwrap_or(i64::MAX))
}

pub(crate) fn as_read(seq: Seq, row: &Row, now: u64) -> InboxRow {
    let mut message = (*row.message).clone();
    message.seq = seq.0;
    message.lane = row.lane.0;
    message.deliveries = row.deliveries;
    message.attempts_made = row.attempts;
    message.attempts_max = row.attempts_max;
    message.crashes = row.crashes;
    message.begun = row.begun;
    InboxRow {
        message: Arc::new(message),
        due_in: Duration::from_millis(row.scheduled_at.saturating_sub(now)),
        held: row.held,
        wakes: row.wakes,
        unfit: row.unfit.clone(),
        claimed: true,
    }
}
