//! Parameters of requests, each bounded; what nobody knows is refused by its name.

use std::time::Duration;

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

use crate::admin::refusal::Refusal;
use crate::db::audit;
use crate::db::dead_letters::Which;
use crate::shown::bytes_of_json;
use crate::{inbox, outbox};

/// Entries of a list.
const LIMIT_MAX: i64 = 1000;
const LIMIT: i64 = 100;
/// Span of a list of messages.
const SINCE: Duration = Duration::from_hours(24);

/// Takes what a query or body has.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    query.map(|Query(query)| query).map_err(|rejection| Refusal::bad_input(rejection.body_text()))
}

/// Likewise of a body.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refusal> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Refusal::too_large(crate::admin::access::BODY_BYTES_MAX))
        }
        Err(rejection) => Err(Refusal::bad_input(rejection.body_text())),
    }
}

fn limit(asked: Option<i64>) -> Result<i64, Refusal> {
    match asked {
        None => Ok(LIMIT),
        Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(limit) => Err(Refusal::bad_input(format!("limit={limit} must be from 1 to {LIMIT_MAX}"))),
    }
}

/// A length of time such as `90m`; nothing where there is none.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    humantime::parse_duration(&text).map(Some).map_err(|error| {
        serde::de::Error::custom(format!("since={text} must be a length of time such as 90m: {error}"))
    })
}

/// Choice of dead letters for a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct LetterQuery {
    handler: Option<String>,
    topic: Option<String>,
    reason: Option<String>,
    code: Option<String>,
    fault: Option<String>,
    status: Option<String>,
    #[serde(default, deserialize_with = "duration")]
    since: Option<Duration>,
    limit: Option<i64>,
}

impl LetterQuery {
    /// # Errors
    /// Names a value that is not allowed.
    pub(in crate::admin) fn which(self) -> Result<(Which, i64), Refusal> {
        let status = match self.status.as_deref() {
            None | Some("open") => Some("open"),
            Some("replayed") => Some("replayed"),
            Some("discarded") => Some("discarded"),
            Some("all") => None,
            Some(other) => {
                let error = format!("status={other} must be open, replayed, discarded or all");
                return Err(Refusal::bad_input(error));
            }
        };
        let which = Which {
            ids: Vec::new(),
            handler: self.handler,
            topic: self.topic,
            reason: self.reason,
            code: self.code,
            fault: self.fault,
            status,
            since_secs: self.since.map(|since| since.as_secs_f64()),
        };
        Ok((which, limit(self.limit)?))
    }
}

/// Choice of messages of the inbox or outbox for a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct MessageQuery {
    handler: Option<String>,
    topic: Option<String>,
    pub(super) key: Option<String>,
    status: Option<String>,
    #[serde(default, deserialize_with = "duration")]
    since: Option<Duration>,
    limit: Option<i64>,
}

impl MessageQuery {
    fn status(&self) -> Result<Option<&'static str>, Refusal> {
        match self.status.as_deref() {
            None | Some("") => Ok(None),
            Some("pending") => Ok(Some("pending")),
            Some("completed") => Ok(Some("completed")),
            Some("failed") => Ok(Some("failed")),
            Some(other) => {
                let error = format!("status={other} must be pending, completed or failed");
                Err(Refusal::bad_input(error))
            }
        }
    }

    /// # Errors
    /// Names a value that is not allowed.
    pub(super) fn of_inbox(self) -> Result<inbox::browse::Filter, Refusal> {
        Ok(inbox::browse::Filter {
            status: self.status()?,
            limit: limit(self.limit)?,
            since: self.since.unwrap_or(SINCE),
            handler: self.handler,
            topic: self.topic,
            key: self.key,
        })
    }

    /// # Errors
    /// Names a value that is not allowed.
    pub(in crate::admin) fn of_outbox(self) -> Result<outbox::browse::Filter, Refusal> {
        if self.handler.is_some() {
            return Err(Refusal::bad_input("messages of the outbox have no handler"));
        }
        Ok(outbox::browse::Filter {
            status: self.status()?,
            limit: limit(self.limit)?,
            since: self.since.unwrap_or(SINCE),
            topic: self.topic.filter(|topic| !topic.is_empty()),
            key: self.key,
        })
    }
}

/// Length of a list of blocked keys.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Limited {
    limit: Option<i64>,
}

impl Limited {
    /// # Errors
    /// Says what is allowed.
    pub(super) fn limit(&self) -> Result<i64, Refusal> {
        limit(self.limit)
    }
}

/// Choice of changes for a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct AuditQuery {
    actor: Option<String>,
    action: Option<String>,
    target: Option<String>,
    #[serde(default, deserialize_with = "duration")]
    since: Option<Duration>,
    limit: Option<i64>,
}

impl AuditQuery {
    /// # Errors
    /// Says what is allowed.
    pub(in crate::admin) fn filter(self) -> Result<audit::Filter, Refusal> {
        let Self { actor, action, target, since, limit: asked } = self;
        Ok(audit::Filter { actor, action, target, since, limit: limit(asked)? })
    }
}

/// Reason of a handler's change.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct HandlerBody {
    pub(super) because: Option<String>,
}

/// Change of what a message says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct EditBody {
    payload: Value,
    pub(super) was: Option<String>,
    pub(super) because: Option<String>,
}

impl EditBody {
    /// # Errors
    /// Says what a payload may be.
    pub(super) fn payload(&self) -> Result<Option<Vec<u8>>, Refusal> {
        bytes_of_json(&self.payload).map_err(|problem| Refusal::bad_input(format!("payload {problem}")))
    }
}

/// Choice of letters that are closed, with the reason.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct LettersBody {
    #[serde(default)]
    ids: Vec<Uuid>,
    handler: Option<String>,
    topic: Option<String>,
    reason: Option<String>,
    code: Option<String>,
    fault: Option<String>,
    #[serde(default)]
    all: bool,
    pub(super) because: Option<String>,
}

impl LettersBody {
    /// # Errors
    /// Where nothing says which, or two ways contradict each other.
    pub(super) fn which(self) -> Result<Which, Refusal> {
        let Self { ids, handler, topic, reason, code, fault, all, because: _ } = self;
        let narrows = [&handler, &topic, &reason, &code, &fault].into_iter().any(Option::is_some);
        if ids.is_empty() && !narrows && !all {
            return Err(Refusal::bad_input("say which: ids, handler, topic, reason, fault, code, or all"));
        }
        if all && (narrows || !ids.is_empty()) {
            return Err(Refusal::bad_input("all goes with nothing that narrows"));
        }
        Ok(Which { ids, handler, topic, reason, code, fault, ..Which::default() })
    }
}
