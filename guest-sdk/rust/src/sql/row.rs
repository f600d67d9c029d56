//! Reading a table by the names or the positions of its columns.

use std::fmt;

use super::{Table, Value};

impl Table {
    /// Rows in order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }

    /// The first row.
    #[must_use]
    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }
}

/// One row of a [`Table`].
#[derive(Debug, Clone, Copy)]
pub struct Row<'t> {
    columns: &'t [String],
    values: &'t [Value],
}

impl Row<'_> {
    /// The value of a column, by its name or its position from 0: `row.get::<i64>("balance")`. An SQL null is
    /// `None` of an `Option`.
    ///
    /// # Errors
    /// Where the row has no such column, or `T` does not hold its value.
    pub fn get<'c, T: FromValue>(&self, column: impl Into<Column<'c>>) -> Result<T, ColumnError> {
        let column = column.into();
        let missing = || ColumnError::Missing { column: column.to_string() };
        let index = match column {
            Column::Name(name) => {
                self.columns.iter().position(|column| column == name).ok_or_else(missing)?
            }
            Column::Index(index) => index,
        };
        let value = self.values.get(index).ok_or_else(missing)?;
        T::from_value(value).ok_or_else(|| ColumnError::Type {
            column: column.to_string(),
            found: name_of(value),
            expected: T::NAME,
        })
    }
}

/// A column's name, or its position from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column<'c> {
    /// The first column of this name.
    Name(&'c str),
    /// The column at this position.
    Index(usize),
}

impl<'c> From<&'c str> for Column<'c> {
    fn from(name: &'c str) -> Self {
        Self::Name(name)
    }
}

impl From<usize> for Column<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for Column<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

/// Reason why a column could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// No such column is in the rows.
    #[error("the rows have no column {column}")]
    Missing {
        /// The name, or the position.
        column: String,
    },
    /// The column holds something else.
    #[error("column {column} holds {found}, where {expected} is expected")]
    Type {
        /// The name, or the position.
        column: String,
        /// The kind of the value.
        found: &'static str,
        /// The kind that was asked for.
        expected: &'static str,
    },
}

/// A type that [`Row::get`] gives: `bool`, `i64`, `f64`, `String`, `Vec<u8>`, an `Option` of them, or [`Value`].
pub trait FromValue: Sized {
    /// The kind of value, in errors.
    const NAME: &'static str;

    /// The value, or `None` where it is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($type:ty, $name:literal, $pattern:pat => $value:expr) => {
        impl FromValue for $type {
            const NAME: &'static str = $name;

            fn from_value(value: &Value) -> Option<Self> {
                if let $pattern = value { Some($value) } else { None }
            }
        }
    };
}

from_value!(bool, "a boolean", Value::Boolean(flag) => *flag);
from_value!(i64, "an integer", Value::Integer(number) => *number);
from_value!(f64, "a float", Value::Float(number) => *number);
from_value!(String, "text", Value::Text(text) => text.clone());
from_value!(Vec<u8>, "bytes", Value::Bytes(bytes) => bytes.clone());

impl FromValue for Value {
    const NAME: &'static str = "any value";

    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const NAME: &'static str = T::NAME;

    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => bool::NAME,
        Value::Integer(_) => i64::NAME,
        Value::Float(_) => f64::NAME,
        Value::Text(_) => String::NAME,
        Value::Bytes(_) => Vec::<u8>::NAME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row =
            vec![Value::from("ada"), Value::from(7_i64), Value::from(Some(b"\0".as_slice())), Value::Null];
        let columns = ["name", "age", "seal", "email"].map(str::to_owned).to_vec();
        Table { columns, rows: vec![row] }
    }

    #[test]
    fn a_value_is_read_by_name_and_by_position() {
        let table = table();
        let row = table.first().unwrap();
        assert_eq!(row.get("name"), Ok("ada".to_owned()));
        assert_eq!(row.get(1), Ok(7_i64));
        assert_eq!(row.get("seal"), Ok(vec![0_u8]));
        assert_eq!(row.get("email"), Ok(None::<String>));
        assert_eq!(row.get("age"), Ok(Some(7_i64)));
        assert_eq!(row.get("age"), Ok(Value::Integer(7)));
    }

    #[test]
    fn an_error_names_the_column_and_both_kinds() {
        let table = table();
        let row = table.first().unwrap();
        for (error, words) in [
            (row.get::<i64>("size").unwrap_err(), "the rows have no column `size`"),
            (row.get::<i64>(4).unwrap_err(), "the rows have no column 4"),
            (row.get::<i64>("name").unwrap_err(), "column `name` holds text, where an integer is expected"),
            (row.get::<f64>(3).unwrap_err(), "column 3 holds null, where a float is expected"),
        ] {
            assert_eq!(error.to_string(), words);
        }
    }
}
