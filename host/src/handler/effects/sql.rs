//! SQL: in a transaction of the call's own, as the role that the manifest names.

use super::{Effects, Phase, Sql, refused};
use crate::db::{GuestTx, SqlError, Table, Value};

/// SQLSTATE insufficient_privilege.
const NOT_GRANTED: &str = "42501";
/// SQLSTATE connection_does_not_exist.
const NO_CONNECTION: &str = "08003";
/// SQLSTATE in_failed_sql_transaction.
const LOST: &str = "25P02";
/// SQLSTATE program_limit_exceeded.
const TOO_MUCH: &str = "54000";

impl Effects {
    /// Runs one statement. After an error the call can no longer complete.
    pub(in crate::handler) async fn run_sql(
        &mut self,
        statement: &str,
        params: Vec<Value>,
    ) -> Result<Table, SqlError> {
        let ran = self.run(statement, params).await;
        if let Err(error) = &ran {
            let grant = self.manifest.grants.sql.is_none().then_some("grants.sql");
            self.note(|| refused(format!("SQL {statement}"), grant, error));
        }
        ran
    }

    async fn run(&mut self, statement: &str, params: Vec<Value>) -> Result<Table, SqlError> {
        let role = match (&self.manifest.grants.sql, self.phase) {
            (Some(role), Phase::Handling) => role,
            (None, _) | (Some(_), Phase::Subscribing) => {
                let message = "the handler may not use SQL; add it to its manifest: grants.sql = \"NAME\", where \
                               [sql.NAME] in the host's configuration says as whom it runs";
                return Err(SqlError::refused(NOT_GRANTED, message));
            }
        };
        let (mut tx, count) = match std::mem::take(&mut self.sql) {
            Sql::Open(tx, count) => (tx, count),
            Sql::Unused => {
                let none = || SqlError::refused(NO_CONNECTION, "there is no database here");
                let db = self.state.db().ok_or_else(none)?;
                (GuestTx::begin(db, role, self.deadline).await?, 0)
            }
            Sql::Lost(error) => {
                let answer = SqlError::refused(LOST, format!("an earlier statement failed: {error}"));
                self.sql = Sql::Lost(error);
                return Err(answer);
            }
        };
        let ran = if count >= self.manifest.limits.effects {
            let message =
                format!("a call may run {} statements (limits.effects)", self.manifest.limits.effects);
            Err(SqlError::refused(TOO_MUCH, message))
        } else {
            tx.run(statement, params, self.deadline).await
        };
        self.sql = match &ran {
            Ok(_) => Sql::Open(tx, count + 1),
            Err(error) => Sql::Lost(error.clone()),
        };
        ran
    }
}
