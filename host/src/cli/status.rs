//! `mailroom status`: what runs, what waits, how long, and what an operator should look at.

mod lanes;
mod offsets;
mod stalls;
mod warnings;

use serde::Serialize;

use super::failure::Failure;
use super::{Output, handler, print};
use crate::config::Config;
use crate::db::Db;
use crate::db::breakers::{self, Open};
use crate::db::handlers_list::{self, Loaded};
use crate::db::pauses::{self, Paused};
use crate::db::sequences;
use crate::db::status::{self, Backlog, Deaths, HostRow, LaneRow};
use crate::kafka::LogEnds;
use crate::message::one_line;
use crate::waits::Shown;
use offsets::Offset;

/// The whole status, as `--json` gives it.
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
    offsets: Vec<Offset>,
    warnings: Vec<String>,
}

pub(super) async fn status(config: &Config, db: &Db, output: Output) -> Result<(), Failure> {
    let status = Status::read(config, db).await?;
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
    lanes::table(&status.lanes)?;
    print::line("")?;
    deaths(&status.dead_letters)?;
    print::line("")?;
    offsets::table(&status.offsets)?;
    for warning in &status.warnings {
        print::line(&format!("\nWARNING: {}", one_line(warning)))?;
    }
    Ok(())
}

impl Status {
    /// Reads everything from Postgres, and from Kafka where the logs end.
    async fn read(config: &Config, db: &Db) -> Result<Self, Failure> {
        let reads = status::offsets(db).await?;
        // Asked for after the offsets are read: what is stored in between makes no lag negative.
        let ends = LogEnds::ask(&config.kafka, &status::partitions(&reads)).await;
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
        warnings.extend(too_low.into_iter().map(|sequence| format!("the sequence {sequence}")));
        warnings.extend(ends.unknown);
        warnings.extend(stalls);
        status.warnings = warnings;
        Ok(status)
    }

    /// The backlogs of all groups, and that of the outbox.
    fn backlogs(&self) -> impl Iterator<Item = &Backlog> {
        self.inbox.iter().chain([&self.outbox])
    }

    /// Returns whether a breaker or a pause explains that the group stands still. Both have warnings of their own.
    fn is_held_back(&self, group: &str) -> bool {
        self.open_breakers.iter().any(|open| open.consumer_group == group)
            || self.paused.iter().any(|paused| paused.consumer_group == group)
    }
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
