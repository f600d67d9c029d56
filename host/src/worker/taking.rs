//! Lanes that this host takes for its handlers.

use std::time::Duration;

use mailroom_core::handler_machine::event::TakenLane;
use mailroom_core::ids::TopicPartition;
use uuid::Uuid;

use crate::db::{Db, DbError, lanes};

/// Takes those of the partitions' lanes that are free, and asks for the others.
pub(super) async fn take(
    db: &Db,
    host: Uuid,
    group: &str,
    partitions: &[TopicPartition],
    blamed_after: Duration,
) -> Result<Vec<TakenLane>, DbError> {
    let topics: Vec<String> = partitions.iter().map(|of| of.topic.to_string()).collect();
    let numbers: Vec<i32> = partitions.iter().map(|of| of.partition).collect();
    let opened = lanes::open(db, group, &topics, &numbers).await?;
    let ids: Vec<_> = opened.iter().map(|of| of.lane).collect();
    let taken = lanes::take(db, host, &ids, blamed_after).await?;
    let wanted: Vec<_> =
        ids.into_iter().filter(|lane| !taken.iter().any(|of| of.lease.lane == *lane)).collect();
    if !wanted.is_empty() {
        // They are asked for again; what was taken is ours whatever comes of this.
        if let Err(error) = lanes::want(db, host, &wanted).await {
            tracing::debug!(%error, "Asking for lanes");
        }
    }
    Ok(taken.into_iter().filter_map(taken_lane).collect())
}

/// Takes lanes that nobody has, up to this host's share; `held` are the handler's that it has.
pub(super) async fn adopt(
    db: &Db,
    host: Uuid,
    group: &str,
    topics: &[String],
    held: usize,
    blamed_after: Duration,
) -> Result<Vec<TakenLane>, DbError> {
    let held = i64::try_from(held).unwrap_or(i64::MAX);
    let free: Vec<_> =
        lanes::free_inbox(db, group, topics, held).await?.into_iter().map(|of| of.lane).collect();
    if free.is_empty() {
        return Ok(Vec::new());
    }
    Ok(lanes::take(db, host, &free, blamed_after).await?.into_iter().filter_map(taken_lane).collect())
}

/// A lane as the machine has it; `None` where it is none of a partition's.
pub(super) fn taken_lane(taken: lanes::Taken) -> Option<TakenLane> {
    Some(TakenLane {
        lease: taken.lease,
        partition: taken.partition?,
        rereads: taken.rereads,
        abandoned: taken.abandoned,
        last_seq: taken.last_seq,
    })
}
