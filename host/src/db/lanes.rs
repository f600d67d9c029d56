//! Lanes: opening, taking over, releasing.
//!
//! Whoever writes for a lane holds its row `for key share` with the token. A take-over holds it `for
//! update`, so it waits for no writer and no writer outlives it; an update of `started_to` changes no
//! key and disturbs neither.
//!
//! The host to which Kafka gave a partition has the first right to its lane: it asks the owner for it. Any other whose
//! version of the handler takes the topic has it only while it is free.

use std::collections::BTreeMap;
use std::time::Duration;

use mailroom_core::ids::{LaneId, LaneToken, Lease, RereadCount, Seq, TopicPartition};
use mailroom_core::verdict::LOST_MAX;
use uuid::Uuid;

use super::{Db, DbError, Tx};

/// A lane that is free for so long is anybody's, whatever its share: the host whose share it is may hang.
const LEFT_FREE_SECONDS: f64 = 1.0;
const TAKING: &str = "taking lanes";

/// A lane that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) lease: Lease,
    pub(crate) rereads: RereadCount,
    /// True if its owner died with it.
    pub(crate) abandoned: bool,
    /// The highest place that the inbox has given out: what the lane's owners wrote lies at or below it.
    pub(crate) last_seq: Seq,
    /// The partition whose messages lie in it; `None` of the outbox.
    pub(crate) partition: Option<TopicPartition>,
}

/// A lane of a host, as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) lane: i32,
    pub(crate) token: i64,
    pub(crate) reread: i64,
    /// Another host, to which Kafka gave the partition, waits for it.
    pub(crate) wanted: bool,
}

/// An inbox lane and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) lane: LaneId,
    pub(crate) partition: TopicPartition,
}

impl Opened {
    fn new(lane: i32, topic: &str, partition: i32) -> Self {
        Self { lane: LaneId(lane), partition: place(topic, partition) }
    }
}

/// Gives those of the lanes that are ours, and stay so until the end of the transaction, with their reread
/// counters.
pub(crate) async fn fence(
    tx: &mut Tx,
    leases: impl Iterator<Item = Lease>,
) -> Result<BTreeMap<LaneId, RereadCount>, DbError> {
    let (lanes, tokens): (Vec<i32>, Vec<i64>) = leases.map(|lease| (lease.lane.0, lease.token.0)).unzip();
    let ours = sqlx::query!(
        "select l.id, l.reread from unnest($1::integer[], $2::bigint[]) w(id, token)
           join mailroom.lane l on l.id = w.id and l.token = w.token
          order by l.id for key share of l",
        &lanes,
        &tokens,
    );
    let ours = ours.fetch_all(&mut **tx).await.map_err(DbError::new("fencing lanes"))?;
    Ok(ours.into_iter().map(|lane| (LaneId(lane.id), RereadCount(lane.reread))).collect())
}

/// Gives the lanes of these partitions, made where there is none.
pub(crate) async fn open(
    db: &Db,
    group: &str,
    topics: &[String],
    partitions: &[i32],
) -> Result<Vec<Opened>, DbError> {
    let opened = made(db, group, topics, partitions).await?;
    if opened.len() >= partitions.len() {
        return Ok(opened);
    }
    // Some were drawn numbers that other lanes have, in which a conflict is as silent as in the partition itself.
    let skipped = skip_numbers(db).await?;
    if skipped > 0 {
        tracing::warn!(
            "The sequence mailroom.lane_id_seq stood below lanes that are there, as where rows were copied without it or \
             it was set back: {skipped} numbers were passed over, and it stands right now"
        );
    }
    made(db, group, topics, partitions).await
}

/// Makes lanes where there are none; gives all that are there then.
async fn made(db: &Db, group: &str, topics: &[String], partitions: &[i32]) -> Result<Vec<Opened>, DbError> {
    sqlx::query!(
        "insert into mailroom.lane (kind, consumer_group, topic, partition)
         select 'inbox', $1, w.topic, w.partition from unnest($2::text[], $3::integer[]) w(topic, partition)
          where not exists (select 1 from mailroom.lane l
                             where l.consumer_group = $1 and l.topic = w.topic and l.partition = w.partition)
         on conflict do nothing",
        group,
        topics,
        partitions,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("opening lanes"))?;
    let opened = sqlx::query!(
        r#"select l.id, w.topic as "topic!", w.partition as "partition!"
             from unnest($2::text[], $3::integer[]) w(topic, partition)
             join mailroom.lane l on l.consumer_group = $1 and l.topic = w.topic and l.partition = w.partition"#,
        group,
        topics,
        partitions,
    );
    let opened = opened.fetch_all(db.pool()).await.map_err(DbError::new("opening lanes"))?;
    Ok(opened.into_iter().map(|lane| Opened::new(lane.id, &lane.topic, lane.partition)).collect())
}

/// Draws the numbers up to that of the last lane; gives how many these were.
async fn skip_numbers(db: &Db) -> Result<i64, DbError> {
    let skipped = sqlx::query_scalar!(
        r#"select count(nextval('mailroom.lane_id_seq')) as "skipped!"
             from generate_series(
                      (select case when is_called then last_value else last_value - 1 end from mailroom.lane_id_seq),
                      (select max(id)::bigint from mailroom.lane) - 1)"#
    );
    skipped.fetch_one(db.pool()).await.map_err(DbError::new("passing over numbers of lanes"))
}

/// Gives inbox lanes of a group that have no live owner, of topics that this host's version takes: as many as are this
/// host's share of them beyond the `held` that it has, and those that others leave free. Kafka may not have given
/// their partitions to anybody yet. Lanes of other topics wait for a host whose version takes them.
pub(crate) async fn free_inbox(
    db: &Db,
    group: &str,
    topics: &[String],
    held: i64,
) -> Result<Vec<Opened>, DbError> {
    let free = sqlx::query!(
        r#"with share as (
               select ceil(count(*)::numeric / greatest(1, (
                          select count(*) from mailroom.handler r join mailroom.host h on h.id = r.host
                           where r.consumer_group = $1 and r.state = 'running'
                             and h.expires_at >= clock_timestamp())))::bigint as lanes
                 from mailroom.lane where consumer_group = $1 and topic = any($4))
           select free.id, free.topic as "topic!", free.partition as "partition!" from (
               select l.id, l.topic, l.partition, l.free_since, row_number() over (order by l.id) as place
                 from mailroom.lane l
                where l.consumer_group = $1 and l.topic = any($4)
                  and (l.owner is null or not exists (select 1 from mailroom.host h where h.id = l.owner))
           ) free
            where free.place <= (select lanes from share) - $2
               or free.free_since < clock_timestamp() - make_interval(secs => $3)
            order by free.id"#,
        group,
        held,
        LEFT_FREE_SECONDS,
        topics,
    );
    let free = free.fetch_all(db.pool()).await.map_err(DbError::new("looking for free lanes"))?;
    Ok(free.into_iter().map(|lane| Opened::new(lane.id, &lane.topic, lane.partition)).collect())
}

/// Asks for lanes that other hosts have, since Kafka gave us their partitions; wakes their owners.
pub(crate) async fn want(db: &Db, host: Uuid, lanes: &[LaneId]) -> Result<(), DbError> {
    sqlx::query!(
        r#"with wanted as (
               update mailroom.lane l set wanted_by = $2 from unnest($1::integer[]) w(id)
                where l.id = w.id and l.owner <> $2 and l.wanted_by is distinct from $2
               returning 1)
           select pg_notify($3, '') as "told?" from wanted limit 1"#,
        &numbers(lanes),
        host,
        super::wake::INBOX,
    )
    .execute(db.pool())
    .await
    .map_err(DbError::new("asking for lanes"))?;
    Ok(())
}

/// Takes those of `lanes` that have no live owner. Others are left out, and so are lanes that a
/// settlement still holds: they are asked for again. What a dead owner may have begun counts as lost with it.
/// A message that ran alone is blamed once `blamed_after` has passed, or at once where its process was started anew.
pub(crate) async fn take(
    db: &Db,
    host: Uuid,
    lanes: &[LaneId],
    blamed_after: Duration,
) -> Result<Vec<Taken>, DbError> {
    let lanes = numbers(lanes);
    let mut tx = db.begin_about(TAKING, lanes.iter().copied()).await?;
    let mut free = Vec::new();
    if is_registered(&mut tx, host).await? {
        let rows = sqlx::query!(
            r#"select l.id, nullif(l.owner, $2) as dead
                 from unnest($1::integer[]) w(id) join mailroom.lane l on l.id = w.id
                where l.owner is null or l.owner = $2
                   or not exists (select 1 from mailroom.host h where h.id = l.owner)
                order by l.id for update of l skip locked"#,
            &lanes,
            host,
        );
        let rows = rows.fetch_all(&mut *tx).await.map_err(DbError::new(TAKING))?;
        free.extend(rows.into_iter().map(|lane| Locked { lane: lane.id, dead: lane.dead }));
    }
    take_locked(tx, host, &free, Taking::Free { blamed_after }).await
}

/// Takes our own lanes anew: nothing of what we sent under their old tokens is committed any more. Lanes that are no
/// longer ours are left out, and so are those that a settlement of ours still holds: they are asked for again.
pub(crate) async fn retake(db: &Db, host: Uuid, lanes: &[LaneId]) -> Result<Vec<Taken>, DbError> {
    let lanes = numbers(lanes);
    let mut tx = db.begin_about(TAKING, lanes.iter().copied()).await?;
    let mut ours = Vec::new();
    if is_registered(&mut tx, host).await? {
        let rows = sqlx::query_scalar!(
            "select l.id from mailroom.lane l where l.id = any($1::integer[]) and l.owner = $2
              order by l.id for update skip locked",
            &lanes,
            host,
        );
        let rows = rows.fetch_all(&mut *tx).await.map_err(DbError::new(TAKING))?;
        ours.extend(rows.into_iter().map(|lane| Locked { lane, dead: None }));
    }
    take_locked(tx, host, &ours, Taking::Anew).await
}

/// Occasion on which lanes are taken.
#[derive(Debug, Clone, Copy)]
enum Taking {
    /// The lanes have no live owner.
    Free { blamed_after: Duration },
    /// The owner is in doubt about its lanes, which is counted.
    Anew,
}

/// A lane that a take-over has locked.
#[derive(Debug, Clone, Copy)]
struct Locked {
    lane: i32,
    /// The session of its owner, which is no more.
    dead: Option<Uuid>,
}

/// Tells whether the host still is one, and stays so until the end of the transaction: one that was buried meanwhile
/// takes nothing.
async fn is_registered(tx: &mut Tx, host: Uuid) -> Result<bool, DbError> {
    let alive = sqlx::query_scalar!("select id from mailroom.host where id = $1 for key share", host);
    Ok(alive.fetch_optional(&mut **tx).await.map_err(DbError::new(TAKING))?.is_some())
}

/// Writes the host into the lanes under a higher token, and commits.
async fn take_locked(mut tx: Tx, host: Uuid, locked: &[Locked], why: Taking) -> Result<Vec<Taken>, DbError> {
    if locked.is_empty() {
        // Its locks alone would make a commit wait for a standby that is away.
        tx.roll_back().await;
        return Ok(Vec::new());
    }
    let lanes: Vec<i32> = locked.iter().map(|lane| lane.lane).collect();
    let abandoned = locked.iter().filter_map(|lane| Some((lane.lane, lane.dead?)));
    let (abandoned, dead): (Vec<i32>, Vec<Uuid>) = abandoned.unzip();
    let taken = sqlx::query!(
        "update mailroom.lane l set owner = $2, token = l.token + 1, owned_since = clock_timestamp(),
                wanted_by = null, free_since = null, doubts = l.doubts + $3::boolean::integer,
                doubted_at = case when $3 then clock_timestamp() else l.doubted_at end
           from unnest($1::integer[]) w(id) where l.id = w.id
         returning l.id, l.token, l.reread, l.topic, l.partition",
        &lanes,
        host,
        matches!(why, Taking::Anew),
    );
    let taken = taken.fetch_all(&mut *tx).await.map_err(DbError::new(TAKING))?;
    // Read after the lanes are ours: their last owners write nothing any more.
    let last_seq = last_seq(&mut tx, &lanes).await?;
    if let Taking::Free { blamed_after } = why
        && !abandoned.is_empty()
    {
        let lost_max = i32::try_from(LOST_MAX).unwrap_or(i32::MAX);
        let waits = blamed_after.as_secs_f64();
        let lost = sqlx::query_file!("src/db/lanes_abandoned.sql", &abandoned, lost_max, &dead, waits);
        lost.execute(&mut *tx).await.map_err(DbError::new(TAKING))?;
    }
    tx.commit().await?;
    let taken = taken.into_iter().map(|lane| Taken {
        lease: Lease { lane: LaneId(lane.id), token: LaneToken(lane.token) },
        rereads: RereadCount(lane.reread),
        abandoned: abandoned.contains(&lane.id),
        last_seq,
        partition: lane.topic.zip(lane.partition).map(|(topic, partition)| place(&topic, partition)),
    });
    Ok(taken.collect())
}

/// Gives the highest place that was given out. The sequence may stand below rows that are there: sequences are not
/// copied by logical replication, and people restart them. So what is pending in these lanes, and open dead letters of any,
/// count as well: their places must not be given twice.
async fn last_seq(tx: &mut Tx, lanes: &[i32]) -> Result<Seq, DbError> {
    let last = sqlx::query_scalar!(
        // One that gave nothing yet has its first value there. Each part takes the end of an index.
        r#"select greatest(
                  (select case when is_called then last_value else 0 end from mailroom.inbox_seq_seq),
                  (select max(top.seq) from unnest($1::integer[]) w(id) cross join lateral (
                       (select p.seq from mailroom.inbox p
                         where p.lane = w.id and p.status = 'pending' and not p.held order by p.seq desc limit 1)
                       union all
                       (select p.seq from mailroom.inbox p where p.lane = w.id and p.held order by p.seq desc limit 1)
                       ) top),
                  (select d.seq from mailroom.dead_letter d
                    where d.origin = 'inbox' and d.replayed_at is null and d.discarded_at is null
                    order by d.seq desc limit 1)) as "last!""#,
        lanes,
    );
    Ok(Seq(last.fetch_one(&mut **tx).await.map_err(DbError::new(TAKING))?))
}

/// Notes that the messages of these lanes up to a place are begun; gives the lanes that are still ours, and up to
/// where they are.
pub(crate) async fn begin(db: &Db, marks: &[(Lease, Seq)]) -> Result<BTreeMap<LaneId, Seq>, DbError> {
    let rows = sqlx::query!(
        "update mailroom.lane l set started_to = greatest(l.started_to, w.begun)
           from unnest($1::integer[], $2::bigint[], $3::bigint[]) w(id, token, begun)
          where l.id = w.id and l.token = w.token
         returning l.id, l.started_to",
        &marks.iter().map(|(lease, _)| lease.lane.0).collect::<Vec<_>>(),
        &marks.iter().map(|(lease, _)| lease.token.0).collect::<Vec<_>>(),
        &marks.iter().map(|(_, seq)| seq.0).collect::<Vec<_>>(),
    );
    let rows = rows.fetch_all(db.pool()).await.map_err(DbError::new("noting that messages are begun"))?;
    Ok(rows.into_iter().map(|lane| (LaneId(lane.id), Seq(lane.started_to))).collect())
}

/// Gives outbox lanes that have no live owner: `room` of them, and those that others leave free.
pub(crate) async fn free_outbox(db: &Db, room: i64) -> Result<Vec<LaneId>, DbError> {
    let free = sqlx::query_scalar!(
        "select free.id from (
             select l.id, l.free_since, row_number() over (order by l.id) as place from mailroom.lane l
              where l.kind = 'outbox'
                and (l.owner is null or not exists (select 1 from mailroom.host h where h.id = l.owner))
         ) free
          where free.place <= $1 or free.free_since < clock_timestamp() - make_interval(secs => $2)
          order by free.id",
        room,
        LEFT_FREE_SECONDS,
    );
    let free = free.fetch_all(db.pool()).await.map_err(DbError::new("looking for free lanes"))?;
    Ok(free.into_iter().map(LaneId).collect())
}

/// Gives lanes back and tells the other hosts, so that nobody has to wait for an expiry.
pub(crate) async fn release(db: &Db, leases: &[Lease]) -> Result<(), DbError> {
    let (lanes, tokens): (Vec<i32>, Vec<i64>) =
        leases.iter().map(|lease| (lease.lane.0, lease.token.0)).unzip();
    sqlx::query!(
        r#"with released as (
               update mailroom.lane l set owner = null, owned_since = null, free_since = clock_timestamp()
                 from unnest($1::integer[], $2::bigint[]) w(id, token) where l.id = w.id and l.token = w.token
               returning 1)
           select pg_notify($3, '') as "told?" from released limit 1"#,
        &lanes,
        &tokens,
        super::wake::INBOX,
    )
    .execute(db.about("releasing lanes", &lanes))
    .await
    .map_err(DbError::new("releasing lanes"))?;
    Ok(())
}

fn numbers(lanes: &[LaneId]) -> Vec<i32> {
    lanes.iter().map(|lane| lane.0).collect()
}

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}
