//! `mailroom dead`: messages that failed for good, how to mend them, and the two ways to close them.

mod close;
mod edit;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use super::failure::Failure;
use super::{Output, print};
use crate::db::Db;
use crate::db::dead_letters::{self, Letter, Which};
use crate::shown;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List dead letters, the newest first
    List(List),
    /// Show a dead letter with all its fields
    Show {
        /// The letter's id, or its message's
        id: Uuid,
        #[command(flatten)]
        output: Output,
    },
    /// Change what a dead message says, before it is replayed
    Edit(edit::Edit),
    /// Make the messages pending again, in their order
    Replay(close::Replay),
    /// Close the letters; their messages stay failed
    Discard(close::Discard),
}

/// End of a letter.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Closed {
    /// Nothing yet
    Open,
    /// Message made pending again
    Replayed,
    /// Nobody wants it
    Discarded,
    /// Any of these
    All,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    narrow: Narrow,
    /// State of the letters
    #[arg(long, default_value = "open")]
    status: Closed,
    /// Only what died this long ago at most
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// At most this many, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
    #[command(flatten)]
    output: Output,
}

/// Filters that every verb has.
#[derive(Debug, Args)]
struct Narrow {
    /// Only of this handler
    #[arg(long)]
    handler: Option<String>,
    /// Only of this Kafka topic
    #[arg(long)]
    topic: Option<String>,
    /// Only with this reason: exhausted, rejected, quarantined, crash-loop, interrupted or parked
    #[arg(long, value_parser = ["exhausted", "rejected", "quarantined", "crash-loop", "interrupted", "parked"])]
    reason: Option<String>,
    /// Only with this code, the handler's own name for its failure; "" for those without one
    #[arg(long)]
    code: Option<String>,
    /// Only with this kind of fault, such as trap, deadline or memory; "" for those without one
    #[arg(long)]
    fault: Option<String>,
}

impl Narrow {
    fn which(&self) -> Which {
        Which {
            handler: self.handler.clone(),
            topic: self.topic.clone(),
            reason: self.reason.clone(),
            code: self.code.clone(),
            fault: self.fault.clone(),
            ..Which::default()
        }
    }

    fn is_empty(&self) -> bool {
        let narrows = [&self.handler, &self.topic, &self.reason, &self.code, &self.fault];
        narrows.into_iter().all(Option::is_none)
    }
}

pub(super) async fn dead(verb: Verb, db: &Db, worker: &str) -> Result<(), Failure> {
    match verb {
        Verb::List(list) => {
            let status = match list.status {
                Closed::Open => Some("open"),
                Closed::Replayed => Some("replayed"),
                Closed::Discarded => Some("discarded"),
                Closed::All => None,
            };
            let since_secs = list.since.map(|since| since.as_secs_f64());
            let which = Which { status, since_secs, ..list.narrow.which() };
            let letters = dead_letters::list(db, &which, list.limit).await?;
            if list.output.json { print::json(&letters) } else { table(&letters) }
        }
        Verb::Show { id, output } => {
            let Some(letter) = shown::dead_letter(db, id).await? else {
                return Err(Failure::NotFound(format!(
                    "there is no dead letter {id}, nor one of a message {id}"
                )));
            };
            if output.json { print::json(&letter) } else { print::letter(letter) }
        }
        Verb::Edit(change) => edit::edit(db, worker, change).await,
        Verb::Replay(replay) => close::replay(db, worker, replay).await,
        Verb::Discard(discard) => close::discard(db, worker, discard).await,
    }
}

fn table(letters: &[Letter]) -> Result<(), Failure> {
    let row = |letter: &Letter| {
        let closed = match (letter.replayed_at, letter.discarded_at) {
            (Some(_), _) => "replayed",
            (None, Some(_)) => "discarded",
            (None, None) => "open",
        };
        vec![
            print::moment(letter.died_at),
            letter.id.to_string(),
            letter.handler.clone().unwrap_or_else(|| letter.origin.clone()),
            letter.topic.clone(),
            letter.event_type.clone(),
            letter.reason.clone(),
            letter.fault.clone().unwrap_or_default(),
            letter.code.clone().unwrap_or_default(),
            letter.attempts.to_string(),
            closed.to_owned(),
            print::short(Some(&letter.error)),
        ]
    };
    let header =
        ["DIED", "ID", "HANDLER", "TOPIC", "TYPE", "REASON", "FAULT", "CODE", "ATTEMPTS", "STATUS", "ERROR"];
    print::table(&header, letters.iter().map(row).collect(), "No dead letters match.")
}
