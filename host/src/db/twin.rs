//! The tables as the test reads them that compares them with the simulator's model, and what others than hosts do to
//! them.

use std::collections::BTreeMap;

use mailroom_core::ids::{LaneId, OrderKey, Seq, TopicPartition};
use mailroom_core::verdict::Blocking;
use mailroom_sim::twin::{InboxLine, LaneLine, LetterLine, Session, StateId, Tables, Timed};
use serde::Deserialize;
use uuid::Uuid;

use super::{Db, DbError};
use crate::lane::SettleKey;

/// Id before that of the first session.
const SESSIONS: u128 = 0x5e55_0000_0000_0000_0000_0000_0000_0000;

pub(crate) fn session_id(session: Session) -> Uuid {
    Uuid::from_u128(SESSIONS + u128::from(session.0))
}

fn session(id: Uuid) -> Session {
    Session(u32::try_from(id.as_u128() - SESSIONS).unwrap())
}

/// Gives a session's secret; one that departed has none.
pub(crate) async fn settle_key(db: &Db, id: Uuid) -> SettleKey {
    let key = sqlx::query_scalar("select key from mailroom.host_key where host = $1").bind(id);
    SettleKey::new(key.fetch_optional(db.pool()).await.unwrap().unwrap_or_default())
}

/// Key and name of a value of state.
pub(crate) fn state_place(id: StateId) -> (Vec<u8>, String) {
    match id {
        StateId::Keyed(OrderKey(key)) => (key.to_be_bytes().to_vec(), "own".to_owned()),
        StateId::Shared(name) => (Vec::new(), name.to_string()),
    }
}

/// The tables at one moment. Times are microseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) now: i64,
    pub(crate) tables: Tables,
    /// The numbers of the lanes.
    pub(crate) lanes: BTreeMap<TopicPartition, LaneId>,
}

#[derive(Debug, Deserialize)]
struct Read {
    now: i64,
    hosts: Vec<(Uuid, String, i64)>,
    lanes: Vec<Lane>,
    offsets: Vec<(String, i32, i64, i64)>,
    inbox: Vec<Row>,
    letters: Vec<(i64, bool, String)>,
    blocked: Vec<(i32, i64, i64, String)>,
    state: Vec<(String, String, String, i64, String)>,
    outbox: Vec<(Uuid, String)>,
    suspicions: Vec<(Uuid, i64)>,
    paused: bool,
    breaker: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Lane {
    id: i32,
    topic: String,
    partition: i32,
    owner: Option<Uuid>,
    token: i64,
    wanted_by: Option<Uuid>,
    free_since: Option<i64>,
    started_to: i64,
    reread: i64,
}

#[derive(Debug, Deserialize)]
struct Row {
    seq: i64,
    lane: i32,
    okey: Option<i64>,
    message_id: String,
    status: String,
    failed_reason: Option<String>,
    held: bool,
    wakes: bool,
    deliveries: u32,
    attempts_made: u32,
    max_attempts: u32,
    crashes: u32,
    begun: bool,
    lone: bool,
    unfit: Option<String>,
    scheduled_at: i64,
}

/// Reads all tables in one statement.
pub(crate) async fn read(db: &Db) -> Snapshot {
    let text: String = sqlx::query_scalar(include_str!("twin_read.sql")).fetch_one(db.pool()).await.unwrap();
    let read: Read = serde_json::from_str(&text).unwrap();
    let lanes: BTreeMap<i32, TopicPartition> =
        read.lanes.iter().map(|lane| (lane.id, place(&lane.topic, lane.partition))).collect();
    let of = |lane: i32| lanes[&lane].clone();
    let mut times: BTreeMap<Timed, i64> =
        read.hosts.iter().map(|(id, _, expires_at)| (Timed::Host(session(*id)), *expires_at)).collect();
    times.extend(read.lanes.iter().filter_map(|lane| Some((Timed::Lane(of(lane.id)), lane.free_since?))));
    let pending = read.inbox.iter().filter(|row| row.status == "pending");
    times.extend(pending.map(|row| (Timed::Row(Seq(row.seq)), row.scheduled_at)));
    times.extend(read.breaker.map(|until| (Timed::Breaker, until)));
    let worker = |worker: &str| worker.trim_start_matches('h').parse().unwrap();
    let blocking = |policy: &str| if policy == "park" { Blocking::Park } else { Blocking::Wait };
    let tables = Tables {
        hosts: read.hosts.iter().map(|(id, name, _)| (session(*id), worker(name))).collect(),
        lanes: read.lanes.iter().map(|lane| (of(lane.id), lane.line())).collect(),
        offsets: read
            .offsets
            .iter()
            .map(|(topic, n, next, epoch)| (place(topic, *n), (*next, *epoch)))
            .collect(),
        inbox: read.inbox.into_iter().map(|row| (Seq(row.seq), row.line(&lanes))).collect(),
        letters: read
            .letters
            .into_iter()
            .map(|(seq, open, reason)| (Seq(seq), LetterLine { open, reason }))
            .collect(),
        blocked: read
            .blocked
            .iter()
            .map(|(lane, key, seq, policy)| ((of(*lane), OrderKey(*key)), (Seq(*seq), blocking(policy))))
            .collect(),
        state: read
            .state
            .iter()
            .map(|(scope, key, name, version, value)| {
                (state_id(scope, key, name), (*version, value.parse().unwrap()))
            })
            .collect(),
        outbox: read.outbox.iter().map(|(id, said)| (said_by(*id), said.parse().unwrap())).collect(),
        suspicions: read.suspicions.iter().map(|(id, seq)| ((session(*id), Seq(*seq)), ())).collect(),
        paused: read.paused,
        times,
    };
    let lanes = lanes.into_iter().map(|(id, partition)| (partition, LaneId(id))).collect();
    Snapshot { now: read.now, tables, lanes }
}

impl Lane {
    fn line(&self) -> LaneLine {
        LaneLine {
            owner: self.owner.map(session),
            token: self.token,
            wanted_by: self.wanted_by.map(session),
            is_left_since: self.free_since.is_some(),
            started_to: self.started_to,
            rereads: self.reread,
        }
    }
}

impl Row {
    fn line(self, lanes: &BTreeMap<i32, TopicPartition>) -> InboxLine {
        InboxLine {
            partition: lanes[&self.lane].clone(),
            okey: self.okey,
            message_id: self.message_id,
            status: self.failed_reason.map_or(self.status, |reason| format!("failed: {reason}")),
            held: self.held,
            wakes: self.wakes,
            deliveries: self.deliveries,
            attempts: self.attempts_made,
            attempts_max: self.max_attempts,
            crashes: self.crashes,
            begun: self.begun,
            lone: self.lone,
            unfit: self.unfit,
        }
    }
}

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn state_id(scope: &str, key: &str, name: &str) -> StateId {
    if scope == "shared" {
        StateId::Shared(name.parse().unwrap())
    } else {
        StateId::Keyed(OrderKey(i64::from_str_radix(key, 16).unwrap()))
    }
}

/// The message that emitted, and the place in what it said.
fn said_by(id: Uuid) -> (Seq, u32) {
    let (seq, place) = id.as_u64_pair();
    (Seq(seq.try_into().unwrap()), place.try_into().unwrap())
}

/// Makes an empty database, in place of the last run's.
pub(crate) async fn make_database(server: &Db) {
    for statement in ["drop database if exists twin with (force)", "create database twin"] {
        sqlx::raw_sql(statement).execute(server.pool()).await.unwrap();
    }
}

/// Makes the role of calls with transactions of their own, whose password is its name.
pub(crate) async fn make_guest(db: &Db) {
    let statements = "do $$ begin
             if not exists (select from pg_roles where rolname = 'guest') then
                 create role guest login password 'guest';
             end if;
         end $$;
         grant usage on schema mailroom to guest;
         grant execute on function mailroom.settle_with_sql to guest";
    sqlx::raw_sql(statements).execute(db.pool()).await.unwrap();
}

/// Empties the tables for another run.
pub(crate) async fn clear(db: &Db) {
    let statements = "truncate mailroom.inbox, mailroom.outbox, mailroom.state, mailroom.dead_letter, \
         mailroom.attempt, mailroom.blocked_key, mailroom.partition_offset, mailroom.host, mailroom.host_key, \
         mailroom.handler, mailroom.breaker, mailroom.handler_pause, mailroom.buried_host, mailroom.suspicion; \
         delete from mailroom.lane where kind = 'inbox'; alter sequence mailroom.inbox_seq_seq restart";
    sqlx::raw_sql(statements).execute(db.pool()).await.unwrap();
}

/// Waits until no transaction is open: the server ends one a moment after its client has dropped it, and until then its
/// lanes are passed over by whoever takes lanes.
pub(crate) async fn all_ended(db: &Db) {
    let open = "select count(*) from pg_stat_activity
                 where datname = current_database() and backend_type = 'client backend'
                   and pid <> pg_backend_pid() and xact_start is not null";
    while sqlx::query_scalar::<_, i64>(open).fetch_one(db.pool()).await.unwrap() > 0 {
        sqlx::query("select pg_sleep(0.005)").execute(db.pool()).await.unwrap();
    }
}

/// Sets times, in microseconds since 1970.
pub(crate) async fn set_times(db: &Db, times: &[(Timed, i64)], lanes: &BTreeMap<TopicPartition, LaneId>) {
    let mut rows = (Vec::new(), Vec::new());
    for (timed, at) in times {
        let statement = match timed {
            Timed::Row(seq) => {
                rows.0.push(seq.0);
                rows.1.push(*at);
                continue;
            }
            Timed::Host(session) => sqlx::query(
                "update mailroom.host set expires_at = to_timestamp(0) + $1 * interval '1 microsecond' where id = $2",
            )
            .bind(*at)
            .bind(session_id(*session)),
            Timed::Lane(partition) => sqlx::query(
                "update mailroom.lane set free_since = to_timestamp(0) + $1 * interval '1 microsecond' where id = $2",
            )
            .bind(*at)
            .bind(lanes[partition].0),
            Timed::Breaker => sqlx::query(
                "update mailroom.breaker set paused_until = to_timestamp(0) + $1 * interval '1 microsecond'",
            )
            .bind(*at),
        };
        statement.execute(db.pool()).await.unwrap();
    }
    if !rows.0.is_empty() {
        let statement =
            "update mailroom.inbox i set scheduled_at = to_timestamp(0) + w.at * interval '1 microsecond'
               from unnest($1::bigint[], $2::bigint[]) w(seq, at) where i.seq = w.seq";
        sqlx::query(statement).bind(rows.0).bind(rows.1).execute(db.pool()).await.unwrap();
    }
}

/// An operator's own statement about a pending row: it is due, or done.
pub(crate) async fn edit(db: &Db, seq: Seq, done: bool) {
    let statement = if done {
        "update mailroom.inbox set status = 'completed', outcome = 'completed', completed_at = clock_timestamp(),
                held = false, lone = false where seq = $1 and status = 'pending' and not wakes"
    } else {
        "update mailroom.inbox set scheduled_at = clock_timestamp() where seq = $1 and status = 'pending'"
    };
    sqlx::query(statement).bind(seq.0).execute(db.pool()).await.unwrap();
}

/// Lets a key go on in front of its dead letter, by hand.
pub(crate) async fn unlock(db: &Db, lane: LaneId, key: OrderKey) -> Result<(), DbError> {
    let mut tx = db.begin("unlocking a key").await?;
    for statement in [
        "update mailroom.lane set reread = reread + 1 where id = $1 and $2::bigint is not null",
        "delete from mailroom.blocked_key where lane = $1 and okey = $2",
    ] {
        sqlx::query(statement).bind(lane.0).bind(key.0).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await
}

/// Writes a value of a handler's state as somebody else.
pub(crate) async fn write_state(db: &Db, id: StateId, version: i64, value: i64) {
    let (key, name) = state_place(id);
    let statement = "insert into mailroom.state (consumer_group, scope, key, name, value, version)
         values ('g', $1, $2, $3, convert_to($4::text, 'UTF8'), $5)
             on conflict (consumer_group, scope, key, name) do update
                set value = excluded.value, version = excluded.version";
    let scope = if key.is_empty() { "shared" } else { "keyed" };
    let write = sqlx::query(statement).bind(scope).bind(key).bind(name).bind(value.to_string()).bind(version);
    write.execute(db.pool()).await.unwrap();
}
