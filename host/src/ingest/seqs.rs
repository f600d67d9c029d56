//! Places in the order of the inbox, drawn ahead, so that a record has its own before it has a row.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::db::{Db, DbError};
use crate::inbox;
use crate::message::Record;

/// So many are drawn at once: one question to Postgres for some polls.
const DRAWN_AT_ONCE: usize = 2_000;

/// Those that are left.
#[derive(Debug, Default)]
pub(super) struct Seqs {
    left: VecDeque<i64>,
}

impl Seqs {
    /// Draws more where there are not as many as `wanted`.
    pub(super) async fn fill(&mut self, db: &Db, wanted: usize) -> Result<(), DbError> {
        if self.left.len() < wanted {
            self.left.extend(inbox::draw(db, wanted.max(DRAWN_AT_ONCE)).await?);
        }
        Ok(())
    }

    /// Gives each record its place. There are as many as were asked for.
    pub(super) fn give(&mut self, records: Vec<(Arc<str>, Record)>) -> Vec<(i64, Arc<str>, Record)> {
        let seqs = self.left.drain(..records.len().min(self.left.len()));
        seqs.zip(records).map(|(seq, (topic, record))| (seq, topic, record)).collect()
    }
}
