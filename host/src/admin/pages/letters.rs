//! Dead letters: the groups that died of the same, and the letters of one group.

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::{Fields, letter_forms};
use super::layout::{Answer, page};
use super::tables::{link, moment, state, table, words};
use crate::admin::Backend;
use crate::admin::access::Caller;
use crate::admin::api::LetterQuery;
use crate::admin::refusal::Refusal;
use crate::db::dead_letters::{self as letters, Group, Letter, Which};

/// Outcome of the form that led here.
#[derive(Debug, Default, Deserialize)]
pub(in crate::admin) struct Done {
    done: Option<String>,
    closed: Option<u64>,
    left: Option<u64>,
    open: Option<u64>,
}

pub(in crate::admin) async fn dead_letter_groups(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    done: Result<Query<Done>, QueryRejection>,
) -> Answer {
    let groups = backend.ask(letters::groups(backend.db(), &Which::default())).await?;
    let rows: Vec<Markup> = groups.iter().map(group_row).collect();
    let header = ["Handler", "Topic", "Reason", "Fault", "Code", "Letters", "First", "Last", ""];
    let body = html! {
        (notice(&done.map(|Query(done)| done).unwrap_or_default()))
        (table("Open dead letters that died of the same", &header, &rows, "No dead letters are open."))
        p { a href="/dead-letters/list?status=all" { "All dead letters, closed ones too" } }
    };
    Ok(page(&caller, "/dead-letters", "Dead letters", &body))
}

fn notice(done: &Done) -> Markup {
    let Some(word) = done.done.as_deref().filter(|word| ["replayed", "discarded"].contains(word)) else {
        return html! {};
    };
    html! {
        p class="good" role="status" {
            (done.closed.unwrap_or_default()) " letters " (word) "."
            @if let Some(left) = done.left.filter(|left| *left > 0) {
                " " (left) " left as they are: their messages are gone, or somebody was faster."
            }
            @if let Some(open) = done.open.filter(|open| *open > 0) {
                " " (open) " are open still: do it again."
            }
        }
    }
}

/// Names whose message it was, for people.
fn whose<'l>(handler: &'l Option<String>, origin: &'l str) -> &'l str {
    handler.as_deref().unwrap_or(if origin == "outbox" { "the outbox" } else { origin })
}

fn group_row(group: &Group) -> Markup {
    let handler = whose(&group.handler, &group.origin);
    html! {
        tr {
            th scope="row" { (handler) }
            td { (words(&group.topic)) }
            td { (group.reason) }
            td { (group.fault.as_deref().unwrap_or_default()) }
            td { (words(group.code.as_deref().unwrap_or_default())) }
            td class="number" { (group.letters) }
            td { (moment(group.first_died_at)) }
            td { (moment(group.last_died_at)) }
            td { a href=(link_of(group)) aria-label={ "Look into the letters of " (handler) ", " (group.reason) } { "Look into it" } }
        }
    }
}

fn link_of(group: &Group) -> String {
    let parameters = [
        ("handler", group.handler.as_deref()),
        ("topic", Some(group.topic.as_str())),
        ("reason", Some(group.reason.as_str())),
        ("fault", Some(group.fault.as_deref().unwrap_or_default())),
        ("code", Some(group.code.as_deref().unwrap_or_default())),
    ];
    link("/dead-letters/list", &parameters)
}

pub(in crate::admin) async fn dead_letters(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    asked: Result<Query<LetterQuery>, QueryRejection>,
) -> Answer {
    let asked = asked.map_err(|rejection| Refusal::bad_input(rejection.body_text()))?;
    let (which, limit) = asked.0.which()?;
    let listed = backend.ask(letters::list(backend.db(), &which, limit)).await?;
    let groups = backend.ask(letters::groups(backend.db(), &which)).await?;
    let open: i64 = groups.iter().map(|group| group.letters).sum();
    let rows: Vec<Markup> = listed.iter().map(letter_row).collect();
    let header = ["Died", "Message", "Handler", "Reason", "Fault", "Code", "Attempts", "Status", "Error"];
    let is_group = which.status == Some("open") && which.reason.is_some();
    let body = html! {
        @if is_group { p { (narrowed(&which)) ": " (open) " open." } }
        (table("The newest letters", &header, &rows, "No dead letters match."))
        @if is_group && open > 0 && caller.sees_content() {
            h2 { "All " (open) " of them" }
            (letter_forms(&Fields::of_group(&which), &format!("all {open}")))
        }
    };
    Ok(page(&caller, "/dead-letters/list", "Dead letters", &body))
}

fn narrowed(which: &Which) -> Markup {
    let parts = [&which.handler, &which.topic, &which.reason, &which.fault, &which.code];
    let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
    words(&parts.cloned().collect::<Vec<_>>().join(", "))
}

fn letter_row(letter: &Letter) -> Markup {
    let status = match (letter.replayed_at, letter.discarded_at) {
        (Some(_), _) => "replayed",
        (None, Some(_)) => "discarded",
        (None, None) => "open",
    };
    html! {
        tr {
            td { (moment(letter.died_at)) }
            th scope="row" { a href={ "/dead-letters/" (letter.id) } { (words(&letter.message_id)) } }
            td { (whose(&letter.handler, &letter.origin)) }
            td { (letter.reason) }
            td { (letter.fault.as_deref().unwrap_or_default()) }
            td { (words(letter.code.as_deref().unwrap_or_default())) }
            td class="number" { (letter.attempts) }
            td { (state(status, status == "open")) }
            td class="long" { (words(&letter.error)) }
        }
    }
}
