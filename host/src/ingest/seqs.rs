//! Places in the order of the inbox, drawn ahead, so that a record has its own before it has a row.

use std::sync::Arc;

use mailroom_core::seq_stock::{SeqStock, SequenceFellBack};

use crate::db::{Db, DbError};
use crate::inbox;
use crate::message::Record;

/// So many are drawn at once: one question to Postgres for some polls.
const DRAWN_AT_ONCE: usize = 2_000;
/// The most that one statement draws.
const DRAWN_MAX: usize = 100_000;

/// Those that are left.
#[derive(Debug, Default)]
pub(super) struct Seqs {
    stock: SeqStock,
    has_fallen: bool,
}

impl Seqs {
    /// Draws more where there are not as many as `wanted`.
    pub(super) async fn fill(&mut self, db: &Db, wanted: usize) -> Result<(), DbError> {
        let mut draw = wanted.max(DRAWN_AT_ONCE);
        while self.stock.lacks(wanted) > 0 {
            if let Err(SequenceFellBack { known, drawn }) = self.stock.add(inbox::draw(db, draw).await?) {
                if !self.has_fallen {
                    tracing::error!(
                        "The sequence mailroom.inbox_seq_seq gave {drawn} after {known}: Postgres has lost what was \
                         committed last, as after a failover to a standby that lagged. Messages go on above {known}; \
                         what was acknowledged in between and is gone has to be found from Kafka"
                    );
                }
                self.has_fallen = true;
                let gap = usize::try_from(known.saturating_sub(drawn)).unwrap_or(DRAWN_MAX);
                draw = gap.saturating_add(wanted).clamp(DRAWN_AT_ONCE, DRAWN_MAX);
            } else {
                self.has_fallen = false;
            }
        }
        Ok(())
    }

    /// Places up to this one may have been written by others.
    pub(super) fn known(&mut self, last: i64) {
        self.stock.known(last);
    }

    /// Gives each record its place. There are as many as were asked for.
    pub(super) fn give(&mut self, records: Vec<(Arc<str>, Record)>) -> Vec<(i64, Arc<str>, Record)> {
        let numbered =
            records.into_iter().map_while(|(topic, record)| Some((self.stock.give()?, topic, record)));
        numbered.collect()
    }
}
