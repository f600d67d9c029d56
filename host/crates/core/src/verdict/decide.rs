//! Decision from how a call ended to what is settled. A delay goes out, never an instant: Postgres adds it to
//! its own clock, so hosts need no agreed time.

use std::time::Duration;

use super::backoff;
use super::outcome::{End, Fault, Outcome};
use super::policy::{BehindDead, Blocking, RetryPolicy};

/// Retries that cost no attempt go on for at most this many deliveries beyond the budget.
const UNCOUNTED_MAX: u32 = 100;

/// Decision about a message after a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done, with its effects.
    Completed,
    /// Done, without effects.
    Skipped {
        /// The handler's words.
        reason: String,
    },
    /// Pending again, not before `delay` has passed.
    Retry {
        /// The time from the settlement to the next attempt.
        delay: Duration,
        /// True if it costs an attempt.
        counted: bool,
        /// Failure behind it.
        cause: Cause,
    },
    /// Failed; the dead letter is written with it.
    Dead {
        /// The way it died.
        reason: DeadReason,
        /// True if it cost an attempt.
        counted: bool,
        /// Failure behind it.
        cause: Cause,
    },
    /// Nothing is settled: the same again after `delay`.
    Again {
        /// The time to the next call.
        delay: Duration,
        /// Error of what was away.
        error: String,
    },
}

impl Verdict {
    /// Returns the verdict where the message is not to be handed over a second time.
    pub fn at_most_once(self) -> Self {
        let cause = match self {
            Self::Retry { cause, .. } => cause,
            Self::Again { error, .. } => return Self::interrupted(error),
            Self::Completed | Self::Skipped { .. } | Self::Dead { .. } => return self,
        };
        Self::Dead { reason: DeadReason::Exhausted, counted: true, cause }
    }

    /// The end of a message that may be handed over once, was, and of which no end is known.
    #[must_use]
    pub fn interrupted(error: String) -> Self {
        let cause = Cause { error, ..Cause::default() };
        Self::Dead { reason: DeadReason::Interrupted, counted: false, cause }
    }

    /// Returns the failure, where the handler's end of it is settled as one.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Retry { cause, .. } | Self::Dead { cause, .. } => Some(cause),
            Self::Completed | Self::Skipped { .. } | Self::Again { .. } => None,
        }
    }

    /// Gives the bytes of its words.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Completed => 0,
            Self::Skipped { reason } => reason.len(),
            Self::Again { error, .. } => error.len(),
            Self::Retry { cause, .. } | Self::Dead { cause, .. } => {
                let optional = [&cause.code, &cause.detail];
                cause.error.len() + optional.into_iter().flatten().map(String::len).sum::<usize>()
            }
        }
    }
}

/// Reason why a message is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadReason {
    /// The budget of attempts is spent.
    Exhausted,
    /// The handler said that it can never succeed.
    Rejected,
    /// The message cannot be carried to a handler.
    Quarantined,
    /// An earlier message of its key is dead, and the handler parks what follows.
    Parked,
    /// The process died while the message ran alone.
    CrashLoop,
    /// The message may be handed over once, was, and how that ended is not known.
    Interrupted,
}

impl DeadReason {
    /// Gives what a death does to its key: the only rule about it. A parked message does not block its key again, and
    /// an operator's letter of the first one frees all.
    #[must_use]
    pub fn blocks(self, behind_dead: BehindDead) -> Option<Blocking> {
        match (behind_dead, self) {
            (BehindDead::Skip, _) | (_, Self::Parked) => None,
            (BehindDead::Block, _) => Some(Blocking::Wait),
            (BehindDead::Park, _) => Some(Blocking::Park),
        }
    }

    /// Returns the spelling of the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Rejected => "rejected",
            Self::Quarantined => "quarantined",
            Self::Parked => "parked",
            Self::CrashLoop => "crash-loop",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Failure as the records show it: the attempt's, and the dead letter's of the last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    /// The kind of fault, where it was one.
    pub fault: Option<&'static str>,
    /// The handler's own stable name for it.
    pub code: Option<String>,
    /// One line of words.
    pub error: String,
    /// Stack, causes or backtrace.
    pub detail: Option<String>,
}

/// Attempts and deliveries of a message, and how many it may have.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Failures counted so far.
    pub attempts_made: u32,
    /// Failures allowed before it is dead.
    pub attempts_max: u32,
    /// Deliveries that ended so far.
    pub deliveries: u32,
}

/// Judges the end of a call. `chance` is uniform in 0..1.
pub fn decide(end: End, budget: Budget, policy: &RetryPolicy, chance: f64) -> Verdict {
    let judge = Judge { budget, policy, chance };
    match end {
        End::Decided(Outcome::Completed) => Verdict::Completed,
        End::Decided(Outcome::Skipped(reason)) => Verdict::Skipped { reason },
        End::Decided(Outcome::Rejected(error)) => Verdict::Dead {
            reason: DeadReason::Rejected,
            counted: false,
            cause: Cause { error, ..Cause::default() },
        },
        End::Decided(Outcome::Retry { reason, after, counts: false }) if budget.may_go_uncounted() => {
            let delay = after.unwrap_or_else(|| judge.backoff(budget.attempts_made + 1));
            let cause = Cause { error: reason, ..Cause::default() };
            Verdict::Retry { delay, counted: false, cause }
        }
        End::Decided(Outcome::Retry { reason, after, counts: _ }) => {
            judge.counted(after, Cause { error: reason, ..Cause::default() })
        }
        End::Faulted(fault) => judge.counted(None, cause(fault)),
        End::Unavailable(error) | End::NotCalled(error) => {
            Verdict::Again { delay: judge.backoff(1).min(Duration::from_secs(1)), error }
        }
    }
}

impl Budget {
    fn may_go_uncounted(&self) -> bool {
        self.deliveries < self.attempts_max.saturating_add(UNCOUNTED_MAX)
    }
}

struct Judge<'p> {
    budget: Budget,
    policy: &'p RetryPolicy,
    chance: f64,
}

impl Judge<'_> {
    fn counted(&self, after: Option<Duration>, cause: Cause) -> Verdict {
        let made = self.budget.attempts_made + 1;
        if made >= self.budget.attempts_max {
            return Verdict::Dead { reason: DeadReason::Exhausted, counted: true, cause };
        }
        let delay = after.unwrap_or_else(|| self.backoff(made));
        Verdict::Retry { delay, counted: true, cause }
    }

    fn backoff(&self, failures: u32) -> Duration {
        backoff::delay(self.policy, failures, self.chance)
    }
}

/// The words of a fault, for the row and the dead letter.
pub fn cause(fault: Fault) -> Cause {
    let (kind, error) = (fault.kind(), fault.to_string());
    let (code, detail) = match fault {
        Fault::Failed { code, detail, .. } => (code, detail),
        Fault::OutOfFuel { backtrace, .. }
        | Fault::Deadline { backtrace, .. }
        | Fault::Memory { backtrace, .. }
        | Fault::Table { backtrace, .. }
        | Fault::HostMemory { backtrace, .. }
        | Fault::LogLines { backtrace, .. }
        | Fault::Stack { backtrace }
        | Fault::Trap { backtrace, .. } => (None, Some(backtrace).filter(|trace| !trace.is_empty())),
        Fault::BadReply { .. } | Fault::Sql { .. } => (None, None),
    };
    Cause { fault: Some(kind), code, error, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::words_of;

    const POLICY: RetryPolicy =
        RetryPolicy { attempts_max: 3, base: Duration::from_secs(10), cap: Duration::from_secs(60) };

    fn budget(attempts_made: u32) -> Budget {
        Budget { attempts_made, attempts_max: 3, deliveries: attempts_made }
    }

    fn failed() -> End {
        End::Faulted(Fault::Failed {
            message: "no".into(),
            code: Some("c".into()),
            detail: Some("at 1".into()),
        })
    }

    /// All that is known of it.
    fn told() -> Cause {
        let error = "no".to_owned();
        Cause { fault: Some("failure"), code: Some("c".into()), error, detail: Some("at 1".into()) }
    }

    fn retry(after: Option<Duration>, counts: bool) -> End {
        End::Decided(Outcome::Retry { reason: "busy".into(), after, counts })
    }

    #[test]
    fn a_failure_waits_until_the_budget_is_spent() {
        let first = decide(failed(), budget(0), &POLICY, 1.0);
        assert_eq!(first, Verdict::Retry { delay: Duration::from_secs(10), counted: true, cause: told() });
        let second = decide(failed(), budget(1), &POLICY, 1.0);
        assert_eq!(second, Verdict::Retry { delay: Duration::from_secs(20), counted: true, cause: told() });
        let Verdict::Dead { reason, counted, cause } = decide(failed(), budget(2), &POLICY, 1.0) else {
            panic!("the third failure of three ends it")
        };
        assert_eq!((reason, counted, cause), (DeadReason::Exhausted, true, told()));
    }

    #[test]
    fn the_handlers_own_delay_wins_and_may_cost_nothing_for_a_while() {
        let after = Some(Duration::from_secs(99));
        let busy = Cause { error: "busy".into(), ..Cause::default() };
        assert_eq!(
            decide(retry(after, false), budget(2), &POLICY, 1.0),
            Verdict::Retry { delay: Duration::from_secs(99), counted: false, cause: busy }
        );
        let worn = Budget { deliveries: 103, ..budget(2) };
        assert!(matches!(decide(retry(after, false), worn, &POLICY, 1.0), Verdict::Dead { .. }));
    }

    #[test]
    fn what_is_outside_the_guest_settles_nothing() {
        let verdict = decide(End::Unavailable("away".into()), budget(2), &POLICY, 1.0);
        assert_eq!(verdict, Verdict::Again { delay: Duration::from_secs(1), error: "away".into() });
    }

    #[test]
    fn what_may_run_once_is_dead_where_it_would_run_again() {
        let again = decide(retry(None, false), budget(0), &POLICY, 1.0).at_most_once();
        assert!(
            matches!(again, Verdict::Dead { reason: DeadReason::Exhausted, counted: true, .. }),
            "{again:?}"
        );
        assert_eq!(Verdict::Completed.at_most_once(), Verdict::Completed);
        let lost = decide(End::Unavailable("away".into()), budget(0), &POLICY, 1.0).at_most_once();
        assert_eq!(lost, Verdict::interrupted("away".into()), "it was begun, and who knows what it did");
        let dead = decide(failed(), budget(0), &POLICY, 1.0).at_most_once();
        let whole = Verdict::Dead { reason: DeadReason::Exhausted, counted: true, cause: told() };
        assert_eq!(dead, whole, "nothing of the cause is dropped");
    }

    #[test]
    fn every_way_to_die_closes_its_key_as_the_policy_says_but_parking_which_finds_it_closed() {
        let closing = [
            DeadReason::Exhausted,
            DeadReason::Rejected,
            DeadReason::Quarantined,
            DeadReason::CrashLoop,
            DeadReason::Interrupted,
        ];
        let policies = [BehindDead::Skip, BehindDead::Block, BehindDead::Park];
        for reason in closing {
            let blocks = policies.map(|policy| reason.blocks(policy));
            assert_eq!(blocks, [None, Some(Blocking::Wait), Some(Blocking::Park)], "{reason:?}");
        }
        assert_eq!(policies.map(|policy| DeadReason::Parked.blocks(policy)), [None, None, None]);
    }

    #[test]
    fn the_page_of_errors_has_every_reason_of_a_death() {
        let page = include_str!("../../../../../docs/errors.md");
        let (_, page) = page.split_once("\n## Dead letters\n").unwrap();
        let reasons = words_of(include_str!("decide.rs"), "as_str");
        assert!(reasons.len() > 5 && reasons.contains(&DeadReason::Exhausted.as_str()), "{reasons:?}");
        for reason in reasons {
            assert!(page.contains(&format!("\n| `{reason}` | ")), "{reason}");
        }
    }

    #[test]
    fn a_rejection_is_dead_at_once_and_costs_no_attempt() {
        let verdict = decide(End::Decided(Outcome::Rejected("bad".into())), budget(0), &POLICY, 1.0);
        let Verdict::Dead { reason: DeadReason::Rejected, counted: false, cause } = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(cause.error, "bad");
    }
}
