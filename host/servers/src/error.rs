//! Errors of a server of one's own, by what the caller can do about it. Each message names the thing; where
//! something must be installed or moved, it names the remedy too.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reason why a server could not be had, or not be ended.
#[derive(Debug)]
pub enum Error {
    /// Something the server needs is not on this machine.
    Missing {
        /// The program, file or permission that is not there.
        what: String,
        /// Remedy, so that it is there.
        remedy: String,
    },
    /// The program ended although it should run, or failed at its one task.
    Ended {
        /// The program.
        what: String,
        /// The last lines that it wrote.
        log_tail: String,
    },
    /// The server runs, and does not do what was waited for.
    NotReady {
        /// The server and what it did not do.
        what: String,
        /// Length of the wait.
        waited: Duration,
        /// The last lines that it wrote.
        log_tail: String,
    },
    /// Another living process has a server in this directory.
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A file or a process could not be handled.
    Io {
        /// Activity that failed, as in "write".
        doing: &'static str,
        /// The file or program.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { what, remedy } => write!(f, "{what} is missing: {remedy}"),
            Self::Ended { what, log_tail } => write!(f, "{what} ended; it wrote last:\n{log_tail}"),
            Self::NotReady { what, waited, log_tail } => {
                write!(f, "{what} within {waited:?}; it wrote last:\n{log_tail}")
            }
            Self::InUse { dir } => write!(
                f,
                "{} is used by a server of another running process: end that one, or choose another directory",
                dir.display()
            ),
            Self::Io { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Missing { .. } | Self::Ended { .. } | Self::NotReady { .. } | Self::InUse { .. } => None,
        }
    }
}

/// Makes an error for `map_err`: puts what was tried and on what beside the system's answer.
pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}
