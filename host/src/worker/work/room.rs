//! Making room in memory, and using it: followers of waiting keys are held in Postgres meanwhile.

use std::sync::Arc;

use tokio::time::Instant;

use super::Work;
use crate::worker::entry::Entry;
use crate::worker::holding::{Done, Job, ROWS_MAX};
use crate::worker::in_hand::Weight;

impl Work {
    /// Holds what memory has no room for, else lets go of what it has room for.
    pub(super) fn start_holding(&mut self) {
        if self.holding.is_some() || self.stopping || Instant::now() < self.hold_after {
            return;
        }
        let job = if let Some((lane, rows)) = self.queues.next_hold(self.fresh.lanes(), ROWS_MAX) {
            self.leases.get(&lane).map(|lease| Job::Hold { lease: lease.clone(), rows })
        } else {
            self.queues.next_let_go().and_then(|(key, seq_max)| {
                let (lease, topic) =
                    (self.leases.get(&key.lane)?.clone(), Arc::clone(self.topics.get(&key.lane)?));
                Some(Job::LetGo { lease, topic, group: Arc::clone(&self.worker.handler.group), key, seq_max })
            })
        };
        if let Some(job) = job {
            self.holding = Some(Box::pin(job.run(self.worker.db.clone())));
        }
    }

    pub(super) fn held(&mut self, done: Done) {
        match done {
            Done::Held => self.outage.over(),
            Done::Lost(lease) => lease.lose(),
            Done::LetGo { key, seq_max, found } => {
                self.outage.over();
                let all = found.len() < ROWS_MAX;
                let freed = found.into_iter().map(|of| self.queues.push_freed(key, Entry::found(of)));
                let freed: Weight = freed.sum();
                self.worker.in_hand.add(freed);
                self.queues.let_go(key, seq_max, all);
            }
            Done::Failed(job, error) => {
                self.hold_after = Instant::now() + self.outage.failed(&error);
                if let Job::Hold { lease, rows } = job {
                    self.queues.hold_again(lease.lane, rows);
                }
            }
        }
    }
}
