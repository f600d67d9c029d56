//! Views of looks: each is one statement with one snapshot. Only the sequence is read as it is at that
//! moment.

use std::sync::Arc;
use std::time::Duration;

use mailroom_core::relay::{AsidePage, DuePage, Look, LookAside, LookDue, Page, Row, Snapshot};

use super::store::{Flaw, Message, OutboxRow, Store};
use crate::postgres::table::NOBODY;

/// Bounds of a look, lane by lane and in all.
struct Bounds<'l> {
    lanes: &'l [i32],
    of_lanes: &'l [i64],
    rows_max: usize,
    bytes_max: usize,
}

impl Store {
    /// Returns what a look's snapshot shows; the sequence and the look's own id are not known yet.
    pub(crate) fn look(&self, look: &Look, topics: &[Arc<str>], now: u64) -> Page<Message> {
        let ended: Vec<i64> = look.stragglers.iter().copied().filter(|id| self.has_ended(*id)).collect();
        let floors = look.stragglers.iter().zip(&look.floors).filter(|(id, _)| ended.contains(id));
        let floor = floors.map(|(_, floor)| *floor).min().unwrap_or(i64::MAX);
        let Look { lanes, bounds, rows_max, bytes_max, .. } = look;
        let bounds = Bounds { lanes, of_lanes: bounds, rows_max: *rows_max, bytes_max: *bytes_max };
        let (rows, is_cut) = self.rows(topics, &bounds, by_seq, |place, seq, row| {
            seq > look.late.get(place).copied().unwrap_or(0).min(floor)
                && !row.is_scheduled()
                && !holds(&look.without, topics, row)
        });
        let open = self.open_ids().into_iter().filter(|id| *id < look.open_below);
        let open = open.take(usize::try_from(look.open_max).unwrap_or(0)).collect();
        let next_due = if look.schedule { self.next_due(&look.lanes, now, |_| true) } else { None };
        let server = i64::from(self.failovers);
        let snapshot = Snapshot { server, last_seq: 0, xmax: self.xmax(), own_id: None, open, ended };
        Page { rows, is_cut, snapshot, next_due }
    }

    pub(crate) fn look_due(&self, look: &LookDue, topics: &[Arc<str>], now: u64) -> DuePage<Message> {
        let LookDue { lanes, bounds, rows_max, bytes_max, .. } = look;
        let bounds = Bounds { lanes, of_lanes: bounds, rows_max: *rows_max, bytes_max: *bytes_max };
        let (rows, is_cut) = self.rows(topics, &bounds, by_time, |_, _, row| {
            row.is_scheduled() && row.scheduled_at <= now && !holds(&look.without, topics, row)
        });
        let server = i64::from(self.failovers);
        let next_due = self.next_due(lanes, now, |row| row.scheduled_at > now);
        DuePage { server, rows, is_cut, next_due }
    }

    pub(crate) fn look_aside(&self, look: &LookAside, topics: &[Arc<str>], now: u64) -> AsidePage<Message> {
        let LookAside { lanes, bounds, rows_max, bytes_max, .. } = look;
        let bounds = Bounds { lanes, of_lanes: bounds, rows_max: *rows_max, bytes_max: *bytes_max };
        let (rows, is_cut) = self.rows(topics, &bounds, by_seq, |_, _, row| {
            topics.get(row.topic) == Some(&look.topic) && row.scheduled_at <= now
        });
        let server = (!rows.is_empty()).then_some(i64::from(self.failovers));
        AsidePage { server, rows, is_cut }
    }

    fn rows(
        &self,
        topics: &[Arc<str>],
        bounds: &Bounds<'_>,
        order: fn(i64, &OutboxRow) -> (u64, i64),
        takes: impl Fn(usize, i64, &OutboxRow) -> bool,
    ) -> (Vec<Row<Message>>, bool) {
        let mut rows = Vec::new();
        for (place, (lane, bound)) in bounds.lanes.iter().zip(bounds.of_lanes).enumerate() {
            let of_lane = self
                .outbox
                .rows(NOBODY)
                .filter(|(seq, row)| row.lane == *lane && row.is_pending() && takes(place, **seq, row));
            let mut of_lane: Vec<(i64, &OutboxRow)> = of_lane.map(|(seq, row)| (*seq, row)).collect();
            of_lane.sort_by_key(|(seq, row)| order(*seq, row));
            of_lane.truncate(usize::try_from(*bound).unwrap_or(0));
            rows.extend(of_lane);
        }
        rows.sort_by_key(|(seq, row)| order(*seq, row));
        rows.truncate(bounds.rows_max);
        let mut bytes = 0;
        let fitting = rows.into_iter().take_while(|(_, row)| {
            let fits = bytes < bounds.bytes_max;
            bytes += row.bytes;
            fits
        });
        let rows = fitting.filter_map(|(seq, row)| as_read(seq, row, topics)).collect();
        (rows, bytes >= bounds.bytes_max)
    }

    fn next_due(&self, lanes: &[i32], now: u64, takes: impl Fn(&OutboxRow) -> bool) -> Option<Duration> {
        let waiting = self.outbox.rows(NOBODY).filter(|(_, row)| {
            lanes.contains(&row.lane) && row.is_pending() && row.is_scheduled() && takes(row)
        });
        let first = waiting.map(|(_, row)| row.scheduled_at).min();
        first.map(|at| Duration::from_millis(at.saturating_sub(now)))
    }
}

fn by_seq(seq: i64, _: &OutboxRow) -> (u64, i64) {
    (0, seq)
}

fn by_time(seq: i64, row: &OutboxRow) -> (u64, i64) {
    (row.scheduled_at, seq)
}

fn holds(without: &[Arc<str>], topics: &[Arc<str>], row: &OutboxRow) -> bool {
    topics.get(row.topic).is_some_and(|topic| without.contains(topic))
}

fn as_read(seq: i64, row: &OutboxRow, topics: &[Arc<str>]) -> Option<Row<Message>> {
    let unfit = (row.message.flaw == Flaw::Unfit).then(|| "unfit".to_owned());
    let topic = Arc::clone(topics.get(row.topic)?);
    Some(Row { lane: row.lane, seq, topic, bytes: row.bytes, memory: row.bytes, unfit, record: row.message })
}
