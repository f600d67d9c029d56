//! Commands that Postgres was sent and did not answer: they are said, and counted while their backends may still
//! hang, so that they cannot use up the server's connections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::reminder::Reminder;

/// Book of the commands that were not answered, one for all connections of a process.
#[derive(Debug)]
pub(super) struct Silence {
    /// Address of Postgres, for people.
    place: String,
    /// Time between two probes; a discarded connection counts for twice as long.
    limit: Duration,
    /// Number of discarded connections that closes the gate.
    hung_max: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Moments up to which discarded connections count, one each.
    hung: Vec<Instant>,
    /// Moment of the next probe; `None` while the gate is open.
    probe_at: Option<Instant>,
    /// Moment at which a silent command was said last, unless a commit was answered since.
    said: Reminder,
}

impl Silence {
    pub(super) fn new(place: String, limit: Duration, hung_max: usize) -> Self {
        Self { place, limit, hung_max, known: Mutex::default() }
    }

    /// No code that can panic runs under it.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection that was discarded and whose backend may still hang.
    pub(super) fn hangs(&self, now: Instant) {
        let mut known = self.known();
        known.hung.retain(|until| *until > now);
        known.hung.push(now + 2 * self.limit);
        if known.hung.len() >= self.hung_max && known.probe_at.is_none() {
            known.probe_at = Some(now + self.limit);
            tracing::warn!(
                "Postgres at {} takes our statements and does not answer: {} connections hang; one statement every \
                 {:?} is tried until it answers",
                self.place,
                known.hung.len(),
                self.limit
            );
        }
    }

    /// Notes that a commit was answered: whatever hangs is not all of Postgres.
    pub(super) fn committed(&self) {
        let mut known = self.known();
        if known.hung.is_empty() && !known.said.was_said() {
            return;
        }
        known.hung.clear();
        known.said = Reminder::default();
        if known.probe_at.take().is_some() {
            tracing::info!("Postgres at {} answers again", self.place);
        }
    }

    /// Lets a statement be sent now, or says when to ask again. What is let through a closed gate is the probe.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Instant> {
        let mut known = self.known();
        known.hung.retain(|until| *until > now);
        let Some(probe_at) = known.probe_at else { return Ok(()) };
        if known.hung.len() < self.hung_max {
            known.probe_at = None;
            return Ok(());
        }
        if now < probe_at {
            return Err(probe_at.min(known.hung.iter().min().copied().unwrap_or(probe_at)));
        }
        known.probe_at = Some(now + self.limit);
        Ok(())
    }

    /// Says that a command has no answer yet, unless that was said a moment ago.
    pub(super) fn say(&self, doing: &str, lanes: &[i32], age: Duration, now: Instant) {
        let mut known = self.known();
        if !known.said.is_due(now) {
            return;
        }
        tracing::warn!(
            lanes = ?lanes,
            "Postgres at {} has not answered for {:.1} s while {doing} (lanes {}): a synchronous standby may be away, \
             or the connection is dead",
            self.place,
            age.as_secs_f64(),
            shown(lanes)
        );
    }
}

/// The first of them, and how many more there are.
fn shown(lanes: &[i32]) -> String {
    const SHOWN_MAX: usize = 8;
    let first: Vec<String> = lanes.iter().take(SHOWN_MAX).map(i32::to_string).collect();
    let more = lanes.len().saturating_sub(SHOWN_MAX);
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn silence() -> Silence {
        Silence::new("db:5432/shop".to_owned(), LIMIT, 2)
    }

    #[test]
    fn as_many_hung_connections_as_are_allowed_leave_one_probe_every_limit() {
        let (silence, start) = (silence(), Instant::now());
        silence.hangs(start);
        assert_eq!(silence.admit(start), Ok(()));
        silence.hangs(start);
        assert_eq!(silence.admit(start), Err(start + LIMIT));
        assert_eq!(silence.admit(start + LIMIT), Ok(()), "the probe");
        silence.hangs(start + LIMIT);
        assert_eq!(silence.admit(start + LIMIT), Err(start + 2 * LIMIT));
    }

    #[test]
    fn the_gate_opens_with_an_answered_commit_and_when_nothing_counts_any_more() {
        let (silence, start) = (silence(), Instant::now());
        (0..2).for_each(|_| silence.hangs(start));
        silence.committed();
        assert_eq!(silence.admit(start), Ok(()));
        (0..2).for_each(|_| silence.hangs(start));
        assert_eq!(silence.admit(start + 2 * LIMIT), Ok(()));
        assert_eq!(silence.admit(start + 2 * LIMIT), Ok(()));
    }

    #[test]
    fn many_lanes_are_counted() {
        assert_eq!(shown(&[7, 8]), "7, 8");
        assert_eq!(shown(&(1..=10).collect::<Vec<_>>()), "1, 2, 3, 4, 5, 6, 7, 8 and 2 more");
    }
}
