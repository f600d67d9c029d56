//! Telling of outages: once when one begins, now and then while it lasts, once when it is over.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const REMIND_AFTER: Duration = Duration::from_secs(30);

/// Something that a loop needs and that may be away.
#[derive(Debug)]
pub(crate) struct Outage {
    what: String,
    since: Option<Since>,
}

#[derive(Debug)]
struct Since {
    began: Instant,
    told: Instant,
    wait: Duration,
}

impl Outage {
    /// Of what, in the log's words, with its address.
    pub(crate) fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), since: None }
    }

    /// It failed; gives how long to wait before the next try.
    pub(crate) fn failed(&mut self, error: &dyn Display) -> Duration {
        let now = Instant::now();
        let what = &self.what;
        match &mut self.since {
            None => {
                tracing::warn!(%error, "{what} is away or refuses; waiting for it");
                self.since = Some(Since { began: now, told: now, wait: FIRST_WAIT });
                FIRST_WAIT
            }
            Some(since) => {
                if now - since.told >= REMIND_AFTER {
                    since.told = now;
                    let seconds = (now - since.began).as_secs();
                    tracing::warn!(%error, "{what} is still away after {seconds} s");
                }
                since.wait = (since.wait * 2).min(LONGEST_WAIT);
                since.wait
            }
        }
    }

    /// It works.
    pub(crate) fn over(&mut self) {
        if let Some(since) = self.since.take() {
            let what = &self.what;
            tracing::info!("{what} is back after {:.1} s", since.began.elapsed().as_secs_f64());
        }
    }
}
