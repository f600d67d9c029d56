//! The messages that the calls of a settlement emitted, in one insert, and the state that they wrote: each value only
//! where nobody else has written it since it was read.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::settlement::{Place, Settlement};
use crate::db::{DbError, Tx};
use crate::message::{Message, Outgoing, headers_to_json};
use mailroom_core::state::{ValueId, Write};

/// Writes what the messages in `hits` emitted. Correlation, causation and trace come from the message
/// that emitted, not from its handler. The function `mailroom.emit` writes them; `migrations/0016_one_settlement.sql` has
/// its text.
pub(super) async fn emitted(tx: &mut Tx, group: &str, hits: &[&Settlement<'_>]) -> Result<(), DbError> {
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

/// Several writes of one value, folded into the last.
#[derive(Debug, PartialEq, Eq)]
struct Folded<'s> {
    /// The version that the first of them found, 0 for none; `None` where it does not matter.
    read: Option<i64>,
    last: &'s Write,
    /// Messages among them that rely on what they found.
    rows: Vec<Place>,
}

/// Writes the state of the messages in `hits`; gives those whose reading was overtaken. The function
/// `mailroom.write_state` writes it; `migrations/0014_state_reads.sql` has its text.
pub(super) async fn state(
    tx: &mut Tx,
    group: &str,
    hits: &[&Settlement<'_>],
) -> Result<BTreeSet<Place>, DbError> {
    let (folded, mut lost) = fold(hits);
    if folded.is_empty() {
        return Ok(lost);
    }
    let ids = || folded.keys();
    let overtaken = sqlx::query_file_scalar!(
        "src/settle/write_state.sql",
        group,
        &ids().map(|id| id.scope.as_str()).collect::<Vec<_>>() as &[&str],
        &ids().map(|id| id.key.as_slice()).collect::<Vec<_>>() as &[&[u8]],
        &ids().map(|id| id.name.as_str()).collect::<Vec<_>>() as &[&str],
        &folded.values().map(|fold| fold.last.value.as_deref()).collect::<Vec<_>>() as &[Option<&[u8]>],
        &folded.values().map(|fold| fold.read).collect::<Vec<_>>() as &[Option<i64>],
        &folded.values().map(|fold| fold.last.written).collect::<Vec<_>>(),
    );
    let overtaken = overtaken.fetch_all(&mut **tx).await.map_err(DbError::new("writing state"))?;
    let overtaken: HashSet<i64> = overtaken.into_iter().collect();
    let folds = (1..).zip(folded.into_values()).filter(|(place, _)| overtaken.contains(place));
    lost.extend(folds.flat_map(|(_, fold)| fold.rows));
    Ok(lost)
}

/// Folds writes by value, in the order of their messages. A write that did not find what the one before it wrote
/// lost a race within this host; one that does not rely on what it finds loses none.
fn fold<'w>(hits: &[&Settlement<'w>]) -> (BTreeMap<&'w ValueId, Folded<'w>>, BTreeSet<Place>) {
    let mut folded: BTreeMap<&ValueId, Folded<'_>> = BTreeMap::new();
    let mut lost = BTreeSet::new();
    for item in hits {
        for write in item.writes {
            let relies = write.read.map(|_| item.place());
            match folded.get_mut(&write.id) {
                None => {
                    let rows = relies.into_iter().collect();
                    folded.insert(&write.id, Folded { read: write.read, last: write, rows });
                }
                Some(fold) if write.read.is_none_or(|read| read == fold.last.written) => {
                    fold.last = write;
                    fold.rows.extend(relies);
                }
                Some(_) => lost.extend(relies),
            }
        }
    }
    (folded, lost)
}
