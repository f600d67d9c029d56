//! Changes that the API and the pages make, each by the functions of the command line, with its row in the audit.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::access::Caller;
use super::backend::Backend;
use super::refusal::Refusal;
use crate::db::audit::Operator;
use crate::db::dead_letters::{self, Closing, Edit, Edited, Which};
use crate::db::{DbError, breakers, pauses};

/// Letters that are closed in one transaction.
const BATCH_ROWS_MAX: i64 = 500;
/// Time after which no further transaction of a request begins.
const BEGUN_WITHIN: Duration = Duration::from_secs(3);

/// Somebody who changes something: `judge` lets nobody else come so far.
fn operator(caller: &Caller, why: Option<&str>) -> Result<Operator, Refusal> {
    let name = caller.name().ok_or_else(Refusal::no_token)?;
    Ok(Operator::with_token(name, why))
}

/// Consumer groups that were changed.
#[derive(Debug, Serialize)]
pub(super) struct Groups {
    pub(super) consumer_groups: Vec<String>,
}

/// A change of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandlerAct {
    Pause,
    Resume,
    Reset,
}

/// Changes a handler on all hosts.
///
/// # Errors
/// Where nobody knows the handler, or it is as it should be already.
pub(super) async fn on_handler(
    backend: &Backend,
    caller: &Caller,
    (act, name): (HandlerAct, &str),
    why: Option<&str>,
) -> Result<Groups, Refusal> {
    let by = operator(caller, why)?;
    let consumer_groups = backend.ask(change(backend, act, name, &by)).await?;
    backend.forget_status().await;
    if !consumer_groups.is_empty() {
        return Ok(Groups { consumer_groups });
    }
    Err(match act {
        HandlerAct::Pause => Refusal::not_found(
            format!("no host has worked on a handler or consumer group {name}"),
            "/api/v1/handlers lists those that hosts have loaded",
        ),
        HandlerAct::Resume => {
            Refusal::conflict(format!("{name} is not paused"), "/api/v1/status lists what is paused")
        }
        HandlerAct::Reset => {
            Refusal::conflict(format!("no breaker of {name} is open"), "/api/v1/status lists open breakers")
        }
    })
}

async fn change(
    backend: &Backend,
    act: HandlerAct,
    name: &str,
    by: &Operator,
) -> Result<Vec<String>, DbError> {
    let (db, namespace) = (backend.db(), backend.config().namespace.as_str());
    let groups = match act {
        HandlerAct::Reset => breakers::groups_of(namespace, name).to_vec(),
        HandlerAct::Pause | HandlerAct::Resume => pauses::groups_of(db, namespace, name).await?,
    };
    let mut changed = Vec::new();
    for group in groups {
        let is_changed = match act {
            HandlerAct::Pause => pauses::pause(db, &group, by).await.map(|()| true),
            HandlerAct::Resume => pauses::resume(db, &group, by).await,
            HandlerAct::Reset => breakers::reset(db, &group, by).await,
        }?;
        changed.extend(is_changed.then_some(group));
    }
    Ok(changed)
}

/// A letter whose message says something else now.
#[derive(Debug, Serialize)]
pub(super) struct EditedLetter {
    pub(super) letter: Uuid,
}

/// Changes what the message of an open letter says.
///
/// # Errors
/// Where no such letter is open, or the message says something else than it did as it was shown.
pub(super) async fn edit_letter(
    backend: &Backend,
    caller: &Caller,
    edit: &Edit<'_>,
    why: Option<&str>,
) -> Result<EditedLetter, Refusal> {
    let by = operator(caller, why)?;
    match backend.ask(dead_letters::edit(backend.db(), edit, &by)).await? {
        Edited::Done { letter, .. } => Ok(EditedLetter { letter }),
        Edited::Changed => Err(Refusal::conflict(
            "somebody else has changed the payload since it was shown",
            "show the letter again, and edit what it says now",
        )),
        Edited::NotOpen => Err(Refusal::conflict(
            "no open dead letter whose message is still there has such an id",
            "it may be replayed or discarded already: show it",
        )),
    }
}

/// Outcome for letters.
#[derive(Debug, Serialize)]
pub(super) struct Closed {
    /// Letters that were replayed, or discarded.
    pub(super) done: usize,
    /// Letters whose messages are gone, or which somebody else closed meanwhile.
    pub(super) left: usize,
    /// Letters that are open still, since there are more than a request may close: ask again.
    pub(super) open: i64,
}

/// Closes the letters, as many as there is time for.
///
/// # Errors
/// Where ids are named and none is of an open letter.
pub(super) async fn close_letters(
    backend: &Backend,
    caller: &Caller,
    (closing, which): (Closing, &Which),
    why: Option<&str>,
) -> Result<Closed, Refusal> {
    let by = operator(caller, why)?;
    let closed = backend.ask(close(backend, closing, which, &by)).await?;
    backend.forget_status().await;
    if closed.done + closed.left == 0 && !which.ids.is_empty() {
        let error = "no open dead letter has such an id";
        return Err(Refusal::conflict(error, "it may be replayed or discarded already: show it"));
    }
    Ok(closed)
}

async fn close(backend: &Backend, closing: Closing, which: &Which, by: &Operator) -> Result<Closed, DbError> {
    let (db, begun) = (backend.db(), Instant::now());
    let (mut done, mut left, mut after) = (0, 0, None);
    while begun.elapsed() < BEGUN_WITHIN {
        let next = dead_letters::close_next(db, which, after.as_ref(), BATCH_ROWS_MAX, (closing, by));
        let Some(batch) = next.await? else { return Ok(Closed { done, left, open: 0 }) };
        done += batch.closed;
        left += batch.taken - batch.closed;
        after = Some(batch.last);
    }
    let groups = dead_letters::groups(db, which).await?;
    let open: i64 = groups.iter().map(|group| group.letters).sum();
    Ok(Closed { done, left, open: open.saturating_sub(i64::try_from(left).unwrap_or(i64::MAX)) })
}
