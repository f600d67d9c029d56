//! Saying what lasts once a minute, however often it is met.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest time between two lines about the same thing.
pub(crate) const REMIND_AFTER: Duration = Duration::from_secs(60);

/// Time at which something was said last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reminder(Option<Instant>);

impl Reminder {
    /// Tells whether it is to be said now, and takes it as said then.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|said| now.duration_since(said) >= REMIND_AFTER);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }

    /// Tells whether it was said at all.
    pub(crate) fn was_said(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_once_a_minute() {
        let (mut reminder, start) = (Reminder::default(), Instant::now());
        assert!(!reminder.was_said());
        let mut due = |seconds| reminder.is_due(start + Duration::from_secs(seconds));
        assert_eq!(
            [0, 1, 59, 60, 61, 119, 600].map(&mut due),
            [true, false, false, true, false, false, true]
        );
        assert!(reminder.was_said());
    }
}
