//! Settling a message in the transaction that its handler's SQL ran in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mailroom_core::handler_machine::command::Settled;
use mailroom_core::ids::{Lease, RereadCount, Seq};
use mailroom_core::state::Write;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::Effects;
use super::reads::{Expected, alone};
use super::settlement::Settlement;
use crate::db::{DbError, GuestTx};
use crate::lane::SettleKey;
use crate::message::{Outgoing, headers_to_json};

/// Result of a settlement in a call's own transaction.
#[derive(Debug)]
pub(crate) enum SettledWithSql {
    /// Committed.
    Done {
        /// The count of operators' acts on the lane.
        rereads: RereadCount,
    },
    /// The lane is another's; nothing was written.
    LaneLost,
    /// The row was no longer as it was called; nothing was written.
    Missed,
    /// Another wrote this state after it was read; nothing was written.
    StateLost,
}

/// Settles a completed message, and commits what its handler's SQL wrote with it: all of it or nothing. `key` is
/// the secret of the lane's owner. The guest may have made the session show parameters of statements in the log of
/// Postgres: what is there is good for this transaction only.
pub(crate) async fn settle_with_sql(
    tx: GuestTx,
    key: &SettleKey,
    lease: Lease,
    settled: &Settled<Effects>,
) -> Result<SettledWithSql, DbError> {
    let item = Settlement::of_row(settled);
    let emitted: Vec<Value> =
        item.outgoing.iter().enumerate().map(|(place, outgoing)| emitted(place, outgoing)).collect();
    let written: Vec<Value> = item.writes.iter().map(written).collect();
    let seen: Vec<Value> = alone(&item).iter().map(seen).collect();
    let settle = async |connection: &mut PgConnection, transaction: &str| {
        sqlx::query_scalar!(
            r#"select mailroom.settle_with_sql($1, $2, $3, $4, $5, $6, $7, $8, $9) as "reread!""#,
            key.proof(transaction, lease, Seq(item.message.seq)),
            lease.lane.0,
            lease.token.0,
            item.message.seq,
            i32::try_from(item.message.deliveries).unwrap_or(i32::MAX),
            item.digest,
            Value::Array(emitted),
            Value::Array(written),
            Value::Array(seen),
        )
        .fetch_one(connection)
        .await
    };
    match tx.settle(lease.lane.0, settle).await {
        Ok(rereads) => Ok(SettledWithSql::Done { rereads: RereadCount(rereads) }),
        Err(error) => match error.sqlstate().as_deref() {
            Some("MR001") => Ok(SettledWithSql::LaneLost),
            Some("MR002") => Ok(SettledWithSql::Missed),
            Some("MR003") => Ok(SettledWithSql::StateLost),
            _ => Err(error),
        },
    }
}

/// Encodes a message as the function in the database reads it.
fn emitted(place: usize, outgoing: &Outgoing) -> Value {
    let headers = headers_to_json(&outgoing.headers);
    json!({
        "place": place,
        "id": outgoing.id,
        "topic": outgoing.topic,
        "key": base64(outgoing.key.as_deref()),
        "event_type": outgoing.event_type,
        "payload": base64(outgoing.payload.as_deref()),
        "content_type": outgoing.content_type,
        "headers": headers.and_then(|headers| serde_json::from_str::<Value>(&headers).ok()),
        "schema_version": outgoing.schema_version,
        "idempotency_key": outgoing.idempotency_key,
        "delay": outgoing.delay.map_or(0.0, |delay| delay.as_secs_f64()),
    })
}

fn written(write: &Write) -> Value {
    json!({
        "scope": write.id.scope.as_str(),
        "key": BASE64.encode(&write.id.key),
        "name": write.id.name,
        "value": base64(write.value.as_deref()),
        "read": write.read,
        "written": write.written,
    })
}

fn seen(expected: &Expected<'_>) -> Value {
    json!({
        "scope": expected.scope,
        "key": BASE64.encode(expected.key),
        "name": expected.name,
        "version": expected.version,
        "count": expected.count,
    })
}

fn base64(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| BASE64.encode(bytes))
}
