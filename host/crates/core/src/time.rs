//! Time as the machines see it: it arrives with events.

use std::ops::Add;
use std::time::Duration;

/// A point in time in milliseconds, of a clock that never goes back and counts while the machine is suspended. Its
/// origin is arbitrary: only distances mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Gives how long ago `earlier` was, zero where it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates at the end of time, and rounds up so that nothing is due early.
    fn add(self, time: Duration) -> Self {
        let millis = time.as_micros().div_ceil(1000);
        Self(self.0.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}
