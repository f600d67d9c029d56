//! Answers of the API.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::input::{AuditQuery, LetterQuery, Limited, MessageQuery, query};
use crate::admin::Backend;
use crate::admin::access::Caller;
use crate::admin::refusal::Refusal;
use crate::admin::{content, openapi as document};
use crate::db::{audit as changes, dead_letters as letters, handlers_list};
use crate::{inbox as inbox_rows, outbox as outbox_rows, shown};

type Asked<Q> = Result<Query<Q>, QueryRejection>;
type Answer = Result<Response, Refusal>;

fn json(value: &impl Serialize) -> Answer {
    Ok(Json(value).into_response())
}

pub(in crate::admin) async fn openapi() -> Response {
    Json(document::document()).into_response()
}

pub(in crate::admin) async fn status(State(backend): State<Backend>) -> Answer {
    let status = backend.status().await?;
    json(&*Arc::clone(&status))
}

pub(in crate::admin) async fn handlers(State(backend): State<Backend>) -> Answer {
    json(&backend.ask(handlers_list::list(backend.db())).await?)
}

pub(in crate::admin) async fn dead_letters(
    State(backend): State<Backend>,
    asked: Asked<LetterQuery>,
) -> Answer {
    let (which, limit) = query(asked)?.which()?;
    json(&backend.ask(letters::list(backend.db(), &which, limit)).await?)
}

pub(in crate::admin) async fn dead_letter_groups(
    State(backend): State<Backend>,
    asked: Asked<LetterQuery>,
) -> Answer {
    let (which, _) = query(asked)?.which()?;
    json(&backend.ask(letters::groups(backend.db(), &which)).await?)
}

pub(in crate::admin) async fn dead_letter(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    json(&content::dead_letter(&backend, &caller, &id).await?)
}

pub(in crate::admin) async fn inbox(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    asked: Asked<MessageQuery>,
) -> Answer {
    let asked = query(asked)?;
    content::may_ask_for_key(&caller, asked.key.as_deref())?;
    let filter = asked.of_inbox()?;
    json(&backend.ask(inbox_rows::browse::list(backend.db(), &filter)).await?)
}

pub(in crate::admin) async fn inbox_message(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let found = async {
        let mut messages = Vec::new();
        for found in inbox_rows::browse::show(backend.db(), &id).await? {
            let attempts = inbox_rows::failed_attempts(backend.db(), &found.fields).await?;
            let whole = shown::with_bytes(&found.fields, found.key.as_deref(), found.payload.as_deref());
            messages.push(shown::with_attempts(&whole, attempts));
        }
        Ok(messages)
    };
    let messages: Vec<Value> = backend.ask(found).await?;
    if messages.is_empty() {
        let error = format!("there is no message {id} in the inbox");
        return Err(Refusal::not_found(error, "/api/v1/inbox lists the newest"));
    }
    json(&messages.into_iter().map(|message| content::for_caller(message, &caller)).collect::<Vec<_>>())
}

pub(in crate::admin) async fn outbox(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    asked: Asked<MessageQuery>,
) -> Answer {
    let asked = query(asked)?;
    content::may_ask_for_key(&caller, asked.key.as_deref())?;
    let filter = asked.of_outbox()?;
    json(&backend.ask(outbox_rows::browse::list(backend.db(), &filter)).await?)
}

pub(in crate::admin) async fn outbox_message(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let missing = || {
        let error = format!("there is no message {id} in the outbox");
        Refusal::not_found(error, "/api/v1/outbox lists the newest")
    };
    let parsed: Uuid = id.parse().map_err(|_| missing())?;
    let found = backend.ask(outbox_rows::browse::show(backend.db(), parsed)).await?;
    let found = found.ok_or_else(missing)?;
    let whole = shown::with_bytes(&found.fields, found.key.as_deref(), found.payload.as_deref());
    json(&content::for_caller(whole, &caller))
}

pub(in crate::admin) async fn blocked_keys(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    asked: Asked<Limited>,
) -> Answer {
    let limit = query(asked)?.limit()?;
    json(&content::blocked_keys(&backend, &caller, limit).await?)
}

pub(in crate::admin) async fn audit(State(backend): State<Backend>, asked: Asked<AuditQuery>) -> Answer {
    let filter = query(asked)?.filter()?;
    json(&backend.ask(changes::list(backend.db(), &filter)).await?)
}
