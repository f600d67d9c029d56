//! One life of this host in the eyes of the others: from registration to burial.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A registered life. When it ends, by burial or by stop, everything taken in it is dropped, and a new
/// one begins with a new id.
#[derive(Debug)]
pub(crate) struct Session {
    /// Random per registration, so that a restarted process is never taken for the one before.
    pub(crate) id: Uuid,
    valid_until_ms: AtomicU64,
    ended: CancellationToken,
}

impl Session {
    /// A life that was registered with a renewal sent at `sent` and is valid for `expiry` from then.
    pub(crate) fn new(id: Uuid, sent: Moment, expiry: Duration) -> Self {
        let session = Self { id, valid_until_ms: AtomicU64::new(0), ended: CancellationToken::new() };
        session.renewed(sent, expiry);
        session
    }

    /// A renewal that was sent at `sent` was confirmed.
    pub(crate) fn renewed(&self, sent: Moment, expiry: Duration) {
        let expiry_ms = u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX);
        self.valid_until_ms.store(sent.0.saturating_add(expiry_ms), Ordering::Relaxed);
    }

    /// Whether it surely lasts for another `time`: nothing longer may be started.
    pub(crate) fn outlasts(&self, time: Duration) -> bool {
        let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
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

    #[test]
    fn a_session_outlasts_only_what_fits_before_its_expiry() {
        let session = Session::new(Uuid::nil(), Moment::now(), Duration::from_secs(30));
        assert!(session.outlasts(Duration::from_secs(20)));
        assert!(!session.outlasts(Duration::from_secs(31)));
        session.end();
        assert!(!session.outlasts(Duration::ZERO));
    }
}
