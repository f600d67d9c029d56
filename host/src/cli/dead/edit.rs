//! `mailroom dead edit`: changes what a dead message says before it is replayed.

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::print;
use crate::cli::Output;
use crate::cli::failure::Failure;
use crate::cli::given::read;
use crate::db::Db;
use crate::db::audit::Operator;
use crate::db::dead_letters::{self, Edited};
use crate::message::{bounded, one_line};
use crate::shown;

/// Most of a payload that is shown, in bytes: a terminal is to keep what was there before.
const SHOWN_BYTES_MAX: usize = 4096;

#[derive(Debug, Args)]
pub(in crate::cli) struct Edit {
    /// The letter's id, or its message's
    id: Uuid,
    /// The new payload: text, @FILE, or - for standard input
    #[arg(
        long,
        value_name = "TEXT|@FILE|-",
        allow_hyphen_values = true,
        required_unless_present = "tombstone"
    )]
    payload: Option<String>,
    /// No payload at all: makes a tombstone of the message
    #[arg(long, conflicts_with = "payload")]
    tombstone: bool,
    /// Change nothing: show the payload as it is and as it would be
    #[arg(long)]
    dry_run: bool,
    /// Reason, for whoever reads `audit list`
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(in crate::cli) async fn edit(db: &Db, worker: &str, edit: Edit) -> Result<(), Failure> {
    let payload = edit.payload.as_deref().map(|given| read("--payload", given)).transpose()?;
    let (letter, before) = if edit.dry_run {
        as_it_is(db, edit.id).await?
    } else {
        let by = Operator::at_command_line(worker, edit.because.as_deref());
        let change = dead_letters::Edit { id: edit.id, payload: payload.as_deref(), was: None };
        match dead_letters::edit(db, &change, &by).await? {
            Edited::Done { letter, before } => (letter, shown::bytes_as_json(before.as_deref())),
            Edited::Changed | Edited::NotOpen => return Err(not_open(edit.id)),
        }
    };
    let after = shown::bytes_as_json(payload.as_deref());
    if edit.output.json {
        return print::json(&json!({ "letter": letter, "before": before, "after": after }));
    }
    each_line("-", &before)?;
    each_line("+", &after)?;
    if edit.dry_run {
        return print::line("Nothing is changed yet.");
    }
    print::line(&format!("Replay it with: mailroom dead replay {letter}"))
}

/// The open letter of this id, and the payload that its message has.
async fn as_it_is(db: &Db, id: Uuid) -> Result<(Uuid, Value), Failure> {
    let letter = shown::dead_letter(db, id).await?.ok_or_else(|| not_open(id))?;
    match (letter.get("payload"), letter.get("id").and_then(Value::as_str).map(str::parse)) {
        (Some(payload), Some(Ok(id))) if shown::closed_at(&letter).is_none() => Ok((id, payload.clone())),
        _ => Err(not_open(id)),
    }
}

fn not_open(id: Uuid) -> Failure {
    Failure::NotFound(format!("no open dead letter whose message is still there has the id {id}"))
}

fn each_line(mark: &str, payload: &Value) -> Result<(), Failure> {
    let text = match payload {
        Value::Null => "(no payload)".to_owned(),
        Value::String(text) => text.clone(),
        bytes @ (Value::Object(_) | Value::Array(_) | Value::Number(_) | Value::Bool(_)) => bytes.to_string(),
    };
    let shown = bounded(&text, SHOWN_BYTES_MAX);
    shown.lines().try_for_each(|line| print::line(&format!("{mark} {}", one_line(line))))?;
    if shown.len() < text.len() {
        print::line(&format!("{mark} {} bytes in all, which --json has", text.len()))?;
    }
    Ok(())
}
