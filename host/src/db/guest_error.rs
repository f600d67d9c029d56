//! Errors of guests' statements, and whose doing each was.

use super::DbError;
use super::meaning::{self, Meaning};

/// SQLSTATE admin_shutdown: Postgres ended the session.
const ENDED: &str = "57P01";
/// SQLSTATE protocol_violation: the protocol has no words for it.
const NOT_SENT: &str = "08P01";
/// SQLSTATE out_of_memory, of locks too, and configuration_limit_exceeded: this statement asked for too much.
const GREEDY: [&str; 2] = ["53200", "53400"];

/// Reason why a statement gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SqlError {
    /// The statement's own fault: SQLSTATE and Postgres' words.
    #[error("{message} ({sqlstate})")]
    Refused { sqlstate: String, message: String },
    /// Postgres is away, or chose this transaction as a victim; nothing the guest could have done.
    #[error("{0}")]
    Unavailable(String),
}

impl SqlError {
    pub(crate) fn refused(sqlstate: &str, message: impl Into<String>) -> Self {
        Self::Refused { sqlstate: sqlstate.to_owned(), message: message.into() }
    }

    /// Makes the error of a guest's statement. That its session was ended counts as its own doing until more
    /// is known.
    pub(super) fn of(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(error) = error else {
            return match meaning::of(&error) {
                Meaning::Outage | Meaning::Operator(_) => Self::Unavailable(error.to_string()),
                // The client could not say it, or not read the answer: the same statement never gets further.
                Meaning::Retry | Meaning::BadData | Meaning::Bug => {
                    Self::refused(NOT_SENT, error.to_string())
                }
            };
        };
        let sqlstate = error.code().unwrap_or_default().into_owned();
        if is_transient(&sqlstate) && sqlstate != ENDED {
            return Self::Unavailable(format!("{} ({sqlstate})", error.message()));
        }
        Self::refused(&sqlstate, error.message())
    }

    /// Tells whether Postgres ended the session: for its own end, or for somebody who asked it to.
    pub(super) fn ended_session(&self) -> bool {
        matches!(self, Self::Refused { sqlstate, .. } if sqlstate == ENDED)
    }
}

impl DbError {
    /// Tells whether a transaction that a guest had its hands in failed by the guest's doing.
    pub(crate) fn is_guests_doing(&self) -> bool {
        self.sqlstate().is_some_and(|sqlstate| !is_transient(&sqlstate) && !is_of_the_host(&sqlstate))
    }
}

/// Rights, schema and statements of the host's own, which a commit of a guest's does not touch.
fn is_of_the_host(sqlstate: &str) -> bool {
    ["28", "3D", "42", "55000"].iter().any(|class| sqlstate.starts_with(class))
}

/// Lost connections, lack of resources, an administrator's hand, victims of deadlocks and of serialization, and
/// locks that were waited for in vain. A statement that was cancelled took too long, and one that wants more than
/// there is would want it for ever.
fn is_transient(sqlstate: &str) -> bool {
    let class = ["08", "40", "53", "57P"].iter().any(|class| sqlstate.starts_with(class));
    (class && !GREEDY.contains(&sqlstate)) || sqlstate == "55P03"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_cannot_send_or_read_is_the_statements_fault_and_a_lost_connection_is_not() {
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for error in [sqlx::Error::Io(lost), sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed] {
            assert!(matches!(SqlError::of(error), SqlError::Unavailable(_)));
        }
        for error in [
            sqlx::Error::Protocol("too many arguments for query".to_owned()),
            sqlx::Error::Encode("too large".into()),
            sqlx::Error::TypeNotFound { type_name: "t".to_owned() },
            sqlx::Error::ColumnNotFound("c".to_owned()),
        ] {
            assert!(matches!(SqlError::of(error), SqlError::Refused { .. }));
        }
    }

    #[test]
    fn what_a_guest_brings_about_by_itself_is_not_transient() {
        for transient in ["08006", "40P01", "40001", "53100", "53300", "55P03", "57P01", "57P03"] {
            assert!(is_transient(transient), "{transient}");
        }
        for own in ["22P02", "23505", "25P03", "42601", "53200", "53400", "57014", "MR001", ""] {
            assert!(!is_transient(own), "{own}");
        }
    }
}
