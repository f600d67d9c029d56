//! What an error of Postgres asks its caller to do.

/// An error of Postgres or of the way to it.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub(crate) struct DbError {
    /// What was being done, for the message.
    doing: &'static str,
    #[source]
    source: sqlx::Error,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Postgres is away, busy, restarting, or chose this transaction as a victim: the same again later.
    Transient,
    /// SQLSTATE class 22, 23 or 54: somebody's data is bad.
    BadData,
    /// Wrong role, missing table, wrong SQL: an operator has to act, and the same again may then do.
    Operator,
}

impl DbError {
    /// Wraps an error with what was being done.
    pub(crate) fn new(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { doing, source }
    }

    /// Postgres' own code, where it said one.
    pub(crate) fn sqlstate(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.source.as_database_error().and_then(|error| error.code())
    }

    /// What to do about it, by SQLSTATE class.
    #[must_use]
    pub(crate) fn meaning(&self) -> Meaning {
        let sqlx::Error::Database(error) = &self.source else {
            let unreadable = matches!(
                self.source,
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_)
            );
            return if unreadable { Meaning::BadData } else { Meaning::Transient };
        };
        match error.code().as_deref().unwrap_or_default() {
            // 54: program limits, such as an index entry that is too large.
            code if ["22", "23", "54"].iter().any(|class| code.starts_with(class)) => Meaning::BadData,
            // Undefined objects, syntax and privileges; wrong password; unknown database.
            code if code.starts_with("42") || code.starts_with("28") || code.starts_with("3D") => {
                Meaning::Operator
            }
            _ => Meaning::Transient,
        }
    }
}
