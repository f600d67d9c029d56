//! Bytes that handlers, producers and applications have a host hold: at the limits as they come, each kind has its
//! bound, and all that waits goes on.

use std::iter;

use anyhow::{Result, ensure};
use mailroom_tests::wat::{Core, NOTHING};
use mailroom_tests::{Host, LATER, Manifest, Message, SOON, Setup, World, becomes, in_world};
use serde_json::json;

use crate::arrange::sql_role;

/// Bytes by which the host's memory may rise, whatever comes: docs/production.md says what it is made of.
const PEAK_BYTES_MAX: u64 = 1 << 30;
/// The same where one kind comes alone.
const PEAK_BYTES_MAX_OF_ONE: u64 = 768 << 20;

/// Settings that the harness makes smaller than they come.
const AS_THEY_COME: [(&str, &str); 4] = [
    ("MAILROOM__HOST__EXPIRY", "30s"),
    ("MAILROOM__POSTGRES__CONNECTIONS_MAX", "16"),
    ("MAILROOM__LIMITS__DEADLINE", "10s"),
    ("MAILROOM__RELAY__PUBLISH_TIMEOUT", "20s"),
];

/// Bytes that a call of the large handler emits: as many as it may, about.
const EMITTED: u32 = 8_000_000;
const HEADERS: usize = 99_000;
/// Records with so many headers, which together cost more than a host may take.
const RECORDS: usize = 100;

/// Emits one message of that size with every message that it gets.
async fn drop_large(world: &World) -> Result<String> {
    let input = world.kafka.topic("large", 4).await?;
    let output = world.kafka.topic("large-out", 1).await?;
    let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
    std::fs::write(world.folder().join("handlers/large.toml"), manifest.to_toml())?;
    world.drop_component("large", &large(&output)?)?;
    Ok(input)
}

fn large(output: &str) -> Result<Vec<u8>> {
    // The record `outgoing`: topic, event type, no key, the payload as bytes, and nothing else.
    let words = [1024, u32::try_from(output.len())?, 1000, 1, 0, 0, 0, 0, 1, 1, 131_072, EMITTED];
    let record: String =
        words.into_iter().flat_map(u32::to_le_bytes).map(|byte| format!("\\{byte:02x}")).collect();
    let declares = format!(
        r#"(import "mailroom:contract/outbox@0.1.0" "publish" (func $publish (param i32 i32)))
           (data (i32.const 1000) "e")
           (data (i32.const 1024) "{output}")
           (data (i32.const 2048) "{record}")"#
    );
    let handle = format!(
        "(call $publish (i32.const 2048) (i32.const 2304))
         (if (i32.load8_u (i32.const 2304)) (then unreachable))
         {NOTHING}"
    );
    Core { declares: &declares, memory_pages: 130, handle: &handle, ..Core::default() }.component()
}

async fn send_to(
    world: &World,
    topic: &str,
    count: usize,
    message: impl Fn(Message) -> Message,
) -> Result<()> {
    let messages: Vec<Message> = (0..count)
        .map(|n| message(Message::to(topic).key(n.to_string()).id(&format!("{topic}-{n}"))))
        .collect();
    world.kafka.send_all(&messages).await
}

async fn drop_noop(world: &World, name: &str) -> Result<String> {
    let topic = world.kafka.topic(name, 4).await?;
    world.drop_handler(name, "noop", &Manifest::takes(&[&topic]))?;
    Ok(topic)
}

fn with_many_headers(message: Message) -> Message {
    iter::repeat_n((), HEADERS).fold(message, |message, ()| message.null_header("h"))
}

/// Large rows by plain insert, past the checks of `mailroom.publish`.
async fn insert_large_rows(world: &World, topic: &str, count: i32) -> Result<()> {
    let insert = "insert into mailroom.outbox (topic, key, event_type, payload)
                  select $1, 'k', 'large', convert_to(repeat('x', 8000000), 'UTF8') from generate_series(1, $2)";
    sqlx::query(insert).bind(topic).bind(count).execute(world.db.pool()).await?;
    Ok(())
}

async fn running(world: &World, handlers: i64) -> Result<()> {
    let running = "select count(*) from mailroom.handler where state = 'running'";
    becomes("the handlers run", handlers, SOON, async || world.db.one::<i64>(running).await).await
}

async fn completed(world: &World, count: usize) -> Result<()> {
    let count = i64::try_from(count)?;
    becomes("all are completed", count, 2 * LATER, async || world.db.completed().await).await
}

async fn none_pending(world: &World) -> Result<()> {
    let pending = "select count(*) from mailroom.outbox where status = 'pending'";
    becomes("the outbox is empty", 0, 2 * LATER, async || world.db.one::<i64>(pending).await).await
}

/// Fails where the host's memory has risen further than that since `before`.
fn has_risen(host: &Host, before: u64, most: u64) -> Result<()> {
    let peak = host.resident_bytes_peak()?;
    eprintln!("memory in MiB: {} before, {} at most", before >> 20, peak >> 20);
    ensure!(peak <= before + most, "{} MiB at most, {} before", peak >> 20, before >> 20);
    Ok(())
}

#[test]
fn what_calls_leave_waits_within_its_bytes_and_the_next_go_on() {
    in_world(Setup::default(), async |world| {
        let input = drop_large(world).await?;
        let host = world.start_host_with("a", &AS_THEY_COME)?;
        running(world, 1).await?;
        let before = host.resident_bytes()?;
        send_to(world, &input, 150, |message| message).await?;
        completed(world, 150).await?;
        has_risen(&host, before, PEAK_BYTES_MAX_OF_ONE)?;
        // Kafka does not take them.
        none_pending(world).await?;
        has_risen(&host, before, PEAK_BYTES_MAX_OF_ONE)?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn records_cost_what_their_headers_take_and_so_do_their_rows() {
    in_world(Setup::default(), async |world| {
        let input = drop_noop(world, "headers").await?;
        let host = world.start_host_with("a", &AS_THEY_COME)?;
        running(world, 1).await?;
        let before = host.resident_bytes()?;
        send_to(world, &input, RECORDS, with_many_headers).await?;
        completed(world, RECORDS).await?;
        has_risen(&host, before, PEAK_BYTES_MAX_OF_ONE)?;

        // They are read again, as whoever follows a host that died reads them.
        let again = "update mailroom.inbox set status = 'pending', outcome = null, completed_at = null";
        let stopped = host.stop().await?;
        world.db.execute(again).await?;
        let host = stopped.restart()?;
        completed(world, RECORDS).await?;
        has_risen(&host, before, PEAK_BYTES_MAX_OF_ONE)?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn rows_of_the_outbox_are_read_by_their_bytes() {
    in_world(Setup::default(), async |world| {
        let output = world.kafka.topic("out", 1).await?;
        drop_noop(world, "idle").await?;
        let host = world.start_host_with("a", &AS_THEY_COME)?;
        running(world, 1).await?;
        let before = host.resident_bytes()?;
        let stopped = host.stop().await?;
        insert_large_rows(world, &output, 150).await?;
        let host = stopped.restart()?;
        none_pending(world).await?;
        has_risen(&host, before, PEAK_BYTES_MAX_OF_ONE)?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn sixteen_hostile_calls_at_once_stay_below_what_is_told_of_a_host_as_it_comes() {
    in_world(Setup::default(), async |world| {
        let (fat, bombs) = (drop_large(world).await?, drop_noop(world, "headers").await?);
        let (_, url) = sql_role(world, "wide").await?;
        let wide = world.kafka.topic("wide", 4).await?;
        world.drop_handler("wide", "sql-runner", &Manifest::takes(&[&wide]).sql("wide"))?;
        let mut env = AS_THEY_COME.to_vec();
        env.push(("MAILROOM__SQL__WIDE__URL", &url));
        let host = world.start_host_with("a", &env)?;
        running(world, 3).await?;
        let before = host.resident_bytes()?;

        let output = world.kafka.topic("out", 1).await?;
        insert_large_rows(world, &output, 50).await?;
        let script =
            json!({"statements": [{"sql": "select repeat('x', 1000000) from generate_series(1, 4)"}]});
        let (large, headers) =
            (send_to(world, &fat, 100, |message| message), send_to(world, &bombs, 100, with_many_headers));
        let rows = send_to(world, &wide, 64, |message| message.json(&script));
        tokio::try_join!(large, headers, rows)?;
        completed(world, 264).await?;
        none_pending(world).await?;
        has_risen(&host, before, PEAK_BYTES_MAX)?;
        host.stop().await?;
        Ok(())
    });
}
