//! Waiting for a fact with a deadline: the one place of the suite that sleeps.
//!
//! A probe that fails has not seen the fact yet: servers may be away while a test waits.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// Deadline for what a healthy system does at once; long enough for two cores with a compiler beside it.
pub const SOON: Duration = Duration::from_secs(30);

/// Deadline for what comes after a server's restart.
pub const LATER: Duration = Duration::from_secs(120);

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Lets a time pass that is itself a part of what a test does: how long a server stays away, when the next
/// host is killed. Never the wait for a fact.
pub async fn passes(time: Duration) {
    sleep(time).await;
}

/// Looks until `probe` says true.
///
/// # Errors
/// Names `what` after `within`, with the last error of the probe where it had one.
pub async fn eventually(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        let failed = match timeout_at(deadline, probe()).await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => bail!("{what}: a look at it took until the deadline of {within:?}"),
        };
        if Instant::now() >= deadline {
            return match failed {
                Some(error) => Err(error).with_context(|| format!("{what}: not within {within:?}")),
                None => bail!("{what}: not within {within:?}"),
            };
        }
        sleep(POLL).await;
    }
}

/// Looks until `probe` gives `expected`.
///
/// # Errors
/// As [`eventually`], with the value seen last.
pub async fn becomes<T: Debug + PartialEq>(
    what: &str,
    expected: T,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<()> {
    let mut seen = None;
    let waited = eventually(what, within, async || {
        let value = probe().await?;
        let reached = value == expected;
        seen = Some(value);
        Ok(reached)
    })
    .await;
    waited.with_context(|| format!("expected {expected:?}, saw {seen:?} last"))
}
