//! Health of a server, as the loop that asks it all the time sees it.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Health of one server; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerHealth(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Moment since which it does not answer, and why.
    away: Option<(Instant, String)>,
    has_answered: bool,
}

impl ServerHealth {
    /// Notes that it answered.
    pub(crate) fn answered(&self) {
        *self.known() = Known { away: None, has_answered: true };
    }

    /// Notes that it did not answer.
    pub(crate) fn failed(&self, why: &dyn Display) {
        self.failed_at(Instant::now(), why);
    }

    fn failed_at(&self, now: Instant, why: &dyn Display) {
        let why = why.to_string();
        let mut known = self.known();
        let since = known.away.as_ref().map_or(now, |(since, _)| *since);
        known.away = Some((since, why));
    }

    /// Gives the time for which it has not answered; nothing while it does.
    pub(crate) fn away_for(&self) -> Duration {
        self.known().away.as_ref().map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }

    /// Says why it cannot be counted on; `None` where it answered last.
    pub(crate) fn why_not(&self) -> Option<String> {
        self.why_not_at(Instant::now())
    }

    fn why_not_at(&self, now: Instant) -> Option<String> {
        let known = self.known();
        match &known.away {
            Some((since, why)) => Some(format!("away for {} s: {why}", (now - *since).as_secs())),
            None if known.has_answered => None,
            None => Some("it was not reached yet".to_owned()),
        }
    }

    /// No code that can panic runs under it.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_away_from_its_first_failure_to_its_next_answer() {
        let (health, start) = (ServerHealth::default(), Instant::now());
        assert_eq!(health.why_not().as_deref(), Some("it was not reached yet"));
        health.answered();
        assert_eq!((health.why_not(), health.away_for()), (None, Duration::ZERO));
        health.failed_at(start, &"refused");
        let later = start + Duration::from_secs(7);
        health.failed_at(later, &"timed out");
        assert_eq!(health.clone().why_not_at(later).as_deref(), Some("away for 7 s: timed out"));
        health.answered();
        assert_eq!(health.away_for(), Duration::ZERO);
    }
}
