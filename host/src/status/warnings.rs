//! The warnings of a status: what an operator should look at, each with where to look or what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::offsets::Offset;
use super::{Status, lanes, whose};
use crate::db::breakers::Open;
use crate::db::handlers_list::Loaded;
use crate::db::pauses::Paused;
use crate::db::status::HostRow;
use crate::wording::{length, moment, short};

/// A doubt is worth a warning for so long.
const DOUBT_IS_RECENT: Duration = Duration::from_mins(5);

/// Gives all that follows from the status alone.
pub(super) fn of(status: &Status, expiry: Duration) -> Vec<String> {
    let mut warnings = Vec::new();
    if !status.hosts.iter().any(|host| host.expires_in_secs > 0.0) {
        warnings.push("no host is alive: nothing is handled or published".to_owned());
    }
    warnings.extend(status.open_breakers.iter().map(open_breaker));
    warnings.extend(status.paused.iter().map(paused));
    warnings.extend(status.hosts.iter().filter_map(expired_host));
    warnings.extend(handlers(&status.handlers));
    warnings.extend(free_lanes(status));
    warnings.extend(waiting(status, expiry));
    warnings.extend(doubts(status));
    warnings.extend(status.offsets.iter().filter_map(stopped_partition));
    warnings.extend(other_logs(&status.offsets));
    warnings
}

fn open_breaker(open: &Open) -> String {
    format!(
        "the breaker of {} is open since {}, nothing of it is started: {}; `mailroom handler reset` closes it",
        open.consumer_group,
        moment(open.opened_at),
        short(Some(&open.last_error)),
    )
}

fn paused(paused: &Paused) -> String {
    let why = paused.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
    format!(
        "{} is paused since {} by {}{why}, nothing of it is started; `mailroom handler resume` lets it go on",
        paused.consumer_group,
        moment(paused.paused_at),
        paused.paused_by,
    )
}

/// Warns of records that were dropped since their ids were there, and had something else to say.
pub(super) fn differing((group, records): (String, i64)) -> String {
    format!(
        "{records} records of {group} were dropped within a day whose ids it had already, though their content is \
         another: see `mailroom inbox list --duplicates`, and give records ids of their own"
    )
}

fn expired_host(host: &HostRow) -> Option<String> {
    let (worker, ago) = (&host.worker, length(-host.expires_in_secs));
    let warning = || format!("host {worker} gave its last sign of life too long ago (expired {ago} ago)");
    (host.expires_in_secs <= 0.0).then(warning)
}

/// Names handlers that hosts refuse, then those of which hosts run different versions.
fn handlers(handlers: &[Loaded]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut digests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for loaded in handlers.iter().filter(|loaded| loaded.alive) {
        digests.entry(&loaded.name).or_default().extend(loaded.digest.as_deref());
        if loaded.state == "refused" {
            let why = short(loaded.last_error.as_deref());
            warnings.push(format!("{} refuses handler {}: {why}", loaded.worker, loaded.name));
        }
    }
    for (name, digests) in digests.iter().filter(|(_, digests)| digests.len() > 1) {
        warnings.push(format!("hosts run {} versions of handler {name}", digests.len()));
    }
    warnings
}

fn free_lanes(status: &Status) -> Vec<String> {
    let free = status.backlogs().filter(|backlog| backlog.lanes_without_owner > 0);
    let warning = free.map(|backlog| {
        let longest = lanes::longest_free(&status.lanes, backlog.consumer_group.as_deref());
        let since = longest.map_or_else(String::new, |secs| format!(", for {}", length(secs)));
        let whose = whose(backlog);
        format!("{} of {} lanes of {whose} have no owner{since}", backlog.lanes_without_owner, backlog.lanes)
    });
    warning.collect()
}

/// Names groups, and the outbox, of which a message waits for longer than `expiry` in a lane with an owner, and for
/// no breaker and no pause.
fn waiting(status: &Status, expiry: Duration) -> Vec<String> {
    let warning = status.backlogs().filter_map(|backlog| {
        let secs = backlog.oldest_owned_secs.filter(|secs| *secs > expiry.as_secs_f64())?;
        let group = backlog.consumer_group.as_deref();
        if group.is_some_and(|group| status.is_held_back(group)) {
            return None;
        }
        let done = if group.is_some() { "handled" } else { "published" };
        Some(format!(
            "the oldest message of {} that could be {done} has waited {} though its lanes have owners: the \
             host's log says what its lanes wait for",
            whose(backlog),
            length(secs)
        ))
    });
    warning.collect()
}

/// Names groups whose lanes were in doubt within the last minutes.
fn doubts(status: &Status) -> Vec<String> {
    let mut recent: BTreeMap<&str, (i64, f64)> = BTreeMap::new();
    for lane in &status.lanes {
        if let Some(secs) = lane.doubted_secs.filter(|secs| *secs < DOUBT_IS_RECENT.as_secs_f64()) {
            let group = lane.consumer_group.as_deref().unwrap_or("the outbox");
            let (lanes, last) = recent.entry(group).or_insert((0, secs));
            (*lanes, *last) = (*lanes + 1, last.min(secs));
        }
    }
    let warning = |(group, (lanes, secs)): (&str, (i64, f64))| {
        format!(
            "{lanes} lanes of {group} were taken anew by their owner, the last {} ago: it did not know what became \
             of a settlement, or nothing went on; nothing is lost, and the host's log says what they waited for",
            length(secs)
        )
    };
    recent.into_iter().map(warning).collect()
}

/// Names a partition that its host stopped reading.
fn stopped_partition(offset: &Offset) -> Option<String> {
    let read = &offset.read;
    let (since, reason) = (read.stopped_at?, read.stopped_reason.as_deref()?);
    Some(format!(
        "{} stopped reading {}/{} at offset {} since {}: {}; set ingest.gap to \"skip\", or correct its row in \
         mailroom.partition_offset, and restart",
        read.consumer_group,
        read.topic,
        read.partition,
        read.next_offset,
        moment(since),
        short(Some(reason)),
    ))
}

/// Names offsets that mean nothing in the log that is there, where no host has said so. Hosts stop at them unless they are told to skip.
fn other_logs(offsets: &[Offset]) -> Vec<String> {
    let unsaid = || offsets.iter().filter(|offset| offset.read.stopped_at.is_none());
    let replaced = unsaid().filter(|offset| offset.is_replaced);
    let replaced: BTreeSet<(&str, &str)> =
        replaced.map(|offset| (&*offset.read.topic, &*offset.read.consumer_group)).collect();
    let replaced = replaced.into_iter().map(|(topic, group)| {
        format!(
            "topic {topic} was deleted and made again, so the offsets of {group} mean nothing in it: it is \
             not read unless ingest.gap is \"skip\""
        )
    });
    let beyond = unsaid().filter_map(|offset| {
        let (read, end) = (&offset.read, offset.end_offset?);
        offset.lag.filter(|lag| *lag < 0)?;
        Some(format!(
            "the offset of {} in {}/{}, {}, is beyond the end of the log, {end}: the partition is not read \
             unless ingest.gap is \"skip\"",
            read.consumer_group, read.topic, read.partition, read.next_offset
        ))
    });
    replaced.chain(beyond).collect()
}
