//! Content of messages: payloads, keys, headers and what handlers printed are shown only to who may see them.

use serde_json::Value;
use uuid::Uuid;

use super::access::Caller;
use super::backend::Backend;
use super::refusal::Refusal;
use crate::config::Role;
use crate::db::dead_letters::{self, BlockedKey};
use crate::shown;

/// Fields with content of the message, or what its handler printed.
const CONTENT: [&str; 5] = ["headers", "key", "last_output", "payload", "payload_digest"];

/// Leaves content out of what somebody gets who may not see it.
pub(super) fn for_caller(mut whole: Value, caller: &Caller) -> Value {
    if caller.sees_content() {
        return whole;
    }
    if let Some(fields) = whole.as_object_mut() {
        fields.retain(|name, _| !CONTENT.contains(&name.as_str()));
    }
    let attempts = whole.get_mut("failed_attempts").and_then(Value::as_array_mut);
    for attempt in attempts.into_iter().flatten().filter_map(Value::as_object_mut) {
        attempt.retain(|name, _| !CONTENT.contains(&name.as_str()));
    }
    whole
}

/// Asking for a key tells whether it is there.
///
/// # Errors
/// Where the caller may not see keys.
pub(super) fn may_ask_for_key(caller: &Caller, key: Option<&str>) -> Result<(), Refusal> {
    if key.is_none() || caller.sees_content() {
        return Ok(());
    }
    match caller.name() {
        Some(name) => Err(Refusal::role(name, caller.role().unwrap_or(Role::Viewer), Role::Operator)),
        None => Err(Refusal::no_token()),
    }
}

/// The letter with its attempts and its message.
///
/// # Errors
/// Where there is none with this id.
pub(super) async fn dead_letter(backend: &Backend, caller: &Caller, id: &str) -> Result<Value, Refusal> {
    let letter = backend.ask(shown::dead_letter(backend.db(), letter_id(id)?)).await?;
    Ok(for_caller(letter.ok_or_else(|| no_letter(id))?, caller))
}

/// Reads the id of a letter, or of its message.
///
/// # Errors
/// Where it is none: there is no such letter then.
pub(super) fn letter_id(id: &str) -> Result<Uuid, Refusal> {
    id.parse().map_err(|_| no_letter(id))
}

fn no_letter(id: &str) -> Refusal {
    let error = format!("there is no dead letter {id}, nor one of a message {id}");
    Refusal::not_found(error, "/api/v1/dead-letters?status=all lists the newest")
}

/// The blocked keys, without their names where the caller may not see them.
///
/// # Errors
/// Where Postgres does not answer.
pub(super) async fn blocked_keys(
    backend: &Backend,
    caller: &Caller,
    limit: i64,
) -> Result<Vec<BlockedKey>, Refusal> {
    let mut keys = backend.ask(dead_letters::blocked_keys(backend.db(), limit)).await?;
    if !caller.sees_content() {
        keys.iter_mut().for_each(|key| key.key = None);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn content_is_left_out_for_who_may_not_see_it() {
        let whole = json!({
            "id": 1, "key": "k", "payload": "p", "headers": {}, "last_output": "o", "error": "e",
            "failed_attempts": [{ "fault": "trap", "last_output": "o" }],
        });
        let expected = json!({ "id": 1, "error": "e", "failed_attempts": [{ "fault": "trap" }] });
        assert_eq!(for_caller(whole.clone(), &Caller::Local), expected);
        let holder = |role| Caller::Holder { name: "ann".into(), role };
        assert_eq!(for_caller(whole.clone(), &holder(Role::Viewer)), expected);
        assert_eq!(for_caller(whole.clone(), &holder(Role::Operator)), whole);
        assert!(may_ask_for_key(&Caller::Local, Some("k")).is_err());
        assert!(may_ask_for_key(&Caller::Local, None).is_ok());
        assert!(may_ask_for_key(&holder(Role::Admin), Some("k")).is_ok());
    }
}
