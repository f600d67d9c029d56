//! `mailroom status`: what runs, what waits, how long, and what an operator should look at.

mod lanes;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::failure::Failure;
use super::{Output, handler, print};
use crate::db::Db;
use crate::db::breakers::{self, Open};
use crate::db::handlers_list::{self, Loaded};
use crate::db::pauses::{self, Paused};
use crate::db::status::{self, Backlog, Deaths, HostRow, LaneRow, Read};

/// All of it, as `--json` gives it.
#[derive(Debug, Serialize)]
struct Status {
    hosts: Vec<HostRow>,
    handlers: Vec<Loaded>,
    inbox: Vec<Backlog>,
    outbox: Backlog,
    lanes: Vec<LaneRow>,
    open_breakers: Vec<Open>,
    paused: Vec<Paused>,
    dead_letters: Vec<Deaths>,
    offsets: Vec<Read>,
    warnings: Vec<String>,
}

pub(super) async fn status(db: &Db, output: Output) -> Result<(), Failure> {
    let mut status = Status {
        hosts: status::hosts(db).await?,
        handlers: handlers_list::list(db).await?,
        inbox: status::backlog_inbox(db).await?,
        outbox: status::backlog_outbox(db).await?,
        lanes: status::lanes(db).await?,
        open_breakers: breakers::list(db).await?,
        paused: pauses::list(db).await?,
        dead_letters: status::deaths(db).await?,
        offsets: status::offsets(db).await?,
        warnings: Vec::new(),
    };
    status.warnings = warnings(&status);
    if output.json {
        return print::json(&status);
    }
    hosts(&status.hosts)?;
    print::line("")?;
    handler::table(&status.handlers)?;
    print::line("")?;
    backlogs(&status)?;
    print::line("")?;
    lanes::table(&status.lanes)?;
    print::line("")?;
    deaths(&status.dead_letters)?;
    print::line("")?;
    offsets(&status.offsets)?;
    for warning in &status.warnings {
        print::line(&format!("\nWARNING: {warning}"))?;
    }
    Ok(())
}

fn warnings(status: &Status) -> Vec<String> {
    let mut warnings = Vec::new();
    if !status.hosts.iter().any(|host| host.expires_in_secs > 0.0) {
        warnings.push("no host is alive: nothing is handled or published".to_owned());
    }
    for open in &status.open_breakers {
        warnings.push(format!(
            "the breaker of {} is open since {}, nothing of it is started: {}; `mailroom handler reset` closes it",
            open.consumer_group,
            print::moment(open.opened_at),
            print::short(Some(&open.last_error)),
        ));
    }
    for paused in &status.paused {
        let why = paused.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
        warnings.push(format!(
            "{} is paused since {} by {}{why}, nothing of it is started; `mailroom handler resume` lets it go on",
            paused.consumer_group,
            print::moment(paused.paused_at),
            paused.paused_by,
        ));
    }
    for host in status.hosts.iter().filter(|host| host.expires_in_secs <= 0.0) {
        let ago = print::length(-host.expires_in_secs);
        warnings.push(format!(
            "host {} gave its last sign of life too long ago (expired {ago} ago)",
            host.worker
        ));
    }
    let mut digests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for loaded in status.handlers.iter().filter(|loaded| loaded.alive) {
        digests.entry(&loaded.name).or_default().extend(loaded.digest.as_deref());
        if loaded.state == "refused" {
            let why = print::short(loaded.last_error.as_deref());
            warnings.push(format!("{} refuses handler {}: {why}", loaded.worker, loaded.name));
        }
    }
    for (name, digests) in digests.iter().filter(|(_, digests)| digests.len() > 1) {
        warnings.push(format!("hosts run {} versions of handler {name}", digests.len()));
    }
    for backlog in
        status.inbox.iter().chain([&status.outbox]).filter(|backlog| backlog.lanes_without_owner > 0)
    {
        let whose = whose(backlog);
        let longest = lanes::longest_free(&status.lanes, backlog.consumer_group.as_deref());
        let since = longest.map_or_else(String::new, |secs| format!(", for {}", print::length(secs)));
        warnings.push(format!(
            "{} of {} lanes of {whose} have no owner{since}",
            backlog.lanes_without_owner, backlog.lanes
        ));
    }
    warnings
}

fn whose(backlog: &Backlog) -> &str {
    backlog.consumer_group.as_deref().unwrap_or("the outbox")
}

fn hosts(hosts: &[HostRow]) -> Result<(), Failure> {
    let row = |host: &HostRow| {
        let (up, expires) = (print::length(host.up_secs), print::length(host.expires_in_secs));
        let expires = if host.expires_in_secs > 0.0 { format!("in {expires}") } else { "expired".to_owned() };
        vec![host.worker.clone(), host.version.clone(), up, expires]
    };
    print::table(
        &["HOST", "VERSION", "UP", "EXPIRES"],
        hosts.iter().map(row).collect(),
        "No host has registered.",
    )
}

fn backlogs(status: &Status) -> Result<(), Failure> {
    let row = |backlog: &Backlog| {
        let at_least = if backlog.at_least { "at least " } else { "" };
        vec![
            whose(backlog).to_owned(),
            format!("{at_least}{}", backlog.pending),
            backlog.held.to_string(),
            backlog.oldest_secs.map_or_else(|| "-".to_owned(), print::length),
            backlog.lanes.to_string(),
            (backlog.lanes - backlog.lanes_without_owner).to_string(),
        ]
    };
    let rows = status.inbox.iter().chain([&status.outbox]).map(row).collect();
    print::table(&["WAITING IN", "PENDING", "HELD", "OLDEST WAITS", "LANES", "OWNED"], rows, "")
}

fn deaths(deaths: &[Deaths]) -> Result<(), Failure> {
    let row = |death: &Deaths| {
        let handler = death.handler.clone().unwrap_or_default();
        let code = death.code.clone().unwrap_or_default();
        vec![death.origin.clone(), handler, death.reason.clone(), code, death.letters.to_string()]
    };
    let rows = deaths.iter().map(row).collect();
    print::table(&["DEAD IN", "HANDLER", "REASON", "CODE", "LETTERS"], rows, "No dead letters are open.")
}

fn offsets(offsets: &[Read]) -> Result<(), Failure> {
    let row = |read: &Read| {
        let from = format!("{}/{}", read.topic, read.partition);
        vec![read.consumer_group.clone(), from, read.next_offset.to_string(), print::moment(read.updated_at)]
    };
    let rows = offsets.iter().map(row).collect();
    print::table(&["GROUP", "PARTITION", "NEXT OFFSET", "MOVED"], rows, "No partition has been read.")
}
