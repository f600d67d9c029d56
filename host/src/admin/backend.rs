//! Postgres and Kafka as the admin port reaches them: few at once, each within a time, so that messages go on however many
//! ask.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

use super::refusal::Refusal;
use crate::config::Config;
use crate::db::{Db, DbError};
use crate::kafka::Topics;
use crate::status::Status;

/// Time that a request waits for others.
const PERMIT_WITHIN: Duration = Duration::from_secs(2);
/// Time for what a request asks for; its connection has a little more.
const ANSWER_WITHIN: Duration = Duration::from_secs(7);
/// Age up to which a status is told again: however many pages are open, it is read that often.
const STATUS_KEPT: Duration = Duration::from_secs(2);

/// The servers; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Backend(Arc<Shared>);

struct Shared {
    db: Db,
    config: Arc<Config>,
    topics: Option<Topics>,
    permits: Semaphore,
    status: Mutex<Option<(Instant, Arc<Status>)>>,
}

impl Backend {
    /// Reaches Postgres by the host's own connections, of which it takes a quarter at most, and Kafka by `topics`.
    pub(crate) fn new(db: Db, config: Arc<Config>, topics: Option<Topics>) -> Self {
        let at_once = usize::try_from(config.postgres.connections_max / 4).unwrap_or(1).max(1);
        let (permits, status) = (Semaphore::new(at_once), Mutex::new(None));
        Self(Arc::new(Shared { db, config, topics, permits, status }))
    }

    pub(super) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(super) fn config(&self) -> &Config {
        &self.0.config
    }

    /// Does what asks the servers, in its turn and within its time. What takes longer is dropped, and rolled back where it
    /// was changing something.
    pub(super) async fn ask<T>(&self, work: impl Future<Output = Result<T, DbError>>) -> Result<T, Refusal> {
        let permit = timeout(PERMIT_WITHIN, self.0.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(Refusal::busy()) };
        match timeout(ANSWER_WITHIN, work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Refusal::too_slow()),
        }
    }

    /// Has the next status read anew: whoever changed something sees it changed.
    pub(super) async fn forget_status(&self) {
        if let Ok(mut kept) = timeout(ANSWER_WITHIN, self.0.status.lock()).await {
            *kept = None;
        }
    }

    /// The status as of a moment ago.
    pub(super) async fn status(&self) -> Result<Arc<Status>, Refusal> {
        let Ok(mut kept) = timeout(ANSWER_WITHIN, self.0.status.lock()).await else {
            return Err(Refusal::busy());
        };
        if let Some((read_at, status)) = kept.as_ref()
            && read_at.elapsed() < STATUS_KEPT
        {
            return Ok(Arc::clone(status));
        }
        let shared = &self.0;
        let status = self.ask(Status::read(&shared.config, &shared.db, shared.topics.as_ref())).await?;
        let status = Arc::new(status);
        *kept = Some((Instant::now(), Arc::clone(&status)));
        Ok(status)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("db", &self.db).finish_non_exhaustive()
    }
}
