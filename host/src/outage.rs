//! Telling of outages: once when one begins, once a minute while it lasts, once when it is over. Loops that wait for the
//! same server for the same reason say it once together.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::reminder::{REMIND_AFTER, Reminder};
use crate::waits::{Wait, Waits};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Time for which something has to work to be back: for less it fails for some and not for others.
const BACK_AFTER: Duration = Duration::from_secs(1);

/// Urgency with which an error is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Urgency {
    /// The server is away or has too little.
    Away,
    /// Two were in each other's way: nothing to say, unless it lasts.
    Quiet,
    /// An operator has to do this.
    Act(&'static str),
    /// The host itself is wrong.
    Bug,
}

impl Urgency {
    /// The error, with what is to be done about it.
    pub(crate) fn reason(self, error: &dyn Display) -> String {
        match self {
            Self::Act(remedy) => format!("{error}: {remedy}"),
            Self::Bug => format!("{error}, which is mailroom's own fault"),
            Self::Away | Self::Quiet => error.to_string(),
        }
    }
}

/// Moments at which loops of one process spoke of one server last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spoken(Arc<Mutex<Last>>);

#[derive(Debug, Default)]
struct Last {
    said: HashMap<Urgency, Reminder>,
    /// Time at which it worked again.
    back_at: Option<Instant>,
}

impl Spoken {
    /// Tells whether it may be said now. No code that can panic runs under the lock.
    fn may_say(&self, urgency: Urgency, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.back_at.take().is_some_and(|back_at| now.duration_since(back_at) >= BACK_AFTER) {
            last.said.clear();
        }
        last.said.entry(urgency).or_default().is_due(now)
    }

    /// Notes that what was away works: if it does for a while, its next outage is news.
    fn is_back(&self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).back_at = Some(now);
    }
}

/// Something that a loop needs and that may be away.
#[derive(Debug)]
pub(crate) struct Outage {
    what: String,
    spoken: Spoken,
    waits: Waits,
    since: Option<Since>,
}

#[derive(Debug)]
struct Since {
    began: Instant,
    wait: Duration,
    /// True if this loop said it.
    said: bool,
    /// Shows it to others; not where somebody was only in our way.
    shown: Option<Wait>,
}

impl Since {
    fn at(began: Instant) -> Self {
        Self { began, wait: FIRST_WAIT / 2, said: false, shown: None }
    }
}

impl Outage {
    /// Names what can be away, in the log's words, with its address, and where that is shown while it lasts.
    pub(crate) fn of(what: impl Into<String>, waits: Waits) -> Self {
        Self::shared(what, Spoken::default(), waits)
    }

    /// The same, of something that other loops wait for as well.
    pub(crate) fn shared(what: impl Into<String>, spoken: Spoken, waits: Waits) -> Self {
        Self { what: what.into(), spoken, waits, since: None }
    }

    /// Notes that it is away; gives how long to wait before the next try.
    pub(crate) fn failed(&mut self, error: &dyn Display) -> Duration {
        self.failed_as(Urgency::Away, error)
    }

    /// Notes that it failed; gives how long to wait before the next try.
    pub(crate) fn failed_as(&mut self, urgency: Urgency, error: &dyn Display) -> Duration {
        let now = Instant::now();
        let since = self.since.get_or_insert_with(|| Since::at(now));
        since.wait = (since.wait * 2).min(LONGEST_WAIT);
        let (lasts, wait) = (now - since.began, since.wait);
        if urgency == Urgency::Quiet && lasts < REMIND_AFTER {
            tracing::debug!(%error, "{} had somebody in our way; trying again", self.what);
            return wait;
        }
        let why = urgency.reason(error);
        match &since.shown {
            Some(shown) => shown.lasts(&why),
            None => since.shown = Some(self.waits.begin(&self.what, &why)),
        }
        if self.spoken.may_say(urgency, now) {
            since.said = true;
            say(&self.what, urgency, error, lasts);
        }
        wait
    }

    /// Notes that it works.
    pub(crate) fn over(&mut self) {
        if let Some(since) = self.since.take().filter(|since| since.said) {
            let what = &self.what;
            self.spoken.is_back(Instant::now());
            tracing::info!("{what} is back after {:.1} s", since.began.elapsed().as_secs_f64());
        }
    }
}

fn say(what: &str, urgency: Urgency, error: &dyn Display, lasts: Duration) {
    let seconds = lasts.as_secs();
    match urgency {
        Urgency::Away if seconds == 0 => {
            tracing::warn!(%error, "{what} is away or refuses; waiting for it");
        }
        Urgency::Away => tracing::warn!(%error, "{what} is still away after {seconds} s"),
        Urgency::Quiet => {
            tracing::warn!(%error, "{what} has had somebody in our way for {seconds} s; trying on");
        }
        Urgency::Act(remedy) => {
            tracing::warn!(%error, "{what} refuses; waiting until somebody acts ({seconds} s so far): {remedy}");
        }
        Urgency::Bug => {
            tracing::error!(%error, "{what} refuses, which is mailroom's own fault; trying on ({seconds} s so far)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_say_one_reason_once_a_minute_together() {
        let (spoken, start) = (Spoken::default(), Instant::now());
        assert!(spoken.may_say(Urgency::Away, start));
        assert!(!spoken.clone().may_say(Urgency::Away, start + REMIND_AFTER / 2));
        assert!(spoken.may_say(Urgency::Act("grant it"), start), "another reason is news");
        assert!(spoken.may_say(Urgency::Away, start + REMIND_AFTER));
    }

    #[test]
    fn what_fails_and_works_in_turns_is_said_once_a_minute_and_an_outage_after_a_while_at_once() {
        let (spoken, start) = (Spoken::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let said = (0..300).filter(|turn| {
            let said = spoken.may_say(Urgency::Away, at(turn * 300));
            spoken.is_back(at(turn * 300 + 100));
            said
        });
        assert_eq!(said.collect::<Vec<u64>>(), [0, 200], "at the beginning and after a minute");
        assert!(spoken.may_say(Urgency::Away, at(300 * 300 + 2_000)), "it has worked for two seconds");
    }
}
