//! Deletes what was settled long ago, where `[retention]` says so: in batches, with a pause between them,
//! on one host at a time. What is pending, open dead letters, and what blocks a key stay.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::db::retention::{Old, Turn, turn};
use crate::db::{Db, DbError};

/// The longest wait before the next look: others may have changed how long rows are kept.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Interval at which it is looked whether the host which was at it has gone.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// The retention of a host, for one session.
pub(crate) struct Retention {
    pub(crate) config: Arc<Config>,
    pub(crate) db: Db,
}

impl Retention {
    /// Deletes until it is stopped. Where everything is kept for ever it has nothing to do.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut kept = kept(&self.config.retention);
        let mut outage = self.db.outage();
        while let Some(next) = kept.iter_mut().min_by_key(|kept| kept.due) {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next.due) => {}
            }
            let wait = match self.turn(next.old, next.keep).await {
                Ok(wait) => {
                    outage.over();
                    wait.min(LOOK_EVERY)
                }
                Err(error) => outage.failed_as(error.urgency(), &error),
            };
            next.due = Instant::now() + wait;
        }
    }

    /// One batch; gives how long to wait for the next.
    async fn turn(&self, old: Old, keep: Duration) -> Result<Duration, DbError> {
        let policy = &self.config.retention;
        Ok(match turn(&self.db, old, keep, policy.batch_rows_max).await? {
            Turn::Walking => policy.pause,
            Turn::Elsewhere => ELSEWHERE,
            Turn::Rests(rest) => rest.max(policy.pause),
            Turn::Ended { deleted } => {
                if deleted > 0 {
                    let (rows, keep) = (told(old), humantime::format_duration(keep));
                    tracing::info!("Retention deleted {deleted} {rows} older than {keep}");
                }
                policy.pause
            }
        })
    }
}

/// Rows that do not stay for ever.
struct Kept {
    old: Old,
    keep: Duration,
    /// Time of the next look at them.
    due: Instant,
}

fn kept(retention: &config::Retention) -> Vec<Kept> {
    let all = [(Old::Inbox, retention.inbox), (Old::Outbox, retention.outbox), (Old::Dead, retention.dead)];
    all.into_iter().filter_map(|(old, keep)| Some(Kept { old, keep: keep?, due: Instant::now() })).collect()
}

fn told(old: Old) -> &'static str {
    match old {
        Old::Inbox => "completed messages of the inbox",
        Old::Outbox => "published messages of the outbox",
        Old::Dead => "closed dead letters",
    }
}
