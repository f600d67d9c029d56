//! Giving lanes back, one by one and all of them at the end.

use tokio::time::Instant;

use super::{Turns, work};
use crate::db::{Db, lanes};
use crate::lane::Lease;

impl Turns {
    /// Lanes that others are to have, once nothing of them is in flight or being looked at.
    pub(super) async fn give_back(&mut self) {
        if self.looking.is_some() {
            return;
        }
        let closed = self.lanes.closed();
        if !closed.is_empty() {
            release(&self.relay.db, &closed.iter().collect::<Vec<_>>()).await;
        }
    }

    /// Ends without a trace: the lanes are another's.
    pub(in crate::relay) async fn abandon(self) {
        self.flight.end().await;
    }

    /// Waits for what is in flight, marks it, and gives the lanes back.
    pub(in crate::relay) async fn finish(mut self) {
        self.flight.drop_unsent();
        let deadline = Instant::now() + self.relay.config.host.calls_grace();
        while (self.flight.in_flight() > 0 || self.marking.is_some() || self.has_marks())
            && Instant::now() < deadline
        {
            let mut fates = Vec::new();
            tokio::select! {
                Some(delivery) = self.flight.delivered() => self.flight.take(delivery, &mut fates),
                marked = work(&mut self.marking) => self.mark_ended(marked),
                () = tokio::time::sleep(self.relay.config.relay.poll_min) => {}
            }
            self.settle_fates(fates);
            self.start_mark();
        }
        let Self { relay, flight, lanes, .. } = self;
        flight.end().await;
        release(&relay.db, &lanes.all()).await;
    }
}

async fn release(db: &Db, leases: &[&Lease]) {
    let (ids, tokens): (Vec<i32>, Vec<i64>) = leases.iter().map(|lease| (lease.lane, lease.token)).unzip();
    if let Err(error) = lanes::release(db, &ids, &tokens).await {
        tracing::warn!(%error, "Lanes of the outbox were not given back; the sweep does it later");
    }
    leases.iter().for_each(|lease| lease.lose());
}
