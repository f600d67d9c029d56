//! The outbox and its transactions.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::fingerprint::{IDS_FROM, SEQS_FROM};

/// Step of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The transaction gets its id, which the table's trigger sees to before anything is drawn.
    Begin,
    Draw,
    /// The transaction gets its id and draws.
    BeginAndDraw,
    /// A subtransaction with an id of its own draws.
    Save,
    /// The subtransaction ends: it is kept, or rolled back.
    EndSub,
    /// The transaction commits.
    Commit,
    /// The transaction commits, or is rolled back.
    End,
}

/// Steps of each transaction.
pub(crate) type Plans = &'static [&'static [Step]];

/// Five places of two transactions, three of them drawn in one that has a subtransaction.
pub(crate) const SUBTRANSACTION: Plans = &[
    &[Step::Begin, Step::Draw, Step::Save, Step::EndSub, Step::Draw, Step::Commit],
    &[Step::BeginAndDraw, Step::Draw, Step::End],
];

/// Three transactions, one of which has its id long before it draws.
pub(crate) const THREE: Plans = &[
    &[Step::Begin, Step::Draw, Step::Commit],
    &[Step::BeginAndDraw, Step::Commit],
    &[Step::BeginAndDraw, Step::End],
];

/// A transaction.
#[derive(Debug, Clone, Default)]
pub(super) struct Producer {
    done: usize,
    id: i64,
    sub: Option<i64>,
    /// The highest id that it had.
    last_id: i64,
    pub(super) drawn: Vec<i64>,
    pub(super) drawn_in_sub: Vec<i64>,
}

impl Producer {
    pub(super) fn next(&self, plan: &&[Step]) -> Option<Step> {
        plan.get(self.done).copied()
    }
}

/// The table, and who writes to it.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    pub(super) plans: Plans,
    pub(super) producers: Vec<Producer>,
    /// The last id that was given out.
    pub(super) last_id: i64,
    /// The highest id of a transaction that has ended.
    pub(super) last_ended: i64,
    pub(super) sequence: i64,
    pub(super) committed: BTreeSet<i64>,
    /// Rows that were committed when a place was drawn.
    pub(super) before: BTreeMap<i64, BTreeSet<i64>>,
}

impl Outbox {
    pub(super) fn new(plans: Plans) -> Self {
        Self {
            plans,
            producers: plans.iter().map(|_| Producer::default()).collect(),
            last_id: IDS_FROM,
            last_ended: IDS_FROM,
            sequence: SEQS_FROM,
            committed: BTreeSet::new(),
            before: BTreeMap::new(),
        }
    }

    /// Gives the next step of a transaction, if it has one.
    pub(super) fn next(&self, index: usize) -> Option<Step> {
        self.producers.get(index)?.next(self.plans.get(index)?)
    }

    /// Tells whether all transactions have ended.
    pub(super) fn are_over(&self) -> bool {
        self.producers.iter().zip(self.plans).all(|(producer, plan)| producer.next(plan).is_none())
    }

    /// Gives an id to a transaction, or to a subtransaction of one that has its own.
    fn begin(&mut self, index: usize) {
        self.last_id += 1;
        let Some(producer) = self.producers.get_mut(index) else { return };
        if producer.last_id == 0 {
            producer.id = self.last_id;
        } else {
            producer.sub = Some(self.last_id);
        }
        producer.last_id = self.last_id;
    }

    fn draw(&mut self, index: usize) {
        self.sequence += 1;
        let Some(producer) = self.producers.get_mut(index) else { return };
        let drawn = if producer.sub.is_some() { &mut producer.drawn_in_sub } else { &mut producer.drawn };
        drawn.push(self.sequence);
        self.before.insert(self.sequence, self.committed.clone());
    }

    /// Does the next step of a transaction; what ends is kept or rolled back.
    pub(super) fn go(&mut self, index: usize, kept: bool) {
        let (Some(step), Some(producer)) = (self.next(index), self.producers.get_mut(index)) else { return };
        producer.done += 1;
        match step {
            Step::Begin => self.begin(index),
            Step::Draw => self.draw(index),
            Step::BeginAndDraw | Step::Save => {
                self.begin(index);
                self.draw(index);
            }
            Step::EndSub => {
                let drawn = std::mem::take(&mut producer.drawn_in_sub);
                let sub = producer.sub.take();
                if kept {
                    producer.drawn.extend(drawn);
                } else {
                    // Rolled back it has ended, and all below its id that is not open counts as ended.
                    self.last_ended = self.last_ended.max(sub.unwrap_or(0));
                }
            }
            Step::Commit | Step::End => {
                self.last_ended = self.last_ended.max(producer.last_id);
                if kept {
                    self.committed.extend(producer.drawn.iter().copied());
                }
            }
        }
    }

    /// Ids of transactions that are open in a snapshot taken now, lowest first.
    pub(super) fn open(&self, xmax: i64) -> Vec<i64> {
        let begun = self.producers.iter().zip(self.plans).filter(|(producer, plan)| {
            producer.done > 0 && producer.next(plan).is_some() && producer.id < xmax
        });
        let mut open: Vec<i64> = begun.map(|(producer, _)| producer.id).collect();
        open.sort_unstable();
        open
    }
}
