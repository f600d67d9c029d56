//! Answers of handlers, guest or native, and what of them counts: words are cut to what a row holds.

use std::error::Error;
use std::time::Duration;

use super::backtrace::DETAIL_BYTES_MAX;
use crate::message::{LAST_ERROR_BYTES_MAX, bounded};
use crate::pipeline::outcome::{End, Fault, Outcome};

/// The longest wait that a handler may ask for, for a retry as for a message.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
const CODE_BYTES_MAX: usize = 128;

/// An error that a handler does not judge: it costs an attempt, and the message comes again until its
/// attempts are used up. Any error becomes one through `?`, with its causes as the detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub(super) message: String,
    pub(super) code: Option<String>,
    pub(super) detail: Option<String>,
}

impl Failure {
    /// Makes a failure in the handler's words, which stand in the message's last error.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: None, detail: None }
    }

    /// A stable name by which dead letters are grouped, for example `out-of-stock`.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// More for whoever looks into it; what is too long is cut.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        let causes: Vec<String> = causes.map(|cause| format!("caused by: {cause}")).collect();
        let detail = (!causes.is_empty()).then(|| causes.join("\n"));
        Self { message: error.to_string(), code: None, detail }
    }
}

/// Returns how the call ended.
pub(super) fn end(reply: Result<Outcome, Failure>) -> End {
    let words = |text: String| bounded(&text, LAST_ERROR_BYTES_MAX);
    match reply {
        Ok(Outcome::Completed) => End::Decided(Outcome::Completed),
        Ok(Outcome::Skipped(reason)) => End::Decided(Outcome::Skipped(words(reason))),
        Ok(Outcome::Rejected(reason)) => End::Decided(Outcome::Rejected(words(reason))),
        Ok(Outcome::Retry { reason, after, counts }) => {
            if after.is_some_and(|after| after > DELAY_MAX) {
                let reason = "its retry's after-ms is more than 365 days".to_owned();
                return End::Faulted(Fault::BadReply { reason });
            }
            End::Decided(Outcome::Retry { reason: words(reason), after, counts })
        }
        Err(failure) => End::Faulted(Fault::Failed {
            message: words(failure.message),
            code: failure
                .code
                .filter(|code| !code.trim().is_empty())
                .map(|code| bounded(&code, CODE_BYTES_MAX)),
            detail: failure.detail.map(|detail| bounded(&detail, DETAIL_BYTES_MAX)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absurd_wait_is_a_bad_reply() {
        let end = |after| end(Ok(Outcome::Retry { reason: "busy".to_owned(), after, counts: true }));
        assert!(matches!(
            end(Some(Duration::from_millis(5))),
            End::Decided(Outcome::Retry { after: Some(_), .. })
        ));
        assert!(matches!(end(Some(Duration::MAX)), End::Faulted(Fault::BadReply { .. })));
    }

    #[test]
    fn any_error_is_a_failure_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("no order could be read")]
        struct Unread(#[source] std::num::ParseIntError);
        let Err(source) = "x".parse::<u8>() else { panic!("`x` is not a number") };
        let cause = format!("caused by: {source}");
        let failure = Failure::from(Unread(source));
        assert_eq!(failure, Failure::new("no order could be read").detail(cause));
    }
}
