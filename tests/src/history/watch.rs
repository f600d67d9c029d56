//! Watches the lanes while a test disturbs their owners: how long any of them has no live owner while Postgres
//! answers. A machine that is busy with other work holds up Postgres for the hosts and for the watch alike.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::Gap;
use crate::db::Db;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A look that comes later than this after the one before was held up: what is above is not counted.
const HELD_UP: Duration = Duration::from_millis(250);

/// Lanes whose owner is nobody or dead, and the time of the look in milliseconds. A host that is dead by the
/// clock is dead, buried or not.
const ALONE: &str = "select l.id, (extract(epoch from statement_timestamp()) * 1000)::bigint
                       from mailroom.lane l
                      where not exists (select 1 from mailroom.host h
                                         where h.id = l.owner and h.expires_at >= statement_timestamp())";

/// The looks so far.
#[derive(Debug, Default)]
pub struct Watch {
    open: RefCell<HashMap<i32, Alone>>,
    ended: RefCell<Vec<Gap>>,
}

/// A lane that has no live owner.
#[derive(Debug, Clone, Copy)]
struct Alone {
    /// Time when it was first and last seen so, in milliseconds.
    first: i64,
    last: i64,
    /// Part of the time between them in which Postgres held up the looks, in milliseconds.
    held_up: i64,
}

impl Watch {
    /// Looks until it is dropped.
    ///
    /// # Errors
    /// Postgres' own.
    pub async fn run(&self, db: &Db) -> Result<Infallible> {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Instant::now();
        loop {
            tick.tick().await;
            let alone = db.rows(ALONE).await?;
            let held_up = before.elapsed().saturating_sub(HELD_UP);
            before = Instant::now();
            self.saw(&alone, i64::try_from(held_up.as_millis())?);
        }
    }

    fn saw(&self, alone: &[(i32, i64)], held_up: i64) {
        let mut open = self.open.borrow_mut();
        let mut still: HashMap<i32, Alone> = HashMap::new();
        for (lane, now) in alone {
            let seen = match open.get(lane) {
                Some(seen) => Alone { last: *now, held_up: seen.held_up + held_up, ..*seen },
                None => Alone { first: *now, last: *now, held_up: 0 },
            };
            still.insert(*lane, seen);
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

fn gap((lane, alone): (&i32, &Alone)) -> Gap {
    Gap { lane: *lane, milliseconds: (alone.last - alone.first - alone.held_up).max(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lasts_from_the_first_look_that_saw_it_to_the_last() {
        let watch = Watch::default();
        for alone in [&[(7, 1000)][..], &[(7, 1100), (8, 1100)], &[(8, 1400)], &[(7, 1500), (8, 1500)]] {
            watch.saw(alone, 0);
        }
        let mut gaps: Vec<(i32, i64)> = watch.gaps().iter().map(|gap| (gap.lane, gap.milliseconds)).collect();
        gaps.sort_unstable();
        assert_eq!(gaps, [(7, 0), (7, 100), (8, 400)], "what was alone twice has two gaps");
    }

    #[test]
    fn time_in_which_postgres_held_up_the_looks_is_not_counted() {
        let watch = Watch::default();
        watch.saw(&[(7, 1000)], 400);
        watch.saw(&[(7, 2500)], 1250);
        watch.saw(&[(7, 2600)], 0);

        let counted: Vec<i64> = watch.gaps().iter().map(|gap| gap.milliseconds).collect();
        assert_eq!(counted, [350], "what held up the look that saw it first was before");
    }
}
