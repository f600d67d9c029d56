//! Partitions that a living host has, of which there is more to read, and which are not read.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use mailroom_core::ids::TopicPartition;

use super::Status;
use super::offsets::Offset;
use crate::config::Config;
use crate::db::status::{self, LaneRow, Read};
use crate::db::{Db, DbError};
use crate::kafka::{Reading, read_from};
use crate::wording::length;

/// Time that a host has to store what has just come to a partition which was idle before.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Partitions whose logs are looked into, side by side; the others are named unseen.
const LOOKS_MAX: usize = 20;

/// A group, a topic and a partition.
type Place<'s> = (&'s str, &'s str, i32);

/// Warns of partitions that were not read for longer than `expiry` though there are more records in their logs. Those
/// that move while this looks are left out.
pub(super) async fn find(config: &Config, db: &Db, status: &Status) -> Result<Vec<String>, DbError> {
    let suspects = suspects(status, config.host.expiry);
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    // An offset that is old says little where nothing came for long: the first record may have come just now.
    tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    let reads = status::offsets(db).await?;
    let still: BTreeSet<(Place<'_>, i64)> =
        reads.iter().map(|read| (place(read), read.next_offset)).collect();
    let stalled = suspects.into_iter().filter(|offset| {
        let read = &offset.read;
        still.contains(&(place(read), read.next_offset))
    });
    let looked = stalled.enumerate().map(|(place, offset)| async move {
        let is_held_back = offset.open_from.is_some_and(|open_from| open_from <= offset.read.next_offset);
        if !is_held_back && (place >= LOOKS_MAX || has_record(config, &offset.read).await) {
            return Some(unread(offset));
        }
        offset.open_from.map(|open_from| held_back(offset, open_from))
    });
    Ok(join_all(looked).await.into_iter().flatten().collect())
}

/// Tells whether there is anything to read; also where Kafka does not say.
async fn has_record(config: &Config, read: &Read) -> bool {
    let place = TopicPartition { topic: read.topic.as_str().into(), partition: read.partition };
    !matches!(read_from(&config.kafka, &place, read.next_offset).await, Ok(Reading::End))
}

fn suspects(status: &Status, expiry: Duration) -> Vec<&Offset> {
    let owned: BTreeSet<Place<'_>> =
        status.lanes.iter().filter(|lane| lane.alive).filter_map(place_of_lane).collect();
    let is_suspect = |offset: &&Offset| {
        let read = &offset.read;
        offset.lag.is_some_and(|lag| lag > 0)
            && read.unmoved_secs > expiry.as_secs_f64()
            && read.stopped_at.is_none()
            && owned.contains(&place(read))
            && !status.is_held_back(&read.consumer_group)
    };
    status.offsets.iter().filter(is_suspect).collect()
}

fn place(read: &Read) -> Place<'_> {
    (&read.consumer_group, &read.topic, read.partition)
}

/// Gives nothing for a lane of the outbox.
fn place_of_lane(lane: &LaneRow) -> Option<Place<'_>> {
    Some((lane.consumer_group.as_deref()?, lane.topic.as_deref()?, lane.partition?))
}

/// Names the transaction that keeps records from being read.
fn held_back(offset: &Offset, open_from: i64) -> String {
    let Read { consumer_group, topic, partition, unmoved_secs, .. } = &offset.read;
    let (lag, unread) = (offset.lag.unwrap_or_default(), length(*unmoved_secs));
    format!(
        "{consumer_group} has a lag of {lag} in {topic}/{partition}, of which nothing can be read, and was not for \
         {unread}: a producer's transaction is open from offset {open_from} on. If it stays open its producer hangs: \
         Kafka's `kafka-transactions.sh find-hanging` names it, and `abort` ends it"
    )
}

fn unread(offset: &Offset) -> String {
    let Read { consumer_group, topic, partition, unmoved_secs, .. } = &offset.read;
    let (lag, unread) = (offset.lag.unwrap_or_default(), length(*unmoved_secs));
    format!(
        "{consumer_group} has a lag of {lag} in {topic}/{partition}, which was not read for {unread} though \
         its lane has an owner: the host's log says what the lane waits for"
    )
}
