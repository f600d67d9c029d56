//! `mailroom audit`: changes that operators made, by the command line and over HTTP.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::failure::Failure;
use super::{Output, print};
use crate::db::Db;
use crate::db::audit::{self, Entry, Filter};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List changes, the newest first
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only of this operator: a token's name, or ROLE@HOST of the command line
    #[arg(long)]
    actor: Option<String>,
    /// Only of this kind: handler.pause, handler.resume, handler.reset, dead.edit, dead.replay or dead.discard
    #[arg(long)]
    action: Option<String>,
    /// Only of this consumer group, or of the dead letter with this id
    #[arg(long)]
    target: Option<String>,
    /// Only what was changed this long ago at most
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// At most this many, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn audit(verb: Verb, db: &Db) -> Result<(), Failure> {
    let Verb::List(List { actor, action, target, since, limit, output }) = verb;
    let listed = audit::list(db, &Filter { actor, action, target, since, limit }).await?;
    if output.json { print::json(&listed) } else { table(&listed) }
}

fn table(listed: &[Entry]) -> Result<(), Failure> {
    let value = |value: &Option<Value>| value.as_ref().map_or_else(String::new, Value::to_string);
    let row = |entry: &Entry| {
        vec![
            print::moment(entry.at),
            entry.actor.clone(),
            entry.via.clone(),
            entry.action.clone(),
            entry.target.clone(),
            print::short(Some(&value(&entry.before))),
            print::short(Some(&value(&entry.after))),
            entry.reason.clone().unwrap_or_default(),
        ]
    };
    let header = ["AT", "WHO", "VIA", "CHANGE", "OF", "BEFORE", "AFTER", "WHY"];
    print::table(&header, listed.iter().map(row).collect(), "No changes match.")
}
