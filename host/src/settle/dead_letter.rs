//! Dead letters, written in the transaction that fails their message.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Settler;
use super::settlement::Settlement;
use crate::db::{DbError, Tx};
use crate::message::{LAST_ERROR_BYTES_MAX, Message, bounded, tail};
use crate::pipeline::decide::{Cause, DeadReason, Verdict};
use crate::pipeline::outcome::Usage;

/// Bytes of a backtrace or a last output that a dead letter keeps.
pub(super) const DETAIL_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a handler's own name for its failure.
pub(super) const CODE_BYTES_MAX: usize = 255;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    /// `inbox` or `outbox`.
    pub(crate) origin: &'static str,
    pub(crate) lane: i32,
    pub(crate) seq: i64,
    pub(crate) message: Uuid,
    pub(crate) message_id: String,
    pub(crate) group: Option<String>,
    pub(crate) handler: Option<String>,
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) offset: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) event_type: String,
    pub(crate) reason: DeadReason,
    pub(crate) cause: Cause,
    pub(crate) last_output: Option<String>,
    pub(crate) digest: Option<String>,
    pub(crate) attempts: u32,
    pub(crate) deliveries: u32,
    /// Name by which people know the host that called the handler; `None` where nothing was called.
    pub(crate) host: Option<String>,
    pub(crate) usage: Usage,
}

impl DeadLetter {
    /// Gives the letter of a message that dies.
    fn of(of: &Settler, item: &Settlement<'_>) -> Option<Self> {
        let Verdict::Dead { reason, counted, cause } = &*item.verdict else { return None };
        let letter = Self::of_inbox(&of.handler, item.message, *reason, cause.clone());
        Some(Self {
            last_output: item.last_output.map(str::to_owned),
            digest: item.digest.map(str::to_owned),
            attempts: item.message.attempts_made + u32::from(*counted),
            deliveries: item.message.deliveries + 1,
            host: item.digest.map(|_| of.host.to_string()),
            usage: item.usage,
            ..letter
        })
    }

    fn of_inbox(handler: &str, message: &Message, reason: DeadReason, cause: Cause) -> Self {
        Self {
            origin: "inbox",
            lane: message.lane,
            seq: message.seq,
            message: message.id,
            message_id: message.message_id.clone(),
            group: Some(message.consumer_group.to_string()),
            handler: Some(handler.to_owned()),
            topic: message.topic.to_string(),
            partition: Some(message.partition),
            offset: Some(message.offset),
            key: message.key.clone(),
            event_type: message.event_type.clone(),
            reason,
            cause,
            last_output: None,
            digest: None,
            attempts: message.attempts_made,
            deliveries: message.deliveries,
            host: None,
            usage: Usage::default(),
        }
    }
}

/// Writes the letters of those in `hits` that die, with copies for the topic that each one's version names.
pub(super) async fn insert(tx: &mut Tx, of: &Settler, hits: &[&Settlement<'_>]) -> Result<(), DbError> {
    let mut by_topic: BTreeMap<Option<&str>, Vec<DeadLetter>> = BTreeMap::new();
    for item in hits {
        if let Some(letter) = DeadLetter::of(of, item) {
            by_topic.entry(item.dead_letter_topic).or_default().push(letter);
        }
    }
    for (topic, letters) in by_topic {
        write_dead_letters(tx, &letters, topic).await?;
    }
    Ok(())
}

/// Writes letters, one statement each: deaths are rare. A message that is dead already stays dead once. Those
/// of the inbox are copied for `topic`, if there is one.
pub(crate) async fn write_dead_letters(
    tx: &mut Tx,
    letters: &[DeadLetter],
    topic: Option<&str>,
) -> Result<(), DbError> {
    let mut written = Vec::with_capacity(letters.len());
    let detail = |text: &Option<String>| text.as_deref().map(|text| bounded(text, DETAIL_BYTES_MAX));
    for letter in letters {
        let id = sqlx::query_scalar!(
            r#"insert into mailroom.dead_letter (
                   origin, lane, seq, message, message_id, consumer_group, handler, topic, partition, "offset", key,
                   event_type, reason, fault, code, error, detail, last_output, handler_digest, attempts, deliveries,
                   fuel_used, memory_peak, host, took_ms)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                       $22, $23, $24, $25)
               on conflict (origin, seq) where replayed_at is null and discarded_at is null do nothing
               returning id"#,
            letter.origin,
            letter.lane,
            letter.seq,
            letter.message,
            letter.message_id,
            letter.group,
            letter.handler,
            letter.topic,
            letter.partition,
            letter.offset,
            letter.key,
            letter.event_type,
            letter.reason.as_str(),
            letter.cause.fault,
            letter.cause.code.as_deref().map(|code| bounded(code, CODE_BYTES_MAX)),
            bounded(&letter.cause.error, LAST_ERROR_BYTES_MAX),
            detail(&letter.cause.detail),
            letter.last_output.as_deref().map(|text| tail(text, DETAIL_BYTES_MAX)),
            letter.digest,
            i32::try_from(letter.attempts).unwrap_or(i32::MAX),
            i32::try_from(letter.deliveries).unwrap_or(i32::MAX),
            i64::try_from(letter.usage.fuel).unwrap_or(i64::MAX),
            i64::try_from(letter.usage.memory_peak).unwrap_or(i64::MAX),
            letter.host.as_deref(),
            letter.host.as_ref().map(|_| letter.usage.took.as_secs_f64() * 1000.0),
        )
        .fetch_optional(&mut **tx)
        .await
        .map_err(DbError::new("writing a dead letter"))?;
        written.extend(id);
    }
    copy_dead_letters(tx, topic, &written).await
}

/// Writes copies of letters that were written in this transaction into the outbox, for a Kafka topic.
async fn copy_dead_letters(tx: &mut Tx, topic: Option<&str>, letters: &[Uuid]) -> Result<(), DbError> {
    let (Some(topic), false) = (topic, letters.is_empty()) else { return Ok(()) };
    sqlx::query_file!("src/settle/dead_letter_copy.sql", topic, letters)
        .execute(&mut **tx)
        .await
        .map_err(DbError::new("copying dead letters for Kafka"))?;
    Ok(())
}
