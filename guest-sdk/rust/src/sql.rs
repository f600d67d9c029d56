//! SQL in the message's own transaction, as the role that the manifest names with `grants.sql`.
//!
//! One SELECT, INSERT, UPDATE, DELETE or MERGE at a time. What it writes commits with the call, and is dropped where
//! the call does not complete. After an error the call can no longer complete: return it with `?`.
//!
//! ```no_run
//! use mailroom_guest::{Stop, sql};
//!
//! # fn charge(order: &str, cents: i64) -> Result<(), Stop> {
//! let table = sql::query("select balance from account where id = $1::uuid", &[order.into()])?;
//! let Some(account) = table.first() else { return Err(Stop::reject("no such account")) };
//! if account.get::<i64>("balance")? < cents {
//!     return Err(Stop::skip("not enough money"));
//! }
//! sql::execute("update account set balance = balance - $2 where id = $1::uuid", &[order.into(), cents.into()])?;
//! # Ok(())
//! # }
//! ```

mod row;

use crate::bindings::sql::mailroom::contract::sql as wire;
pub use crate::bindings::sql::mailroom::contract::sql::{Table, Value};
use crate::host;
pub use row::{Column, ColumnError, FromValue, Row};

/// Runs a statement and gives its rows.
///
/// # Errors
/// Postgres' own, or the host's where the manifest does not grant it.
pub fn query(statement: &str, params: &[Value]) -> Result<Table, SqlError> {
    Ok(host::query(statement, params)?)
}

/// Runs a statement and gives the number of rows that it wrote.
///
/// # Errors
/// As [`query`].
pub fn execute(statement: &str, params: &[Value]) -> Result<u64, SqlError> {
    Ok(host::execute(statement, params)?)
}

/// Reason why a statement failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (SQLSTATE {sqlstate})")]
pub struct SqlError {
    /// Five characters, such as `23505` for a unique violation.
    pub sqlstate: String,
    /// Description in Postgres' words, or the host's.
    pub message: String,
}

impl From<wire::SqlError> for SqlError {
    fn from(error: wire::SqlError) -> Self {
        let wire::SqlError { sqlstate, message } = error;
        Self { sqlstate, message }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
