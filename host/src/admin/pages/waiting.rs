//! Lists: the outbox, keys that do not go on, and changes that operators made.

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use maud::{Markup, html};
use serde_json::Value;

use super::layout::{Answer, page};
use super::tables::{moment, state, table, words};
use crate::admin::Backend;
use crate::admin::access::Caller;
use crate::admin::api::MessageQuery;
use crate::admin::content;
use crate::admin::refusal::Refusal;
use crate::db::audit::{self as changes, Entry, Filter};
use crate::db::dead_letters::BlockedKey;
use crate::outbox::browse::{self, Listed};

/// Entries of a page.
const SHOWN_MAX: i64 = 200;

pub(in crate::admin) async fn outbox(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    asked: Result<Query<MessageQuery>, QueryRejection>,
) -> Answer {
    let asked = asked.map_err(|rejection| Refusal::bad_input(rejection.body_text()))?;
    let filter = asked.0.of_outbox()?;
    content::may_ask_for_key(&caller, filter.key.as_deref())?;
    let listed = backend.ask(browse::list(backend.db(), &filter)).await?;
    let rows: Vec<Markup> = listed.iter().map(message_row).collect();
    let header = ["Stored", "Id", "Topic", "Type", "Status", "Published at", "Last error"];
    let statuses = ["", "pending", "completed", "failed"];
    let body = html! {
        nav aria-label="Which messages" {
            ul {
                @for status in statuses {
                    @let is_shown = filter.status.unwrap_or_default() == status;
                    li {
                        a href={ "/outbox?status=" (status) } aria-current=[is_shown.then_some("true")] {
                            (if status.is_empty() { "all" } else { status })
                        }
                    }
                }
            }
        }
        (table("The newest messages of a day", &header, &rows, "No messages match."))
    };
    Ok(page(&caller, "/outbox", "Outbox", &body))
}

fn message_row(message: &Listed) -> Markup {
    let status = match &message.failed_reason {
        Some(reason) => format!("failed: {reason}"),
        None if message.held => "held".to_owned(),
        None => message.status.clone(),
    };
    let place = message.published_partition.zip(message.published_offset);
    html! {
        tr {
            td { (moment(message.created_at)) }
            th scope="row" { (message.id) }
            td { (words(&message.topic)) }
            td { (words(&message.event_type)) }
            td { (state(&status, message.failed_reason.is_some())) }
            td { @if let Some((partition, offset)) = place { (partition) "@" (offset) } }
            td class="long" { (words(message.last_error.as_deref().unwrap_or_default())) }
        }
    }
}

pub(in crate::admin) async fn keys(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let keys = content::blocked_keys(&backend, &caller, SHOWN_MAX).await?;
    let rows: Vec<Markup> = keys.iter().map(key_row).collect();
    let header = ["Group", "Partition", "Key", "Policy", "Since", "Dead letter"];
    let body = html! {
        p { "Messages of these keys wait, or are parked, until the letter before them is replayed or discarded." }
        (table("Blocked keys, the oldest first", &header, &rows, "No key is blocked."))
    };
    Ok(page(&caller, "/keys", "Blocked keys", &body))
}

fn key_row(key: &BlockedKey) -> Markup {
    html! {
        tr {
            td { (words(&key.consumer_group)) }
            td { (words(&key.topic)) "/" (key.partition) }
            th scope="row" {
                @match &key.key {
                    Some(key) => { (words(key)) },
                    None => { span class="quiet" { "for operators" } },
                }
            }
            td { (key.policy) }
            td { (moment(key.blocked_at)) }
            td { @if let Some(letter) = key.letter { a href={ "/dead-letters/" (letter) } { (letter) } } }
        }
    }
}

pub(in crate::admin) async fn audit(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let filter = Filter { limit: SHOWN_MAX, ..Filter::default() };
    let listed = backend.ask(changes::list(backend.db(), &filter)).await?;
    let rows: Vec<Markup> = listed.iter().map(change_row).collect();
    let header = ["At", "Who", "Via", "Change", "Of", "Before", "After", "Why"];
    let body =
        table("Changes that operators made, the newest first", &header, &rows, "Nobody changed anything.");
    Ok(page(&caller, "/audit", "Audit", &body))
}

fn change_row(entry: &Entry) -> Markup {
    let value = |value: &Option<Value>| words(&value.as_ref().map_or_else(String::new, Value::to_string));
    html! {
        tr {
            td { (moment(entry.at)) }
            th scope="row" { (words(&entry.actor)) }
            td { (entry.via) }
            td { (entry.action) }
            td class="long" { (words(&entry.target)) }
            td class="long" { (value(&entry.before)) }
            td class="long" { (value(&entry.after)) }
            td class="long" { (words(entry.reason.as_deref().unwrap_or_default())) }
        }
    }
}
