//! Changes that operators made. Each row is written in the transaction that makes its change, so that neither is there
//! without the other.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Db, DbError, Tx};
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};

/// Way on which an operator comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Via {
    Cli,
    Http,
}

impl Via {
    fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Http => "http",
        }
    }
}

/// Somebody who changes something, and the reason given for it.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    via: Via,
    name: String,
    reason: Option<String>,
}

impl Operator {
    /// Somebody who uses the command line where the configuration has this name for the host. Postgres adds the role.
    pub(crate) fn at_command_line(worker: &str, reason: Option<&str>) -> Self {
        Self::new(Via::Cli, worker, reason)
    }

    /// Somebody who shows the token of this name.
    pub(crate) fn with_token(name: &str, reason: Option<&str>) -> Self {
        Self::new(Via::Http, name, reason)
    }

    fn new(via: Via, name: &str, reason: Option<&str>) -> Self {
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        let reason = reason.map(|reason| bounded(reason, LAST_ERROR_BYTES_MAX));
        Self { via, name: name.to_owned(), reason }
    }

    /// The reason that was given.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

/// A change of one thing.
#[derive(Debug)]
pub(super) struct Change<'c> {
    pub(super) action: &'static str,
    pub(super) target: &'c str,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// Writes the row of a change; gives the operator's name as the row has it.
pub(super) async fn note(tx: &mut Tx, by: &Operator, change: Change<'_>) -> Result<String, DbError> {
    sqlx::query_scalar!(
        "insert into mailroom.audit (actor, via, action, target, before, after, reason)
         values (case $1::text when 'cli' then session_user || '@' || $2::text else $2::text end,
                 $1, $3, $4, $5, $6, $7)
         returning actor",
        by.via.name(),
        by.name,
        change.action,
        change.target,
        change.before,
        change.after,
        by.reason(),
    )
    .fetch_one(&mut **tx)
    .await
    .map_err(DbError::new("writing the audit"))
}

/// Writes a row for each of these dead letters, which were open before.
pub(super) async fn note_letters(
    tx: &mut Tx,
    by: &Operator,
    action: &'static str,
    letters: &[Uuid],
    status: &'static str,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into mailroom.audit (actor, via, action, target, before, after, reason)
         select case $1::text when 'cli' then session_user || '@' || $2::text else $2::text end,
                $1, $3, l.id::text, jsonb_build_object('status', 'open'), jsonb_build_object('status', $5::text), $6
           from unnest($4::uuid[]) l(id)",
        by.via.name(),
        by.name,
        action,
        letters,
        status,
        by.reason(),
    )
    .execute(&mut **tx)
    .await
    .map_err(DbError::new("writing the audit"))?;
    Ok(())
}

/// Rows that are wanted; what is `None` does not narrow.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) since: Option<Duration>,
    pub(crate) limit: i64,
}

/// A change, for people.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) id: Uuid,
    pub(crate) at: DateTime<Utc>,
    pub(crate) actor: String,
    /// `cli` or `http`.
    pub(crate) via: String,
    pub(crate) action: String,
    pub(crate) target: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
    pub(crate) reason: Option<String>,
}

/// Lists changes, the newest first.
pub(crate) async fn list(db: &Db, filter: &Filter) -> Result<Vec<Entry>, DbError> {
    sqlx::query_as!(
        Entry,
        "select id, at, actor, via, action, target, before, after, reason
           from mailroom.audit
          where ($1::text is null or actor = $1)
            and ($2::text is null or action = $2)
            and ($3::text is null or target = $3)
            and ($4::float8 is null or at >= statement_timestamp() - make_interval(secs => $4))
          order by id desc limit $5",
        filter.actor.as_deref(),
        filter.action.as_deref(),
        filter.target.as_deref(),
        filter.since.map(|since| since.as_secs_f64()),
        filter.limit,
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::new("listing the audit"))
}
