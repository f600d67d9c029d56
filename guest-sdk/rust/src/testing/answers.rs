//! Answers to what a handler asks of its host, by the test host whose call is running in this thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::call::{Line, Published, SentRequest};
use super::{Grants, Kept};
use crate::bindings::config::wasi::config::store::Error as ConfigError;
use crate::bindings::mailroom::contract::outbox::{Outgoing, PublishError};
use crate::bindings::mailroom::contract::state::{Scope, StateError};
use crate::bindings::sql::mailroom::contract::sql as wire;
use crate::http::exchange::target;
use crate::http::{HttpError, Request, Response};
use crate::log::Level;
use crate::sql::{SqlError, Table, Value};

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// A call that has not ended.
#[derive(Debug, Default)]
pub(super) struct Running {
    grants: Grants,
    key: Option<Vec<u8>>,
    pub(super) kept: Kept,
    pub(super) published: Vec<Published>,
    pub(super) lines: Vec<Line>,
    pub(super) requests: Vec<SentRequest>,
}

/// Ends the running call where it is dropped, so that a handler that panicked leaves the thread to the next test.
pub(super) struct Guard;

impl Guard {
    pub(super) fn end(self) -> Running {
        RUNNING.take().unwrap_or_default()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        RUNNING.set(None);
    }
}

#[track_caller]
pub(super) fn begin(running: Running) -> Guard {
    let before = RUNNING.replace(Some(running));
    assert!(before.is_none(), "a call is running in this thread, and a handler cannot be called by another");
    Guard
}

#[expect(clippy::panic, reason = "there is nobody to answer, and no error that says so in each interface")]
fn running<T>(answer: impl FnOnce(&mut Running) -> T) -> T {
    RUNNING.with_borrow_mut(|running| match running {
        Some(running) => answer(running),
        None => {
            panic!("the host was asked outside of a call: use `TestHost::call` of `mailroom_guest::testing`")
        }
    })
}

impl Running {
    pub(super) fn new(grants: Grants, key: Option<Vec<u8>>, kept: Kept) -> Self {
        Self { grants, key, kept, ..Self::default() }
    }

    fn scope(&mut self, scope: Scope) -> Result<&mut BTreeMap<String, Vec<u8>>, StateError> {
        if self.grants.is_state_denied {
            return Err(StateError::NotGranted);
        }
        self.kept.scope(scope, self.key.as_deref()).ok_or(StateError::NoKey)
    }
}

pub(crate) fn publish(message: &Outgoing) -> Result<String, PublishError> {
    running(|running| {
        if message.topic.is_empty() {
            return Err(PublishError::Invalid("topic: must not be empty".to_owned()));
        }
        if running.grants.topics.as_ref().is_some_and(|topics| !topics.contains(&message.topic)) {
            return Err(PublishError::NotGranted(message.topic.clone()));
        }
        let used = message.idempotency_key.as_ref().and_then(|key| running.kept.published.get(key));
        if let Some(id) = used {
            return Ok(id.clone());
        }
        let id = running.kept.next_id();
        if let Some(key) = &message.idempotency_key {
            running.kept.published.insert(key.clone(), id.clone());
        }
        running.published.push(Published::new(id.clone(), message));
        Ok(id)
    })
}

pub(crate) fn state_get(scope: Scope, name: &str) -> Result<Option<Vec<u8>>, StateError> {
    running(|running| Ok(running.scope(scope)?.get(valid(name)?).cloned()))
}

pub(crate) fn state_set(scope: Scope, name: &str, value: &[u8]) -> Result<(), StateError> {
    running(|running| {
        running.scope(scope)?.insert(valid(name)?.to_owned(), value.to_vec());
        Ok(())
    })
}

pub(crate) fn state_remove(scope: Scope, name: &str) -> Result<(), StateError> {
    running(|running| {
        running.scope(scope)?.remove(valid(name)?);
        Ok(())
    })
}

pub(crate) fn state_names(
    scope: Scope,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>, StateError> {
    running(|running| {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = running.scope(scope)?.range::<str, _>((first, Bound::Unbounded)).map(|(name, _)| name);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(names.filter(|name| name.starts_with(prefix)).take(limit).cloned().collect())
    })
}

fn valid(name: &str) -> Result<&str, StateError> {
    if name.is_empty() || name.len() > 255 || name.contains('\0') {
        let reason = format!("state name {name:?} must have 1 to 255 bytes without U+0000");
        return Err(StateError::InvalidName(reason));
    }
    Ok(name)
}

pub(crate) fn query(statement: &str, params: &[Value]) -> Result<Table, wire::SqlError> {
    // Nothing stays borrowed while the test's own code runs.
    let answer = running(|running| running.grants.query.clone());
    answer.ok_or_else(|| no_sql("on_query"))?(statement, params).map_err(to_wire)
}

pub(crate) fn execute(statement: &str, params: &[Value]) -> Result<u64, wire::SqlError> {
    let answer = running(|running| running.grants.execute.clone());
    answer.ok_or_else(|| no_sql("on_execute"))?(statement, params).map_err(to_wire)
}

fn to_wire(SqlError { sqlstate, message }: SqlError) -> wire::SqlError {
    wire::SqlError { sqlstate, message }
}

fn no_sql(setter: &str) -> wire::SqlError {
    let message = format!("this test host has no SQL: set `{setter}`");
    wire::SqlError { sqlstate: "42501".to_owned(), message }
}

pub(crate) fn config_get(key: &str) -> Result<Option<String>, ConfigError> {
    running(|running| {
        let found = running.grants.config.iter().rev().find(|(granted, _)| granted == key);
        let denied =
            || ConfigError::Upstream(format!("the handler may not read the configuration key {key}"));
        found.map(|(_, value)| Some(value.clone())).ok_or_else(denied)
    })
}

pub(crate) fn config_all() -> Result<Vec<(String, String)>, ConfigError> {
    running(|running| {
        if running.grants.config.is_empty() {
            return Err(ConfigError::Upstream("the handler may not read configuration".to_owned()));
        }
        Ok(running.grants.config.clone())
    })
}

pub(crate) fn log(level: Level, context: &str, text: &str) {
    running(|running| {
        running.lines.push(Line { level, context: context.to_owned(), text: text.to_owned() });
    });
}

pub(crate) fn exchange(request: &Request) -> Result<Response, HttpError> {
    let host = target(request)?.authority.to_owned();
    let sent = SentRequest::from(request);
    let answer = running(|running| {
        running.requests.push(sent.clone());
        running.grants.http.clone()
    });
    answer.ok_or(HttpError::Denied { host })?(&sent)
}
