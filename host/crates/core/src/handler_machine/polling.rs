//! Records get their places and go to their lanes; memory bounds what is fetched.

use std::sync::Arc;
use std::time::Duration;

use super::HandlerMachine;
use super::command::{Command, Remark};
use super::event::{Outcome, Polled};
use super::partitions::Position;
use crate::ids::{Seq, TopicPartition};
use crate::lane::{Lane, NumberedBatch, Source};
use crate::seq_stock::SequenceFellBack;
use crate::time::Moment;

/// Places that are drawn at once: one question to Postgres for some polls.
const DRAWN_AT_ONCE: usize = 2000;
/// The most that one question draws.
const DRAWN_MAX: usize = 100_000;
/// Time that a full memory is borne before partitions are paused, which throws away what was fetched ahead.
const PAUSE_AFTER: Duration = Duration::from_millis(500);
/// Time that memory is full before keys that have most of it give some up.
const SPILL_AFTER: Duration = Duration::from_secs(1);

impl<S: Clone, E: Clone> HandlerMachine<S, E> {
    /// Tells whether the consumer is to be asked for more: a moment of full memory is waited for.
    #[must_use]
    pub fn polls(&self) -> bool {
        self.paused || (self.full_since.is_none() && self.unnumbered.is_empty())
    }

    /// Tells whether nothing is fetched, since memory is full or places in the inbox are waited for.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Gives the partitions that are not fetched, since too many keys of theirs wait.
    pub fn with_too_many_keys(&self) -> impl Iterator<Item = &TopicPartition> {
        self.too_many_keys.iter()
    }

    /// The inbox has given out places up to this one: what is used from now on lies above.
    pub(super) fn seqs_known(&mut self, last: Seq) {
        self.seqs.known(last.0);
    }

    pub(super) fn seqs_drawn(&mut self, outcome: Outcome<Vec<Seq>>, now: Moment) {
        self.drawing = false;
        match outcome {
            Outcome::Done(drawn) => {
                self.postgres.over();
                let fell = self.seqs.add(drawn.into_iter().map(|seq| seq.0)).err();
                if let Some(SequenceFellBack { known, drawn }) = fell.filter(|_| self.sequence_fell.is_none())
                {
                    let remark = Remark::SequenceFellBack { known: Seq(known), drawn: Seq(drawn) };
                    self.commands.push(Command::Say(remark));
                }
                self.sequence_fell = fell;
            }
            // Places that nobody has are no loss.
            Outcome::NotDone(_) | Outcome::Unknown => self.postgres.failed(now),
        }
    }

    /// Gives places to what was polled, and hands it to its lanes.
    pub(super) fn number_polled(&mut self, now: Moment) {
        while let Some(polled) = self.unnumbered.front() {
            let wanted = polled.records.len();
            if self.seqs.lacks(wanted) > 0 {
                if !self.drawing && self.may_ask(now) {
                    self.drawing = true;
                    // As many at once as lead back above what is known.
                    let gap = self.sequence_fell.map_or(0, |fell| fell.known.saturating_sub(fell.drawn));
                    let gap = usize::try_from(gap).unwrap_or(0);
                    let count = wanted.saturating_add(gap).clamp(DRAWN_AT_ONCE, DRAWN_MAX);
                    self.commands.push(Command::DrawSeqs(count));
                }
                return;
            }
            if let Some(polled) = self.unnumbered.pop_front() {
                self.number(polled, now);
            }
        }
    }

    fn number(&mut self, polled: Polled, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&polled.partition) else { return };
        let Position::Fetching { epoch, next, careful_to } = &mut partition.position else { return };
        let Some(lane) = partition.lane.and_then(|lane| self.lanes.get_mut(&lane)) else { return };
        if !lane.takes_records() || polled.to <= *next {
            return;
        }
        let from = *next;
        *next = polled.to;
        let version = &self.version;
        let stored_first = version.stored_first || version.once || version.single || from < *careful_to;
        let mut records = Vec::with_capacity(polled.records.len());
        for mut record in polled.records {
            // What is below was taken before.
            if record.message.offset < from {
                continue;
            }
            let Some(seq) = self.seqs.give() else { continue };
            record.message.seq = seq;
            record.message.lane = lane.lease.lane.0;
            records.push((Arc::new(record.message), record.unfit));
        }
        lane.progress_at = now;
        lane.polled(NumberedBatch { epoch: *epoch, from, to: polled.to, records, stored_first }, now);
    }

    /// Pauses fetching while memory is full, and goes on when half of it is free. Where too few calls run for that,
    /// the keys that have most of it give some up.
    pub(super) fn balance(&mut self, now: Moment) {
        let weight = self.weight(Source::Polled);
        let share = |of: usize| of - of / 4;
        let (messages, bytes) = (share(self.settings.in_hand_max), share(self.settings.in_hand_bytes_max));
        let full = if self.paused {
            weight.messages > messages / 2 || weight.bytes > bytes / 2
        } else {
            weight.messages >= messages || weight.bytes >= bytes
        };
        if full && self.full_since.is_none() {
            self.commands.push(Command::Say(Remark::MemoryFull));
        }
        // What has no places yet is waited for like a full memory: the consumer is polled on, and brings no more.
        let waits = full || !self.unnumbered.is_empty();
        self.full_since = waits.then(|| self.full_since.unwrap_or(now));
        let full_for = self.full_since.map_or(Duration::ZERO, |since| now.since(since));
        self.pause(waits && full_for >= PAUSE_AFTER);
        if full && full_for >= SPILL_AFTER && self.calls.len() < self.version.concurrency {
            let largest = self.lanes.values_mut().max_by_key(|lane| lane.largest_key());
            if let Some(lane) = largest {
                lane.spill_largest();
            }
        }
        self.bound_waiting_keys();
    }

    fn pause(&mut self, pause: bool) {
        if pause == self.paused {
            return;
        }
        self.paused = pause;
        let fetched = self.partitions.iter().filter(|(_, partition)| partition.is_fetched());
        let fetched = fetched.filter(|(partition, _)| pause || !self.too_many_keys.contains(*partition));
        let partitions: Vec<TopicPartition> = fetched.map(|(partition, _)| partition.clone()).collect();
        self.commands.push(if pause { Command::Pause(partitions) } else { Command::Resume(partitions) });
    }

    /// Remembers no more waiting keys than may be: the partition that has most of them is not read.
    fn bound_waiting_keys(&mut self) {
        let count: usize = self.lanes.values().map(Lane::waiting_keys).sum();
        if count <= self.settings.waiting_keys_max {
            if count <= self.settings.waiting_keys_max / 2 && !self.too_many_keys.is_empty() {
                let resumed = std::mem::take(&mut self.too_many_keys);
                let resumed: Vec<TopicPartition> = resumed.into_iter().collect();
                if !self.paused {
                    self.commands.push(Command::Resume(resumed));
                }
            }
            return;
        }
        let most = self
            .lanes
            .values()
            .filter(|lane| lane.waiting_keys() > 0 && !self.too_many_keys.contains(&lane.partition))
            .max_by_key(|lane| lane.waiting_keys());
        if let Some(partition) = most.map(|lane| lane.partition.clone()) {
            self.too_many_keys.insert(partition.clone());
            self.commands.push(Command::Say(Remark::TooManyWaitingKeys(partition.clone())));
            self.commands.push(Command::Pause(vec![partition]));
        }
    }
}
