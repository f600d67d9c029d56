//! Keys that are blocked behind a dead letter, written in the transaction that fails its message.

use std::collections::HashSet;

use super::Settlement;
use crate::config::BehindDead;
use crate::db::{DbError, Tx};
use crate::pipeline::decide::{DeadReason, Verdict};

/// Blocks the keys of those that die in this settlement, where their handler asks for it. What is parked
/// is behind a blocked key already.
pub(super) async fn keys(
    tx: &mut Tx,
    policy: BehindDead,
    items: &[Settlement],
    hit: &HashSet<(i32, i64)>,
) -> Result<(), DbError> {
    let policy = match policy {
        BehindDead::Skip => return Ok(()),
        BehindDead::Block => "block",
        BehindDead::Park => "park",
    };
    for item in items.iter().filter(|item| hit.contains(&(item.message.lane, item.message.seq))) {
        let message = &item.message;
        let dies = matches!(&item.verdict, Verdict::Dead { reason, .. } if *reason != DeadReason::Parked);
        let (true, Some(okey), Some(key)) = (dies, message.okey, &message.key) else { continue };
        sqlx::query!(
            r#"insert into mailroom.blocked_key (
                 lane, okey, seq, consumer_group, topic, partition, "offset", key, policy)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing"#,
            message.lane,
            okey,
            message.seq,
            &*message.consumer_group,
            &*message.topic,
            message.partition,
            message.offset,
            key,
            policy,
        )
        .execute(&mut **tx)
        .await
        .map_err(DbError::new("blocking a key"))?;
    }
    Ok(())
}
