//! Everything that an operator looks at first: what runs, what waits, how long, and what is wrong.

mod lanes;
mod offsets;
mod stalls;
mod warnings;

use serde::Serialize;

use crate::config::Config;
use crate::db::breakers::{self, Open};
use crate::db::handlers_list::{self, Loaded};
use crate::db::pauses::{self, Paused};
use crate::db::sequences;
use crate::db::status::{self, Backlog, Deaths, HostRow, LaneRow};
use crate::db::{Db, DbError};
use crate::kafka::{LogEnds, Topics};
pub(crate) use lanes::{Share, shares};
pub(crate) use offsets::Offset;

/// The whole status, as `mailroom status --json` gives it.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) hosts: Vec<HostRow>,
    pub(crate) handlers: Vec<Loaded>,
    pub(crate) inbox: Vec<Backlog>,
    pub(crate) outbox: Backlog,
    pub(crate) lanes: Vec<LaneRow>,
    pub(crate) open_breakers: Vec<Open>,
    pub(crate) paused: Vec<Paused>,
    pub(crate) dead_letters: Vec<Deaths>,
    pub(crate) offsets: Vec<Offset>,
    pub(crate) warnings: Vec<String>,
}

impl Status {
    /// Reads everything from Postgres, and from Kafka where the logs end: by `topics`, else by a client of its own.
    pub(crate) async fn read(config: &Config, db: &Db, topics: Option<&Topics>) -> Result<Self, DbError> {
        let reads = status::offsets(db).await?;
        let partitions = status::partitions(&reads);
        // Asked for after the offsets are read: what is stored in between makes no lag negative.
        let ends = match topics {
            Some(topics) => LogEnds::ask_by(topics, &config.kafka.brokers, &partitions).await,
            None => LogEnds::ask(&config.kafka, &partitions).await,
        };
        let mut status = Self {
            hosts: status::hosts(db).await?,
            handlers: handlers_list::list(db).await?,
            inbox: status::backlog_inbox(db).await?,
            outbox: status::backlog_outbox(db).await?,
            lanes: status::lanes(db).await?,
            open_breakers: breakers::list(db).await?,
            paused: pauses::list(db).await?,
            dead_letters: status::deaths(db).await?,
            offsets: reads.into_iter().map(|read| Offset::of(read, &ends)).collect(),
            warnings: Vec::new(),
        };
        let stalls = stalls::find(config, db, &status).await?;
        let mut warnings = warnings::of(&status, config.host.expiry);
        warnings.extend(status::differing_duplicates(db).await?.into_iter().map(warnings::differing));
        let too_low = sequences::too_low(db).await?;
        warnings.extend(too_low.iter().map(|sequence| format!("the sequence {}", sequence.with_remedy())));
        warnings.extend(ends.unknown);
        warnings.extend(stalls);
        status.warnings = warnings;
        Ok(status)
    }

    /// The backlogs of all groups, and that of the outbox.
    pub(crate) fn backlogs(&self) -> impl Iterator<Item = &Backlog> {
        self.inbox.iter().chain([&self.outbox])
    }

    /// Returns whether a breaker or a pause explains that the group stands still. Both have warnings of their own.
    fn is_held_back(&self, group: &str) -> bool {
        self.open_breakers.iter().any(|open| open.consumer_group == group)
            || self.paused.iter().any(|paused| paused.consumer_group == group)
    }
}

/// Names whose backlog it is, for people.
pub(crate) fn whose(backlog: &Backlog) -> &str {
    backlog.consumer_group.as_deref().unwrap_or("the outbox")
}
