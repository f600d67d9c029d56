//! The sign that the runtime of the host's loops runs: a loop that notes each of its turns.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(1);
/// Time without a turn after which the process does not live.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// The last turn; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<Mutex<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Pulse {
    /// Turns until it is stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
            }
        }
    }

    /// Gives the time since the last turn where that is too long.
    pub(super) fn missing_for(&self, now: Instant) -> Option<Duration> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(now.duration_since(last)).filter(|since| *since >= DEAD_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_does_not_turn_is_missed_after_half_a_minute() {
        let (pulse, now) = (Pulse::default(), Instant::now());
        assert_eq!(pulse.missing_for(now + DEAD_AFTER / 2), None);
        assert!(pulse.missing_for(now + 2 * DEAD_AFTER).is_some());
    }
}
