//! `mailroom outbox`: messages for Kafka, and publishing one by hand.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::failure::Failure;
use super::given::read;
use super::select::{Select, Status};
use super::{Output, print};
use crate::db::Db;
use crate::outbox::browse::{self, ByHand, Filter, Listed};
use crate::shown;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Put a message into the outbox; the relay publishes it
    Publish(Publish),
    /// List messages, the newest first
    List {
        #[command(flatten)]
        select: Select,
        #[command(flatten)]
        output: Output,
    },
    /// Show a message with all its fields
    Show {
        /// The message's id
        id: Uuid,
        /// Only the payload's bytes
        #[arg(long, conflicts_with = "json")]
        payload: bool,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(super) struct Publish {
    /// The Kafka topic
    #[arg(long)]
    topic: String,
    /// The event's type, such as order.placed
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// Messages of one key are published in order
    #[arg(long)]
    key: Option<String>,
    /// A header; may be given repeatedly
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// A JSON object, @FILE, or - for standard input; without it the message is a tombstone
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    payload: Option<String>,
    /// A key already used gives the first message's id and adds nothing
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Publish it this much later
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    delay: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn outbox(verb: Verb, db: &Db) -> Result<(), Failure> {
    match verb {
        Verb::Publish(publish) => {
            let id = browse::publish(db, &by_hand(&publish)?).await?;
            if publish.output.json { print::json(&json!({ "id": id })) } else { print::line(&id.to_string()) }
        }
        Verb::List { select, output } => {
            let Select { topic, key, status, since, limit } = select;
            let filter = Filter { topic, key, status: status.map(Status::name), since, limit };
            let listed = browse::list(db, &filter).await?;
            if output.json { print::json(&listed) } else { table(&listed) }
        }
        Verb::Show { id, payload, output } => {
            let Some(shown) = browse::show(db, id).await? else {
                return Err(Failure::NotFound(format!("there is no message {id} in the outbox")));
            };
            if payload {
                return print::payload(shown.payload.as_deref().unwrap_or_default());
            }
            let whole = shown::with_bytes(&shown.fields, shown.key.as_deref(), shown.payload.as_deref());
            if output.json { print::json(&whole) } else { print::message(&whole, shown.payload.as_deref()) }
        }
    }
}

fn by_hand(publish: &Publish) -> Result<ByHand, Failure> {
    let mut headers = Map::new();
    for header in &publish.headers {
        let Some((name, value)) = header.split_once('=') else {
            return Err(Failure::Usage(format!("--header {header}: must be NAME=VALUE")));
        };
        if headers.insert(name.to_owned(), Value::from(value)).is_some() {
            return Err(Failure::Usage(format!("--header {header}: {name} is given twice")));
        }
    }
    Ok(ByHand {
        topic: publish.topic.clone(),
        key: publish.key.clone(),
        event_type: publish.event_type.clone(),
        payload: publish.payload.as_deref().map(payload).transpose()?,
        headers: (!headers.is_empty()).then_some(Value::Object(headers)),
        idempotency_key: publish.idempotency_key.clone(),
        delay: publish.delay,
    })
}

fn payload(given: &str) -> Result<String, Failure> {
    let text = String::from_utf8(read("--payload", given)?);
    let text = text.map_err(|error| Failure::Usage(format!("--payload {given}: {error}")))?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::Usage(format!("--payload: not JSON: {error}"))),
    }
}

fn table(listed: &[Listed]) -> Result<(), Failure> {
    let row = |message: &Listed| {
        let status = match &message.failed_reason {
            Some(reason) => format!("failed: {reason}"),
            None if message.held => "held".to_owned(),
            None => message.status.clone(),
        };
        let place = message.published_partition.zip(message.published_offset);
        vec![
            print::moment(message.created_at),
            message.id.to_string(),
            message.topic.clone(),
            message.event_type.clone(),
            status,
            place.map_or_else(String::new, |(partition, offset)| format!("{partition}@{offset}")),
            print::short(message.last_error.as_deref()),
        ]
    };
    let header = ["STORED", "ID", "TOPIC", "TYPE", "STATUS", "PUBLISHED AT", "LAST ERROR"];
    print::table(&header, listed.iter().map(row).collect(), "No messages match; --since looks further back.")
}
