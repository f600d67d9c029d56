//! `mailroom inbox`: messages from Kafka.

use clap::Subcommand;
use serde_json::Value;

use super::failure::Failure;
use super::select::{Select, Status};
use super::{Output, print};
use crate::db::Db;
use crate::inbox::browse::{self, Filter, Listed, Shown};
use crate::inbox::duplicates::{self, Duplicate};
use crate::inbox::failed_attempts;
use crate::shown;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List messages, the newest first
    List {
        /// Only of this handler
        #[arg(long)]
        handler: Option<String>,
        /// Records that were dropped since their handler had their id already, the last 100 of a partition
        #[arg(long, conflicts_with = "status")]
        duplicates: bool,
        #[command(flatten)]
        select: Select,
        #[command(flatten)]
        output: Output,
    },
    /// Show a message with all its fields
    Show {
        /// The producer's message id, or the id of the row
        id: String,
        /// Only the payload's bytes
        #[arg(long, conflicts_with = "json")]
        payload: bool,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn inbox(verb: Verb, db: &Db) -> Result<(), Failure> {
    match verb {
        Verb::List { handler, duplicates, select, output } => {
            let Select { topic, key, status, since, limit } = select;
            let filter = Filter { handler, topic, key, status: status.map(Status::name), since, limit };
            list(db, &filter, duplicates, output).await
        }
        Verb::Show { id, payload, output } => {
            let shown = browse::show(db, &id).await?;
            let Some(first) = shown.first() else {
                return Err(Failure::NotFound(format!("there is no message {id} in the inbox")));
            };
            if payload {
                return print::payload(first.payload.as_deref().unwrap_or_default());
            }
            let mut messages = Vec::with_capacity(shown.len());
            for shown in &shown {
                messages.push((whole(shown), failed_attempts(db, &shown.fields).await?, shown));
            }
            if output.json {
                let whole = |(fields, attempts, _)| shown::with_attempts(&fields, attempts);
                return print::json(&messages.into_iter().map(whole).collect::<Vec<Value>>());
            }
            for (fields, attempts, shown) in &messages {
                print::message(fields, shown.payload.as_deref())?;
                print::attempts(attempts)?;
            }
            Ok(())
        }
    }
}

async fn list(db: &Db, filter: &Filter, duplicates: bool, output: Output) -> Result<(), Failure> {
    if duplicates {
        let listed = duplicates::list(db, filter).await?;
        return if output.json { print::json(&listed) } else { dropped(&listed) };
    }
    let listed = browse::list(db, filter).await?;
    if output.json { print::json(&listed) } else { table(&listed) }
}

fn whole(shown: &Shown) -> Value {
    shown::with_bytes(&shown.fields, shown.key.as_deref(), shown.payload.as_deref())
}

fn table(listed: &[Listed]) -> Result<(), Failure> {
    let row = |message: &Listed| {
        let status = match (&message.failed_reason, &message.outcome) {
            (Some(reason), _) => format!("failed: {reason}"),
            (None, Some(outcome)) => outcome.clone(),
            (None, None) if message.held && message.wakes => "waiting".to_owned(),
            (None, None) if message.held => "behind".to_owned(),
            (None, None) => message.status.clone(),
        };
        vec![
            print::moment(message.created_at),
            message.id.to_string(),
            message.consumer_group.clone(),
            format!("{}/{}@{}", message.topic, message.partition, message.offset),
            message.event_type.clone(),
            status,
            format!("{}/{}", message.attempts_made, message.max_attempts),
            message.deliveries.to_string(),
            print::short(message.last_error.as_deref()),
        ]
    };
    let header = ["STORED", "ID", "GROUP", "FROM", "TYPE", "STATUS", "ATTEMPTS", "DELIVERIES", "LAST ERROR"];
    print::table(&header, listed.iter().map(row).collect(), "No messages match; --since looks further back.")
}

fn dropped(listed: &[Duplicate]) -> Result<(), Failure> {
    let row = |of: &Duplicate| {
        vec![
            print::moment(of.dropped_at),
            of.consumer_group.clone(),
            of.message_id.clone(),
            of.source.clone(),
            format!("{}/{}@{}", of.topic, of.partition, of.offset),
            format!("{}/{}@{}", of.topic, of.first_partition, of.first_offset),
            print::moment(of.first_stored_at),
            if of.same_content { "the same" } else { "another" }.to_owned(),
        ]
    };
    let header = ["DROPPED", "GROUP", "MESSAGE ID", "SOURCE", "RECORD", "FIRST WAS", "STORED", "CONTENT"];
    let none = "No duplicates match; --since looks further back.";
    print::table(&header, listed.iter().map(row).collect(), none)
}
