//! Every ending of a call but success.
//!
//! Words only: which of them costs an attempt and what follows is the host's to decide. `Stop` is
//! not an error itself, so that `?` can turn every error into one.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use crate::bindings::mailroom::contract::types as wire;

/// Reason why a call did not complete. Its effects are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Retry: the message is handed over again later, see [`Stop::retry`].
    Retry(Retry),
    /// Nothing to do; the message is completed with this reason.
    Skip(String),
    /// Rejection: the message can never succeed, and is a dead letter at once, with this reason.
    Reject(String),
    /// Failure: the host counts it, and tries again until the attempts are used up.
    Fail(Failure),
}

impl Stop {
    /// Retries later, with the host's backoff and at the cost of an attempt unless more is said:
    /// `Err(Stop::retry("the carrier is busy").after(delay).uncounted().into())`.
    pub fn retry(reason: impl Into<String>) -> Retry {
        Retry { reason: reason.into(), after: None, counts: true }
    }

    /// Skips the message: nothing is to be done, and it is completed with this reason.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }

    /// Rejects the message, which can never succeed.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }

    /// Fails the call; the host counts it, and tries again until the attempts are used up. A code groups its
    /// dead letters: `Err(Stop::fail("no stock left").code("out-of-stock").into())`.
    pub fn fail(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: None, detail: None }
    }

    /// The answer that the host understands.
    pub(crate) fn into_answer(self) -> Result<wire::Outcome, wire::Failure> {
        match self {
            Self::Retry(Retry { reason, after, counts }) => {
                let after_ms = after.map(milliseconds);
                Ok(wire::Outcome::Retry(wire::Retry { reason, after_ms, counts }))
            }
            Self::Skip(reason) => Ok(wire::Outcome::Skipped(reason)),
            Self::Reject(reason) => Ok(wire::Outcome::Rejected(reason)),
            Self::Fail(Failure { message, code, detail }) => Err(wire::Failure { message, code, detail }),
        }
    }
}

/// A wish to be called again, from [`Stop::retry`]; `.into()` makes it a [`Stop`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "return it as `Err(retry.into())`"]
pub struct Retry {
    reason: String,
    after: Option<Duration>,
    counts: bool,
}

impl Retry {
    /// Sets the delay, instead of the host's backoff.
    pub fn after(mut self, delay: Duration) -> Self {
        self.after = Some(delay);
        self
    }

    /// Costs no attempt. The host bounds how long this can go on.
    pub fn uncounted(mut self) -> Self {
        self.counts = false;
        self
    }
}

/// An error of the handler's own, from [`Stop::fail`]; `.into()` makes it a [`Stop`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "return it as `Err(failure.into())`"]
pub struct Failure {
    message: String,
    code: Option<String>,
    detail: Option<String>,
}

impl Failure {
    /// A stable name by which dead letters are grouped, for example `out-of-stock`.
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// More for whoever looks into it; the host cuts what is too long.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl From<Retry> for Stop {
    fn from(retry: Retry) -> Self {
        Self::Retry(retry)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Fail(failure)
    }
}

impl<E: Error> From<E> for Stop {
    /// Any error is a failure in its own words, with its causes as the detail.
    fn from(error: E) -> Self {
        let mut causes = String::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            let separator = if causes.is_empty() { "" } else { "\n" };
            // Writing to a string cannot fail.
            write!(causes, "{separator}caused by: {error}").unwrap_or_default();
            cause = error.source();
        }
        let detail = (!causes.is_empty()).then_some(causes);
        Self::Fail(Failure { message: error.to_string(), code: None, detail })
    }
}

/// A longer duration than the contract can say is as good as never.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateError;

    #[test]
    fn every_ending_reaches_the_host_as_it_was_said() {
        let retry = Stop::retry("busy").after(Duration::from_secs(2)).uncounted();
        let failure = Stop::fail("refused").code("carrier-refused").detail("no more vans");
        let wire_failure = wire::Failure {
            message: "refused".to_owned(),
            code: Some("carrier-refused".to_owned()),
            detail: Some("no more vans".to_owned()),
        };
        for (stop, answer) in [
            (
                retry.into(),
                Ok(wire::Outcome::Retry(wire::Retry {
                    reason: "busy".to_owned(),
                    after_ms: Some(2000),
                    counts: false,
                })),
            ),
            (Stop::skip("a test order"), Ok(wire::Outcome::Skipped("a test order".to_owned()))),
            (Stop::reject("no customer"), Ok(wire::Outcome::Rejected("no customer".to_owned()))),
            (failure.into(), Err(wire_failure)),
        ] {
            assert_eq!(stop.into_answer(), answer);
        }
    }

    #[test]
    fn any_error_is_a_failure_with_its_causes() {
        let Err(source) = serde_json::from_str::<u8>("x") else { panic!("`x` is not a number") };
        let expected = Stop::fail("the value of `total` is not the JSON that this handler expects")
            .detail(format!("caused by: {source}"));

        let error = StateError::NotJson { name: "total".to_owned(), source };

        assert_eq!(Stop::from(error), expected.into());
    }
}
