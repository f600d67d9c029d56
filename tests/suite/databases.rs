//! Databases as others have made them: their defaults, publications, encodings, and sequences that stand too low.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use mailroom_tests::{SOON, Setup, World, becomes, in_world};
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::arrange::Scripted;

/// A message that is done on its second attempt.
fn retries(scripted: &Scripted, key: &str, value: i64, after_ms: u64) -> mailroom_tests::Message {
    let behave = json!({"behave": "retry-after", "after_ms": after_ms, "until_attempt": 2,
                        "topic": scripted.output, "value": value});
    scripted.says(key, &behave)
}

async fn emitted(world: &World) -> Result<Vec<i64>> {
    let values =
        "select (convert_from(payload, 'UTF8')::jsonb->>'value')::bigint from mailroom.outbox order by 1";
    world.db.column(values).await
}

#[test]
fn publications_of_mailrooms_tables_stop_nothing() {
    in_world(Setup::default(), async |world| {
        for publication in [
            "everything for all tables",
            "changes for all tables with (publish = 'update, delete')",
            "messages for table mailroom.inbox, mailroom.outbox, mailroom.state, mailroom.dead_letter",
        ] {
            world.db.execute(AssertSqlSafe(format!("create publication {publication}"))).await?;
        }
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;

        world.kafka.send_all(&[retries(&scripted, "k", 1, 200), scripted.emits("other", 2)]).await?;

        becomes("both are done", vec![1, 2], SOON, async || emitted(world).await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_databases_defaults_for_transactions_are_not_the_hosts() {
    in_world(Setup::default(), async |world| {
        let name: String = world.db.one("select current_database()::text").await?;
        for default in
            ["default_transaction_isolation = 'serializable'", "default_transaction_read_only = on"]
        {
            world.db.execute(AssertSqlSafe(format!("alter database {name} set {default}"))).await?;
        }
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;

        let messages: Vec<_> =
            (0..200).map(|value| scripted.emits(&format!("k{}", value % 20), value)).collect();
        world.kafka.send_all(&messages).await?;

        becomes("all are done", 200, SOON, async || world.db.completed().await).await?;
        let log = host.log()?;
        ensure!(!log.contains("is away or refuses"), "Postgres was never away: {log}");

        // Others from now on, for sessions that are made anew.
        for default in ["default_transaction_isolation = 'repeatable read'", "idle_session_timeout = '300ms'"]
        {
            world.db.execute(AssertSqlSafe(format!("alter database {name} set {default}"))).await?;
        }
        let others = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                       where datname = current_database() and pid <> pg_backend_pid()";
        world.db.one::<i64>(others).await?;
        for (first, last) in [(200, 300), (300, 400)] {
            let messages: Vec<_> =
                (first..last).map(|value| scripted.emits(&format!("k{}", value % 20), value)).collect();
            world.kafka.send_all(&messages).await?;
            becomes("all are done", last, SOON, async || world.db.completed().await).await?;
        }
        let said =
            host.log()?.lines().filter(|line| line.contains(" WARN ") && line.contains("Postgres")).count();
        ensure!(said <= 1, "a session's end is said {said} times: {}", host.log()?);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn places_are_not_given_twice_where_the_inboxs_sequence_was_set_back() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let waiting: Vec<_> =
            (0..5).map(|value| retries(&scripted, &format!("old{value}"), value, 8_000)).collect();
        world.kafka.send_all(&waiting).await?;
        world.kafka.send(&scripted.says("dead", &json!({"behave": "reject"}))).await?;
        let held = "select count(*) from mailroom.inbox where held";
        becomes("five wait for their retry", 5, SOON, async || world.db.one::<i64>(held).await).await?;
        let letters = "select count(*) from mailroom.dead_letter";
        becomes("one is dead", 1, SOON, async || world.db.one::<i64>(letters).await).await?;
        host.stop().await?;
        world.db.execute("alter sequence mailroom.inbox_seq_seq restart with 1").await?;

        let host = world.start_host("b")?;
        let fresh: Vec<_> =
            (5..10).map(|value| retries(&scripted, &format!("new{value}"), value, 200)).collect();
        world.kafka.send_all(&fresh).await?;
        world.kafka.send(&scripted.says("dead too", &json!({"behave": "reject"}))).await?;

        becomes("each is done, once", (0..10).collect(), 2 * SOON, async || emitted(world).await).await?;
        becomes("the other one is dead too", 2, SOON, async || world.db.one::<i64>(letters).await).await?;
        let places = "select count(*) - count(distinct (lane, seq)) from mailroom.inbox";
        assert_eq!(world.db.one::<i64>(places).await?, 0, "places were given twice");
        host.wait_log("The sequence mailroom.inbox_seq_seq gave 1 after 6").await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn sequences_that_stand_below_what_is_there_are_named_with_the_statement_that_mends_them() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let messages: Vec<_> = (0..5).map(|value| scripted.emits("k", value)).collect();
        world.kafka.send_all(&messages).await?;
        let relayed = "select count(*) from mailroom.outbox where status = 'completed'";
        becomes("all are relayed", 5, SOON, async || world.db.one::<i64>(relayed).await).await?;
        host.stop().await?;
        let status = world.mailroom(&["status"]).await?.ok()?;
        ensure!(!status.contains("stands at"), "{status}");
        let (mut said, mut mends) = (Vec::new(), Vec::new());
        for (table, column) in [("inbox", "seq"), ("outbox", "seq"), ("lane", "id")] {
            let highest = AssertSqlSafe(format!("select max({column})::bigint from mailroom.{table}"));
            let highest: i64 = world.db.one(highest).await?;
            let restart = |at: i64| format!("alter table mailroom.{table} alter {column} restart with {at}");
            world.db.execute(AssertSqlSafe(restart(1))).await?;
            said.push(format!("sequence mailroom.{table}_{column}_seq stands at 0, below {highest} of"));
            mends.push(restart(highest + 1));
        }

        let status = world.mailroom(&["status"]).await?.ok()?;
        let host = world.start_host("b")?;

        for (said, mends) in said.iter().zip(mends) {
            ensure!(status.contains(said) && status.contains(&format!("`{mends}`")), "{said}: {status}");
            host.wait_log(said).await?;
            world.db.execute(AssertSqlSafe(mends)).await?;
        }
        let status = world.mailroom(&["status"]).await?.ok()?;
        ensure!(!status.contains("stands at"), "{status}");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn partitions_get_lanes_though_the_sequence_of_lanes_was_set_back() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 3).await?;
        let host = world.start_host("a")?;
        let lanes = "select count(*) from mailroom.lane where kind = 'inbox'";
        becomes("each partition has a lane", 3, SOON, async || world.db.one::<i64>(lanes).await).await?;
        host.stop().await?;
        world.db.execute("alter table mailroom.lane alter id restart with 1").await?;
        let more = Scripted { input: world.kafka.topic("more", 2).await?, output: scripted.output };
        let manifest = mailroom_tests::Manifest::takes(&[&more.input]).publishes(&[&more.output]);
        world.drop_handler("other", "scripted", &manifest)?;

        let host = world.start_host("b")?;
        world.kafka.send(&more.emits("k", 1)).await?;

        becomes("a message of the new topic is done", 1, SOON, async || world.db.completed().await).await?;
        becomes("its partitions have lanes too", 5, SOON, async || world.db.one::<i64>(lanes).await).await?;
        host.wait_log("The sequence mailroom.lane_id_seq stood below lanes that are there").await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn an_encoding_that_cannot_hold_every_text_is_refused_by_name_and_nothing_is_made() {
    in_world(Setup { unmigrated: true, ..Setup::default() }, async |world| {
        for encoding in ["LATIN1", "LATIN9", "EUC_JP"] {
            let (name, config) = database_in(world, encoding).await?;
            for command in [&["migrate"][..], &["config", "check", "--connect"]] {
                let refused = world.mailroom_at(&config, command).await?;
                refused.refused(1, &[&format!("encoding {encoding}"), "UTF8"])?;
            }
            world.db.execute(AssertSqlSafe(format!("drop database {name}"))).await?;
        }
        Ok(())
    });
}

#[test]
fn what_has_no_encoding_stores_every_text() {
    in_world(Setup { unmigrated: true, ..Setup::default() }, async |world| {
        let (name, config) = database_in(world, "SQL_ASCII").await?;
        world.mailroom_at(&config, &["migrate"]).await?.ok()?;
        let payload = r#"{"a": "é漢😀"}"#;
        let publish =
            ["outbox", "publish", "--topic", "t", "--type", "ü", "--key", "ß", "--payload", payload];
        let id = world.mailroom_at(&config, &publish).await?.ok()?;
        let shown = world.mailroom_at(&config, &["outbox", "show", id.trim()]).await?.ok()?;
        for part in ["é漢😀", "ü", "ß"] {
            ensure!(shown.contains(part), "`{part}` is not in {shown}");
        }
        world.db.execute(AssertSqlSafe(format!("drop database {name}"))).await?;
        Ok(())
    });
}

/// Makes a database in an encoding; gives its name, and a configuration that uses it.
async fn database_in(world: &World, encoding: &str) -> Result<(String, PathBuf)> {
    let own: String = world.db.one("select current_database()::text").await?;
    let name = format!("{own}_{}", encoding.to_lowercase());
    let create = format!("create database {name} encoding '{encoding}' locale 'C' template template0");
    world.db.execute(AssertSqlSafe(create)).await?;
    let url = world.db.url().replace(&format!("/{own}"), &format!("/{name}"));
    let config = world.folder().join(format!("{name}.toml"));
    let text = format!("[postgres]\nurl = \"{url}\"\n[kafka]\nbrokers = \"{}\"\n", world.kafka.brokers());
    std::fs::write(&config, text)?;
    Ok((name, config))
}

#[test]
fn a_migration_that_fails_leaves_nothing_of_itself_and_ends_with_1() {
    in_world(Setup { unmigrated: true, ..Setup::default() }, async |world| {
        world.db.execute("create schema mailroom").await?;
        // In the way of the third migration's first statement but one.
        world.db.execute("create table mailroom.outbox (id bigint)").await?;

        world.mailroom(&["migrate"]).await?.refused(1, &["migration 0003 was rolled back", "outbox"])?;

        let applied = "select coalesce(max(version), 0) from mailroom.migrations";
        assert_eq!(world.db.one::<i64>(applied).await?, 2, "those before it stay");
        world.db.execute("drop table mailroom.outbox").await?;
        world.mailroom(&["migrate"]).await?.ok()?;
        Ok(())
    });
}

#[test]
fn a_statement_that_postgres_refuses_is_said_with_what_to_do_and_goes_on_once_that_is_done() {
    in_world(Setup::default(), async |world| {
        let role = format!("less_{}", world.group("x").replace('.', "_"));
        let statements = format!(
            "create role {role} login password 'less';
             grant usage on schema mailroom to {role};
             grant select, insert, update, delete on all tables in schema mailroom to {role};
             grant select, usage on all sequences in schema mailroom to {role};
             revoke insert on mailroom.outbox from {role}"
        );
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(world.db.pool()).await?;
        let scripted = Scripted::drop_into(world, 1).await?;
        let url = world.db.url_as(&role, "less");
        let host = world.start_host_with("a", &[("MAILROOM__POSTGRES__URL", &url)])?;

        world.kafka.send(&scripted.emits("k", 1)).await?;
        host.wait_log("permission denied for table outbox").await?;
        host.wait_log("refuses; waiting until somebody acts").await?;
        host.wait_log("grant the role what production.md lists").await?;
        world.db.execute(AssertSqlSafe(format!("grant insert on mailroom.outbox to {role}"))).await?;

        becomes("the message is done", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        world.db.execute(AssertSqlSafe(format!("drop owned by {role}"))).await?;
        world.db.execute(AssertSqlSafe(format!("drop role {role}"))).await?;
        Ok(())
    });
}

#[test]
fn a_host_whose_role_has_no_rights_yet_says_which_it_needs_and_begins_once_it_has_them() {
    in_world(Setup::default(), async |world| {
        let role = format!("none_{}", world.group("x").replace('.', "_"));
        world.db.execute(AssertSqlSafe(format!("create role {role} login password 'none'"))).await?;
        let scripted = Scripted::drop_into(world, 1).await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        let url = world.db.url_as(&role, "none");
        let env = [("MAILROOM__POSTGRES__URL", url.as_str())];

        let mut host = world.start_host_with("a", &env)?;
        host.wait_log("permission denied for schema mailroom").await?;
        host.wait_log("refuses; waiting until somebody acts").await?;
        host.wait_log("grant the role what production.md lists").await?;
        world
            .mailroom_with(&["status"], &env)
            .await?
            .refused(1, &["grant the role what production.md lists"])?;
        host.still_runs()?;
        let grants = format!(
            "grant usage on schema mailroom to {role};
             grant select, insert, update, delete on all tables in schema mailroom to {role};
             grant select, usage on all sequences in schema mailroom to {role};
             grant execute on function mailroom.publish to {role}"
        );
        sqlx::raw_sql(AssertSqlSafe(grants)).execute(world.db.pool()).await?;

        becomes("the message is done", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        world.db.execute(AssertSqlSafe(format!("drop owned by {role}"))).await?;
        world.db.execute(AssertSqlSafe(format!("drop role {role}"))).await?;
        Ok(())
    });
}
