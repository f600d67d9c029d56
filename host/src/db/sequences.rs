//! Sequences that stand below what was drawn from them: rows were copied without them, as by logical replication, or
//! somebody set them back.

use std::fmt;

use super::{Db, DbError};

/// A sequence that stands too low.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLow {
    of_table: String,
    of_column: String,
    sequence: String,
    stands_at: i64,
    highest: i64,
}

impl TooLow {
    /// Returns the statement that mends it.
    pub(crate) fn remedy(&self) -> String {
        let Self { of_table, of_column, highest, .. } = self;
        format!("alter table {of_table} alter {of_column} restart with {}", highest.saturating_add(1))
    }

    /// Returns what is wrong, with the statement that mends it.
    pub(crate) fn with_remedy(&self) -> String {
        format!("{self}: an operator has to say `{}`, or higher", self.remedy())
    }
}

/// Says what is wrong.
impl fmt::Display for TooLow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of_table, sequence, stands_at, highest, .. } = self;
        write!(
            f,
            "{sequence} stands at {stands_at}, below {highest} of what is there, so that numbers of {of_table} are given \
             twice"
        )
    }
}

/// Looks for sequences that stand below something that is there.
pub(crate) async fn too_low(db: &Db) -> Result<Vec<TooLow>, DbError> {
    sqlx::query_file_as!(TooLow, "src/db/sequences.sql")
        .fetch_all(db.pool())
        .await
        .map_err(DbError::new("comparing sequences with what is there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_that_helps_is_named() {
        let low = TooLow {
            of_table: "mailroom.outbox".to_owned(),
            of_column: "seq".to_owned(),
            sequence: "mailroom.outbox_seq_seq".to_owned(),
            stands_at: 1,
            highest: 50,
        };
        let said = low.to_string();
        assert!(said.starts_with("mailroom.outbox_seq_seq stands at 1, below 50 "), "{said}");
        assert_eq!(low.remedy(), "alter table mailroom.outbox alter seq restart with 51");
        assert!(low.with_remedy().ends_with("restart with 51`, or higher"), "{}", low.with_remedy());
    }
}
