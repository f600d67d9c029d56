//! Arrangement with which most tests begin: the guest that does what its message says, between two topics.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context as _, Result};
use mailroom_tests::paths::binary;
use mailroom_tests::{Manifest, Message, World};
use serde_json::{Value, json};

/// The scripted guest with an input and an output topic.
pub(crate) struct Scripted {
    pub(crate) input: String,
    pub(crate) output: String,
}

impl Scripted {
    /// Creates the topics `in` and `out` and drops the guest as the handler `scripted`.
    pub(crate) async fn drop_into(world: &World, partitions: i32) -> Result<Self> {
        let input = world.kafka.topic("in", partitions).await?;
        let output = world.kafka.topic("out", partitions).await?;
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
        world.drop_handler("scripted", "scripted", &manifest)?;
        Ok(Self { input, output })
    }

    /// A message with any script.
    pub(crate) fn says(&self, key: &str, script: &Value) -> Message {
        Message::to(&self.input).key(key).json(script)
    }

    /// A message which makes the guest emit one message with `value`.
    pub(crate) fn emits(&self, key: &str, value: i64) -> Message {
        self.says(key, &json!({"behave": "emit", "topic": self.output, "value": value}))
    }
}

/// Writes a program that is `mailroom` after these commands of a shell, such as limits of the process.
pub(crate) fn mailroom_after(world: &World, commands: &str) -> Result<PathBuf> {
    let program = world.folder().join("mailroom-after");
    fs::write(&program, format!("#!/bin/bash\n{commands}\nexec {} \"$@\"\n", binary()?.display()))?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    Ok(program)
}

/// Makes a role for the SQL of a handler, with `name` for its password; gives it and its URL.
pub(crate) async fn sql_role(world: &World, name: &str) -> Result<(String, String)> {
    let role = format!("{name}_{}", world.group("x").replace('.', "_"));
    for statement in [
        format!("create role {role} login password '{name}'"),
        format!("grant usage on schema mailroom to {role}"),
        format!("grant execute on function mailroom.settle_with_sql to {role}"),
    ] {
        world.db.execute(sqlx::AssertSqlSafe(statement)).await?;
    }
    let url = world.db.url_as(&role, name);
    Ok((role, url))
}

/// Reads a number that somebody who runs a test sets for it.
pub(crate) fn number(name: &str) -> Result<Option<u64>> {
    let Some(text) = env::var_os(name) else { return Ok(None) };
    let text = text.to_string_lossy();
    text.parse().map(Some).with_context(|| format!("{name}={text} should be a number"))
}

/// Returns what the host waits for beside messages, as `status` shows it.
pub(crate) async fn waits(world: &World) -> Result<Vec<String>> {
    let status: Value = world.mailroom(&["status", "--json"]).await?.json()?;
    let waits = status.pointer("/hosts/0/waits").and_then(Value::as_array).into_iter().flatten();
    Ok(waits.filter_map(|wait| wait.get("what")?.as_str()).map(str::to_owned).collect())
}
