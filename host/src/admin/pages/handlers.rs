//! The handlers: what each host runs of them, what waits for them, and the ways to hold them up.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};

use super::forms::why_field;
use super::layout::{Answer, page};
use super::tables::{moment, segment, state, table, words};
use crate::admin::Backend;
use crate::admin::access::Caller;
use crate::db::handlers_list::Loaded;
use crate::status::Status;
use crate::wording::length;

pub(in crate::admin) async fn handlers(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let status = backend.status().await?;
    let mut by_name: BTreeMap<&str, Vec<&Loaded>> = BTreeMap::new();
    for loaded in &status.handlers {
        by_name.entry(&loaded.name).or_default().push(loaded);
    }
    let body = html! {
        @if by_name.is_empty() { p class="quiet" { "No host has loaded a handler." } }
        @for (name, loaded) in &by_name { (handler(&status, &caller, name, loaded)) }
    };
    Ok(page(&caller, "/handlers", "Handlers", &body))
}

fn handler(status: &Status, caller: &Caller, name: &str, loaded: &[&Loaded]) -> Markup {
    let groups: Vec<&str> = loaded.iter().map(|loaded| loaded.consumer_group.as_str()).collect();
    let backlogs = status.inbox.iter();
    let of_handler = |group: Option<&str>| group.is_some_and(|group| groups.contains(&group));
    let backlog = backlogs.filter(|backlog| of_handler(backlog.consumer_group.as_deref()));
    let deaths = status.dead_letters.iter().filter(|death| death.handler.as_deref() == Some(name));
    let dead: i64 = deaths.map(|death| death.letters).sum();
    let paused = status.paused.iter().find(|paused| groups.contains(&&*paused.consumer_group));
    let open = status.open_breakers.iter().find(|open| groups.contains(&&*open.consumer_group));
    html! {
        section aria-labelledby={ "handler-" (name) } {
            h2 id={ "handler-" (name) } { (name) }
            @if let Some(paused) = paused {
                p class="wrong" {
                    "Paused since " (moment(paused.paused_at)) " by " (words(&paused.paused_by))
                    @if let Some(reason) = &paused.reason { ": " (words(reason)) }
                }
            }
            @if let Some(open) = open {
                p class="wrong" {
                    "Its circuit breaker is open since " (moment(open.opened_at)) ": " (words(&open.last_error))
                }
            }
            dl {
                @for backlog in backlog {
                    dt { "Waits in " (backlog.consumer_group.as_deref().unwrap_or_default()) }
                    dd {
                        (backlog.pending) " pending, " (backlog.waiting) " waiting, " (backlog.behind) " behind; the oldest "
                        (backlog.oldest_secs.map_or_else(|| "–".to_owned(), length))
                    }
                }
                dt { "Dead letters" }
                dd { @if dead == 0 { "none" } @else { a href="/dead-letters" { (dead) } } }
            }
            (versions(loaded))
            @if caller.sees_content() { (forms(name, paused.is_some(), open.is_some())) }
        }
    }
}

fn versions(loaded: &[&Loaded]) -> Markup {
    let row = |loaded: &&Loaded| {
        let word = if loaded.alive { loaded.state.as_str() } else { "dead host" };
        html! {
            tr {
                th scope="row" { (loaded.worker) }
                td { (state(word, word != "running")) }
                td { (loaded.version.as_deref().unwrap_or_default()) }
                td { (loaded.digest.as_deref().map(|digest| digest.chars().take(12).collect::<String>()).unwrap_or_default()) }
                td { (moment(loaded.since)) }
                td class="long" { (words(loaded.last_error.as_deref().unwrap_or_default())) }
            }
        }
    };
    let rows: Vec<Markup> = loaded.iter().map(row).collect();
    table("What each host has", &["Host", "State", "Version", "Digest", "Since", "Error"], &rows, "")
}

fn forms(name: &str, is_paused: bool, is_open: bool) -> Markup {
    let form = |verb: &str, text: &str| {
        html! {
            form class="act" method="post" action={ "/handlers/" (segment(name)) "/" (verb) } {
                (why_field())
                button aria-label={ (text) " " (name) } { (text) }
            }
        }
    };
    html! {
        @if is_paused { (form("resume", "Resume")) } @else { (form("pause", "Pause")) }
        @if is_open { (form("reset", "Close the breaker")) }
    }
}
