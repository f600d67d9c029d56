//! Work that is still to be done once faults have stopped; in the end nothing may be, and nothing may spin.

use super::RelayWorld;
use super::broker::Topic;
use super::host::Life;
use super::setup::EXPIRY;
use crate::liveness::Bounds;
use crate::postgres::table::NOBODY;

/// Time for which the end is watched.
const QUIET: u64 = 3000;
/// Timers of a host in that time: looks, and what else is due now and then.
const TIMERS_MAX: u32 = 200;

impl RelayWorld {
    pub(super) fn calm_bounds(&self) -> Bounds {
        let rows = self.store.outbox.rows(NOBODY).count() + 10 * self.applications.len();
        let size = u64::try_from(rows).unwrap_or(0) + 10;
        Bounds { steps: 30_000 + 1000 * size, until: self.now + 10 * EXPIRY + 8000 * size }
    }

    /// Lists what is not done yet; empty where all is, and was for a while.
    pub(super) fn not_done(&mut self) -> Vec<String> {
        let mut remaining = self.undone();
        if !remaining.is_empty() {
            self.quiet_since = None;
            return remaining;
        }
        let since = *self.quiet_since.get_or_insert_with(|| {
            self.hosts.iter_mut().for_each(|host| host.timers = 0);
            self.now
        });
        if self.now < since + QUIET {
            remaining.push("the end is watched".to_owned());
        }
        let all_take = self.kafka.topics.iter().all(takes);
        let busy = self.hosts.iter().position(|host| host.timers > TIMERS_MAX);
        if let Some(index) = busy.filter(|_| all_take) {
            self.violate(
                "spin",
                format!("h{index} is due more than {TIMERS_MAX} times though nothing happens"),
            );
        }
        remaining
    }

    fn undone(&self) -> Vec<String> {
        let mut undone = Vec::new();
        if !self.applications.is_empty() {
            undone.push("applications have transactions open".to_owned());
        }
        for (lane, row) in self.store.lanes.rows(NOBODY) {
            let owner =
                self.hosts.iter().find(|host| row.owner == Some(host.session) && host.life == Life::Up);
            if owner.is_none_or(|owner| owner.leases.get(lane) != Some(&row.token)) {
                undone.push(format!("lane {lane} has no living owner that knows of it"));
            }
        }
        for (seq, row) in self.store.outbox.rows(NOBODY).filter(|(_, row)| row.is_pending()) {
            if self.kafka.topics.get(row.topic).is_some_and(takes) {
                undone.push(format!("row {seq} of lane {} is pending", row.lane));
            }
        }
        let all_take = self.kafka.topics.iter().all(takes);
        for (index, host) in self.hosts.iter().enumerate().filter(|_| all_take) {
            let in_hand = host.machine.as_ref().map_or(0, super::host::Machine::in_hand);
            let open: usize = host.clients.all.values().map(|client| client.open.len()).sum();
            if in_hand + open > 0 {
                undone.push(format!("h{index} has {in_hand} rows in hand, and {open} in flight"));
            }
        }
        undone
    }
}

/// Tells whether a topic takes what it gets.
fn takes(topic: &Topic) -> bool {
    !topic.missing && !topic.leaderless
}
