//! One dead letter: why it died, how each attempt ended, and what it says.

use axum::Extension;
use axum::extract::{Path, State};
use maud::{Markup, html};
use serde_json::Value;

use super::forms::{Fields, edit_form, letter_forms};
use super::layout::{Answer, page};
use super::tables::{lines, state, words};
use crate::admin::Backend;
use crate::admin::access::Caller;
use crate::admin::content;
use crate::shown::closed_at;

/// Fields of the head, in the order in which somebody asks for them, with their names.
const HEAD: [(&str, &str); 13] = [
    ("handler", "Handler"),
    ("reason", "Died as"),
    ("fault", "Fault"),
    ("code", "Code"),
    ("event_type", "Event type"),
    ("topic", "Topic"),
    ("partition", "Partition"),
    ("offset", "Offset"),
    ("key", "Key"),
    ("attempts", "Attempts"),
    ("died_at", "Died at"),
    ("handler_digest", "Version (digest)"),
    ("host", "Host"),
];
/// Fields of an attempt likewise.
const ATTEMPT: [(&str, &str); 8] = [
    ("attempt", "Attempt"),
    ("at", "At"),
    ("fault", "Fault"),
    ("code", "Code"),
    ("took_ms", "Took (ms)"),
    ("fuel_used", "Fuel"),
    ("memory_peak", "Memory"),
    ("host", "Host"),
];

pub(in crate::admin) async fn dead_letter(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let letter = content::dead_letter(&backend, &caller, &id).await?;
    let closed_at = closed_at(&letter);
    let attempts =
        letter.get("failed_attempts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let body = html! {
        p {
            @match closed_at {
                None => { (state("open", true)) },
                Some(name) => { (state(name.trim_end_matches("_at"), false)) " " (text(&letter, name)) },
            }
        }
        (fields(&letter, &HEAD))
        h2 { "Error" }
        (lines(&text(&letter, "error")))
        (part(&letter, "detail", "Backtrace"))
        (part(&letter, "last_output", "Last output"))
        @if caller.sees_content() {
            (payload(&letter))
            @if closed_at.is_none() {
                h2 { "What to do" }
                (edited(&letter))
                (letter_forms(&Fields::of_letter(&text(&letter, "id")), "this letter"))
            }
        } @else {
            p class="quiet" { "Its content is shown to whoever signs in as an operator." }
        }
        @if !attempts.is_empty() { h2 { "Failed attempts" } }
        @for attempt in attempts {
            details {
                summary { "Attempt " (text(attempt, "attempt")) ": " (words(&text(attempt, "error"))) }
                (fields(attempt, &ATTEMPT))
                (part(attempt, "detail", "Backtrace"))
                (part(attempt, "last_output", "Last output"))
            }
        }
    };
    let title = format!("Dead letter {}", crate::message::one_line(&text(&letter, "message_id")));
    Ok(page(&caller, "", &title, &body))
}

/// A field as text; empty where it is not there.
fn text(whole: &Value, name: &str) -> String {
    match whole.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn fields(whole: &Value, names: &[(&str, &str)]) -> Markup {
    let known = names.iter().map(|(name, shown)| (shown, text(whole, name)));
    html! {
        dl { @for (shown, value) in known.filter(|(_, value)| !value.is_empty()) { dt { (shown) } dd { (words(&value)) } } }
    }
}

fn part(whole: &Value, name: &str, heading: &str) -> Markup {
    let text = text(whole, name);
    html! { @if !text.is_empty() { h3 { (heading) } (lines(&text)) } }
}

/// The form for a payload, or the command where a form will not do.
fn edited(letter: &Value) -> Markup {
    let (id, digest) = (text(letter, "id"), text(letter, "payload_digest"));
    let form = letter.get("payload").and_then(Value::as_str).and_then(|said| edit_form(&id, said, &digest));
    match (form, letter.get("payload")) {
        (Some(form), _) => form,
        (None, None) => html! {},
        (None, Some(_)) => html! {
            p class="quiet" { "Edit the payload with " code { "mailroom dead edit " (id) " --payload @FILE" } "." }
        },
    }
}

fn payload(letter: &Value) -> Markup {
    html! {
        h2 { "Payload" }
        @match letter.get("payload") {
            None => { p class="quiet" { "The message is no longer there." } },
            Some(Value::Null) => { p class="quiet" { "None (a tombstone)." } },
            Some(_) => { (lines(&text(letter, "payload"))) },
        }
        (part(letter, "headers", "Headers"))
    }
}
