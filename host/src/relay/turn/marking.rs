//! Marking what was acknowledged and what is refused.

use std::time::Duration;

use tokio::time::Instant;

use super::Turns;
use crate::db::DbError;
use crate::lane::Lease;
use crate::outbox::{self, Marked, Pending, Published};

impl Turns {
    pub(super) fn has_marks(&self) -> bool {
        !(self.acknowledged.is_empty() && self.refused.is_empty())
    }

    pub(super) fn start_mark(&mut self) {
        if self.marking.is_some() || !self.has_marks() || self.mark_after > Instant::now() {
            return;
        }
        self.marked = std::mem::take(&mut self.acknowledged);
        let published = self.marked.clone();
        let leases = self.lanes.leases(published.iter().map(|row| row.lane));
        // A lane that was lost meanwhile: its rows are another's to publish and mark.
        let published: Vec<Published> =
            published.into_iter().filter(|row| leases.contains_key(&row.lane)).collect();
        let refused: Vec<(Lease, Pending, String)> = std::mem::take(&mut self.refused)
            .into_iter()
            .filter_map(|(row, reason)| Some((self.lanes.lease(row.lane)?.clone(), row, reason)))
            .collect();
        self.failing = refused.iter().map(|(_, row, _)| (row.lane, row.seq)).collect();
        let db = self.relay.db.clone();
        self.marking = Some(Box::pin(async move {
            for (lease, row, reason) in &refused {
                tracing::warn!(message.id = %row.id, "Message {} to topic {:?} is refused: {reason}", row.id, row.topic);
                if let lost @ Marked::LanesLost(_) = outbox::fail(&db, lease, row, reason).await? {
                    return Ok(lost);
                }
            }
            if published.is_empty() {
                return Ok(Marked::Done);
            }
            outbox::mark(&db, &leases, &published).await
        }));
    }

    pub(super) fn mark_ended(&mut self, marked: Result<Marked, DbError>) {
        let about = std::mem::take(&mut self.marked);
        let failing = std::mem::take(&mut self.failing);
        match marked {
            Ok(Marked::Done) => {
                for (lane, seq) in about.iter().map(|row| (row.lane, row.seq)).chain(failing) {
                    self.lanes.done(lane, seq);
                }
            }
            Ok(Marked::LanesLost(lost)) => {
                for lease in lost.iter().filter_map(|lane| self.lanes.lease(*lane)) {
                    tracing::warn!("Outbox lane {} is another host's now", lease.lane);
                    lease.lose();
                }
                self.acknowledged.extend(about.into_iter().filter(|row| !lost.contains(&row.lane)));
                self.refuse_again(failing, Duration::ZERO);
            }
            Err(error) => {
                let wait = self.outage.failed(&error);
                self.mark_after = Instant::now() + wait;
                self.acknowledged.extend(about);
                self.refuse_again(failing, wait);
            }
        }
    }

    /// Refused rows whose failure was not written: they are read, and refused, again.
    fn refuse_again(&mut self, rows: Vec<(i32, i64)>, wait: Duration) {
        for (lane, seq) in rows {
            self.lanes.again(lane, seq, wait);
        }
    }
}
