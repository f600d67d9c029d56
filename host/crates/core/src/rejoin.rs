//! Rule by which a consumer is given up and its successor joins the group.

use std::time::Duration;

use crate::time::Moment;

/// Longest time that the same error is borne while Kafka answers otherwise.
pub const BORNE_FOR: Duration = Duration::from_secs(60);
/// Longest pause between two reports of what counts as one trouble.
const SAME_WITHIN: Duration = Duration::from_secs(45);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A consumer that lasted longer owes nothing to those before it.
const LASTED: Duration = Duration::from_secs(120);

/// The error that a consumer repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorStreak {
    error: Option<(String, Moment, Moment)>,
}

impl ErrorStreak {
    /// Notes an error; returns true once the consumer has said nothing else for [`BORNE_FOR`].
    pub fn on_error(&mut self, error: &str, now: Moment) -> bool {
        match &mut self.error {
            Some((same, since, last)) if same == error && now.since(*last) <= SAME_WITHIN => {
                *last = now;
                now.since(*since) >= BORNE_FOR
            }
            _ => {
                self.error = Some((error.to_owned(), now, now));
                false
            }
        }
    }

    /// Begins anew: the consumer works, or Kafka as a whole does not.
    pub fn clear(&mut self) {
        self.error = None;
    }
}

/// The waits between one consumer and the next: a second, doubling to thirty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejoinBackoff {
    failures: u32,
}

impl RejoinBackoff {
    /// Returns the time to wait after a consumer that lived for `lasted`.
    pub fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= LASTED {
            self.failures = 0;
        }
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Moment {
        Moment(seconds * 1000)
    }

    #[test]
    fn only_the_same_error_over_a_minute_gives_a_consumer_up() {
        let mut streak = ErrorStreak::default();
        assert!(!streak.on_error("a", s(0)) && !streak.on_error("a", s(30)) && !streak.on_error("a", s(59)));
        assert!(streak.on_error("a", s(60)));
        assert!(!streak.on_error("b", s(61)), "another error is another trouble");
        assert!(
            !streak.on_error("b", s(110)) && !streak.on_error("b", s(140)),
            "the one before was long ago"
        );
        streak.clear();
        assert!(!streak.on_error("b", s(175)), "it worked meanwhile");
    }

    #[test]
    fn waits_double_to_half_a_minute_and_begin_anew_after_one_that_lasted() {
        let mut backoff = RejoinBackoff::default();
        let waits: Vec<u64> = (0..7).map(|_| backoff.after(Duration::from_secs(3)).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.after(LASTED), FIRST_WAIT);
    }
}
