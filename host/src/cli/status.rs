//! `mailroom status`: what runs, what waits, how long, and what an operator should look at.

use super::failure::Failure;
use super::{Output, handler, print};
use crate::config::Config;
use crate::db::Db;
use crate::db::status::{Backlog, Deaths, HostRow, LaneRow};
use crate::message::one_line;
use crate::status::{Offset, Share, Status, shares, whose};
use crate::waits::Shown;

pub(super) async fn status(config: &Config, db: &Db, output: Output) -> Result<(), Failure> {
    let status = Status::read(config, db, None).await?;
    if output.json {
        return print::json(&status);
    }
    hosts(&status.hosts)?;
    waits(&status.hosts)?;
    print::line("")?;
    handler::table(&status.handlers)?;
    print::line("")?;
    backlogs(&status)?;
    print::line("")?;
    lanes(&status.lanes)?;
    print::line("")?;
    deaths(&status.dead_letters)?;
    print::line("")?;
    offsets(&status.offsets)?;
    for warning in &status.warnings {
        print::line(&format!("\nWARNING: {}", one_line(warning)))?;
    }
    Ok(())
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

/// Prints what living hosts wait for beside messages; nothing where that is nothing.
fn waits(hosts: &[HostRow]) -> Result<(), Failure> {
    let alive = hosts.iter().filter(|host| host.expires_in_secs > 0.0);
    let row = |(host, wait): (&HostRow, &Shown)| {
        vec![
            host.worker.clone(),
            wait.what.clone(),
            print::moment(wait.since),
            one_line(&wait.why).into_owned(),
        ]
    };
    let rows: Vec<_> =
        alive.flat_map(|host| host.waits.iter().map(move |wait| (host, wait))).map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    print::line("")?;
    print::table(&["HOST", "WAITS FOR", "SINCE", "WHY"], rows, "")
}

fn backlogs(status: &Status) -> Result<(), Failure> {
    let row = |backlog: &Backlog| {
        let at_least = if backlog.at_least { "at least " } else { "" };
        vec![
            whose(backlog).to_owned(),
            format!("{at_least}{}", backlog.pending),
            backlog.waiting.to_string(),
            backlog.behind.to_string(),
            backlog.oldest_secs.map_or_else(|| "-".to_owned(), print::length),
            backlog.lanes.to_string(),
            (backlog.lanes - backlog.lanes_without_owner).to_string(),
        ]
    };
    let rows = status.backlogs().map(row).collect();
    let header = ["BACKLOG OF", "PENDING", "WAITING", "BEHIND", "OLDEST WAITS", "LANES", "OWNED"];
    print::table(&header, rows, "")
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

/// One line an owner; lanes without a living one stand as nobody's.
fn lanes(lanes: &[LaneRow]) -> Result<(), Failure> {
    let row = |((group, owner), share): ((Option<&str>, Option<&str>), Share)| {
        vec![
            group.unwrap_or("the outbox").to_owned(),
            owner.unwrap_or("nobody").to_owned(),
            share.lanes.to_string(),
            share.longest_secs.map_or_else(|| "-".to_owned(), print::length),
            share.doubts.to_string(),
            share.duplicates.to_string(),
        ]
    };
    let rows = shares(lanes).into_iter().map(row).collect();
    print::table(&["LANES OF", "OWNER", "LANES", "FOR", "DOUBTS", "DUPLICATES"], rows, "There are no lanes.")
}

/// Prints one line a partition.
fn offsets(offsets: &[Offset]) -> Result<(), Failure> {
    let known = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let row = |offset: &Offset| {
        let read = &offset.read;
        vec![
            read.consumer_group.clone(),
            format!("{}/{}", read.topic, read.partition),
            read.next_offset.to_string(),
            known(offset.end_offset),
            known(offset.lag),
            print::moment(read.updated_at),
        ]
    };
    let header = ["GROUP", "PARTITION", "NEXT OFFSET", "END", "LAG", "MOVED"];
    print::table(&header, offsets.iter().map(row).collect(), "No partition has been read.")
}
