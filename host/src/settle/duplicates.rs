//! Records that are dropped, since their group has their ids already: counted, and the last of them kept for people.

use std::collections::HashSet;
use std::fmt;

use mailroom_core::ids::Seq;
use sha2::{Digest as _, Sha256};

use super::fresh::Record;
use crate::db::{DbError, Tx};
use crate::message::Message;

/// Records that one settlement dropped.
#[derive(Debug)]
pub(crate) struct Dropped {
    pub(crate) records: usize,
    /// One of them; a record whose content differs goes before others.
    pub(crate) example: Option<Duplicate>,
}

/// A record that was dropped, and the one that came first.
#[derive(Debug)]
pub(crate) struct Duplicate {
    message_id: String,
    topic: String,
    partition: i32,
    offset: i64,
    first_partition: i32,
    first_offset: i64,
    same_content: bool,
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message_id, topic, partition, offset, first_partition, first_offset, same_content } = self;
        let content = if *same_content { "the same content" } else { "another content" };
        write!(
            f,
            "{topic}/{partition}@{offset} has the id {message_id:?} of {topic}/{first_partition}@{first_offset}, and \
             {content}"
        )
    }
}

/// Notes the records that were not inserted; `None` where all were.
pub(super) async fn note(
    tx: &mut Tx,
    group: &str,
    records: &[Record<'_>],
    inserted: &HashSet<Seq>,
) -> Result<Option<Dropped>, DbError> {
    let dropped: Vec<&Message> =
        records.iter().filter(|record| !inserted.contains(&record.place().1)).map(Record::message).collect();
    if dropped.is_empty() {
        return Ok(None);
    }
    let text = |field: fn(&Message) -> &str| -> Vec<&str> { dropped.iter().map(|of| field(of)).collect() };
    let digest = |of: &&Message| of.payload.as_deref().map(|payload| Sha256::digest(payload).to_vec());
    let sample = sqlx::query_file_as!(
        Duplicate,
        "src/settle/duplicates.sql",
        group,
        &dropped.iter().map(|of| of.lane).collect::<Vec<_>>(),
        &text(|of| &of.message_id) as &[&str],
        &text(|of| &of.topic) as &[&str],
        &text(|of| &of.source) as &[&str],
        &text(|of| &of.event_type) as &[&str],
        &dropped.iter().map(|of| of.partition).collect::<Vec<_>>(),
        &dropped.iter().map(|of| of.offset).collect::<Vec<_>>(),
        &dropped.iter().map(|of| of.key.as_deref()).collect::<Vec<_>>() as &[Option<&[u8]>],
        &dropped.iter().map(digest).collect::<Vec<_>>() as &[Option<Vec<u8>>],
    );
    let sample = sample.fetch_all(&mut **tx).await.map_err(DbError::new("noting duplicates"))?;
    let example = sample.into_iter().min_by_key(|duplicate| duplicate.same_content);
    Ok(Some(Dropped { records: dropped.len(), example }))
}
