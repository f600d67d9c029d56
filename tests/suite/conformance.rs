//! Handlers that were written with the SDK of each language do the same, through a host, Postgres and Kafka.
//!
//! `tests/conformance` has one handler a language; it does what the event type of a message says. Each test here sends
//! all messages to one of them and looks at what became of each.

mod behaviours;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mailroom_tests::{Message, Record, Setup, Web, World, becomes, in_world, paths};
use serde_json::Value;

use crate::arrange::sql_role;

/// Python compiles for 20 s on an idle machine, and messages are tried three times.
const DONE: Duration = Duration::from_secs(240);
const TOPIC: &str = "conformance";
const RESULTS: &str = "conformance-results";

/// Result of one message: how it ended, and what it published.
#[derive(Debug, Clone, Default)]
struct Ended {
    language: &'static str,
    /// `completed` or `skipped`, or the reason of its dead letter.
    how: String,
    fault: Option<String>,
    error: String,
    code: Option<String>,
    detail: Option<String>,
    attempts: i32,
    /// Payloads of its results, in order.
    results: Vec<Record>,
}

impl Ended {
    fn result(&self) -> Result<Value> {
        self.results.first().context("it has published nothing")?.json()
    }
}

/// Surroundings of the behaviours besides Kafka: a server, and the names of what is granted.
struct Surroundings {
    web: Web,
}

fn component(language: &str, file: &str) -> PathBuf {
    paths::root().join("tests/conformance").join(language).join(file)
}

/// Sends each behaviour its messages, and compares what became of them.
fn conforms(language: &'static str, file: &'static str) {
    let setup =
        Setup { own_kafka: true, env: &[("MAILROOM__HTTP__ADDRESSES", "127.0.0.0/8")], ..Setup::default() };
    in_world(setup, async |world| {
        // The broker deletes what is older than a week as it gets to it, and one record is.
        world.kafka.create_with(TOPIC, 1, &[("retention.ms", "-1")]).await?;
        world.kafka.create(RESULTS, 1).await?;
        let (role, url) = sql_role(world, "conformance").await?;
        world.db.execute("create table public.conformance (id text primary key)").await?;
        let grant = format!("grant select, insert on public.conformance to {role}");
        world.db.execute(sqlx::AssertSqlSafe(grant)).await?;
        let surroundings = Surroundings { web: Web::start().await? };
        drop_into(world, &component(language, file), &surroundings)?;
        let env = [
            ("MAILROOM__SQL__CONFORMANCE__URL", url.as_str()),
            ("MAILROOM__HANDLER_CONFIG__GREETING", "hello 😀"),
        ];
        let host = world.start_host_with("a", &env)?;

        let messages: Vec<Message> =
            behaviours::ALL.iter().flat_map(|of| (of.messages)(&surroundings)).collect();
        let count = i64::try_from(messages.len())?;
        // A record without a key goes behind the others, to the one partition.
        for message in &messages {
            world.kafka.send(message).await?;
        }
        let settled = "select count(*) from mailroom.inbox where status in ('completed', 'failed')";
        becomes("each message is settled", count, DONE, async || world.db.one(settled).await).await?;
        let unpublished = "select count(*) from mailroom.outbox where status = 'pending'";
        becomes("each result is on Kafka", 0_i64, DONE, async || world.db.one(unpublished).await).await?;

        let ended = ended(world, language).await?;
        let log = host.log()?;
        let wrong: Vec<String> = behaviours::ALL
            .iter()
            .filter_map(|of| {
                let why = (of.check)(&ended, &log, &surroundings).err()?;
                Some(format!("{}: {why:#}", of.name))
            })
            .collect();
        assert!(wrong.is_empty(), "{language} differs in {} behaviours:\n{}", wrong.len(), wrong.join("\n"));
        host.stop().await?;
        Ok(())
    });
}

fn drop_into(world: &World, component: &std::path::Path, surroundings: &Surroundings) -> Result<()> {
    let manifest = format!(
        r#"breaker.threshold = 1000
limits.deadline = "2s"
limits.memory = "128MiB"

[grants]
publish = ["{RESULTS}"]
state = true
sql = "conformance"
log = "trace"
config = ["GREETING"]
http = ["{}"]
"#,
        surroundings.web.origin("127.0.0.1")
    );
    let handlers = world.folder().join("handlers");
    fs::write(handlers.join("conformance.toml"), manifest)?;
    let built = fs::read(component)
        .with_context(|| format!("{}: `cargo xtask test` builds it", component.display()))?;
    fs::write(handlers.join("conformance.partial"), built)?;
    Ok(fs::rename(handlers.join("conformance.partial"), handlers.join("conformance.wasm"))?)
}

/// All messages by their ids.
async fn ended(world: &World, language: &'static str) -> Result<BTreeMap<String, Ended>> {
    type Row = (String, String, Option<String>, i32);
    type Letter = (String, Option<String>, String, Option<String>, Option<String>, String);
    let rows: Vec<Row> = world
        .db
        .rows("select message_id, coalesce(outcome, status), coalesce(outcome_reason, last_error), attempts_made from mailroom.inbox")
        .await?;
    let mut all: BTreeMap<String, Ended> = BTreeMap::new();
    for (id, how, error, attempts) in rows {
        all.insert(
            id,
            Ended { how, error: error.unwrap_or_default(), attempts, language, ..Ended::default() },
        );
    }
    let letters: Vec<Letter> = world
        .db
        .rows("select message_id, fault, error, code, detail, reason from mailroom.dead_letter")
        .await?;
    for (id, fault, error, code, detail, reason) in letters {
        let ended = all.entry(id).or_default();
        (ended.how, ended.fault, ended.error) = (reason, fault, error);
        (ended.code, ended.detail) = (code, detail);
    }
    for record in world.kafka.read_all(RESULTS).await? {
        let cause = record.header("causation_id").context("a result has no cause")?;
        all.entry(cause).or_default().results.push(record);
    }
    Ok(all)
}

#[test]
fn handlers_in_rust_conform() {
    conforms("rust", "conformance.wasm");
}

#[test]
fn handlers_in_javascript_on_quickjs_conform() {
    conforms("javascript", "conformance.wasm");
}

#[test]
fn handlers_in_javascript_on_starlingmonkey_conform() {
    conforms("javascript", "conformance-starlingmonkey.wasm");
}

#[test]
fn handlers_in_python_conform() {
    conforms("python", "conformance.wasm");
}

#[test]
fn handlers_in_go_conform() {
    conforms("go", "conformance.wasm");
}

#[test]
fn handlers_in_c_conform() {
    conforms("c", "conformance.wasm");
}

#[test]
fn the_page_for_authors_tells_of_each_behaviour_in_each_language() {
    let page = fs::read_to_string(paths::root().join("docs/handlers.md")).unwrap_or_default();
    for behaviour in &behaviours::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| {} |", behaviour.name)));
        let cells = row.map(|row| row.matches('|').count() - 1);
        assert_eq!(cells, Some(7), "a row of `{}`, with its six cells", behaviour.name);
    }
}
