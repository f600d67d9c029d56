//! The heartbeat: this host's sign of life for the others, on a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::db::{Db, hosts};
use crate::lane::{Moment, Session};

/// Longest interval between heartbeats, of which six fit into the expiry.
const EVERY_AT_LEAST: Duration = Duration::from_secs(5);

/// Returns the interval between heartbeats.
pub(super) fn every(expiry: Duration) -> Duration {
    (expiry / 6).min(EVERY_AT_LEAST)
}

/// Renews the session's expiry until the host is found buried: then the session ends. A row whose expiry has passed
/// and that is still there was not buried, and nothing is lost.
pub(super) async fn beat(db: Db, session: Arc<Session>, expiry: Duration) {
    let mut tick = tokio::time::interval(every(expiry));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut outage = db.outage();
    loop {
        tick.tick().await;
        let sent = Moment::now();
        match hosts::renew(&db, session.id, expiry).await {
            Ok(true) => {
                outage.over();
                session.renewed(sent, expiry);
            }
            Ok(false) => {
                tracing::warn!(
                    "This host was taken for dead after {expiry:?} without a heartbeat; it starts over with what it can \
                     take"
                );
                session.end();
                return;
            }
            Err(error) => tokio::time::sleep(outage.failed_as(error.urgency(), &error)).await,
        }
    }
}
