//! Values between a guest's SQL and Postgres: the few that the contract has. All others travel as text and are
//! cast in the statement.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, PgValueRef};
use sqlx::query::Query;
use sqlx::{Decode as _, Encode, Postgres, Row as _, Type, TypeInfo as _, ValueRef as _};

use super::SqlError;

/// A parameter or a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Value {
    /// Postgres' name of its type; that of a null is found by where it stands.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "unknown",
            Self::Boolean(_) => "boolean",
            Self::Integer(_) => "bigint",
            Self::Float(_) => "double precision",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytea",
        }
    }

    /// The type that it is sent as.
    pub(super) fn type_info(&self) -> PgTypeInfo {
        fn of<T: Type<Postgres>>() -> PgTypeInfo {
            T::type_info()
        }
        match self {
            Self::Null => of::<Null>(),
            Self::Boolean(_) => of::<bool>(),
            Self::Integer(_) => of::<i64>(),
            Self::Float(_) => of::<f64>(),
            Self::Text(_) => of::<String>(),
            Self::Bytes(_) => of::<Vec<u8>>(),
        }
    }
}

/// A null of whatever type is wanted.
struct Null;

impl Type<Postgres> for Null {
    fn type_info() -> PgTypeInfo {
        /// `unknown`, by its fixed number in `pg_type`.
        const UNKNOWN: Oid = Oid(705);
        PgTypeInfo::with_oid(UNKNOWN)
    }
}

impl Encode<'_, Postgres> for Null {
    fn encode_by_ref(&self, _buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

pub(super) fn bind(
    query: Query<'_, Postgres, PgArguments>,
    value: Value,
) -> Query<'_, Postgres, PgArguments> {
    match value {
        Value::Null => query.bind(Null),
        Value::Boolean(value) => query.bind(value),
        Value::Integer(value) => query.bind(value),
        Value::Float(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    }
}

/// A row's fields, and about how many bytes they are.
pub(super) fn read(row: &PgRow) -> Result<(Vec<Value>, usize), SqlError> {
    let mut values = Vec::with_capacity(row.len());
    // A row without columns takes room too.
    let mut bytes = size_of::<Vec<Value>>();
    for index in 0..row.len() {
        let field = row.try_get_raw(index).map_err(|error| SqlError::Unavailable(error.to_string()))?;
        let type_name = field.type_info().name().to_owned();
        let value = field_value(&type_name, field).map_err(|error| {
            let column = row.columns().get(index).map_or("?", |column| sqlx::Column::name(column));
            SqlError::refused("42846", format!("column {column} is {type_name}: {error}"))
        })?;
        bytes += size_of::<Value>()
            + match &value {
                Value::Text(text) => text.len(),
                Value::Bytes(bytes) => bytes.len(),
                Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => 0,
            };
        values.push(value);
    }
    Ok((values, bytes))
}

fn field_value(type_name: &str, field: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    if field.is_null() {
        return Ok(Value::Null);
    }
    Ok(match type_name {
        "BOOL" => Value::Boolean(bool::decode(field)?),
        "INT2" => Value::Integer(i16::decode(field)?.into()),
        "INT4" => Value::Integer(i32::decode(field)?.into()),
        "INT8" => Value::Integer(i64::decode(field)?),
        "FLOAT4" => Value::Float(f32::decode(field)?.into()),
        "FLOAT8" => Value::Float(f64::decode(field)?),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" => Value::Text(String::decode(field)?),
        "BYTEA" => Value::Bytes(Vec::decode(field)?),
        "VOID" => Value::Null,
        _ => return Err("cast it in the statement, such as id::text".into()),
    })
}
