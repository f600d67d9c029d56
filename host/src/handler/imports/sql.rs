//! The world's `sql`, which no manifest can grant yet: the answer names the grant.

use crate::handler::bindings::mailroom::contract::sql;
use crate::handler::guest::Guest;

/// SQLSTATE insufficient_privilege.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

fn denied() -> sql::SqlError {
    sql::SqlError {
        sqlstate: INSUFFICIENT_PRIVILEGE.to_owned(),
        message: "the grant `sql` is missing: this host does not give SQL to handlers; use state or outbox"
            .to_owned(),
    }
}

impl sql::Host for Guest {
    async fn query(
        &mut self,
        _statement: String,
        _params: Vec<sql::Value>,
    ) -> wasmtime::Result<Result<sql::Table, sql::SqlError>> {
        Ok(Err(denied()))
    }

    async fn execute(
        &mut self,
        _statement: String,
        _params: Vec<sql::Value>,
    ) -> wasmtime::Result<Result<u64, sql::SqlError>> {
        Ok(Err(denied()))
    }
}
