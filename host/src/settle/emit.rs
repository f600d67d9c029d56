//! The emitted messages of a settlement, in one insert.

use super::settlement::Settlement;
use crate::db::{DbError, Tx};
use crate::message::{Message, Outgoing, headers_to_json};

/// Writes what the messages in `hits` emitted. Correlation, causation and trace come from the message
/// that emitted, not from its handler. The function `mailroom.emit` writes them; `migrations/0016_one_settlement.sql` has
/// its text.
pub(super) async fn insert(tx: &mut Tx, group: &str, hits: &[&Settlement<'_>]) -> Result<(), DbError> {
    let emitted: Vec<(&Message, &Outgoing)> = hits
        .iter()
        .flat_map(|item| {
            let message = item.message;
            item.outgoing.iter().map(move |outgoing| (message, outgoing))
        })
        .collect();
    if emitted.is_empty() {
        return Ok(());
    }
    let of = |field: fn(&Outgoing) -> Option<&str>| -> Vec<Option<&str>> {
        emitted.iter().map(|(_, outgoing)| field(outgoing)).collect()
    };
    let from = |field: fn(&Message) -> Option<&str>| -> Vec<Option<&str>> {
        emitted.iter().map(|(message, _)| field(message)).collect()
    };
    let inserted = sqlx::query_file!(
        "src/settle/emit.sql",
        &emitted.iter().map(|(_, outgoing)| outgoing.id).collect::<Vec<_>>(),
        &emitted.iter().map(|(_, outgoing)| outgoing.topic.as_str()).collect::<Vec<_>>() as &[&str],
        &emitted.iter().map(|(_, outgoing)| outgoing.key.as_deref()).collect::<Vec<_>>()
            as &[Option<&[u8]>],
        &emitted.iter().map(|(_, outgoing)| outgoing.event_type.as_str()).collect::<Vec<_>>() as &[&str],
        &emitted.iter().map(|(_, outgoing)| outgoing.payload.as_deref()).collect::<Vec<_>>()
            as &[Option<&[u8]>],
        &of(|outgoing| outgoing.content_type.as_deref()) as &[Option<&str>],
        &emitted.iter().map(|(_, outgoing)| headers_to_json(&outgoing.headers)).collect::<Vec<_>>()
            as &[Option<String>],
        &of(|outgoing| outgoing.schema_version.as_deref()) as &[Option<&str>],
        &of(|outgoing| outgoing.idempotency_key.as_deref()) as &[Option<&str>],
        &from(|message| Some(message.correlation_id.as_deref().unwrap_or(&message.message_id)))
            as &[Option<&str>],
        &from(|message| Some(&message.message_id)) as &[Option<&str>],
        &from(|message| message.trace_id.as_deref()) as &[Option<&str>],
        &from(|message| message.traceparent.as_deref()) as &[Option<&str>],
        &emitted
            .iter()
            .map(|(_, outgoing)| outgoing.delay.map_or(0.0, |delay| delay.as_secs_f64()))
            .collect::<Vec<_>>(),
        group,
    );
    inserted.execute(&mut **tx).await.map_err(DbError::new("writing emitted messages"))?;
    Ok(())
}
