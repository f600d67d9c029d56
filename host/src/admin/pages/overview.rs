//! The overview: what is wrong and what to do first, then what waits and who works.

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};

use super::layout::{Answer, page};
use super::tables::{moment, table, words};
use crate::admin::Backend;
use crate::admin::access::Caller;
use crate::db::status::{Backlog, Deaths, HostRow};
use crate::status::{Status, whose};
use crate::wording::length;

pub(in crate::admin) async fn overview(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let status = backend.status().await?;
    let body = html! {
        (wrong(&status))
        (figures(&status))
        h2 { "What waits" }
        (backlogs(&status))
        h2 { "Hosts" }
        (hosts(&status.hosts))
        h2 { "Dead letters" }
        (deaths(&status.dead_letters))
    };
    Ok(page(&caller, "/", "Overview", &body))
}

fn wrong(status: &Status) -> Markup {
    if status.warnings.is_empty() {
        return html! { p class="good" role="status" { "Nothing is wrong." } };
    }
    html! {
        div class="wrong" role="status" {
            h2 { "What is wrong, and what to do" }
            ul { @for warning in &status.warnings { li { (words(warning)) } } }
        }
    }
}

fn figures(status: &Status) -> Markup {
    let alive = status.hosts.iter().filter(|host| host.expires_in_secs > 0.0).count();
    let pending: i64 = status.backlogs().map(|backlog| backlog.pending).sum();
    let oldest = status.backlogs().filter_map(|backlog| backlog.oldest_secs).reduce(f64::max);
    let dead: i64 = status.dead_letters.iter().map(|deaths| deaths.letters).sum();
    let lag: i64 = status.offsets.iter().filter_map(|offset| offset.lag).filter(|lag| *lag > 0).sum();
    html! {
        div class="cards" {
            div class="card" { b { (alive) } "hosts alive" }
            div class="card" { b { (pending) } "messages wait for their turn" }
            div class="card" { b { (oldest.map_or_else(|| "–".to_owned(), length)) } "the oldest has waited" }
            div class="card" { b { (lag) } "records not taken from Kafka yet" }
            div class="card" { b { (dead) } a href="/dead-letters" { "open dead letters" } }
        }
    }
}

fn backlogs(status: &Status) -> Markup {
    let row = |backlog: &Backlog| {
        html! {
            tr {
                th scope="row" { (whose(backlog)) }
                td class="number" { (if backlog.at_least { "at least " } else { "" }) (backlog.pending) }
                td class="number" { (backlog.waiting) }
                td class="number" { (backlog.behind) }
                td { (backlog.oldest_secs.map_or_else(|| "–".to_owned(), length)) }
                td class="number" { (backlog.lanes - backlog.lanes_without_owner) " of " (backlog.lanes) }
            }
        }
    };
    let header = ["Backlog of", "Pending", "Waiting", "Behind", "Oldest waits", "Lanes owned"];
    let rows: Vec<Markup> = status.backlogs().map(row).collect();
    table("Messages that wait: for their turn, for a time, behind others of their key", &header, &rows, "")
}

fn hosts(hosts: &[HostRow]) -> Markup {
    let row = |host: &HostRow| {
        let expires = length(host.expires_in_secs.abs());
        html! {
            tr {
                th scope="row" { (host.worker) }
                td { (host.version) }
                td { (length(host.up_secs)) }
                td { @if host.expires_in_secs > 0.0 { "in " (expires) } @else { "expired " (expires) " ago" } }
                td class="long" {
                    @for wait in host.waits.iter() {
                        p { (words(&wait.what)) " since " (moment(wait.since)) ": " (words(&wait.why)) }
                    }
                }
            }
        }
    };
    let rows: Vec<Markup> = hosts.iter().map(row).collect();
    let header = ["Host", "Version", "Up", "Expires", "Waits for"];
    table("Processes that share the work", &header, &rows, "No host has registered.")
}

fn deaths(deaths: &[Deaths]) -> Markup {
    let row = |death: &Deaths| {
        html! {
            tr {
                th scope="row" { (death.handler.as_deref().unwrap_or(&death.origin)) }
                td { (death.reason) }
                td { (words(death.code.as_deref().unwrap_or_default())) }
                td class="number" { (death.letters) }
            }
        }
    };
    let rows: Vec<Markup> = deaths.iter().map(row).collect();
    let header = ["Handler", "Reason", "Code", "Letters"];
    let none = "No dead letters are open.";
    html! {
        (table("Open dead letters by what they died of", &header, &rows, none))
        @if !deaths.is_empty() { p { a href="/dead-letters" { "Look into them" } } }
    }
}
