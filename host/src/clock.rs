//! The clock of this host, for machines that have none of their own.

use mailroom_core::time::Moment;
use rustix::time::{ClockId, clock_gettime};

/// This moment on the boot-time clock, which goes on while the machine is suspended.
pub(crate) fn now() -> Moment {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    Moment(seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000))
}
