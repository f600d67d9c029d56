//! Messages that lie in Postgres and not in memory: read lane by lane, as far as memory allows.

use std::collections::HashMap;

use tokio::time::Instant;

use super::Ingest;
use super::partition::Partition;
use crate::db::DbError;
use crate::inbox;
use crate::kafka::Place;
use crate::worker::{Entry, Feed, Weight};

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
            let counter = lane.lease.reread_done();
            tell(ingest, Feed::Reread { lane: lane.lease.lane, counter }).await;
            let as_of = Instant::now();
            lane.blocked = (inbox::standing(&ingest.db, lane.lease.lane).await?.blocked, as_of);
            lane.mark = 0;
            lane.backlog = true;
        }
        if !lane.backlog || ingest.in_hand.is_full(&ingest.config.ingest) {
            continue;
        }
        let group = &ingest.handler.group;
        // What was given away to be stored lies above the mark, once it is stored.
        let all_stored = lane.lease.stored_to() >= lane.away_to;
        let found = inbox::read(&ingest.db, &lane.lease, group, &place.topic, lane.mark, rows_max).await?;
        lane.backlog = found.len() >= rows_max || !all_stored;
        if let Some(last) = found.last() {
            lane.mark = last.message.seq;
            any = true;
            feed(ingest, found.into_iter().map(Entry::found).collect()).await;
        }
        if !lane.backlog {
            let (blocked, as_of) = lane.blocked.clone();
            let (lane, counter) = (lane.lease.lane, lane.lease.reread_done());
            tell(ingest, Feed::CaughtUp { lane, blocked, as_of, counter }).await;
        }
    }
    Ok(any)
}

pub(super) async fn tell(ingest: &Ingest, feed: Feed) {
    if ingest.feed.send(feed).await.is_err() {
        tracing::debug!("The worker has ended");
    }
}

/// Hands messages that were read to the worker.
async fn feed(ingest: &Ingest, entries: Vec<Entry>) {
    let weight = entries.iter().map(|entry| Weight::of(&entry.message)).sum();
    ingest.in_hand.add(weight);
    if ingest.feed.send(Feed::Messages(entries)).await.is_err() {
        // The worker has ended, and so does ingest in a moment; the rows are in Postgres.
        ingest.in_hand.remove(weight);
    }
}
