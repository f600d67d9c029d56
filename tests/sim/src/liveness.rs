//! Work that is still to be done once faults have stopped; in the end nothing may be.

use mailroom_core::ids::TopicPartition;

use crate::host::Life;
use crate::kafka::Kafka;
use crate::postgres::Postgres;
use crate::postgres::table::NOBODY;
use crate::setup::EXPIRY;
use crate::world::World;

/// The bounds within which everything must be done.
pub(crate) struct Bounds {
    pub(crate) steps: u64,
    pub(crate) until: u64,
}

impl World {
    /// Bounds from now on, by what there is.
    pub(crate) fn bounds(&self) -> Bounds {
        let records: i64 = self.kafka.logs.values().map(crate::kafka::Log::high).sum();
        let size = u64::try_from(records).unwrap_or(0) + 10;
        Bounds { steps: 20_000 + 500 * size, until: self.now + 10 * EXPIRY + 8000 * size }
    }

    /// Lists what is not done yet; empty where all is.
    pub(crate) fn remaining(&self) -> Vec<String> {
        let mut remaining = Vec::new();
        // Where too many keys wait for an operator, partitions are not read, and say so.
        let blocked: usize =
            self.pg.lanes.rows(NOBODY).map(|(lane, _)| self.pg.blocked_keys(NOBODY, *lane).len()).sum();
        let may_pause = blocked > self.setup.waiting_keys_max / 2;
        for partition in self.setup.partitions.iter().filter(|_| !may_pause) {
            if let Some(unread) = unread(&self.pg, &self.kafka, partition) {
                remaining.push(unread);
            }
        }
        for (id, lane) in self.pg.lanes.rows(NOBODY) {
            let owned =
                self.hosts.iter().any(|host| host.life == Life::Up && lane.owner == Some(host.session));
            if !owned {
                remaining.push(format!("lane {id} has no living owner"));
            }
            let blocked = self.pg.blocked_keys(NOBODY, *id);
            for (seq, row) in
                self.pg.inbox.rows(NOBODY).filter(|(_, row)| row.lane == *id && row.is_pending())
            {
                if row.okey.is_none_or(|key| blocked.iter().all(|(blocked, _)| *blocked != key)) {
                    let place = if row.held { "held" } else { "ready" };
                    let wakes = if row.wakes { ", wakes" } else { "" };
                    remaining.push(format!("message {seq} of lane {id} is pending, {place}{wakes}"));
                }
            }
        }
        for (index, host) in self.hosts.iter().enumerate() {
            if let Some(machine) = host.machine.as_ref().filter(|machine| !machine.is_idle()) {
                let count = machine.messages_in_memory();
                remaining.push(format!("h{index} has {count} messages in memory, or something under way"));
            }
        }
        remaining
    }
}

/// Describes how far a partition is from its end, unless a record that can never be stored stops it.
fn unread(pg: &Postgres, kafka: &Kafka, partition: &TopicPartition) -> Option<String> {
    let log = kafka.logs.get(partition)?;
    let next = pg.offsets.get(NOBODY, partition).map_or(0, |row| row.next);
    for (offset, record) in log.from(next) {
        let is_new = record.matched && pg.ids.get(NOBODY, &record.message_id).is_none();
        if record.matched && record.refusal == Some(true) {
            return None;
        }
        if is_new || offset + 1 == log.high() {
            return Some(format!("{partition} is read up to {next} of {}", log.high()));
        }
    }
    None
}
