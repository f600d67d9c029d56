//! Promises that must hold after every commit and at every call.
//!
//! `tests/planted/README.md` has a table of all rules of the simulator by their names.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use mailroom_core::handler_machine::command::{Call, Command};
use mailroom_core::ids::{LaneId, OrderKey, Seq};
use mailroom_core::message::Message;
use mailroom_core::verdict::Blocking;
use mailroom_core::verdict::decide::DeadReason;

use crate::guest::{Effects, KeyState};
use crate::job::Task;
use crate::kafka::Kafka;
use crate::postgres::settle::{ended_messages, ending};
use crate::postgres::table::NOBODY;
use crate::postgres::{Committed, Postgres, Row, Session, StateId, Status};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) text: String,
}

type Checked = Result<(), Violation>;

/// A call ended, in this session.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct SeenEnd {
    pub(crate) lane: LaneId,
    pub(crate) session: Session,
}

/// Watches commits and calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle {
    /// Number of times that a message was handed over that may be so once.
    handed_over: BTreeMap<String, u32>,
    /// Number of times that operators had such a message handled again: a host that was frozen may hand it
    /// over only then.
    replayed: BTreeMap<String, u32>,
    /// Messages that operators replayed, and rows that were made, each after how many commits.
    replayed_at: BTreeMap<Seq, u64>,
    made_at: BTreeMap<Seq, u64>,
    /// Ends of calls that may be made once, as their hosts saw them.
    seen: BTreeMap<String, SeenEnd>,
    /// Versions of values that are no more, and after how many commits they were replaced.
    replaced: BTreeMap<(StateId, i64), u64>,
}

fn breach(rule: &'static str, text: String) -> Violation {
    Violation { rule, text }
}

impl Oracle {
    pub(crate) fn committed(
        &mut self,
        pg: &Postgres,
        kafka: &Kafka,
        committed: &Committed,
        task: &Task,
        fenced_at: u64,
    ) -> Checked {
        for change in &committed.state {
            let version = change.old.as_ref().map_or(0, |row| row.version);
            self.replaced.insert((change.key, version), pg.commits);
        }
        stored_below_offsets(pg, kafka, committed)?;
        for change in &committed.inbox {
            if let (Some(old), Some(new)) = (&change.old, &change.new)
                && old.status == Status::Completed
                && new.status != Status::Completed
            {
                return Err(breach("S2", format!("message {} was done and is not any more", change.key)));
            }
        }
        if let Task::Command(Command::Release(leases)) | Task::Sweep(leases) = task {
            // Whoever has the lane next knows nothing of its ends.
            self.seen.retain(|_, seen| leases.iter().all(|lease| lease.lane != seen.lane));
        }
        if matches!(task, Task::Act(_)) {
            for change in &committed.inbox {
                if let Some(row) = change.new.as_ref().filter(|row| row.is_pending()) {
                    let was_dead = change.old.as_ref().is_some_and(|old| !old.is_pending());
                    if was_dead {
                        self.replayed_at.insert(change.key, pg.commits);
                    }
                    *self.replayed.entry(row.message.message_id.clone()).or_default() += 1;
                    self.seen.remove(&row.message.message_id);
                }
            }
            return Ok(());
        }
        for change in &committed.inbox {
            let Some(new) = &change.new else { continue };
            match &change.old {
                None => {
                    self.made_at.insert(change.key, pg.commits);
                    placed_by_offset(pg, change.key, new)?;
                }
                Some(old) if !old.is_pending() => {
                    return Err(breach("S2", format!("message {} ends twice", change.key)));
                }
                Some(_) => {}
            }
            if !new.is_pending() {
                self.settled_as_seen(pg, new)?;
                ends_in_order(pg, change.key, new)?;
                self.ends_behind_replayed(pg, change.key, new)?;
                ends_unblocked(pg, change.key, new)?;
            }
        }
        effects_of_ended(committed)?;
        self.reads_explained(pg, committed, task, fenced_at)
    }

    /// Gives which values were replaced after so many commits, which is what a check compares.
    pub(crate) fn replaced_after(&self, commits: Option<u64>) -> Vec<(StateId, i64)> {
        let Some(commits) = commits else { return Vec::new() };
        self.replaced.iter().filter(|(_, at)| **at > commits).map(|(value, _)| *value).collect()
    }

    /// Adds what later checks depend on: of counts of commits only which came first.
    pub(crate) fn add_to(&self, parts: &mut impl Hasher) {
        self.handed_over.hash(parts);
        self.replayed.hash(parts);
        self.seen.hash(parts);
        for (replayed, at) in &self.replayed_at {
            let later = self.made_at.iter().filter(|(_, made)| *made > at).map(|(seq, _)| *seq);
            (replayed, later.collect::<Vec<_>>()).hash(parts);
        }
    }

    /// S6: a message that may be handed over once is.
    pub(crate) fn handed_over(&mut self, call: &Call<KeyState>) -> Checked {
        if !call.version.once {
            return Ok(());
        }
        let count = self.handed_over.entry(call.message.message_id.clone()).or_default();
        *count += 1;
        let replayed = self.replayed.get(&call.message.message_id).copied().unwrap_or_default();
        if *count > 1 + replayed {
            return Err(breach("S6", format!("message {} is handed over again", call.message.seq)));
        }
        Ok(())
    }

    /// An end of a call that may be made once is seen by its host.
    pub(crate) fn saw_end(&mut self, message: &Message, seen: SeenEnd) {
        self.seen.insert(message.message_id.clone(), seen);
    }

    /// S6: an end that its host saw is the settled one, unless the host or its lane is gone.
    fn settled_as_seen(&self, pg: &Postgres, row: &Row) -> Checked {
        let is_interrupted = row.status == Status::Failed(DeadReason::Interrupted);
        let seen = self.seen.get(&row.message.message_id).filter(|_| is_interrupted);
        let Some(seen) = seen else { return Ok(()) };
        let is_current = pg.lanes.get(NOBODY, &row.lane).is_some_and(|lane| lane.owner == Some(seen.session));
        if is_current && pg.hosts.get(NOBODY, &seen.session).is_some() {
            let text =
                format!("message {} is said to be interrupted, and its host saw it end", row.message.seq);
            return Err(breach("S6", text));
        }
        Ok(())
    }

    /// S3: a record that gets its row after a message of its key was replayed ends behind that.
    fn ends_behind_replayed(&self, pg: &Postgres, seq: Seq, row: &Row) -> Checked {
        let (Some(key), Some(made)) = (row.okey, self.made_at.get(&seq)) else { return Ok(()) };
        let mut replayed = self.replayed_at.range(..seq).filter(|(_, at)| *at < made);
        let before = replayed.find(|(other, _)| {
            pg.inbox
                .get(NOBODY, other)
                .is_some_and(|other| other.is_pending() && other.okey == Some(key) && other.lane == row.lane)
        });
        before.map_or(Ok(()), |(other, _)| {
            let text =
                format!("message {seq} of key {key} ends before {other}, which was replayed before it came");
            Err(breach("S3", text))
        })
    }

    /// S4: each value that was read was the committed one at a moment since the settlement's fence, or was left by a
    /// message before it that is committed with it.
    fn reads_explained(&self, pg: &Postgres, committed: &Committed, task: &Task, fenced_at: u64) -> Checked {
        let done: BTreeSet<Seq> = committed
            .inbox
            .iter()
            .filter(|change| change.new.as_ref().is_some_and(|row| row.status == Status::Completed))
            .map(|change| change.key)
            .collect();
        let effects = effects_of(task);
        let before = |id: StateId| -> (i64, i64) {
            let changed = committed.state.iter().find(|change| change.key == id);
            let row = changed.map_or_else(|| pg.state.get(NOBODY, &id), |change| change.old.as_ref());
            row.map_or((0, 0), |row| (row.version, row.value))
        };
        let mut written: BTreeMap<StateId, Vec<(i64, i64)>> = BTreeMap::new();
        for (seq, effects) in effects
            .iter()
            .filter(|(seq, effects)| done.contains(seq) && !effects.is_nothing() && !effects.once)
        {
            for read in &effects.reads {
                let seen = (read.version, read.value);
                // Whoever comes later in a key sees what the last before it left.
                let left = written.get(&read.id).filter(|_| matches!(read.id, StateId::Keyed(_)));
                if let Some(left) = left.and_then(|versions| versions.last()).filter(|left| **left != seen) {
                    let text = format!("message {seq} read {seen:?} of its key, which has {left:?} by then");
                    return Err(breach("S4", text));
                }
                let by_batch = written.get(&read.id).is_some_and(|versions| versions.contains(&seen));
                // It may have been replaced since it was checked: nothing holds it until the commit.
                let replaced = self.replaced.get(&(read.id, read.version));
                let was_current = replaced.is_some_and(|at| *at > fenced_at);
                if before(read.id) != seen && !by_batch && !was_current {
                    let text =
                        format!("message {seq} read {seen:?} of {:?}, which nobody committed", read.id);
                    return Err(breach("S4", text));
                }
            }
            for write in &effects.writes {
                let versions = written.entry(write.id).or_default();
                let last = versions.last().copied().unwrap_or_else(|| before(write.id));
                if last.0 != write.read {
                    return Err(breach(
                        "S4",
                        format!("message {seq} overwrites {:?}, which it did not read", write.id),
                    ));
                }
                versions.push((write.written, write.value));
            }
        }
        Ok(())
    }

    /// A call starts.
    pub(crate) fn called(&mut self, pg: &Postgres, call: &Call<KeyState>) -> Checked {
        let is_owner =
            pg.lanes.get(NOBODY, &call.lease.lane).is_some_and(|lane| lane.token == call.lease.token);
        let seq = Seq(call.message.seq);
        let row = pg.ids.get(NOBODY, &call.message.message_id).and_then(|seq| pg.inbox.get(NOBODY, seq));
        let touched = row.is_some_and(|row| row.touched);
        let blocked = call.message.okey.and_then(|key| blocked_by(pg, call.lease.lane, OrderKey(key), seq));
        match blocked {
            Some((by, _)) if is_owner && !touched => {
                Err(breach("S5", format!("message {seq} is called behind the dead letter of {by}")))
            }
            _ => Ok(()),
        }
    }
}

/// S1: no offset is passed without a row.
fn stored_below_offsets(pg: &Postgres, kafka: &Kafka, committed: &Committed) -> Checked {
    for change in &committed.offsets {
        let (Some(old), Some(new)) = (&change.old, &change.new) else { continue };
        let Some(log) = kafka.logs.get(&change.key).filter(|_| old.start == new.start) else { continue };
        let passed = log.from(old.next).take_while(|(offset, _)| *offset < new.next);
        for (offset, record) in passed.filter(|(_, record)| record.matched) {
            if pg.ids.get(NOBODY, &record.message_id).is_none() {
                let text = format!(
                    "offset {offset} of {} is passed, and {} has no row",
                    change.key, record.message_id
                );
                return Err(breach("S1", text));
            }
        }
        if new.next < old.next {
            return Err(breach("S1", format!("the offset of {} goes back to {}", change.key, new.next)));
        }
    }
    Ok(())
}

/// The places of a key's messages are in the order of its log.
fn placed_by_offset(pg: &Postgres, seq: Seq, new: &Row) -> Checked {
    let Some(key) = new.okey else { return Ok(()) };
    let mut others = pg
        .inbox
        .rows(NOBODY)
        .filter(|(other, row)| **other != seq && row.lane == new.lane && row.okey == Some(key));
    let crossed = others.find(|(other, row)| (**other < seq) != (row.message.offset < new.message.offset));
    crossed.map_or(Ok(()), |(other, row)| {
        let text = format!(
            "message {seq} of offset {} lies before or behind {other} of offset {} against their log",
            new.message.offset, row.message.offset
        );
        Err(breach("S3", text))
    })
}

/// S3: a message ends after all before it in its key.
fn ends_in_order(pg: &Postgres, seq: Seq, row: &Row) -> Checked {
    let Some(key) = row.okey.filter(|_| !row.touched) else { return Ok(()) };
    let mut before = pg
        .inbox
        .rows(NOBODY)
        .filter(|(other, row)| **other < seq && row.okey == Some(key) && row.is_pending() && !row.touched);
    before.find(|(_, other)| other.lane == row.lane).map_or(Ok(()), |(other, _)| {
        Err(breach("S3", format!("message {seq} of key {key} ends before {other}")))
    })
}

/// S5: behind a dead letter nothing ends, or only as parked.
fn ends_unblocked(pg: &Postgres, seq: Seq, row: &Row) -> Checked {
    let Some(key) = row.okey.filter(|_| !row.touched) else { return Ok(()) };
    match blocked_by(pg, row.lane, key, seq) {
        // Parked it may be, by a policy that a reload has replaced since.
        Some((by, Blocking::Wait)) if row.status != Status::Failed(DeadReason::Parked) => Err(breach(
            "S5",
            format!("message {seq} ends behind the dead letter of {by}, for which its key waits"),
        )),
        Some((by, Blocking::Park)) if !is_uncalled(row) => {
            Err(breach("S5", format!("message {seq} is not parked behind the dead letter of {by}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Tells whether it died without a call: a message that no handler can have does so in its turn, parked or
/// not.
fn is_uncalled(row: &Row) -> bool {
    matches!(row.status, Status::Failed(DeadReason::Parked | DeadReason::Quarantined))
}

fn blocked_by(pg: &Postgres, lane: LaneId, key: OrderKey, seq: Seq) -> Option<(Seq, Blocking)> {
    pg.blocked.get(NOBODY, &(lane, key)).filter(|(by, _)| *by < seq).copied()
}

/// S2: effects come once, with the end of their message.
fn effects_of_ended(committed: &Committed) -> Checked {
    let completed = committed.inbox.iter().filter_map(|change| {
        change.new.as_ref().filter(|row| row.status == Status::Completed).map(|row| (change.key, row))
    });
    let (seqs, ids): (BTreeSet<Seq>, BTreeSet<&str>) =
        completed.map(|(seq, row)| (seq, row.message.message_id.as_str())).unzip();
    for change in &committed.outbox {
        if change.old.is_some() || !seqs.contains(&change.key.0) {
            return Err(breach(
                "S2",
                format!("message {} says something without ending, or twice", change.key.0),
            ));
        }
    }
    for change in &committed.guest {
        if change.old.is_some() || !ids.contains(change.key.as_str()) {
            return Err(breach(
                "S2",
                format!("{} writes a row of its own without ending, or twice", change.key),
            ));
        }
    }
    Ok(())
}

/// Returns what a settlement would have written, by message.
fn effects_of(task: &Task) -> Vec<(Seq, &Effects)> {
    if let Task::Command(Command::Write(write)) = task {
        let ended = ended_messages(&write.lanes).into_iter();
        ended.filter_map(|message| Some((message.seq, ending(message.how).1?))).collect()
    } else if let Task::Command(Command::SettleSql { settled, .. }) = task {
        let seq = Seq(settled.message.seq);
        ending(&settled.how).1.map(|effects| (seq, effects)).into_iter().collect()
    } else {
        Vec::new()
    }
}
