//! Watches the lanes while a test disturbs their owners: how long any of them has no live owner.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::Gap;
use crate::db::Db;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Lanes whose owner is nobody or dead, and the time of the look in milliseconds. A host that is dead by the
/// clock is dead, buried or not.
const ALONE: &str = "select l.id, (extract(epoch from statement_timestamp()) * 1000)::bigint
                       from mailroom.lane l
                      where not exists (select 1 from mailroom.host h
                                         where h.id = l.owner and h.expires_at >= statement_timestamp())";

/// The looks so far.
#[derive(Debug, Default)]
pub struct Watch {
    /// By lane: when it was first and last seen alone.
    open: RefCell<HashMap<i32, (i64, i64)>>,
    ended: RefCell<Vec<Gap>>,
}

impl Watch {
    /// Looks until it is dropped.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn run(&self, db: &Db) -> Result<Infallible> {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.saw(&db.rows(ALONE).await?);
        }
    }

    fn saw(&self, alone: &[(i32, i64)]) {
        let mut open = self.open.borrow_mut();
        let mut still: HashMap<i32, (i64, i64)> = HashMap::new();
        for (lane, now) in alone {
            let (since, _) = open.get(lane).copied().unwrap_or((*now, *now));
            still.insert(*lane, (since, *now));
        }
        let ended = open.iter().filter(|(lane, _)| !still.contains_key(lane)).map(gap);
        self.ended.borrow_mut().extend(ended);
        *open = still;
    }

    /// Each time that a lane was alone, those that have not ended too.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        let open = self.open.borrow();
        self.ended.borrow().iter().copied().chain(open.iter().map(gap)).collect()
    }
}

fn gap((lane, (first, last)): (&i32, &(i64, i64))) -> Gap {
    Gap { lane: *lane, milliseconds: last - first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lasts_from_the_first_look_that_saw_it_to_the_last() {
        let watch = Watch::default();
        for alone in [&[(7, 1000)][..], &[(7, 1100), (8, 1100)], &[(8, 1400)], &[(7, 1500), (8, 1500)]] {
            watch.saw(alone);
        }
        let mut gaps: Vec<(i32, i64)> = watch.gaps().iter().map(|gap| (gap.lane, gap.milliseconds)).collect();
        gaps.sort_unstable();
        assert_eq!(gaps, [(7, 0), (7, 100), (8, 400)], "what was alone twice has two gaps");
    }
}
