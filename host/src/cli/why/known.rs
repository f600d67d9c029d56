//! Knowledge that Postgres' rows give of hosts, lanes, handlers and partitions, and which reasons follow for whatever depends on
//! them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::reason::{Cause, Reason};
use crate::cli::failure::Failure;
use crate::db::breakers::{self, Open};
use crate::db::handlers_list::{self, Loaded};
use crate::db::pauses::{self, Paused};
use crate::db::status::{self, HostRow, LaneRow, Read};
use crate::db::{Db, why};
use crate::waits::Shown;

/// One reading of all of it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) now: DateTime<Utc>,
    pub(super) lanes: BTreeMap<i32, LaneRow>,
    hosts: Vec<HostRow>,
    handlers: Vec<Loaded>,
    paused: Vec<Paused>,
    breakers: Vec<Open>,
    reads: Vec<Read>,
    standby_since: Option<DateTime<Utc>>,
}

impl Known {
    pub(super) async fn read(db: &Db) -> Result<Self, Failure> {
        let why::Server { now, standby_since } = why::server(db).await?;
        Ok(Self {
            now,
            standby_since,
            lanes: status::lanes(db).await?.into_iter().map(|lane| (lane.id, lane)).collect(),
            hosts: status::hosts(db).await?,
            handlers: handlers_list::list(db).await?,
            paused: pauses::list(db).await?,
            breakers: breakers::list(db).await?,
            reads: status::offsets(db).await?,
        })
    }

    /// The position of a lane's partition.
    pub(super) fn position(&self, lane: &LaneRow) -> Option<&Read> {
        self.reads.iter().find(|read| {
            Some(&read.consumer_group) == lane.consumer_group.as_ref()
                && Some(&read.topic) == lane.topic.as_ref()
                && Some(read.partition) == lane.partition
        })
    }

    /// Tells why nothing of a handler is called, by its group.
    pub(super) fn of_group(&self, group: &str) -> Vec<Cause> {
        let mut causes = Vec::new();
        let handler = self.handler_of(group);
        for paused in self.paused.iter().filter(|paused| paused.consumer_group == group) {
            let why = paused.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
            let cause = Cause::new(Reason::Paused).since(paused.paused_at);
            let cause = cause.detail(format!("by {}{why}", paused.paused_by));
            causes.push(cause.remedy(format!("mailroom handler resume {handler}")));
        }
        for open in self.breakers.iter().filter(|open| open.consumer_group == group) {
            let in_future = Duration::try_from_secs_f64(open.probe_in_secs.max(0.0)).unwrap_or_default();
            let probe = self.now + TimeDelta::from_std(in_future).unwrap_or_default();
            let cause = Cause::new(Reason::BreakerOpen).since(open.opened_at).until(probe);
            let cause = cause.detail(format!("its next try is then; the last error is {}", open.last_error));
            causes.push(cause.remedy(format!("mailroom handler reset {handler}")));
        }
        causes.extend(self.no_version(group, handler));
        causes
    }

    fn no_version(&self, group: &str, handler: &str) -> Option<Cause> {
        let alive: Vec<&Loaded> =
            self.handlers.iter().filter(|loaded| loaded.alive && loaded.consumer_group == group).collect();
        let is_called = |loaded: &&&Loaded| ["running", "paused"].contains(&loaded.state.as_str());
        // Without any host the lane has no owner, which says it better.
        if alive.iter().any(|loaded| is_called(&loaded)) || !self.hosts.iter().any(is_alive) {
            return None;
        }
        let cause = Cause::new(Reason::NoVersion);
        let Some(loaded) = alive.iter().max_by_key(|loaded| loaded.since) else {
            let detail = format!("no living host has handler {handler} in its folder");
            return Some(cause.detail(detail).remedy("put its file back into the folder of handlers"));
        };
        let why = loaded.last_error.as_deref().unwrap_or("its file is gone, or not loaded yet");
        let detail = format!("{} says that it is {}: {why}", loaded.worker, loaded.state);
        Some(cause.since(loaded.since).detail(detail).remedy("mailroom handler list"))
    }

    fn handler_of<'g>(&'g self, group: &'g str) -> &'g str {
        let of_group = |loaded: &&Loaded| loaded.consumer_group == group;
        self.handlers.iter().find(of_group).map_or(group, |loaded| &loaded.name)
    }

    /// Tells why nobody works on a lane.
    pub(super) fn without_owner(&self, lane: &LaneRow) -> Option<Cause> {
        if lane.alive {
            return None;
        }
        let cause = Cause::new(Reason::LaneWithoutOwner).since(lane.free_since);
        let alive = self.hosts.iter().filter(|host| is_alive(host)).count();
        let detail = match (&lane.worker, alive) {
            (Some(worker), 0) => format!("{worker} had it and is dead, and no host is alive"),
            (Some(worker), _) => {
                format!("{worker} had it and is dead; a living host takes it within its expiry")
            }
            (None, 0) => "no host is alive".to_owned(),
            (None, _) => "a living host that can takes it at its next heartbeat".to_owned(),
        };
        let cause = cause.detail(detail);
        Some(if alive == 0 { cause.remedy("mailroom run") } else { cause })
    }

    /// Tells what the owner of a lane waits for in Postgres, and Postgres for others.
    pub(super) fn postgres(&self, lane: &LaneRow) -> Vec<Cause> {
        let away = self.waits_of(lane).filter(|wait| wait.what.starts_with("Postgres at "));
        let mut causes: Vec<Cause> = away.map(|wait| of_wait(Reason::PostgresAway, wait)).collect();
        if let Some(since) = self.standby_since {
            let remedy = "start the standby, or alter system set synchronous_standby_names = ''; select pg_reload_conf()";
            causes.push(Cause::new(Reason::StandbyAway).since(since).remedy(remedy));
        }
        causes
    }

    /// Tells why nothing new of a lane's partition is read.
    pub(super) fn reading(&self, lane: &LaneRow) -> Vec<Cause> {
        let mut causes = Vec::new();
        let (Some(topic), Some(partition), Some(group)) = (&lane.topic, lane.partition, &lane.consumer_group)
        else {
            return causes;
        };
        if let Some(read) = self.position(lane)
            && let (Some(since), Some(why)) = (read.stopped_at, &read.stopped_reason)
        {
            let is_damaged = why.contains("cannot be read");
            let reason = if is_damaged { Reason::PartitionDamaged } else { Reason::PartitionStopped };
            let remedy = "set ingest.gap = \"skip\", or correct its row in mailroom.partition_offset, and restart the host";
            causes.push(Cause::new(reason).since(since).detail(why).remedy(remedy));
        }
        let handler = self.handler_of(group);
        let place = format!("partition {partition} of topic {topic}");
        let missing = format!("topic {topic}, which handler {handler} takes");
        let of_place = [format!("{place}, to read it"), format!("the position in {place}, to read there")];
        let of_memory = [
            format!("room for more messages of handler {handler}"),
            format!("fewer waiting keys of handler {handler}, to read {place}"),
        ];
        for wait in self.waits_of(lane) {
            let consumer = format!("The consumer of group {group}");
            let reason = if wait.what == missing {
                Reason::TopicMissing
            } else if of_place.contains(&wait.what) || wait.what == consumer {
                Reason::TopicSick
            } else if of_memory.contains(&wait.what) {
                Reason::MemoryFull
            } else if wait.what.starts_with("Kafka at ") {
                Reason::KafkaAway
            } else {
                continue;
            };
            causes.push(of_wait(reason, wait));
        }
        causes
    }

    /// Tells why nothing is published to a topic, by the owner of a lane of the outbox or by whichever host says it.
    pub(super) fn publishing(&self, lane: &LaneRow, topic: &str) -> Vec<Cause> {
        let what = format!("topic {topic}, to publish there");
        let mut causes = Vec::new();
        for wait in self.waits_of(lane) {
            let reason = if wait.what == what && wait.why.contains("does not exist") {
                Reason::TopicMissing
            } else if wait.what == what {
                Reason::TopicSick
            } else if wait.what.starts_with("Kafka at ") {
                Reason::KafkaAway
            } else {
                continue;
            };
            causes.push(of_wait(reason, wait));
        }
        causes
    }

    fn waits_of<'k>(&'k self, lane: &'k LaneRow) -> impl Iterator<Item = &'k Shown> {
        let owner = lane.worker.as_deref().filter(|_| lane.alive);
        let hosts = self.hosts.iter().filter(move |host| is_alive(host) && Some(&*host.worker) == owner);
        hosts.flat_map(|host| host.waits.iter())
    }
}

fn is_alive(host: &HostRow) -> bool {
    host.expires_in_secs > 0.0
}

fn of_wait(reason: Reason, wait: &Shown) -> Cause {
    Cause::new(reason).since(wait.since).detail(format!("{}: {}", wait.what, wait.why))
}
