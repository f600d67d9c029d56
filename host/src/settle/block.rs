//! Keys that are closed behind a dead letter, written in the transaction that fails its message.

use super::settlement::Settlement;
use crate::db::{DbError, Tx};
use crate::message::Message;
use crate::pipeline::decide::Verdict;
use mailroom_core::verdict::Blocking;

/// Closes the keys of those in `hits` that die, where their handler asks for it, in one statement; without any there
/// is none.
pub(super) async fn keys(tx: &mut Tx, hits: &[&Settlement<'_>]) -> Result<(), DbError> {
    let closed: Vec<(&Message, i64, &[u8], &str)> = hits
        .iter()
        .filter_map(|item| {
            let message = item.message;
            let Verdict::Dead { reason, .. } = &*item.verdict else { return None };
            let policy = word(reason.blocks(item.behind_dead)?);
            // A record that is stored without its content has an order, and no key to show.
            Some((message, message.okey?, message.key.as_deref().unwrap_or_default(), policy))
        })
        .collect();
    if closed.is_empty() {
        return Ok(());
    }
    let of =
        |field: fn(&Message) -> i64| closed.iter().map(|(message, ..)| field(message)).collect::<Vec<_>>();
    sqlx::query!(
        r#"insert into mailroom.blocked_key (
               lane, okey, seq, consumer_group, topic, partition, "offset", key, policy)
           select w.lane, w.okey, w.seq, w.consumer_group, w.topic, w.partition, w."offset", w.key, w.policy
             from unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::integer[],
                         $7::bigint[], $8::bytea[], $9::text[])
                  w(lane, okey, seq, consumer_group, topic, partition, "offset", key, policy)
            order by w.lane, w.okey, w.seq
               on conflict do nothing"#,
        &closed.iter().map(|(message, ..)| message.lane).collect::<Vec<_>>(),
        &closed.iter().map(|(_, okey, ..)| *okey).collect::<Vec<_>>(),
        &of(|message| message.seq),
        &closed.iter().map(|(message, ..)| &*message.consumer_group).collect::<Vec<_>>() as &[&str],
        &closed.iter().map(|(message, ..)| &*message.topic).collect::<Vec<_>>() as &[&str],
        &closed.iter().map(|(message, ..)| message.partition).collect::<Vec<_>>(),
        &of(|message| message.offset),
        &closed.iter().map(|(_, _, key, _)| *key).collect::<Vec<_>>() as &[&[u8]],
        &closed.iter().map(|(.., policy)| *policy).collect::<Vec<_>>() as &[&str],
    )
    .execute(&mut **tx)
    .await
    .map_err(DbError::new("closing keys behind dead letters"))?;
    Ok(())
}

/// The policy as the table spells it.
fn word(blocking: Blocking) -> &'static str {
    match blocking {
        Blocking::Wait => "block",
        Blocking::Park => "park",
    }
}
