//! Failures of commands, and the exit code that says each to scripts.

use std::io;
use std::process::ExitCode;

use crate::author::AuthorError;
use crate::config::ConfigErrors;
use crate::db::migrate::SchemaError;
use crate::db::reach::ReachError;
use crate::db::{DbError, Meaning};
use crate::message::shown_lines;

/// Reason why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Everything that is wrong with the configuration.
    #[error("the configuration is not valid\n{0}")]
    Config(#[from] ConfigErrors),
    /// An argument that only looking at it can refuse.
    #[error("{0}")]
    Usage(String),
    /// The thing that was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The database cannot be opened.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The database's schema is another one.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A statement failed.
    #[error("{}", .0.with_remedy())]
    Db(#[from] DbError),
    /// A component or its manifest is refused.
    #[error("{0}")]
    Refused(String),
    /// A project of an author's, or a tool that it needs.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// A server of `mailroom dev`.
    #[error(transparent)]
    Server(#[from] mailroom_servers::Error),
    /// Failure of the host, in its own words.
    #[error("{0}")]
    Host(String),
    /// A file, a stream or the system.
    #[error("{0}: {1}")]
    Io(&'static str, #[source] io::Error),
}

impl Failure {
    /// Says it on standard error and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        eprintln!("mailroom: {}", shown_lines(&self.to_string()));
        ExitCode::from(self.code())
    }

    /// Returns the exit code, as `--help` lists it.
    fn code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Usage(_)
            | Self::Author(AuthorError::Refused(_))
            | Self::Reach(ReachError::Url(_)) => 2,
            Self::NotFound(_) => 3,
            Self::Reach(ReachError::Unreachable(_)) => 4,
            Self::Db(error) | Self::Schema(SchemaError::Db(error)) => match error.meaning() {
                Meaning::BadData => 2,
                Meaning::Operator(_) | Meaning::Bug => 1,
                Meaning::Outage | Meaning::Retry => 4,
            },
            Self::Schema(SchemaError::Migration { source, .. }) => match source.meaning() {
                Meaning::Outage => 4,
                Meaning::Retry | Meaning::BadData | Meaning::Operator(_) | Meaning::Bug => 1,
            },
            Self::Schema(
                SchemaError::Behind { .. }
                | SchemaError::Newer { .. }
                | SchemaError::Changed(_)
                | SchemaError::Old(_)
                | SchemaError::Encoding(_)
                | SchemaError::Pooled(_),
            )
            | Self::Refused(_)
            | Self::Author(AuthorError::Tool(_) | AuthorError::Build(_) | AuthorError::File { .. })
            | Self::Server(_)
            | Self::Host(_)
            | Self::Io(..) => 1,
        }
    }
}
