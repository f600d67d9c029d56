//! Connections to Postgres that go silent, and commits that are not answered: what hangs is left behind, said, and
//! read again; nothing waits for it without an end.

use std::time::Duration;

use anyhow::{Result, ensure};
use mailroom_tests::kafka::record::{ensure_rising_per_key, first_occurrences};
use mailroom_tests::{
    Host, Keep, Message, Proxy, Request, SOON, Setup, World, becomes, eventually, in_world, passes,
};
use tokio::time::Instant;

use crate::arrange::Scripted;

/// Messages of a round, over four keys.
const ROUND: i64 = 8;
/// Grace of a stop, as the suite's settings say.
const STOP_GRACE: Duration = Duration::from_secs(10);
const EXPIRY: Duration = Duration::from_secs(3);

const SETTLES: Request = Request::CommitAfter("insert into mailroom.inbox");
const LIFE: &str = "select string_agg(id::text, ',') from mailroom.host";
const TOKEN: &str = "select max(token) from mailroom.lane where kind = 'inbox'";

fn round(scripted: &Scripted, number: i64) -> Vec<Message> {
    let message = |n: i64| scripted.emits(&format!("k{}", n % 4), n);
    (number * ROUND..(number + 1) * ROUND).map(message).collect()
}

/// A host behind a proxy, which has had its first round in peace.
async fn at_work(world: &World) -> Result<(Scripted, Proxy, Host)> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let proxy = Proxy::of_postgres(&world.db.address()).await?;
    let host = world.start_host_behind("a", &proxy)?;
    handles_round(world, &scripted, 0).await?;
    Ok((scripted, proxy, host))
}

async fn handles_round(world: &World, scripted: &Scripted, number: i64) -> Result<()> {
    world.kafka.send_all(&round(scripted, number)).await?;
    everything_once(world, scripted, (number + 1) * ROUND).await
}

async fn everything_once(world: &World, scripted: &Scripted, sent: i64) -> Result<()> {
    becomes("every message completed", sent, SOON, async || world.db.completed().await).await?;
    let relayed = "select count(*) from mailroom.outbox where status = 'completed'";
    becomes("every emitted row relayed", sent, SOON, async || world.db.one::<i64>(relayed).await).await?;
    let emitted: i64 = world.db.one("select count(*) from mailroom.outbox").await?;
    ensure!(emitted == sent, "{emitted} rows emitted by {sent} messages");
    let records = world.kafka.read_all(&scripted.output).await?;
    let first = first_occurrences(&records)?;
    ensure!(i64::try_from(first.len())? == sent, "{} of {sent} on Kafka", first.len());
    ensure_rising_per_key(&first, "value")
}

#[test]
fn a_lane_whose_settlement_goes_silent_at_its_commit_is_taken_anew_and_read_again() {
    in_world(Setup::default(), async |world| {
        let (scripted, proxy, host) = at_work(world).await?;
        let (life, token): (String, i64) = (world.db.one(LIFE).await?, world.db.one(TOKEN).await?);

        proxy.freeze(SETTLES, Keep::Connection);
        world.kafka.send_all(&round(&scripted, 1)).await?;
        eventually("a settlement is silent", SOON, async || Ok(proxy.frozen() > 0)).await?;

        everything_once(world, &scripted, 2 * ROUND).await?;
        host.wait_log("the lanes are taken anew and read again").await?;
        ensure!(world.db.one::<i64>(TOKEN).await? > token, "the lane has the token that it had");
        ensure!(world.db.one::<String>(LIFE).await? == life, "one silent connection ended the host's life");
        let status = world.mailroom(&["status", "--json"]).await?.json()?;
        let doubts =
            status["lanes"].as_array().into_iter().flatten().filter_map(|lane| lane["doubts"].as_i64());
        ensure!(doubts.sum::<i64>() > 0, "doubts are counted: {status}");
        let warnings = status["warnings"].to_string();
        ensure!(warnings.contains("taken anew by their owner"), "and shown: {warnings}");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_settlement_whose_commit_is_not_answered_has_its_effects_once() {
    in_world(Setup::default(), async |world| {
        let (scripted, proxy, host) = at_work(world).await?;

        proxy.freeze(SETTLES, Keep::Reply);
        world.kafka.send_all(&round(&scripted, 1)).await?;
        host.wait_log("the lanes are taken anew and read again").await?;
        proxy.release();

        everything_once(world, &scripted, 2 * ROUND).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_all_of_whose_connections_went_silent_goes_on_with_new_ones() {
    in_world(Setup::default(), async |world| {
        let (scripted, proxy, host) = at_work(world).await?;
        let life: String = world.db.one(LIFE).await?;

        let began: String = world.db.one("select clock_timestamp()::text").await?;
        proxy.silence();
        handles_round(world, &scripted, 1).await?;

        let listens = format!(
            "select count(*) from pg_stat_activity
              where datname = current_database() and application_name = 'mailroom'
                and backend_start > '{began}'::timestamptz and (query ilike 'listen%' or query = 'select 1')"
        );
        let listens = async || world.db.one::<i64>(sqlx::AssertSqlSafe(listens.clone())).await;
        becomes("it listens on a new connection", 1, SOON, listens).await?;
        ensure!(world.db.one::<String>(LIFE).await? == life, "it began another life");
        host.stop().await?;
        Ok(())
    });
}

/// Stops a host under load once `silence` has come over its connections.
fn stops_though(silence: fn(&Proxy)) {
    in_world(Setup::default(), async |world| {
        let (scripted, proxy, host) = at_work(world).await?;
        silence(&proxy);
        world.kafka.send_all(&round(&scripted, 1)).await?;

        let asked = Instant::now();
        host.stop().await?;
        let took = asked.elapsed();
        ensure!(took <= STOP_GRACE, "the stop took {took:?}, and host.stop-grace is {STOP_GRACE:?}");
        Ok(())
    });
}

#[test]
fn a_stop_ends_within_its_grace_though_all_connections_are_silent() {
    stops_though(Proxy::silence);
}

#[test]
fn a_stop_ends_within_its_grace_though_new_connections_are_silent_too() {
    stops_though(Proxy::silence_for_ever);
}

#[test]
fn a_synchronous_standby_that_is_away_is_said_and_waited_for() {
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        handles_round(world, &scripted, 0).await?;
        let life: String = world.db.one(LIFE).await?;

        standby_is(world, "'nobody'").await?;
        world.kafka.send_all(&round(&scripted, 1)).await?;
        host.wait_log("while settling messages (lanes ").await?;
        host.wait_log("a synchronous standby may be away").await?;
        passes(3 * EXPIRY).await;
        ensure!(world.db.completed().await? == ROUND, "something was committed without the standby");
        standby_is(world, "''").await?;

        everything_once(world, &scripted, 2 * ROUND).await?;
        ensure!(world.db.one::<String>(LIFE).await? == life, "the host's life ended");
        host.stop().await?;
        Ok(())
    });
}

/// Says whose confirmation commits wait for.
async fn standby_is(world: &World, name: &str) -> Result<()> {
    let statement = format!("alter system set synchronous_standby_names = {name}");
    world.db.execute(sqlx::AssertSqlSafe(statement)).await?;
    world.db.execute("select pg_reload_conf()").await?;
    let set = format!("'{}'", name.trim_matches('\''));
    eventually("the setting holds", SOON, async || {
        let now: String = world.db.one("select current_setting('synchronous_standby_names')").await?;
        Ok(format!("'{now}'") == set)
    })
    .await
}

#[test]
fn hosts_whose_expiry_has_passed_are_buried_by_their_like_at_once_and_by_others_after_an_expiry() {
    const LONG: Duration = Duration::from_secs(8);
    let setup = Setup { env: &[("MAILROOM__HOST__EXPIRY", "8s")], ..Setup::default() };
    in_world(setup, async |world| {
        let expired = "insert into mailroom.host (id, worker, version, relays, expires_at)
            select gen_random_uuid(), worker, '0', false, clock_timestamp() - interval '1 hour'
              from unnest(array['a', 'elsewhere']) w(worker)";
        world.db.execute(expired).await?;
        let left = "select coalesce(string_agg(worker, ',' order by worker), '') from mailroom.host
                     where expires_at < clock_timestamp()";

        let began = Instant::now();
        let host = world.start_host("a")?;
        let buried = async || world.db.one::<String>(left).await;
        becomes("its predecessor is buried", "elsewhere".to_owned(), SOON, buried).await?;
        becomes("the other is buried", String::new(), SOON, buried).await?;
        let waited = began.elapsed();
        ensure!(waited >= LONG, "another host was buried after {waited:?}, and the expiry is {LONG:?}");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_works_with_three_connections_and_has_no_more() {
    let setup = Setup { env: &[("MAILROOM__POSTGRES__CONNECTIONS_MAX", "3")], ..Setup::default() };
    in_world(setup, async |world| {
        let scripted = Scripted::drop_into(world, 2).await?;
        let host = world.start_host("a")?;
        for number in 0..5 {
            handles_round(world, &scripted, number).await?;
            let connections: i64 = world
                .db
                .one(
                    "select count(*) from pg_stat_activity
                      where datname = current_database() and application_name = 'mailroom'",
                )
                .await?;
            ensure!(connections <= 3, "the host has {connections} connections");
        }
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn timeouts_above_what_the_expiry_allows_are_said_and_do_not_hold_for_the_host() {
    let setup = Setup {
        env: &[("MAILROOM__POSTGRES__LOCK_TIMEOUT", "1h"), ("MAILROOM__POSTGRES__STATEMENT_TIMEOUT", "1h")],
        ..Setup::default()
    };
    in_world(setup, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        host.wait_log("postgres.lock-timeout holds for commands only").await?;
        host.wait_log("postgres.statement-timeout holds for commands only").await?;
        handles_round(world, &scripted, 0).await?;

        let held = world.db.hold("lock table mailroom.inbox").await?;
        world.kafka.send_all(&round(&scripted, 1)).await?;
        host.wait_log("canceling statement due to").await?;
        held.release().await?;
        everything_once(world, &scripted, 2 * ROUND).await?;
        host.stop().await?;
        Ok(())
    });
}
