//! Messages that lie in Postgres and not in memory: read lane by lane, as far as memory allows.

use std::collections::HashMap;

use tokio::time::Instant;

use super::Ingest;
use super::partition::Partition;
use crate::db::DbError;
use crate::inbox;
use crate::kafka::Place;
use crate::worker::{Entry, Feed};

/// Reads one page of each lane that has a backlog, while there is room; gives whether any was read.
pub(super) async fn read(
    ingest: &Ingest,
    partitions: &mut HashMap<Place, Partition>,
) -> Result<bool, DbError> {
    let rows_max = ingest.config.ingest.batch_rows_max;
    let mut any = false;
    for (place, partition) in partitions.iter_mut() {
        let Some(lane) = &mut partition.lane else { continue };
        if lane.lease.take_reread() {
            tell(ingest, Feed::Reread(lane.lease.lane)).await;
            let as_of = Instant::now();
            lane.blocked = (inbox::standing(&ingest.db, lane.lease.lane).await?.blocked, as_of);
            lane.mark = 0;
            lane.backlog = true;
        }
        if !lane.backlog || ingest.in_hand.count() >= ingest.config.ingest.in_hand_max {
            continue;
        }
        let group = &ingest.handler.group;
        let found = inbox::read(&ingest.db, &lane.lease, group, &place.topic, lane.mark, rows_max).await?;
        lane.backlog = found.len() >= rows_max;
        if let Some(last) = found.last() {
            lane.mark = last.message.seq;
            any = true;
            feed(ingest, found.into_iter().map(Entry::found).collect()).await;
        }
        if !lane.backlog {
            let (blocked, as_of) = lane.blocked.clone();
            tell(ingest, Feed::CaughtUp { lane: lane.lease.lane, blocked, as_of }).await;
        }
    }
    Ok(any)
}

async fn tell(ingest: &Ingest, feed: Feed) {
    if ingest.feed.send(feed).await.is_err() {
        tracing::debug!("The worker has ended");
    }
}

/// Hands messages to the worker.
pub(super) async fn feed(ingest: &Ingest, entries: Vec<Entry>) {
    let count = entries.len();
    ingest.in_hand.add(count);
    if ingest.feed.send(Feed::Messages(entries)).await.is_err() {
        // The worker has ended, and so does ingest in a moment; the rows are in Postgres.
        ingest.in_hand.remove(count);
    }
}
