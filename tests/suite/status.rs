//! Words of `status` about lanes and partitions: whose they are, how far they are read, and what stands
//! still.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mailroom_tests::{Message, SOON, Setup, World, becomes, eventually, in_world};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::arrange::{Scripted, waits};

/// Expiry of a host, as the suite's settings say.
const EXPIRY_SECS: f64 = 3.0;

/// An address at which nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// Gives the lanes of the inbox to a host that is a row and nothing else, resumes what is paused, and lets a minute
/// pass.
const A_MINUTE_ON_PAPER: [&str; 5] = [
    "delete from mailroom.handler_pause",
    "insert into mailroom.host (id, worker, version, relays, expires_at)
     values (gen_random_uuid(), 'paper', '0', false, clock_timestamp() + interval '1 hour')",
    "update mailroom.lane l set owner = h.id, owned_since = clock_timestamp(), free_since = null
       from mailroom.host h where l.kind = 'inbox' and h.worker = 'paper'",
    "update mailroom.inbox set created_at = created_at - interval '1 minute',
            scheduled_at = scheduled_at - interval '1 minute'",
    "update mailroom.partition_offset set updated_at = updated_at - interval '1 minute'",
];

/// Refuses what would be stored, as a full disk does.
const FULL_DISK: [&str; 2] = [
    "create function public.full_disk() returns trigger language plpgsql as
     $$ begin raise exception 'No space left on device' using errcode = '53100'; end $$",
    "create trigger full_disk before insert on mailroom.inbox
     for each statement execute function public.full_disk()",
];

async fn status(world: &World) -> Result<Value> {
    world.mailroom(&["status", "--json"]).await?.json()
}

/// The lanes by kind and by whether a living host has them.
async fn lanes(world: &World, kind: &str, alive: bool) -> Result<Vec<Value>> {
    let mut status = status(world).await?;
    let lanes = status.get_mut("lanes").and_then(Value::as_array_mut).context("no lanes")?;
    lanes.retain(|lane| lane["kind"] == kind && lane["alive"] == alive);
    Ok(lanes.clone())
}

/// The warnings that name `what`.
fn warnings<'s>(status: &'s Value, what: &str) -> Vec<&'s str> {
    let all = status["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    all.filter(|warning| warning.contains(what)).collect()
}

/// Handles one message of so many partitions, and stops.
async fn handled(world: &World, partitions: i32) -> Result<Scripted> {
    let scripted = Scripted::drop_into(world, partitions).await?;
    let host = world.start_host("a")?;
    world.kafka.send(&scripted.emits("k", 1)).await?;
    becomes("it is completed", 1, SOON, async || world.db.completed().await).await?;
    host.stop().await?;
    Ok(scripted)
}

async fn send(world: &World, scripted: &Scripted, messages: i64) -> Result<()> {
    let messages: Vec<_> = (0..messages).map(|value| scripted.emits("k", value)).collect();
    world.kafka.send_all(&messages).await
}

#[test]
fn lanes_are_shown_with_their_owners_and_as_nobodys_once_these_are_dead() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 2).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("the message is completed", 1, SOON, async || world.db.completed().await).await?;
        becomes("all outbox lanes are owned", 64, SOON, async || {
            Ok(lanes(world, "outbox", true).await?.len())
        })
        .await?;

        let inbox = lanes(world, "inbox", true).await?;
        assert_eq!(inbox.len(), 2, "{inbox:?}");
        for lane in &inbox {
            assert_eq!(
                (lane["worker"].as_str(), lane["topic"].as_str()),
                (Some("a"), Some(&*scripted.input))
            );
            assert!(lane["owned_since"].is_string() && lane["free_since"].is_null(), "{lane}");
            assert_eq!(lane["token"], 1);
        }
        let shown = world.mailroom(&["status"]).await?.ok()?;
        assert!(shown.contains("LANES OF") && !shown.contains("nobody"), "{shown}");

        host.kill().await?;
        eventually("the lanes are nobody's", SOON, async || {
            Ok(lanes(world, "inbox", false).await?.len() == 2)
        })
        .await?;
        assert!(lanes(world, "inbox", false).await?.iter().all(|lane| lane["free_since"].is_string()));
        let shown = world.mailroom(&["status"]).await?.ok()?;
        assert!(shown.contains("nobody") && shown.contains("have no owner, for "), "{shown}");
        Ok(())
    });
}

#[test]
fn a_partition_is_shown_with_the_end_of_its_log_and_its_lag() {
    in_world(Setup::default(), async |world| {
        let scripted = handled(world, 1).await?;
        send(world, &scripted, 5).await?;

        let seen = status(world).await?;

        let offset = &seen["offsets"][0];
        let numbers = [&offset["next_offset"], &offset["end_offset"], &offset["lag"]];
        assert_eq!(numbers, [&json!(1), &json!(6), &json!(5)], "{seen}");
        assert!(warnings(&seen, "not read for").is_empty(), "no host has the lane: {seen}");
        let shown = world.mailroom(&["status"]).await?.ok()?;
        let header = shown.lines().find(|line| line.contains("NEXT OFFSET")).context("no offsets")?;
        assert!(header.contains(" END ") && header.contains(" LAG "), "{shown}");
        Ok(())
    });
}

#[test]
fn a_topic_that_was_deleted_is_named_once_and_so_is_one_that_was_made_again() {
    in_world(Setup::default(), async |world| {
        let scripted = handled(world, 2).await?;
        world.kafka.delete_topic(&scripted.input).await?;

        let seen = status(world).await?;

        assert_eq!(seen["offsets"].as_array().map(Vec::len), Some(2), "{seen}");
        assert!(seen["offsets"][0]["end_offset"].is_null() && seen["offsets"][0]["lag"].is_null(), "{seen}");
        let said = warnings(&seen, &scripted.input);
        assert!(matches!(&*said, [one] if one.contains("does not exist any more")), "{seen}");

        world.kafka.create(&scripted.input, 2).await?;
        eventually("the end of the new one is known", SOON, async || {
            Ok(status(world).await?["offsets"][0]["end_offset"] == 0)
        })
        .await?;
        let seen = status(world).await?;
        assert!(seen["offsets"][0]["lag"].is_null(), "{seen}");
        let said = warnings(&seen, &scripted.input);
        assert!(matches!(&*said, [one] if one.contains("was deleted and made again")), "{seen}");
        Ok(())
    });
}

#[test]
fn a_kafka_that_does_not_answer_is_named_and_the_rest_is_shown_soon() {
    in_world(Setup::default(), async |world| {
        handled(world, 1).await?;
        let file = world.folder().join("away.toml");
        let brokers = |address: &str| format!("brokers = \"{address}\"");
        let settings = fs::read_to_string(world.settings_file()?)?;
        fs::write(&file, settings.replace(&brokers(world.kafka.brokers()), &brokers(NOBODY)))?;
        let began = Instant::now();

        let seen = world.mailroom_at(&file, &["status", "--json"]).await?.json()?;

        assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
        assert_eq!(warnings(&seen, "Kafka at 127.0.0.1:1 ").len(), 1, "{seen}");
        let offset = &seen["offsets"][0];
        assert_eq!((&offset["next_offset"], &offset["lag"]), (&json!(1), &Value::Null), "{seen}");
        assert_eq!(seen["inbox"].as_array().map(Vec::len), Some(1), "{seen}");
        Ok(())
    });
}

#[test]
fn what_waits_for_a_paused_handler_is_told_by_the_warning_of_its_pause_alone() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("it works", 1, SOON, async || world.db.completed().await).await?;
        world.mailroom(&["handler", "pause", "scripted"]).await?.ok()?;
        host.wait_log("is paused: nothing of it is started").await?;
        send(world, &scripted, 3).await?;

        eventually("they wait longer than the expiry", SOON, async || {
            let oldest = status(world).await?["inbox"][0]["oldest_secs"].as_f64();
            Ok(oldest.is_some_and(|secs| secs > EXPIRY_SECS))
        })
        .await?;

        let seen = status(world).await?;
        let said = warnings(&seen, &world.group("scripted"));
        assert!(matches!(&*said, [one] if one.contains("is paused since")), "{seen}");
        assert_eq!(seen["offsets"][0]["lag"], 0, "its messages are stored: {seen}");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn messages_that_wait_and_partitions_that_are_not_read_are_named_though_their_lanes_have_owners() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("it works", 1, SOON, async || world.db.completed().await).await?;
        world.mailroom(&["handler", "pause", "scripted"]).await?.ok()?;
        host.wait_log("is paused: nothing of it is started").await?;
        send(world, &scripted, 2).await?;
        let stored = "select count(*) from mailroom.inbox";
        becomes("two more are stored", 3, SOON, async || world.db.one::<i64>(stored).await).await?;
        host.stop().await?;
        for statement in A_MINUTE_ON_PAPER {
            world.db.execute(statement).await?;
        }
        send(world, &scripted, 5).await?;

        let seen = status(world).await?;

        let said = warnings(&seen, &world.group("scripted"));
        let [waits, unread] = &*said else { bail!("expected two warnings: {seen}") };
        assert!(waits.contains("oldest message") && waits.contains("its lanes have owners"), "{waits}");
        let place = format!("a lag of 5 in {}/0,", scripted.input);
        assert!(unread.contains(&place) && unread.contains("not read for 1m"), "{unread}");

        world.db.execute("update mailroom.partition_offset set updated_at = clock_timestamp()").await?;
        let seen = status(world).await?;
        assert!(warnings(&seen, "not read for").is_empty(), "it was read a moment ago: {seen}");
        assert_eq!(seen["offsets"][0]["lag"], 5);
        Ok(())
    });
}

#[test]
fn what_an_aborted_transaction_left_in_a_log_is_not_taken_for_records_that_nobody_reads() {
    in_world(Setup::default(), async |world| {
        let scripted = handled(world, 1).await?;
        for statement in A_MINUTE_ON_PAPER {
            world.db.execute(statement).await?;
        }
        world.kafka.send_and_abort(&[scripted.emits("k", 2)]).await?;

        let seen = status(world).await?;
        assert_eq!(seen["offsets"][0]["lag"], 2, "its record and its marker have offsets: {seen}");
        assert!(warnings(&seen, "not read for").is_empty(), "there is nothing to read: {seen}");

        send(world, &scripted, 1).await?;
        let seen = status(world).await?;
        assert_eq!(warnings(&seen, "a lag of 3").len(), 1, "a record behind them is to be read: {seen}");
        Ok(())
    });
}

#[test]
fn a_transaction_that_stays_open_is_named_as_what_keeps_a_partition_from_being_read() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("it works", 1, SOON, async || world.db.completed().await).await?;

        let open = world.kafka.send_and_leave_open(&[scripted.emits("k", 2)]).await?;
        send(world, &scripted, 1).await?;

        let named = "a producer's transaction is open from offset 1 on";
        let is_named = async || Ok(!warnings(&status(world).await?, named).is_empty());
        eventually("status names the transaction", SOON, is_named).await?;
        let seen = status(world).await?;
        let offset = &seen["offsets"][0];
        let numbers = [&offset["end_offset"], &offset["lag"], &offset["open_from"]];
        assert_eq!(numbers, [&json!(3), &json!(2), &json!(1)], "{seen}");
        assert!(warnings(&seen, "not read for").is_empty(), "nothing could be read: {seen}");
        open.commit().await?;
        becomes("what it held back is done too", 3, SOON, async || world.db.completed().await).await?;
        let seen = status(world).await?;
        assert!(seen["offsets"][0]["open_from"].is_null(), "{seen}");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_whose_memory_for_messages_is_full_says_so() {
    let env = &[("MAILROOM__INGEST__IN_HAND_MAX", "20"), ("MAILROOM__INGEST__BATCH_ROWS_MAX", "10")];
    in_world(Setup { env, ..Setup::default() }, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let sleeps = |n| scripted.says(&format!("k{n}"), &json!({"behave": "sleep"}));
        let messages: Vec<Message> = (0..200).map(sleeps).collect();
        world.kafka.send_all(&messages).await?;

        let named = "room for more messages of handler scripted".to_owned();
        eventually("status says so", SOON, async || Ok(waits(world).await?.contains(&named))).await?;

        let shown = world.mailroom(&["status"]).await?.ok()?;
        assert!(shown.contains("WAITS FOR"), "{shown}");
        host.kill().await?;
        Ok(())
    });
}

#[test]
fn a_host_to_which_postgres_refuses_something_says_what_and_why() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("it works", 1, SOON, async || world.db.completed().await).await?;
        for statement in FULL_DISK {
            world.db.execute(statement).await?;
        }
        world.kafka.send(&scripted.emits("k", 2)).await?;

        let why = async || Ok(status(world).await?["hosts"][0]["waits"].to_string());
        eventually("status says why", SOON, async || Ok(why().await?.contains("No space left"))).await?;
        world.db.execute("drop trigger full_disk on mailroom.inbox").await?;
        becomes("it goes on", 2, SOON, async || world.db.completed().await).await?;
        becomes("status says it no more", "[]".to_owned(), SOON, why).await?;
        host.stop().await?;
        Ok(())
    });
}
