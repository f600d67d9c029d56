//! `mailroom why`: what a message, a key or a lane waits for, by one word of a closed list.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Manifest, SOON, Setup, World, becomes, eventually, in_world};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::arrange::Scripted;

/// Refuses what would be stored, as a full disk does.
const FULL_DISK: [&str; 2] = [
    "create function public.full_disk() returns trigger language plpgsql as
     $$ begin raise exception 'No space left on device' using errcode = '53100'; end $$",
    "create trigger full_disk before insert or update on mailroom.inbox
     for each statement execute function public.full_disk()",
];

/// The causes of what is asked about, all subjects together.
async fn causes(world: &World, what: &str) -> Result<Vec<Value>> {
    let said = world.mailroom(&["why", what, "--json"]).await?.json()?;
    let answers = said.as_array().context("no answers")?.iter();
    Ok(answers.flat_map(|answer| answer["reasons"].as_array().cloned().unwrap_or_default()).collect())
}

/// The words of its reasons.
async fn words(world: &World, what: &str) -> Result<Vec<String>> {
    let word = |cause: Value| cause.get("reason").and_then(Value::as_str).map(str::to_owned);
    Ok(causes(world, what).await?.into_iter().filter_map(word).collect())
}

/// Waits until something has a reason, and gives that.
async fn waits_for(world: &World, what: &str, reason: &str) -> Result<Value> {
    let mut found = Value::Null;
    let waited = eventually(&format!("{what} is {reason}"), SOON, async || {
        let causes = causes(world, what).await?;
        let Some(cause) = causes.into_iter().find(|cause| cause["reason"] == reason) else {
            return Ok(false);
        };
        found = cause;
        Ok(true)
    })
    .await;
    if waited.is_err() {
        eprintln!("{:?}", world.mailroom(&["why", what]).await);
    }
    waited.map(|()| found)
}

fn says(cause: &Value, field: &str, words: &str) -> Result<()> {
    ensure!(
        cause[field].as_str().is_some_and(|text| text.contains(words)),
        "`{words}` in {field} of {cause:#}"
    );
    Ok(())
}

/// The scripted guest, whose keys wait behind their dead.
async fn blocking(world: &World) -> Result<Scripted> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]);
    let toml = manifest.with("behind-dead = \"block\"").to_toml();
    fs::write(world.folder().join("handlers/scripted.toml"), toml)?;
    Ok(scripted)
}

/// Publishes by hand and gives the row's id.
async fn publishes(world: &World, topic: &str, rest: &[&str]) -> Result<String> {
    let publish = ["outbox", "publish", "--topic", topic, "--type", "t", "--payload", r#"{"n": 1}"#];
    Ok(world.mailroom(&[&publish[..], rest].concat()).await?.ok()?.trim().to_owned())
}

#[test]
fn a_message_says_what_it_waits_for_since_when_and_until_when() {
    in_world(Setup::default(), async |world| {
        let scripted = blocking(world).await?;
        let host = world.start_host("a")?;
        let retry = json!({"behave": "retry-after", "after_ms": 3_600_000});
        world
            .kafka
            .send_all(&[
                scripted.emits("done", 1).id("m-done"),
                scripted.says("dead", &json!({"behave": "reject"})).id("m-dead"),
                scripted.emits("dead", 2).id("m-behind"),
                scripted.says("slow", &retry).id("m-retry"),
                scripted.emits("slow", 3).id("m-busy"),
                scripted.says("sleeper", &json!({"behave": "sleep"})).id("m-runs"),
            ])
            .await?;

        let running = waits_for(world, "m-runs", "running").await?;
        says(&running, "detail", "a may have begun it")?;
        let completed = waits_for(world, "m-done", "completed").await?;
        ensure!(completed["since"].is_string(), "{completed}");

        let dead = waits_for(world, "m-dead", "dead").await?;
        let letter: String =
            world.db.one("select id::text from mailroom.dead_letter where reason = 'rejected'").await?;
        says(&dead, "detail", &format!("rejected, dead letter {letter}"))?;
        says(&dead, "remedy", &format!("mailroom dead replay {letter}"))?;
        let behind = waits_for(world, "m-behind", "behind-dead-letter").await?;
        says(&behind, "remedy", &format!("mailroom dead discard {letter}"))?;
        ensure!(behind["since"].is_string(), "{behind}");
        let by_key = waits_for(world, "dead", "behind-dead-letter").await?;
        assert_eq!(by_key, behind, "the key waits as its first message does");

        let backoff = waits_for(world, "m-retry", "backoff").await?;
        let due =
            "select to_char(scheduled_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI') from mailroom.inbox
                    where message_id = 'm-retry'";
        says(&backoff, "until", &world.db.one::<String>(due).await?)?;
        says(&backoff, "detail", "1 of 3 attempts")?;
        let busy = waits_for(world, "m-busy", "key-busy").await?;
        let first: String =
            world.db.one("select id::text from mailroom.inbox where message_id = 'm-retry'").await?;
        says(&busy, "detail", &first)?;
        assert_eq!(busy["until"], backoff["until"], "it waits as long as what is before it");

        let later = publishes(world, &scripted.output, &["--delay", "1h"]).await?;
        let scheduled = waits_for(world, &later, "scheduled").await?;
        ensure!(scheduled["until"].is_string(), "{scheduled}");
        let nowhere = world.kafka.topic_name("nowhere");
        let lost = publishes(world, &nowhere, &["--key", "k"]).await?;
        let missing = waits_for(world, &lost, "topic-missing").await?;
        says(&missing, "detail", &nowhere)?;
        let follows = publishes(world, &nowhere, &["--key", "k"]).await?;
        says(&waits_for(world, &follows, "key-busy").await?, "detail", &lost)?;
        ensure!(waits_for(world, "k", "topic-missing").await?["since"].is_string(), "the key of the outbox");

        let shown = world.mailroom(&["why", "m-busy"]).await?.ok()?;
        assert!(shown.contains("key-busy: an earlier message of its key is not done"), "{shown}");
        world.mailroom(&["why", "no-such-thing"]).await?.refused(3, &["no-such-thing"])?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_handler_and_a_lane_say_why_nothing_of_them_goes_on() {
    in_world(Setup::default(), async |world| {
        let scripted = blocking(world).await?;
        let place = format!("{}/0", scripted.input);
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("it works", 1, SOON, async || world.db.completed().await).await?;
        assert_eq!(words(world, &place).await?, ["nothing"]);

        let open = world.kafka.send_and_leave_open(&[scripted.emits("k", 2)]).await?;
        world.kafka.send(&scripted.emits("k", 3).id("m-hidden")).await?;
        let hidden = waits_for(world, &place, "kafka-transaction").await?;
        says(&hidden, "detail", "nothing from offset 1 of ")?;
        tokio::task::spawn_blocking(move || open.abort()).await??;
        becomes("what was hidden is handled", 2, SOON, async || world.db.completed().await).await?;

        world.mailroom(&["handler", "pause", "scripted", "--reason", "a deploy"]).await?.ok()?;
        host.wait_log("is paused: nothing of it is started").await?;
        world.kafka.send(&scripted.emits("k", 4).id("m-paused")).await?;
        let stored = "select count(*) from mailroom.inbox where message_id = 'm-paused'";
        becomes("it is stored", 1, SOON, async || world.db.one::<i64>(stored).await).await?;
        let paused = waits_for(world, "m-paused", "paused").await?;
        says(&paused, "detail", "a deploy")?;
        says(&paused, "remedy", "mailroom handler resume scripted")?;
        let group = world.group("scripted");
        let open = format!(
            "insert into mailroom.breaker (consumer_group, paused_until, opened_by, last_error)
             values ('{group}', clock_timestamp() + interval '1 minute', 'a', 'boom')"
        );
        world.db.execute(AssertSqlSafe(open)).await?;
        let open = waits_for(world, "m-paused", "breaker-open").await?;
        says(&open, "detail", "boom")?;
        ensure!(open["until"].is_string(), "{open}");
        ensure!(
            words(world, &place).await?.contains(&"paused".to_owned()),
            "the lane's next message waits too"
        );

        for (reason, word) in [
            ("offsets 3 to 5 are no longer in the log", "partition-stopped"),
            ("offsets 3 to 5 cannot be read (bad compression)", "partition-damaged"),
        ] {
            let stop = format!(
                "update mailroom.partition_offset set stopped_at = clock_timestamp(), stopped_reason = '{reason}'"
            );
            world.db.execute(AssertSqlSafe(stop)).await?;
            says(&waits_for(world, &place, word).await?, "detail", reason)?;
        }

        host.kill().await?;
        let free = waits_for(world, "m-paused", "lane-without-owner").await?;
        says(&free, "detail", "no host is alive")?;
        says(&free, "remedy", "mailroom run")?;
        fs::remove_file(world.folder().join("handlers/scripted.wasm"))?;
        let host = world.start_host("b")?;
        says(&waits_for(world, "m-paused", "no-version").await?, "detail", "no living host has handler")?;
        world.drop_component("scripted", b"nonsense")?;
        let refused = eventually("the refusal is said", SOON, async || {
            let cause = waits_for(world, "m-paused", "no-version").await?;
            Ok(says(&cause, "detail", "not a WebAssembly component").is_ok())
        });
        refused.await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_lane_says_that_memory_is_full_and_that_servers_and_standbys_are_away() {
    let env = &[("MAILROOM__INGEST__IN_HAND_MAX", "20"), ("MAILROOM__INGEST__BATCH_ROWS_MAX", "10")];
    let setup = Setup { own_postgres: true, own_kafka: true, env, ..Setup::default() };
    in_world(setup, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let place = format!("{}/0", scripted.input);
        let host = world.start_host("a")?;
        let sleeps = |n| scripted.says(&format!("k{n}"), &json!({"behave": "sleep"}));
        world.kafka.send_all(&(0..100).map(sleeps).collect::<Vec<_>>()).await?;
        says(&waits_for(world, &place, "memory-full").await?, "detail", "ingest.in-hand-max")?;

        world.db.execute("alter system set synchronous_standby_names = 'nobody'").await?;
        world.db.execute("select pg_reload_conf()").await?;
        let standby = waits_for(world, &place, "standby-away").await?;
        ensure!(standby["since"].is_string(), "{standby}");
        world.db.execute("alter system reset synchronous_standby_names").await?;
        world.db.execute("select pg_reload_conf()").await?;

        for statement in FULL_DISK {
            world.db.execute(statement).await?;
        }
        says(&waits_for(world, &place, "postgres-away").await?, "detail", "No space left")?;
        world.db.execute("drop trigger full_disk on mailroom.inbox").await?;

        world.with_kafka(|kafka| kafka.stop()).await?;
        waits_for(world, &place, "kafka-away").await?;
        host.kill().await?;
        world.with_kafka(|kafka| kafka.restart()).await?;
        Ok(())
    });
}
