//! The world's `sql`, which no manifest can grant yet: the answer names the grant.

use crate::handler::bindings::mailroom::contract::sql;
use crate::handler::effects::refused;
use crate::handler::guest::Guest;

/// SQLSTATE insufficient_privilege.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

const DENIED: &str =
    "the grant `sql` is missing: this host does not give SQL to handlers; use state or outbox";

fn denied(guest: &mut Guest, statement: &str) -> sql::SqlError {
    guest.effects.note(|| refused(format!("SQL {statement}"), Some("sql"), &DENIED));
    sql::SqlError { sqlstate: INSUFFICIENT_PRIVILEGE.to_owned(), message: DENIED.to_owned() }
}

impl sql::Host for Guest {
    async fn query(
        &mut self,
        statement: String,
        _params: Vec<sql::Value>,
    ) -> wasmtime::Result<Result<sql::Table, sql::SqlError>> {
        Ok(Err(denied(self, &statement)))
    }

    async fn execute(
        &mut self,
        statement: String,
        _params: Vec<sql::Value>,
    ) -> wasmtime::Result<Result<u64, sql::SqlError>> {
        Ok(Err(denied(self, &statement)))
    }
}
