//! `sql`, as the contract words it.

use crate::db::{self, SqlError};
use crate::handler::bindings::mailroom::contract::sql;
use crate::handler::fault::{DeadlinePassed, HostUnavailable};
use crate::handler::guest::Guest;

type Answer<T> = wasmtime::Result<Result<T, sql::SqlError>>;

impl sql::Host for Guest {
    async fn query(&mut self, statement: String, params: Vec<sql::Value>) -> Answer<sql::Table> {
        let ran = self.effects.run_sql(&statement, params.into_iter().map(to_host).collect()).await;
        self.answer(ran.map(|table| sql::Table {
            columns: table.columns,
            rows: table.rows.into_iter().map(|row| row.into_iter().map(to_guest).collect()).collect(),
        }))
    }

    async fn execute(&mut self, statement: String, params: Vec<sql::Value>) -> Answer<u64> {
        let ran = self.effects.run_sql(&statement, params.into_iter().map(to_host).collect()).await;
        self.answer(ran.map(|table| table.affected))
    }
}

impl Guest {
    /// A statement that took all the time there was ends the call, as computing or waiting elsewhere does.
    fn answer<T>(&self, ran: Result<T, SqlError>) -> Answer<T> {
        match ran {
            Ok(value) => Ok(Ok(value)),
            Err(SqlError::Refused { .. }) if self.effects.time_is_over() => Err(DeadlinePassed.into()),
            Err(SqlError::Refused { sqlstate, message }) => Ok(Err(sql::SqlError { sqlstate, message })),
            Err(SqlError::Unavailable(why)) => Err(HostUnavailable(why).into()),
        }
    }
}

fn to_host(value: sql::Value) -> db::Value {
    match value {
        sql::Value::Null => db::Value::Null,
        sql::Value::Boolean(value) => db::Value::Boolean(value),
        sql::Value::Integer(value) => db::Value::Integer(value),
        sql::Value::Float(value) => db::Value::Float(value),
        sql::Value::Text(value) => db::Value::Text(value),
        sql::Value::Bytes(value) => db::Value::Bytes(value),
    }
}

fn to_guest(value: db::Value) -> sql::Value {
    match value {
        db::Value::Null => sql::Value::Null,
        db::Value::Boolean(value) => sql::Value::Boolean(value),
        db::Value::Integer(value) => sql::Value::Integer(value),
        db::Value::Float(value) => sql::Value::Float(value),
        db::Value::Text(value) => sql::Value::Text(value),
        db::Value::Bytes(value) => sql::Value::Bytes(value),
    }
}
