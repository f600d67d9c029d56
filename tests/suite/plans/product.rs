//! The product's own statements, as `host/.sqlx` has them: every one that the compiler has checked.

#![expect(clippy::indexing_slicing, reason = "a field that JSON does not have is null")]

use std::fs;

use anyhow::{Context as _, Result};
use mailroom_tests::paths;
use serde_json::Value;

/// Lists for people: a span of time, newest first. They may read much of a table, and nobody waits for
/// them but who asked.
const FOR_PEOPLE: [&str; 3] =
    ["order by i.created_at desc", "order by o.created_at desc", "m.created_at >= coalesce("];

/// A statement with parameters.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) parameters: usize,
}

/// All statements that name one of the two tables of messages, but for those which people wait for.
pub(crate) fn about_messages() -> Result<Vec<Statement>> {
    let mut statements = all()?;
    statements.retain(|Statement { text, .. }| {
        let names_a_table = text.contains("mailroom.inbox") || text.contains("mailroom.outbox");
        names_a_table && !FOR_PEOPLE.iter().any(|sign| text.contains(sign))
    });
    Ok(statements)
}

/// Returns the one statement that holds `sign`.
pub(crate) fn the_one_with(sign: &str) -> Result<Statement> {
    let mut found = all()?;
    found.retain(|statement| statement.text.contains(sign));
    anyhow::ensure!(found.len() == 1, "{} statements of host/.sqlx hold `{sign}`", found.len());
    found.pop().context("no statement")
}

fn all() -> Result<Vec<Statement>> {
    let mut statements = Vec::new();
    for file in fs::read_dir(paths::root().join("host/.sqlx"))? {
        let kept: Value = serde_json::from_slice(&fs::read(file?.path())?)?;
        let text = kept["query"].as_str().context("a query has a text")?.to_owned();
        let parameters = kept["describe"]["parameters"]["Left"].as_array().context("and its parameters")?;
        statements.push(Statement { text, parameters: parameters.len() });
    }
    Ok(statements)
}
