//! Holding and letting go of rows in Postgres, one statement at a time: the two never race.

use std::sync::Arc;

use super::entry::{Key, Order};
use crate::db::{Db, DbError};
use crate::inbox::{self, Found};
use crate::lane::Lease;

/// Rows that one statement holds or lets go.
pub(super) const ROWS_MAX: usize = 500;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Job {
    Hold { lease: Lease, rows: Vec<(Key, i64)> },
    LetGo { lease: Lease, topic: Arc<str>, group: Arc<str>, key: Key, seq_max: i64 },
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Held,
    /// The lane is another's.
    Lost(Lease),
    LetGo {
        key: Key,
        seq_max: i64,
        found: Vec<Found>,
    },
    Failed(Job, DbError),
}

impl Job {
    pub(super) async fn run(self, db: Db) -> Done {
        match self {
            Self::Hold { lease, rows } => {
                let mut seqs: Vec<i64> = rows.iter().map(|(_, seq)| *seq).collect();
                seqs.sort_unstable();
                match inbox::hold(&db, &lease, &seqs).await {
                    Ok(true) => Done::Held,
                    Ok(false) => Done::Lost(lease),
                    Err(error) => Done::Failed(Self::Hold { lease, rows }, error),
                }
            }
            Self::LetGo { lease, topic, group, key, seq_max } => {
                // Only ordered keys are ever held.
                let Order::Key(okey) = key.order else { return Done::Held };
                match inbox::let_go(&db, &lease, (&group, &topic), okey, seq_max, ROWS_MAX).await {
                    Ok(found) => Done::LetGo { key, seq_max, found },
                    Err(error) => Done::Failed(Self::LetGo { lease, topic, group, key, seq_max }, error),
                }
            }
        }
    }
}
