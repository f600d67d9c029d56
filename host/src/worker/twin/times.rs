//! Keeps Postgres' clock beside the model's: what is due there is due here.

use std::time::Duration;

use mailroom_core::handler_machine::event::{DueCursor, Outcome};
use mailroom_core::ids::Seq;
use mailroom_sim::twin::{Tables, Timed};

use super::answers::waits;
use super::witness::{Checked, ModelEvent, Real, same};
use crate::db::twin;
use crate::worker::executor::Event;

/// A duration that no run of the test comes near, in microseconds: what is past in the model lies so far back.
const FAR: i64 = 100 * 24 * 3600 * SECOND;
const SECOND: i64 = 1_000_000;
/// The time that a command may take beside the times that it reads.
pub(super) const TOLERANCE: Duration = Duration::from_secs(30);
/// A lane that is free for so long is anybody's.
const LEFT_FREE_MILLIS: i64 = 1000;

impl Real {
    /// Gives the time in Postgres' tables for one of the model's, far back or far ahead, so that what is due there
    /// is due here, in the same order: a millisecond is a second.
    fn aligned(&self, timed: &Timed, at: i64, now: i64) -> i64 {
        let is_past = match timed {
            Timed::Host(_) => at < now,
            Timed::Lane(_) => at + LEFT_FREE_MILLIS < now,
            Timed::Row(_) | Timed::Breaker => at <= now,
        };
        self.base + at * SECOND + if is_past { -FAR } else { FAR }
    }

    /// Lets the time pass in Postgres that has passed in the model.
    pub(super) async fn align(&mut self, now: i64) {
        let aligned =
            self.model.times.iter().map(|(timed, at)| (timed.clone(), self.aligned(timed, *at, now)));
        let times = &self.snapshot.tables.times;
        let moved: Vec<(Timed, i64)> = aligned.filter(|(timed, at)| times.get(timed) != Some(at)).collect();
        twin::all_ended(&self.db).await;
        twin::set_times(&self.db, &moved, &self.snapshot.lanes).await;
        self.snapshot.tables.times.extend(moved);
    }

    /// Compares the tables, and the times that were written since they were aligned.
    pub(super) async fn compare(&mut self, now: i64, model: Tables) -> Checked {
        let snapshot = twin::read(&self.db).await;
        let mut found = model.differences(&snapshot.tables);
        let real = &snapshot.tables.times;
        for timed in model.times.keys().chain(real.keys().filter(|timed| !model.times.contains_key(timed))) {
            let (Some(at), Some(there)) = (model.times.get(timed), real.get(timed)) else {
                found.push(format!(
                    "{timed:?}: {:?} in the model, {:?}",
                    model.times.get(timed),
                    real.get(timed)
                ));
                continue;
            };
            let before = &self.snapshot;
            let is_as_before =
                self.model.times.get(timed) == Some(at) && before.tables.times.get(timed) == Some(there);
            let (earliest, latest) = (before.now + (at - now) * 1000, snapshot.now + (at - now) * 1000);
            if !is_as_before && !(earliest - 1000..=latest + 1000).contains(there) {
                let late = (there - latest) / 1000;
                found
                    .push(format!("{timed:?}: {at} in the model, now is {now}; {late} ms later in Postgres"));
            }
        }
        (self.model, self.snapshot) = (model, snapshot);
        if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
    }

    pub(super) fn cursor(&self, at: DueCursor, now: i64) -> DueCursor {
        DueCursor(self.aligned(&Timed::Row(Seq(0)), at.0 / 1000, now))
    }

    /// Compares times that were read: what is due is due, and what is not, as late as it was aligned to be.
    pub(super) fn compare_times(&self, model: &ModelEvent, real: &Event, now: i64) -> Checked {
        for (model, real) in waits(model).into_iter().zip(waits(real)) {
            let at = now + i64::try_from(model.as_millis()).unwrap();
            let until = self.aligned(&Timed::Row(Seq(0)), at, now) - self.snapshot.now;
            let expected = Duration::from_micros(u64::try_from(until).unwrap_or(0));
            if expected.abs_diff(real) > TOLERANCE {
                return Err(format!(
                    "{model:?} in the model is to be {expected:?} in Postgres, and is {real:?}"
                ));
            }
        }
        let (
            ModelEvent::DueKeys { outcome: Outcome::Done(model), .. },
            Event::DueKeys { outcome: Outcome::Done(real), .. },
        ) = (model, real)
        else {
            return Ok(());
        };
        let cursor = |(at, seq)| (self.cursor(at, now), seq);
        same("the cursor", &model.more_after.map(cursor), &real.more_after)
    }
}
