//! The metrics: each one that is documented is there, and moves as what it tells of moves.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, ensure};
use mailroom_tests::{
    Admin, Exposition, LATER, Manifest, Message, SOON, Setup, World, becomes, eventually, in_world,
};
use serde_json::json;

use crate::arrange::Scripted;

const DOCS: &str = include_str!("../../docs/operations.md");

const READ: Setup = Setup {
    own_postgres: true,
    own_kafka: false,
    unmigrated: false,
    env: &[
        ("MAILROOM__ADMIN__LISTEN", "127.0.0.1:0"),
        ("MAILROOM__BREAKER__THRESHOLD", "3"),
        ("MAILROOM__BREAKER__RECOVERY", "1h"),
    ],
};

/// Names of the instruments in Prometheus, as they are documented.
fn documented() -> BTreeSet<&'static str> {
    let rows =
        DOCS.lines().filter(|line| line.starts_with("| `messaging.") || line.starts_with("| `mailroom."));
    rows.filter_map(|row| row.split(" | ").nth(1)).map(|name| name.trim_matches('`')).collect()
}

/// Waits until a metric is as it should be; the sum of all its series with these labels.
async fn shows(
    admin: Admin,
    name: &str,
    labels: &[(&str, &str)],
    is: impl Fn(Option<f64>) -> bool,
) -> Result<()> {
    let mut last = None;
    let shown = eventually(&format!("{name} {labels:?}"), SOON, async || {
        last = admin.metrics().await?.sum(name, labels);
        Ok(is(last))
    })
    .await;
    shown.map_err(|error| error.context(format!("the last value was {last:?}")))
}

async fn equals(admin: Admin, name: &str, labels: &[(&str, &str)], value: f64) -> Result<()> {
    shows(admin, name, labels, |is| is == Some(value)).await
}

/// A handler that takes text of one type of event only, and nothing of what the tests send but what is no text.
fn drop_picky(world: &World, topic: &str) -> Result<()> {
    let manifest = Manifest::takes(&[topic]).as_text().to_toml();
    let manifest = manifest.replacen("[subscribe]\n", "[subscribe]\nevent-types = [\"fit\"]\n", 1);
    fs::write(world.folder().join("handlers/picky.toml"), manifest)?;
    world.drop_component("picky", &fs::read(mailroom_tests::guest("noop")?)?)
}

#[test]
fn every_documented_metric_is_there_and_moves_with_what_it_tells_of() {
    in_world(READ, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]);
        let manifest = manifest
            .with("behind-dead = \"block\"")
            .with("version = \"seven\"")
            .with("instances = \"reuse\"");
        world.drop_handler("scripted", "scripted", &manifest)?;
        drop_picky(world, &scripted.input)?;
        let host = world.start_host("a")?;
        let admin = host.admin().await?;
        equals(admin, "mailroom_lanes", &[("queue", "inbox")], 2.0).await?;
        equals(admin, "mailroom_lanes", &[("queue", "outbox")], 64.0).await?;

        messages_flow(world, &scripted, admin).await?;
        a_handler_faults(world, &scripted, admin).await?;
        what_waits(world, &scripted, admin).await?;
        let seen = admin.metrics().await?;
        world.mailroom(&["dead", "discard", "--all"]).await?.ok()?;
        shows(admin, "mailroom_keys_blocked", &[], |keys| keys.is_none()).await?;
        shows(admin, "mailroom_dead_letters", &[], |letters| letters.is_none()).await?;
        postgres_goes_away(world, &scripted, admin).await?;

        let told: BTreeSet<&str> = seen.families().filter(|name| *name != "target_info").collect();
        assert_eq!(told, documented(), "told and documented");
        ensure!(!host.log()?.contains("MetricValidationFailed"), "an instrument is declared twice");
        host.stop().await?;
        Ok(())
    });
}

async fn messages_flow(world: &World, scripted: &Scripted, admin: Admin) -> Result<()> {
    let before = admin.metrics().await?;
    assert_eq!(before.sum("mailroom_handler_duration_seconds_count", &[("outcome", "completed")]), Some(0.0));
    let messages: Vec<_> = (0..20).map(|value| scripted.emits(&format!("k{value}"), value)).collect();
    world.kafka.send_all(&messages).await?;
    becomes("all are completed", 20, SOON, async || world.db.completed().await).await?;

    let topic = [("messaging_destination_name", scripted.output.as_str())];
    equals(admin, "messaging_client_sent_messages_total", &topic, 20.0).await?;
    let name = [("handler_name", "scripted")];
    let group = world.group("scripted");
    let from = [
        ("messaging_consumer_group_name", group.as_str()),
        ("messaging_destination_name", scripted.input.as_str()),
    ];
    for (metric, labels, count) in [
        ("messaging_client_consumed_messages_total", &from[..], 20.0),
        ("messaging_process_duration_seconds_count", &from[..], 20.0),
        ("messaging_client_operation_duration_seconds_count", &topic[..], 20.0),
        ("mailroom_outbox_publish_latency_seconds_count", &topic[..], 20.0),
        ("mailroom_handler_duration_seconds_count", &name[..], 20.0),
        ("mailroom_handler_fuel_count", &name[..], 20.0),
        ("mailroom_handler_memory_peak_bytes_count", &name[..], 20.0),
        ("mailroom_settle_batch_sum", &name[..], 20.0),
        ("mailroom_handler_version", &[("handler_name", "scripted"), ("handler_version", "seven")][..], 1.0),
        ("mailroom_unmatched_total", &[("handler_name", "picky")][..], 20.0),
        ("mailroom_postgres_away_seconds", &[][..], 0.0),
        ("mailroom_kafka_away_seconds", &[][..], 0.0),
        ("mailroom_breaker_state", &name[..], 0.0),
        ("mailroom_build", &[("version", "0.1.0")][..], 1.0),
        ("mailroom_postgres_pool", &[("state", "max")][..], 6.0),
    ] {
        equals(admin, metric, labels, count).await?;
    }
    reads_like_the_measured_thing(&admin.metrics().await?)?;
    shows(admin, "mailroom_handler_instances", &[("state", "idle")], |idle| idle > Some(0.0)).await
}

/// Amounts of calls that do next to nothing.
fn reads_like_the_measured_thing(seen: &Exposition) -> Result<()> {
    let mean = |metric: &str| {
        let of = |end: &str| seen.sum(&format!("{metric}_{end}"), &[("handler_name", "scripted")]);
        of("sum").zip(of("count")).map_or(0.0, |(sum, count)| sum / count)
    };
    let (seconds, fuel) = (mean("mailroom_handler_duration_seconds"), mean("mailroom_handler_fuel"));
    let bytes = mean("mailroom_handler_memory_peak_bytes");
    ensure!((1e-6..1.0).contains(&seconds), "a call took {seconds} s");
    ensure!((1e3..1e9).contains(&fuel), "a call used {fuel} units of fuel");
    ensure!((65_536.0..67_108_864.0).contains(&bytes), "a call held {bytes} bytes");
    Ok(())
}

async fn a_handler_faults(world: &World, scripted: &Scripted, admin: Admin) -> Result<()> {
    let fails = scripted.says("bad", &json!({"behave": "fail"}));
    world.kafka.send_all(&[fails, scripted.emits("bad", 1)]).await?;
    let name = [("handler_name", "scripted")];
    let of = |label| [("handler_name", "scripted"), label];
    equals(admin, "mailroom_handler_faults_total", &of(("fault", "failure")), 3.0).await?;
    equals(admin, "mailroom_handler_duration_seconds_count", &of(("outcome", "fault")), 3.0).await?;
    equals(admin, "messaging_process_duration_seconds_count", &[("error_type", "failure")], 3.0).await?;
    equals(admin, "mailroom_breaker_state", &name, 1.0).await?;
    equals(admin, "mailroom_dead_letters", &of(("reason", "exhausted")), 1.0).await?;
    equals(admin, "mailroom_keys_blocked", &[], 1.0).await?;
    world.mailroom(&["handler", "reset", "scripted"]).await?.ok()?;
    equals(admin, "mailroom_breaker_state", &name, 0.0).await?;
    let unreadable = Message::to(&scripted.input).key("q").header("event_type", "fit").payload([0xff, 0xfe]);
    world.kafka.send(&unreadable).await?;
    let again = || scripted.emits("again", 1).id("again");
    world.kafka.send_all(&[again(), again(), again()]).await?;
    equals(admin, "mailroom_duplicates_total", &name, 2.0).await?;
    equals(admin, "mailroom_quarantined_total", &[("handler_name", "picky")], 1.0).await?;
    equals(admin, "mailroom_dead_letters", &[("reason", "quarantined")], 1.0).await
}

async fn what_waits(world: &World, scripted: &Scripted, admin: Admin) -> Result<()> {
    let group = world.group("scripted");
    let group = ("messaging_consumer_group_name", group.as_str());
    world.mailroom(&["handler", "pause", "scripted"]).await?.ok()?;
    becomes("it is paused", 1, SOON, async || {
        world.db.one::<i64>("select count(*) from mailroom.handler_pause").await
    })
    .await?;
    world.kafka.send(&scripted.emits("waits", 1)).await?;
    equals(admin, "mailroom_inbox_pending", &[group, ("state", "pending")], 1.0).await?;
    shows(admin, "mailroom_inbox_oldest_eligible_age_seconds", &[group], |age| age > Some(0.0)).await?;
    equals(admin, "mailroom_inbox_lag", &[group], 0.0).await?;
    world.mailroom(&["handler", "resume", "scripted"]).await?.ok()?;
    equals(admin, "mailroom_inbox_pending", &[group, ("state", "pending")], 0.0).await?;
    equals(admin, "mailroom_inbox_oldest_eligible_age_seconds", &[group], 0.0).await?;

    sqlx::query("select mailroom.publish($1, 'k', 'thing.done', '{\"n\": 1}')")
        .bind(world.kafka.topic_name("nowhere"))
        .execute(world.db.pool())
        .await?;
    equals(admin, "mailroom_outbox_pending", &[("state", "pending")], 1.0).await?;
    shows(admin, "mailroom_outbox_oldest_age_seconds", &[], |age| age > Some(0.0)).await?;

    // Nobody takes what a handler that is gone would have taken.
    let picky = world.group("picky");
    let picky = ("messaging_consumer_group_name", picky.as_str());
    equals(admin, "mailroom_inbox_lag", &[picky], 0.0).await?;
    fs::remove_file(world.folder().join("handlers/picky.wasm"))?;
    shows(admin, "mailroom_lanes", &[picky], |lanes| lanes.is_none()).await?;
    world.kafka.send_all(&[scripted.emits("late", 1), scripted.emits("late", 2)]).await?;
    equals(admin, "mailroom_inbox_lag", &[picky], 2.0).await
}

async fn postgres_goes_away(world: &World, scripted: &Scripted, admin: Admin) -> Result<()> {
    world.with_postgres(|postgres| postgres.stop()).await?;
    shows(admin, "mailroom_postgres_away_seconds", &[], |away| away > Some(1.0)).await?;
    shows(admin, "mailroom_inbox_pending", &[], |pending| pending.is_none()).await?;
    let completed = [("handler_name", "scripted"), ("outcome", "completed")];
    let before = admin.metrics().await?.sum("mailroom_handler_duration_seconds_count", &completed);
    world.with_postgres(|postgres| postgres.restart()).await?;
    eventually("Postgres is back", LATER, async || {
        Ok(admin.metrics().await?.sum("mailroom_postgres_away_seconds", &[]) == Some(0.0))
    })
    .await?;
    world.kafka.send(&scripted.emits("after", 1)).await?;
    let rises = |now: Option<f64>| now > before;
    shows(admin, "mailroom_handler_duration_seconds_count", &completed, rises).await?;
    shows(admin, "mailroom_inbox_pending", &[], |pending| pending.is_some()).await
}
