//! Many handlers and partitions in one host, with the descriptors and connections that it has by default.

use std::fs;

use anyhow::ensure;
use futures_util::future::try_join_all;
use mailroom_tests::{LATER, Manifest, Message, Setup, becomes, in_world};
use serde_json::json;

use crate::arrange::mailroom_after;

const HANDLERS: usize = 120;
const PARTITIONS: i32 = 48;
const KEYS: usize = 200;
/// Messages for the handler with many partitions.
const TO_WIDE: usize = 2_000;
/// Messages for each of the others.
const TO_EACH: usize = 10;

#[test]
fn a_hundred_and_twenty_handlers_and_forty_eight_partitions_share_1024_descriptors_and_16_connections() {
    in_world(Setup::default(), async |world| {
        let output = world.kafka.topic("out", 4).await?;
        let wide = world.kafka.topic("wide", PARTITIONS).await?;
        let names: Vec<String> = (1..HANDLERS).map(|number| format!("in-{number}")).collect();
        let inputs = try_join_all(names.iter().map(|name| world.kafka.topic(name, 1))).await?;
        for (number, input) in inputs.iter().chain([&wide]).enumerate() {
            let manifest = Manifest::takes(&[input]).publishes(&[&output]);
            world.drop_handler(&format!("h{number}"), "scripted", &manifest)?;
        }
        let says = |input: &str, number: usize| {
            let script = json!({"behave": "emit", "topic": output, "value": number});
            Message::to(input).key(format!("k{}", number % KEYS)).json(&script)
        };
        let to_each = inputs.iter().flat_map(|input| (0..TO_EACH).map(|number| says(input, number)));
        let messages: Vec<Message> = to_each.chain((0..TO_WIDE).map(|number| says(&wide, number))).collect();
        world.kafka.send_all(&messages).await?;
        let all = i64::try_from(messages.len())?;

        // As most systems have it, which let a process raise it.
        let mut host = world.start_host_of(&mailroom_after(world, "ulimit -Sn 1024")?, "a")?;
        becomes("all are handled", all, LATER, async || world.db.completed().await).await?;
        let published = "select count(*) from mailroom.outbox where status = 'completed'";
        becomes("all is published", all, LATER, async || world.db.one(published).await).await?;

        let sessions = "select count(*) from pg_stat_activity where datname = current_database()
                        and application_name = 'mailroom'";
        let sessions: i64 = world.db.one(sessions).await?;
        ensure!((3..=16).contains(&sessions), "{sessions} connections");
        let log = host.log()?;
        ensure!(!log.contains("cannot be made") && !log.contains(" WARN mailroom"), "{log}");
        let open = fs::read_dir(format!("/proc/{}/fd", host.pid()?))?.count();
        println!(
            "{open} descriptors, {} MiB of memory, {sessions} connections",
            host.resident_bytes()? >> 20
        );
        host.still_runs()?;
        host.stop().await?;
        Ok(())
    });
}
