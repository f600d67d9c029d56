//! Edits of dead messages: what a message says is changed where it lies, and a replay hands it over so.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::db::audit::{self, Change, Operator};
use crate::db::{Db, DbError, Tx};
use crate::shown::{bytes_as_base64, bytes_as_json, hex};

const DOING: &str = "editing a dead message";

/// Change of what a dead message says.
#[derive(Debug)]
pub(crate) struct Edit<'e> {
    /// The letter, or its message.
    pub(crate) id: Uuid,
    /// The new payload; `None` makes a tombstone of the message.
    pub(crate) payload: Option<&'e [u8]>,
    /// [`digest`] of the payload that is replaced, as somebody was shown it: another one stays.
    pub(crate) was: Option<&'e str>,
}

/// Outcome of an edit.
#[derive(Debug)]
pub(crate) enum Edited {
    /// The message has the new payload.
    Done {
        letter: Uuid,
        /// The payload that it had.
        before: Option<Vec<u8>>,
    },
    /// Somebody else has edited it since it was shown.
    Changed,
    /// The letter is replayed or discarded, or there is none, or its message is no longer there.
    NotOpen,
}

/// An open letter, with what finds its message.
struct Place {
    id: Uuid,
    origin: String,
    message: Uuid,
    message_id: String,
    consumer_group: Option<String>,
    seq: i64,
}

/// Returns what tells a payload from others.
pub(crate) fn digest(payload: Option<&[u8]>) -> String {
    let Some(payload) = payload else { return "none".to_owned() };
    hex(&Sha256::digest(payload))
}

/// Replaces the payload of an open letter's message. Nothing else of the message changes: neither its key, which has its
/// order, nor what was read from its headers.
pub(crate) async fn edit(db: &Db, edit: &Edit<'_>, by: &Operator) -> Result<Edited, DbError> {
    let mut tx = db.begin(DOING).await?;
    let Some(place) = find(&mut tx, edit.id).await? else { return Ok(Edited::NotOpen) };
    let Some(before) = lock(&mut tx, &place).await? else { return Ok(Edited::NotOpen) };
    if edit.was.is_some_and(|was| was != digest(before.as_deref())) {
        return Ok(Edited::Changed);
    }
    // A replay has to lock the message's row first, so none is under way; a discard does not.
    if find(&mut tx, place.id).await?.is_none() {
        return Ok(Edited::NotOpen);
    }
    write(&mut tx, &place, edit.payload).await?;
    let target = place.id.to_string();
    let says = |payload: Option<&[u8]>| Some(json!({ "payload": content(payload) }));
    let (before_says, after) = (says(before.as_deref()), says(edit.payload));
    audit::note(&mut tx, by, Change { action: "dead.edit", target: &target, before: before_says, after })
        .await?;
    tx.commit().await?;
    Ok(Edited::Done { letter: place.id, before })
}

/// Content as the audit keeps it: Postgres has no U+0000 in JSON.
fn content(payload: Option<&[u8]>) -> Value {
    match payload {
        Some(payload) if payload.contains(&0) => bytes_as_base64(payload),
        payload => bytes_as_json(payload),
    }
}

async fn find(tx: &mut Tx, id: Uuid) -> Result<Option<Place>, DbError> {
    sqlx::query_as!(
        Place,
        "select d.id, d.origin, d.message, d.message_id, d.consumer_group, d.seq from mailroom.dead_letter d
          where (d.id = $1 or d.message = $1) and d.replayed_at is null and d.discarded_at is null
          order by d.id desc limit 1",
        id,
    )
    .fetch_optional(&mut **tx)
    .await
    .map_err(DbError::new(DOING))
}

/// Takes the message's row; gives its payload, or nothing where it is no longer there or failed.
async fn lock(tx: &mut Tx, place: &Place) -> Result<Option<Option<Vec<u8>>>, DbError> {
    let payload = if place.origin == "inbox" {
        // By the beginning of the one index that holds failed rows, as a replay does.
        sqlx::query_scalar!(
            "select i.payload from mailroom.inbox i
              where i.message_id = $1 and i.consumer_group = $2 and i.seq = $3 and i.status = 'failed' for update",
            place.message_id,
            place.consumer_group,
            place.seq,
        )
        .fetch_optional(&mut **tx)
        .await
    } else {
        sqlx::query_scalar!(
            "select o.payload from mailroom.outbox o where o.id = $1 and o.status = 'failed' for update",
            place.message,
        )
        .fetch_optional(&mut **tx)
        .await
    };
    payload.map_err(DbError::new(DOING))
}

async fn write(tx: &mut Tx, place: &Place, payload: Option<&[u8]>) -> Result<(), DbError> {
    let written = if place.origin == "inbox" {
        // Whatever was unfit was so of another payload.
        sqlx::query!(
            "update mailroom.inbox i set payload = $4, unfit = null, updated_at = clock_timestamp()
              where i.message_id = $1 and i.consumer_group = $2 and i.seq = $3 and i.status = 'failed'",
            place.message_id,
            place.consumer_group,
            place.seq,
            payload,
        )
        .execute(&mut **tx)
        .await
    } else {
        sqlx::query!(
            "update mailroom.outbox o set payload = $2, updated_at = clock_timestamp()
              where o.id = $1 and o.status = 'failed'",
            place.message,
            payload,
        )
        .execute(&mut **tx)
        .await
    };
    written.map(drop).map_err(DbError::new(DOING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_in_postgres_cannot_hold_is_kept_as_bytes() {
        assert_eq!(content(Some(b"a\0")), json!({ "base64": "YQA=" }));
        assert_eq!(content(Some(b"a")), json!("a"));
        assert_eq!(content(None), Value::Null);
    }

    #[test]
    fn a_tombstone_is_told_from_an_empty_payload() {
        assert_ne!(digest(None), digest(Some(b"")));
        assert_eq!(digest(Some(b"a")).len(), 64);
    }
}
