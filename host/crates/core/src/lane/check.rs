//! Invariants of a lane, which hold after every event. Tests and the simulator look.

use std::collections::{BTreeMap, BTreeSet};

use super::items::{Row, Stage, order_of};
use super::key_queue::KeyQueue;
use super::{Lane, Phase, Source, Spilled, Weight};
use crate::ids::{OrderBy, Seq};

impl<S: Clone, E: Clone> Lane<S, E> {
    /// Says what is not as it must be.
    ///
    /// # Errors
    /// The invariant that is broken, and by what.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_places()?;
        self.keys.iter().try_for_each(|(order, _)| self.check_key(*order))?;
        self.check_spilled()?;
        self.check_weight()
    }

    /// Each message is in one key's queue, once; each record without a row is in the queue of inserts or under way.
    fn check_places(&self) -> Result<(), String> {
        let mut queued: BTreeMap<Seq, OrderBy> = BTreeMap::new();
        for (order, queue) in &self.keys {
            for seq in &queue.seqs {
                if queued.insert(*seq, *order).is_some() {
                    return Err(format!("message {seq} is queued twice"));
                }
            }
        }
        for (seq, item) in self.items.iter() {
            if queued.remove(seq) != Some(item.order) {
                return Err(format!("message {seq} is in no queue of its key"));
            }
        }
        if let Some((seq, _)) = queued.first_key_value() {
            return Err(format!("message {seq} is queued and not in memory"));
        }
        let under_way = self.under_way.iter().flat_map(|of| &of.batch).flat_map(|batch| &batch.rows);
        let unstored: BTreeSet<Seq> =
            self.inserts.rows().chain(under_way).filter(|row| row.is_kept()).map(|row| row.seq()).collect();
        for (seq, item) in self.items.iter() {
            if (item.row == Row::Unstored) && !unstored.contains(seq) {
                return Err(format!("message {seq} has no row and is not to get one"));
            }
        }
        Ok(())
    }

    /// Checks that stages fall along a key's queue, and that nothing runs or starts that has to wait for a
    /// settlement.
    fn check_key(&self, order: OrderBy) -> Result<(), String> {
        let Some(queue) = self.keys.get(&order) else { return Ok(()) };
        let (mut begun, mut awaited, mut rank) = (0, 0, 0);
        let mut last = None;
        for seq in &queue.seqs {
            let Some(item) = self.items.get(*seq) else {
                return Err(format!("message {seq} is not in memory"));
            };
            if last.is_some_and(|last| last >= *seq) {
                return Err(format!("message {seq} is out of place in its key"));
            }
            last = Some(*seq);
            if order_of(&item.message) != order {
                return Err(format!("message {seq} is in another key's queue"));
            }
            let of = match &item.stage {
                Stage::Writing(_) => 0,
                Stage::Decided(_) => 1,
                Stage::Running { .. } => 2,
                Stage::Waiting { .. } => 3,
            };
            if of < rank {
                return Err(format!("message {seq} is ahead of one before it in its key"));
            }
            if of == 2 && (awaited > 0 || rank == 2) {
                return Err(format!("message {seq} runs though its key waits"));
            }
            rank = of;
            begun += usize::from(of < 3);
            if let Stage::Writing(how) | Stage::Decided(how) = &item.stage {
                awaited += usize::from(how.is_awaited());
            }
        }
        if (begun, awaited) != (queue.begun, queue.awaited) {
            return Err(format!(
                "key {order:?} counts {} begun and {} awaited, and has {begun} and {awaited}",
                queue.begun, queue.awaited
            ));
        }
        Ok(())
    }

    /// A key with rows that are not in memory is awake, or something will wake it.
    fn check_spilled(&self) -> Result<(), String> {
        if self.phase != Phase::Working {
            return Ok(());
        }
        for (order, spilled) in &self.spilled {
            let in_memory = self.keys.contains_key(order);
            let asleep = match spilled {
                Spilled::Follows { .. } => {
                    !in_memory && !self.to_read.contains(order) && !self.waits_behind_dead(*order)
                }
                Spilled::Wakes | Spilled::Waits { .. } => {
                    self.due.next.is_none() && !in_memory && self.in_flight.read.is_none()
                }
                Spilled::BehindScan => matches!(self.scan, super::Scan::Done | super::Scan::Lax { .. }),
                Spilled::Unclaimed => false,
            };
            if asleep {
                return Err(format!("key {order:?} is {spilled:?} and nothing wakes it"));
            }
        }
        Ok(())
    }

    fn check_weight(&self) -> Result<(), String> {
        for source in [Source::Polled, Source::Read] {
            let items = self.items.iter().filter(|(_, item)| item.source == source);
            let sum = items.fold(Weight::default(), |sum, (_, item)| sum + item.weight);
            if sum != self.items.weight(source) {
                return Err(format!(
                    "messages {source:?} weigh {sum:?}, not {:?}",
                    self.items.weight(source)
                ));
            }
        }
        let queued = self.inserts.batches().fold(Weight::default(), |sum, batch| sum + batch.weight());
        if queued != self.inserts.weight() {
            return Err(format!("records weigh {queued:?}, not {:?}", self.inserts.weight()));
        }
        let effects: usize = self.items.iter().map(|(_, item)| item.stage.effects()).sum();
        let states: usize = self.keys.values().map(KeyQueue::state_bytes).sum();
        if effects + states != self.effects() {
            return Err(format!("calls left {effects} bytes and {states} of state, not {}", self.effects()));
        }
        Ok(())
    }
}
