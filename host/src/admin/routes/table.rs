//! The table of routes.

use std::sync::LazyLock;

use axum::http::Method;
use axum::routing::{MethodRouter, get, post};

use super::{Doc, Needs, Route, Served};
use crate::admin::{api, health, pages};
use crate::config::Role;

const VIEWER: Needs = Needs::Role(Role::Viewer);
const OPERATOR: Needs = Needs::Role(Role::Operator);
const ADMIN: Needs = Needs::Role(Role::Admin);

const LETTERS: &[(&str, &str)] = &[
    ("handler", "Only of this handler"),
    ("topic", "Only of this Kafka topic"),
    ("reason", "exhausted, rejected, quarantined, crash-loop, interrupted or parked"),
    ("fault", "Only of this kind of fault; empty for those without one"),
    ("code", "Only with this code of the handler's; empty for those without one"),
    ("status", "open (which it is by default), replayed, discarded or all"),
    ("since", "Only what died this long ago at most, such as 90m"),
    ("limit", "At most this many, the newest, up to 1000"),
];
const MESSAGES: &[(&str, &str)] = &[
    ("handler", "Only of this handler; of the inbox"),
    ("topic", "Only of this Kafka topic"),
    ("key", "Only of this key, as text; needs the role operator"),
    ("status", "pending, completed or failed"),
    ("since", "Only what was stored this long ago at most, such as 90m; 24h by default"),
    ("limit", "At most this many, the newest, up to 1000"),
];
const LIMITED: &[(&str, &str)] = &[("limit", "At most this many, up to 1000")];
const CHANGES: &[(&str, &str)] = &[
    ("actor", "Only of this operator"),
    ("action", "handler.pause, handler.resume, handler.reset, dead.edit, dead.replay or dead.discard"),
    ("target", "Only of this consumer group, or of the letter with this id"),
    ("since", "Only what was changed this long ago at most, such as 90m"),
    ("limit", "At most this many, the newest, up to 1000"),
];
const BECAUSE: &[(&str, &str, &str)] = &[("because", "string", "Why, for whoever reads the audit")];
const CHOICE: &[(&str, &str, &str)] = &[
    ("ids", "array", "Letters, or the messages that died"),
    ("handler", "string", "All of this handler"),
    ("topic", "string", "All of this Kafka topic"),
    ("reason", "string", "All with this reason"),
    ("fault", "string", "All of this kind of fault; empty for those without one"),
    ("code", "string", "All with this code; empty for those without one"),
    ("all", "boolean", "All that are open"),
    ("because", "string", "Why, for whoever reads the audit"),
];

const EDIT: &[(&str, &str, &str)] = &[
    (
        "payload",
        "any",
        "The new payload: text, null for none, or {\"base64\": \"…\"} for bytes that are no text",
    ),
    (
        "was",
        "string",
        "payload_digest of the letter as it was shown; where it is another by now nothing is changed",
    ),
    ("because", "string", "Why, for whoever reads the audit"),
];

type Serve = fn() -> MethodRouter<Served>;

fn reads(path: &'static str, needs: Needs, serve: Serve) -> Route {
    Route { method: Method::GET, path, needs, serve, doc: None }
}

fn changes(path: &'static str, needs: Needs, serve: Serve) -> Route {
    Route { method: Method::POST, path, needs, serve, doc: None }
}

impl Route {
    fn told(self, summary: &'static str, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { doc: Some(Doc { summary, query, body: &[] }), ..self }
    }

    fn takes(
        self,
        summary: &'static str,
        body: &'static [(&'static str, &'static str, &'static str)],
    ) -> Self {
        Self { doc: Some(Doc { summary, query: &[], body }), ..self }
    }
}

/// Every route.
pub(in crate::admin) static ROUTES: LazyLock<Vec<Route>> =
    LazyLock::new(|| [probes(), told(), done(), shown()].into_iter().flatten().collect());

fn probes() -> Vec<Route> {
    vec![
        reads("/livez", Needs::Nothing, || get(health::livez)),
        reads("/readyz", Needs::Nothing, || get(health::readyz)),
        reads("/metrics", VIEWER, || get(health::metrics)),
    ]
}

fn told() -> Vec<Route> {
    vec![
        reads("/api/v1/openapi.json", VIEWER, || get(api::openapi)).told("This description", &[]),
        reads("/api/v1/status", VIEWER, || get(api::status))
            .told("Hosts, handlers, what waits, and what is wrong", &[]),
        reads("/api/v1/handlers", VIEWER, || get(api::handlers)).told("What each host has loaded", &[]),
        reads("/api/v1/dead-letters", VIEWER, || get(api::dead_letters))
            .told("Dead letters, the newest first", LETTERS),
        reads("/api/v1/dead-letters/groups", VIEWER, || get(api::dead_letter_groups))
            .told("Open dead letters, counted by what they died of", LETTERS),
        reads("/api/v1/dead-letters/{id}", VIEWER, || get(api::dead_letter))
            .told("A dead letter with its failed attempts; its content needs the role operator", &[]),
        reads("/api/v1/inbox", VIEWER, || get(api::inbox))
            .told("Messages from Kafka, the newest first", MESSAGES),
        reads("/api/v1/inbox/{id}", VIEWER, || get(api::inbox_message)).told(
            "Messages by their producer's id, or one by its row's; their content needs the role operator",
            &[],
        ),
        reads("/api/v1/outbox", VIEWER, || get(api::outbox))
            .told("Messages for Kafka, the newest first", MESSAGES),
        reads("/api/v1/outbox/{id}", VIEWER, || get(api::outbox_message))
            .told("A message for Kafka; its content needs the role operator", &[]),
        reads("/api/v1/keys/blocked", VIEWER, || get(api::blocked_keys)).told(
            "Keys that wait, or are parked, behind a dead letter; their names need the role operator",
            LIMITED,
        ),
        reads("/api/v1/audit", ADMIN, || get(api::audit))
            .told("Changes that operators made, the newest first", CHANGES),
    ]
}

fn done() -> Vec<Route> {
    vec![
        changes("/api/v1/handlers/{name}/pause", OPERATOR, || post(api::pause))
            .takes("Starts nothing of a handler on any host; its messages are stored and wait", BECAUSE),
        changes("/api/v1/handlers/{name}/resume", OPERATOR, || post(api::resume))
            .takes("Lets a paused handler go on", BECAUSE),
        changes("/api/v1/handlers/{name}/reset", OPERATOR, || post(api::reset))
            .takes("Closes a handler's circuit breaker on all hosts", BECAUSE),
        changes("/api/v1/dead-letters/{id}/edit", OPERATOR, || post(api::edit))
            .takes("Changes what the message of an open letter says", EDIT),
        changes("/api/v1/dead-letters/replay", OPERATOR, || post(api::replay))
            .takes("Makes the messages of open letters pending again", CHOICE),
        changes("/api/v1/dead-letters/discard", OPERATOR, || post(api::discard))
            .takes("Closes open letters; their messages stay failed", CHOICE),
    ]
}

fn shown() -> Vec<Route> {
    vec![
        reads("/", VIEWER, || get(pages::overview)),
        reads("/handlers", VIEWER, || get(pages::handlers)),
        reads("/dead-letters", VIEWER, || get(pages::dead_letter_groups)),
        reads("/dead-letters/list", VIEWER, || get(pages::dead_letters)),
        reads("/dead-letters/{id}", VIEWER, || get(pages::dead_letter)),
        reads("/outbox", VIEWER, || get(pages::outbox)),
        reads("/keys", VIEWER, || get(pages::keys)),
        reads("/audit", ADMIN, || get(pages::audit)),
        changes("/handlers/{name}/pause", OPERATOR, || post(pages::pause)),
        changes("/handlers/{name}/resume", OPERATOR, || post(pages::resume)),
        changes("/handlers/{name}/reset", OPERATOR, || post(pages::reset)),
        changes("/dead-letters/{id}/edit", OPERATOR, || post(pages::edit)),
        changes("/dead-letters/replay", OPERATOR, || post(pages::replay)),
        changes("/dead-letters/discard", OPERATOR, || post(pages::discard)),
        reads("/sign-in", Needs::Nothing, || get(pages::sign_in)),
        changes("/sign-in", Needs::Nothing, || post(pages::signed_in)),
        changes("/sign-out", Needs::Nothing, || post(pages::signed_out)),
        reads("/style.css", Needs::Nothing, || get(pages::style)),
    ]
}
