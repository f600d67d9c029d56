//! Errors of Postgres: what each asks its caller to do, and how far the command had got.

use std::time::Duration;

use sqlx::error::DatabaseError;

use super::meaning::{self, Meaning};
use crate::outage::Urgency;

/// Postgres ended a statement that took too long.
const QUERY_CANCELED: &str = "57014";

/// An error of Postgres or of the way to it.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub(crate) struct DbError {
    /// Activity that failed, for the message.
    doing: &'static str,
    progress: Progress,
    #[source]
    source: sqlx::Error,
}

/// Progress of a command that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No connection was to be had: Postgres has seen nothing of it.
    NotSent,
    /// Postgres refused it, or takes back what was done: what loses its connection is rolled back.
    NotCommitted,
    /// The commit was sent and not answered, or answered by an end of the server. It was done, or not, or may
    /// still be: whoever goes by it has to read again what Postgres has.
    Unknown,
}

/// Error of a statement that is a transaction of its own, on its way through sqlx, which knows no progress.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
struct Tagged {
    progress: Progress,
    source: sqlx::Error,
}

impl DbError {
    /// Wraps an error with what was being done. A statement within a transaction is not committed.
    pub(crate) fn new(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| {
            let (progress, source) = untag(source);
            Self { doing, progress, source }
        }
    }

    /// Makes the error of a commit that was sent.
    pub(super) fn of_commit(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { doing, progress: progress_once_sent(&source), source }
    }

    /// Postgres' own code, where it said one.
    pub(crate) fn sqlstate(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.source.as_database_error().and_then(DatabaseError::code)
    }

    /// Tells whether it took longer than Postgres, or the host, gives it: less at once may do.
    pub(crate) fn is_late(&self) -> bool {
        let is_cancelled = self.sqlstate().is_some_and(|code| code == QUERY_CANCELED);
        let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
        is_cancelled || matches!(&self.source, sqlx::Error::Io(error) if timed_out(error))
    }

    /// Returns how far the command had got.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// Returns what to do about it.
    #[must_use]
    pub(crate) fn meaning(&self) -> Meaning {
        meaning::of(&self.source)
    }

    /// Returns how it is said where somebody waits it out.
    pub(crate) fn urgency(&self) -> Urgency {
        match self.meaning() {
            Meaning::Outage => Urgency::Away,
            Meaning::Retry => Urgency::Quiet,
            Meaning::Operator(remedy) => Urgency::Act(remedy),
            // Whose data it is would have been asked where it was sent: nobody waits until the server takes it.
            Meaning::BadData | Meaning::Bug => Urgency::Bug,
        }
    }

    /// The error in words, with what an operator has to do about it.
    pub(crate) fn with_remedy(&self) -> String {
        // Whoever gave the data is told Postgres' own words.
        if self.meaning() == Meaning::BadData { self.to_string() } else { self.urgency().reason(self) }
    }
}

/// Error of a command that was not answered in time.
pub(super) fn no_answer(limit: Duration) -> sqlx::Error {
    let why = format!("no answer within {limit:?}");
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
}

/// Gives an error its progress.
pub(super) fn tag(progress: Progress) -> impl FnOnce(sqlx::Error) -> sqlx::Error {
    move |source| sqlx::Error::AnyDriverError(Box::new(Tagged { progress, source }))
}

/// Gives an error its progress, unless it has one.
pub(super) fn tag_unless(progress: Progress, error: sqlx::Error) -> sqlx::Error {
    if let sqlx::Error::AnyDriverError(inner) = &error
        && inner.is::<Tagged>()
    {
        return error;
    }
    tag(progress)(error)
}

fn untag(error: sqlx::Error) -> (Progress, sqlx::Error) {
    let sqlx::Error::AnyDriverError(error) = error else { return (Progress::NotCommitted, error) };
    match error.downcast::<Tagged>() {
        Ok(tagged) => (tagged.progress, tagged.source),
        Err(error) => (Progress::NotCommitted, sqlx::Error::AnyDriverError(error)),
    }
}

/// Returns how far a commit, or a statement that is a transaction of its own, had got once it was sent.
pub(super) fn progress_once_sent(error: &sqlx::Error) -> Progress {
    let known = if let sqlx::Error::Database(error) = error {
        let code = error.code().unwrap_or_default();
        // A pooler says 08 of a server it lost; Postgres says 57P01 to whoever waits for a standby with the commit
        // already made, and 40003 where it does not know either.
        !(code.starts_with("08") || code.starts_with("57P") || code == "40003")
    } else {
        // Its arguments never left.
        matches!(error, sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_))
    };
    if known { Progress::NotCommitted } else { Progress::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_did_not_come_in_time_is_late_and_one_that_was_refused_is_not() {
        assert!(DbError::new("settling")(no_answer(Duration::from_secs(1))).is_late());
        assert!(!DbError::new("settling")(sqlx::Error::PoolTimedOut).is_late(), "nothing was sent");
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(!DbError::new("settling")(sqlx::Error::Io(lost)).is_late());
    }

    #[test]
    fn a_lost_answer_is_unknown_only_where_it_was_a_commits() {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        assert_eq!(DbError::new("a statement of a transaction")(lost()).progress(), Progress::NotCommitted);
        assert_eq!(DbError::of_commit("a commit")(lost()).progress(), Progress::Unknown);
        for progress in [Progress::NotSent, Progress::NotCommitted, Progress::Unknown] {
            assert_eq!(DbError::new("a statement alone")(tag(progress)(lost())).progress(), progress);
        }
    }
}
