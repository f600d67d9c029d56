//! The tables in a form that a real database's can be brought into.

use std::collections::BTreeMap;
use std::fmt::Debug;

use mailroom_core::ids::{OrderKey, Seq, TopicPartition};
use mailroom_core::verdict::Blocking;

use super::{Session, StateId};
use crate::postgres::table::NOBODY;
use crate::postgres::{Postgres, Status};

/// A lane's row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct LaneLine {
    pub owner: Option<Session>,
    pub token: i64,
    pub wanted_by: Option<Session>,
    pub is_left_since: bool,
    pub started_to: i64,
    pub rereads: i64,
}

/// Reason of a message's death, as the table spells it.
pub type Dead = &'static str;

/// A row of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct InboxLine {
    pub partition: TopicPartition,
    pub okey: Option<i64>,
    pub message_id: String,
    pub status: String,
    pub held: bool,
    pub wakes: bool,
    pub deliveries: u32,
    pub attempts: u32,
    pub attempts_max: u32,
    pub crashes: u32,
    pub begun: bool,
    pub lone: bool,
    pub unfit: Option<String>,
}

/// The newest dead letter of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns' names")]
pub struct LetterLine {
    pub open: bool,
    pub reason: String,
}

/// Something with a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timed {
    /// A session's expiry.
    Host(Session),
    /// The moment since when a lane has no owner.
    Lane(TopicPartition),
    /// The moment at which a pending row is due.
    Row(Seq),
    /// The moment at which a probe may be claimed.
    Breaker,
}

/// All tables, without their times, and the times. Lanes are known by their partitions.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the tables' names")]
pub struct Tables {
    pub hosts: BTreeMap<Session, usize>,
    pub lanes: BTreeMap<TopicPartition, LaneLine>,
    /// The next offset and the epoch.
    pub offsets: BTreeMap<TopicPartition, (i64, i64)>,
    pub inbox: BTreeMap<Seq, InboxLine>,
    pub letters: BTreeMap<Seq, LetterLine>,
    pub blocked: BTreeMap<(TopicPartition, OrderKey), (Seq, Blocking)>,
    /// The version and the value.
    pub state: BTreeMap<StateId, (i64, i64)>,
    /// Numbers by message and place in what it said.
    pub outbox: BTreeMap<(Seq, u32), i64>,
    pub suspicions: BTreeMap<(Session, Seq), ()>,
    pub paused: bool,
    pub times: BTreeMap<Timed, i64>,
}

impl Tables {
    /// Reads the model's, as committed; its times are milliseconds of its clock.
    pub(crate) fn of(pg: &Postgres) -> Self {
        let partition = |lane| {
            let row = pg.lanes.get(NOBODY, &lane);
            row.map_or(TopicPartition { topic: "".into(), partition: 0 }, |row| row.partition.clone())
        };
        let host = |session: Session| (session, pg.workers.get(&session).copied().unwrap_or_default());
        let inbox = pg.inbox.rows(NOBODY).map(|(seq, row)| {
            let line = InboxLine {
                partition: partition(row.lane),
                okey: row.okey.map(|key| key.0),
                message_id: row.message.message_id.clone(),
                status: status(row.status),
                held: row.held,
                wakes: row.wakes,
                deliveries: row.deliveries,
                attempts: row.attempts,
                attempts_max: row.attempts_max,
                crashes: row.crashes,
                begun: row.begun,
                lone: row.lone,
                unfit: row.unfit.as_deref().map(str::to_owned),
            };
            (*seq, line)
        });
        let letter = |(seq, letter): (&Seq, &crate::postgres::Letter)| {
            (*seq, LetterLine { open: letter.open, reason: letter.reason.as_str().to_owned() })
        };
        Self {
            hosts: pg.hosts.rows(NOBODY).map(|(session, _)| host(*session)).collect(),
            lanes: lanes(pg),
            offsets: pg.offsets.rows(NOBODY).map(|(of, row)| (of.clone(), (row.next, row.epoch))).collect(),
            inbox: inbox.collect(),
            letters: pg.letters.rows(NOBODY).map(letter).collect(),
            blocked: pg
                .blocked
                .rows(NOBODY)
                .map(|((lane, key), blocking)| ((partition(*lane), *key), *blocking))
                .collect(),
            state: pg.state.rows(NOBODY).map(|(id, row)| (*id, (row.version, row.value))).collect(),
            outbox: pg.outbox.rows(NOBODY).map(|(place, said)| (*place, *said)).collect(),
            suspicions: pg
                .suspicions
                .rows(NOBODY)
                .map(|((session, _, seq), ())| ((*session, *seq), ()))
                .collect(),
            paused: pg.paused.get(NOBODY, &()).is_some(),
            times: times(pg),
        }
    }

    /// Says what differs from another, but for the times.
    #[must_use]
    pub fn differences(&self, real: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare("host", &self.hosts, &real.hosts, &mut found);
        compare("lane", &self.lanes, &real.lanes, &mut found);
        compare("partition_offset", &self.offsets, &real.offsets, &mut found);
        compare("inbox", &self.inbox, &real.inbox, &mut found);
        compare("dead_letter", &self.letters, &real.letters, &mut found);
        compare("blocked_key", &self.blocked, &real.blocked, &mut found);
        compare("state", &self.state, &real.state, &mut found);
        compare("outbox", &self.outbox, &real.outbox, &mut found);
        compare("suspicion", &self.suspicions, &real.suspicions, &mut found);
        if self.paused != real.paused {
            found.push(format!("paused: {} in the model, {} in Postgres", self.paused, real.paused));
        }
        found
    }
}

fn compare<K: Ord + Debug, V: PartialEq + Debug>(
    table: &str,
    model: &BTreeMap<K, V>,
    real: &BTreeMap<K, V>,
    found: &mut Vec<String>,
) {
    for (key, row) in model.iter().filter(|(key, row)| real.get(key) != Some(row)) {
        let real = real.get(key);
        found.push(format!("{table} {key:?}:\n  model    {row:?}\n  Postgres {real:?}"));
    }
    for (key, row) in real.iter().filter(|(key, _)| !model.contains_key(key)) {
        found.push(format!("{table} {key:?}:\n  model    none\n  Postgres {row:?}"));
    }
}

fn status(status: Status) -> String {
    match status {
        Status::Pending => "pending".to_owned(),
        Status::Completed => "completed".to_owned(),
        Status::Failed(reason) => format!("failed: {}", reason.as_str()),
    }
}

fn lanes(pg: &Postgres) -> BTreeMap<TopicPartition, LaneLine> {
    let lanes = pg.lanes.rows(NOBODY).map(|(_, row)| {
        let line = LaneLine {
            owner: row.owner,
            token: row.token.0,
            wanted_by: row.wanted_by,
            is_left_since: row.free_since.is_some(),
            started_to: row.started_to.0,
            rereads: row.rereads.0,
        };
        (row.partition.clone(), line)
    });
    lanes.collect()
}

fn times(pg: &Postgres) -> BTreeMap<Timed, i64> {
    let millis = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    let hosts = pg.hosts.rows(NOBODY).map(|(session, row)| (Timed::Host(*session), millis(row.expires_at)));
    let lanes = pg.lanes.rows(NOBODY);
    let lanes =
        lanes.filter_map(|(_, row)| Some((Timed::Lane(row.partition.clone()), millis(row.free_since?))));
    let pending = pg.inbox.rows(NOBODY).filter(|(_, row)| row.is_pending());
    let rows = pending.map(|(seq, row)| (Timed::Row(*seq), millis(row.scheduled_at)));
    let breaker = pg.breaker.get(NOBODY, &()).map(|until| (Timed::Breaker, millis(*until)));
    hosts.chain(lanes).chain(rows).chain(breaker).collect()
}
