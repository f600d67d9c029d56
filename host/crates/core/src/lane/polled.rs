//! Records of a poll, and the messages and rows that are made of them.

use std::sync::Arc;

use super::stage::{Item, Row, Stage, order_of};
use super::{Lane, PolledBatch, Source, Weight};
use crate::ids::{OrderBy, Seq};
use crate::lane::inserts::QueuedRow;
use crate::message::Message;
use crate::time::Moment;
use crate::verdict::Blocking;

/// Records of one partition that have their places.
#[derive(Debug, Clone, Hash)]
pub(crate) struct NumberedBatch {
    pub(crate) epoch: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) records: Vec<(Arc<Message>, Option<Arc<str>>)>,
    /// Nothing of it is called before it is stored.
    pub(crate) stored_first: bool,
}

impl<S: Clone, E: Clone> Lane<S, E> {
    /// Takes records: to be handled and stored, or only stored where their key waits in Postgres.
    pub(crate) fn polled(&mut self, batch: NumberedBatch, now: Moment) {
        let mut rows = Vec::with_capacity(batch.records.len());
        let mut kept = Vec::with_capacity(batch.records.len());
        for (message, unfit) in batch.records {
            let order = order_of(&message);
            let held = self.spilled.contains_key(&order) || self.waits_behind_dead(order);
            if held {
                self.spilled.entry(order).or_insert(super::Spilled::Follows { from_start: false });
            } else {
                kept.push((Arc::clone(&message), unfit.clone()));
            }
            rows.push(QueuedRow { message, unfit, held, left: false, bare: false });
        }
        self.inserts.push(PolledBatch {
            epoch: batch.epoch,
            from: batch.from,
            to: batch.to,
            undecided: kept.len(),
            rows,
            since: now,
            moved: None,
            now: batch.stored_first,
            stored_first: batch.stored_first,
        });
        for (message, unfit) in kept {
            self.add(message, unfit, Row::Unstored, now, Source::Polled, batch.stored_first, now);
        }
    }

    /// Brings a message into memory, behind those of its key that are there.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one message's standing")]
    pub(super) fn add(
        &mut self,
        message: Arc<Message>,
        unfit: Option<Arc<str>>,
        row: Row,
        due: Moment,
        source: Source,
        stored_first: bool,
        now: Moment,
    ) {
        let (seq, order, weight) = (Seq(message.seq), order_of(&message), Weight::of(&message));
        let stage = Stage::Waiting { due };
        self.items.insert(Item { message, order, weight, source, row, stage, unfit, stored_first });
        self.keys.entry(order).or_default().add(seq);
        self.arm(order, now);
    }

    /// Tells whether later messages of the key wait for an operator.
    pub(super) fn waits_behind_dead(&self, order: OrderBy) -> bool {
        let blocked = order.key().and_then(|key| self.blocked.get(&key));
        blocked.is_some_and(|blocked| blocked.how == Blocking::Wait)
    }
}
