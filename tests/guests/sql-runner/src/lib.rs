//! Runs the statements that its message names, and emits what they gave.

use mailroom_guest::sql::{self, SqlError, Value};
use mailroom_guest::{Handler, Message, Outgoing, Stop, Subscription, json, state};
use serde::Deserialize;

struct SqlRunner;

/// A message's payload.
#[derive(Deserialize)]
struct Script {
    #[serde(default)]
    statements: Vec<Statement>,
    /// Topic to which what they gave is emitted.
    topic: Option<String>,
    /// Completes although a statement failed.
    #[serde(default)]
    stubborn: bool,
    /// Adds one to the shared state `count`.
    #[serde(default)]
    counts: bool,
    /// Reads the shared state `count`, and emits it.
    #[serde(default)]
    peeks: bool,
    /// The idempotency key of what is emitted.
    once: Option<String>,
    /// Fails after all of them.
    #[serde(default)]
    fails: bool,
}

#[derive(Deserialize)]
struct Statement {
    sql: String,
    #[serde(default)]
    params: Vec<serde_json::Value>,
}

impl Handler for SqlRunner {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("sql").binary()]
    }

    fn handle(message: Message) -> Result<(), Stop> {
        let script: Script = message.json()?;
        let mut answers = Vec::new();
        for statement in &script.statements {
            match run(statement) {
                Ok(rows) => answers.push(rows),
                Err(error) if script.stubborn => {
                    answers.push(json!({ "sqlstate": error.sqlstate, "message": error.message }));
                }
                Err(error) => return Err(Stop::fail(&error.message).code(&error.sqlstate).into()),
            }
        }
        if script.counts {
            let count = state::shared().get::<i64>("count")?.unwrap_or(0);
            state::shared().set("count", &(count + 1))?;
        }
        if let Some(topic) = &script.topic {
            let peeked = if script.peeks { state::shared().get::<i64>("count")? } else { None };
            let mut outgoing =
                Outgoing::json(topic, "sql.ran", &json!({ "answers": answers, "peeked": peeked }))?;
            if let Some(once) = &script.once {
                outgoing = outgoing.idempotency_key(once);
            }
            outgoing.key_of(&message).publish()?;
        }
        if script.fails { Err(Stop::fail("told to fail").into()) } else { Ok(()) }
    }
}

fn run(statement: &Statement) -> Result<serde_json::Value, SqlError> {
    let params: Vec<Value> = statement.params.iter().map(value).collect();
    let table = sql::query(&statement.sql, &params)?;
    let rows: Vec<Vec<serde_json::Value>> =
        table.rows.iter().map(|row| row.iter().map(json_of).collect()).collect();
    Ok(json!(rows))
}

fn value(param: &serde_json::Value) -> Value {
    match param {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => (*flag).into(),
        serde_json::Value::Number(number) => {
            number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(0.0)), Value::Integer)
        }
        serde_json::Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Boolean(flag) => json!(flag),
        Value::Integer(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!(bytes),
    }
}

mailroom_guest::export!(SqlRunner);
