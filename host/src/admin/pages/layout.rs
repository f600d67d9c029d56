//! Parts that all pages have: head, navigation, who looks, and the style.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};

use crate::admin::access::Caller;
use crate::admin::refusal::Refusal;
use crate::config::Role;

const STYLE: &str = include_str!("style.css");

/// Paths of the navigation with their names, and the roles that they need.
const PLACES: [(&str, &str, Role); 6] = [
    ("/", "Overview", Role::Viewer),
    ("/handlers", "Handlers", Role::Viewer),
    ("/dead-letters", "Dead letters", Role::Viewer),
    ("/keys", "Blocked keys", Role::Viewer),
    ("/outbox", "Outbox", Role::Viewer),
    ("/audit", "Audit", Role::Admin),
];

/// The answer to a request for a page.
pub(in crate::admin) type Answer = Result<Response, Page>;

/// A refusal that a person reads.
#[derive(Debug)]
pub(in crate::admin) struct Page(Refusal);

impl From<Refusal> for Page {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl axum::response::IntoResponse for Page {
    fn into_response(self) -> Response {
        refused(&self.0)
    }
}

pub(in crate::admin) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

/// A page of the dashboard; `at` is its path.
pub(super) fn page(caller: &Caller, at: &str, title: &str, body: &Markup) -> Response {
    let places = PLACES.iter().filter(|(_, _, role)| caller.role() >= Some(*role));
    let navigation = html! {
        nav aria-label="Pages" {
            ul {
                @for (path, name, _) in places {
                    li { a href=(path) aria-current=[(*path == at).then_some("page")] { (name) } }
                }
            }
        }
        (whoever(caller))
    };
    Html(document(title, &navigation, body).into_string()).into_response()
}

/// A page that says why there is no other, and what to do.
pub(in crate::admin) fn refused(refusal: &Refusal) -> Response {
    let body = html! {
        p { strong { (refusal.error) } }
        p { (refusal.remedy) }
        p { a href="/" { "To the overview" } " or " a href="/sign-in" { "sign in with a token" } }
    };
    let status = refusal.status;
    let title = status.canonical_reason().unwrap_or("Not done");
    let navigation = html! { nav aria-label="Pages" { ul { li { a href="/" { "Overview" } } } } };
    (status, Html(document(title, &navigation, &body).into_string())).into_response()
}

/// A page without navigation, as for signing in.
pub(super) fn bare(status: StatusCode, title: &str, body: &Markup) -> Response {
    (status, Html(document(title, &html! {}, body).into_string())).into_response()
}

fn document(title: &str, navigation: &Markup, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · mailroom" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                a class="skip" href="#content" { "Skip to the content" }
                header { span class="name" { "mailroom" } (navigation) }
                main id="content" tabindex="-1" { h1 { (title) } (body) }
            }
        }
    }
}

fn whoever(caller: &Caller) -> Markup {
    html! {
        div class="who" {
            @match caller {
                Caller::Holder { name, role } => {
                    span { (name) " (" (role.name()) ")" }
                    form method="post" action="/sign-out" { button { "Sign out" } }
                },
                Caller::Local | Caller::Nobody => { a href="/sign-in" { "Sign in to change anything" } },
            }
        }
    }
}
