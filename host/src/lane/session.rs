//! One life of this host in the eyes of the others: from registration to burial.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::SettleKey;

/// A registered life. When it ends, by burial or by stop, everything taken in it is dropped, and a new
/// one begins with a new id.
#[derive(Debug)]
pub(crate) struct Session {
    /// Random per registration, so that a restarted process is never taken for the one before.
    pub(crate) id: Uuid,
    /// Secret of the session.
    pub(crate) key: SettleKey,
    valid_until_ms: AtomicU64,
    /// Time when the last confirmed renewal was sent, and of the first one since which none was missed.
    renewed_ms: AtomicU64,
    steady_since_ms: AtomicU64,
    ended: CancellationToken,
}

impl Session {
    /// A life that was registered with a renewal sent at `sent` and is valid for `expiry` from then.
    pub(crate) fn new(id: Uuid, key: SettleKey, sent: Moment, expiry: Duration) -> Self {
        let session = Self {
            id,
            key,
            valid_until_ms: AtomicU64::new(0),
            renewed_ms: AtomicU64::new(sent.0),
            steady_since_ms: AtomicU64::new(sent.0),
            ended: CancellationToken::new(),
        };
        session.renewed(sent, expiry);
        session
    }

    /// A renewal that was sent at `sent` was confirmed.
    pub(crate) fn renewed(&self, sent: Moment, expiry: Duration) {
        let expiry_ms = milliseconds(expiry);
        self.valid_until_ms.store(sent.0.saturating_add(expiry_ms), Ordering::Relaxed);
        let last = self.renewed_ms.swap(sent.0, Ordering::Relaxed);
        // Whoever missed half of its own expiry was cut off, and so may others have been.
        if sent.0.saturating_sub(last) > expiry_ms / 2 {
            self.steady_since_ms.store(sent.0, Ordering::Relaxed);
        }
    }

    /// Tells whether others may be taken for dead whose expiry has passed: only if this host's own renewals
    /// went through for a whole expiry. After an outage that all had, each has had the time to renew.
    pub(crate) fn may_bury(&self, now: Moment, expiry: Duration) -> bool {
        let since = |at: &AtomicU64| now.0.saturating_sub(at.load(Ordering::Relaxed));
        let expiry_ms = milliseconds(expiry);
        since(&self.steady_since_ms) >= expiry_ms && since(&self.renewed_ms) <= expiry_ms / 2
    }

    /// The moment that it surely outlasts.
    pub(crate) fn valid_until(&self) -> mailroom_core::time::Moment {
        mailroom_core::time::Moment(self.valid_until_ms.load(Ordering::Relaxed))
    }

    /// Tells whether it surely lasts for another `time`: nothing longer may be started.
    pub(crate) fn outlasts(&self, time: Duration) -> bool {
        let time_ms = milliseconds(time);
        !self.ended.is_cancelled()
            && Moment::now().0.saturating_add(time_ms) < self.valid_until_ms.load(Ordering::Relaxed)
    }

    /// Ends it for all who hold something taken in it.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// Cancelled when it ends.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds of the boot-time clock, which goes on while the machine is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Moment {
    /// This moment.
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
        Self(seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SettleKey {
        SettleKey::new(Uuid::nil())
    }

    #[test]
    fn a_session_outlasts_only_what_fits_before_its_expiry() {
        let session = Session::new(Uuid::nil(), key(), Moment::now(), Duration::from_secs(30));
        assert!(session.outlasts(Duration::from_secs(20)));
        assert!(!session.outlasts(Duration::from_secs(31)));
        session.end();
        assert!(!session.outlasts(Duration::ZERO));
    }

    #[test]
    fn nobody_is_buried_before_ones_own_renewals_went_through_for_an_expiry() {
        let (expiry, beat, start) = (Duration::from_secs(30), 5_000, 1_000_000);
        let session = Session::new(Uuid::nil(), key(), Moment(start), expiry);
        let mut now = start;
        let mut renews_for = |session: &Session, beats: u64| {
            for _ in 0..beats {
                now += beat;
                session.renewed(Moment(now), expiry);
            }
            now
        };
        let now = renews_for(&session, 5);
        assert!(!session.may_bury(Moment(now), expiry), "not yet");
        let now = renews_for(&session, 1);
        assert!(session.may_bury(Moment(now), expiry));
        assert!(!session.may_bury(Moment(now + 16_000), expiry), "its own renewal is late");
        session.renewed(Moment(now + 40_000), expiry);
        assert!(!session.may_bury(Moment(now + 40_000), expiry), "it was cut off itself");
    }
}
