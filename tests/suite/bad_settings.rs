//! Wrong configuration: all of it is named at once, before anything starts.

use std::fs;

use mailroom_tests::{Setup, in_world};

use crate::arrange::{Scripted, sql_role};

const WRONG: &str = r#"
namespace = "shop"
[host]
expiri = "3s"
expiry = "3 parsecs"
[postgres]
url = "postgres://localhost/nowhere"
[kafka]
brokers = "localhost:9092"
[relay]
batch-rows-max = 0
"#;

#[test]
fn every_wrong_key_and_value_is_named_and_nothing_starts() {
    in_world(Setup::default(), async |world| {
        let file = world.folder().join("wrong.toml");
        fs::write(&file, WRONG)?;
        let named = ["host.expiri", "host.expiry", "3 parsecs", "relay.batch-rows-max"];

        world.mailroom_at(&file, &["config", "check"]).await?.refused(2, &named)?;
        world.mailroom_at(&file, &["run"]).await?.refused(2, &named)?;
        Ok(())
    });
}

#[test]
fn a_wrong_value_in_the_environment_is_named_by_its_key() {
    in_world(
        Setup { env: &[("MAILROOM__RETRY__BASE", "soon")], unmigrated: true, ..Setup::default() },
        async |world| world.mailroom(&["config", "check"]).await?.refused(2, &["retry.base", "soon"]),
    );
}

#[test]
fn one_group_instance_id_for_all_consumers_is_refused_with_its_reason() {
    in_world(Setup::default(), async |world| {
        let file = world.folder().join("wrong.toml");
        let right = fs::read_to_string(world.settings_file()?)?;
        let named = ["kafka.properties.group.instance.id", "throw the others out of the group", "remove it"];
        for given in [
            "\"group.instance.id\" = \"one\"",
            "\"group.instance.id\" = \"\"",
            "\"group.instance.id\" = \"${HOSTNAME}\"",
        ] {
            let wrong = right.replace("[kafka.properties]", &format!("[kafka.properties]\n{given}"));
            fs::write(&file, wrong)?;
            world.mailroom_at(&file, &["config", "check"]).await?.refused(2, &named)?;
            world.mailroom_at(&file, &["run"]).await?.refused(2, &named)?;
        }
        Ok(())
    });
}

#[test]
fn what_librdkafka_refuses_is_named_before_anything_starts() {
    in_world(Setup::default(), async |world| {
        let right = fs::read_to_string(world.settings_file()?)?;
        let file = world.folder().join("wrong.toml");
        for (property, named) in [
            ("\"linger.ms\" = 60000", "kafka.properties.linger.ms"),
            ("\"max.in.flight\" = 10", "kafka.properties.max.in.flight"),
            ("\"fetch.max.bytes\" = \"plenty\"", "kafka.properties.fetch.max.bytes"),
            ("\"group.protocol\" = \"consumer\"", "kafka.properties.group.protocol"),
        ] {
            fs::write(
                &file,
                right.replace("[kafka.properties]", &format!("[kafka.properties]\n{property}")),
            )?;
            world.mailroom_at(&file, &["config", "check"]).await?.refused(2, &[named])?;
            world.mailroom_at(&file, &["run"]).await?.refused(2, &[named])?;
        }
        Ok(())
    });
}

#[test]
fn the_servers_are_tried_where_that_is_asked_for() {
    in_world(Setup::default(), async |world| {
        let tried = ["config", "check", "--connect"];
        let scripted = Scripted::drop_into(world, 1).await?;
        world.mailroom(&tried).await?.ok()?;

        world.kafka.delete_topic(&scripted.output).await?;
        let group = world.group("scripted");
        world.kafka.deny_group(&group, true).await?;
        let file = world.folder().join("wrong.toml");
        let right = fs::read_to_string(world.settings_file()?)?;
        fs::write(&file, format!("{right}\n[sql.nobody]\nurl = \"{}\"\n", world.db.url_as("nobody", "x")))?;
        fs::write(
            world.folder().join("handlers/orders.js"),
            "import { defineHandler } from \"mailroom-guest\";
             export const handler = defineHandler({
               subscriptions: [{ topics: [\"orders-that-a-script-reads\"] }], handle() {},
             });",
        )?;
        let named = ["does not exist", &scripted.output, "orders-that-a-script-reads", &group, "sql.nobody"];
        let refused = world.mailroom_at(&file, &tried).await?;
        world.kafka.deny_group(&group, false).await?;
        refused.refused(1, &named)
    });
}

#[test]
fn what_the_hosts_role_and_those_of_handlers_may_not_do_is_named_with_the_grant() {
    in_world(Setup::default(), async |world| {
        let file = world.folder().join("wrong.toml");
        let right = fs::read_to_string(world.settings_file()?)?;
        let (shop, shop_url) = sql_role(world, "shop").await?;
        let weak = format!("weak_{shop}");
        for statement in [
            format!("create role {weak} login password 'p'"),
            format!("grant usage on schema mailroom to {weak}"),
            format!("grant select on all tables in schema mailroom to {weak}"),
            format!("revoke execute on function mailroom.settle_with_sql from {shop}"),
        ] {
            world.db.execute(sqlx::AssertSqlSafe(statement)).await?;
        }
        let own = format!("{right}\n[sql.own]\nurl = \"{}\"\n", world.db.url());
        let shops = format!("{right}\n[sql.shop]\nurl = \"{shop_url}\"\n");
        let as_weak = right.replace(&world.db.url(), &world.db.url_as(&weak, "p"));
        let lacks = format!("role {weak} lacks");
        for (settings, named) in [
            (
                as_weak,
                [lacks.as_str(), "grant select, insert, update, delete on all tables in schema mailroom"],
            ),
            (own, ["sql.own: ", "role"]),
            (shops, ["sql.shop: ", "grant execute on function mailroom.settle_with_sql"]),
        ] {
            fs::write(&file, settings)?;
            world.mailroom_at(&file, &["config", "check"]).await?.ok()?;
            world.mailroom_at(&file, &["config", "check", "--connect"]).await?.refused(1, &named)?;
        }
        Ok(())
    });
}

#[test]
fn servers_that_do_not_answer_are_named_with_their_addresses() {
    in_world(Setup::default(), async |world| {
        let file = world.folder().join("wrong.toml");
        let right = fs::read_to_string(world.settings_file()?)?;
        let away = right
            .replace(world.kafka.brokers(), "127.0.0.1:1")
            .replace(&world.db.url(), "postgres://u@127.0.0.1:1/d");
        fs::write(&file, away)?;

        world.mailroom_at(&file, &["config", "check"]).await?.ok()?;
        let tried = world.mailroom_at(&file, &["config", "check", "--connect"]).await?;
        tried.refused(1, &["Kafka at 127.0.0.1:1", "Postgres at 127.0.0.1:1"])
    });
}

#[test]
fn a_good_configuration_is_said_to_be_good_and_shown_without_its_secrets() {
    in_world(Setup::default(), async |world| {
        world.mailroom(&["config", "check"]).await?.ok()?;
        let shown = world.mailroom(&["config", "show"]).await?.ok()?;
        assert!(shown.contains("host.expiry") || shown.contains("expiry"), "{shown}");
        let url = world.db.url();
        let password = url.split(['@', ':']).nth(2).unwrap_or("");
        assert!(password.len() > 8 && !shown.contains(password), "the password is shown");
        Ok(())
    });
}

#[test]
fn a_host_does_not_start_on_a_database_without_its_tables() {
    in_world(Setup { unmigrated: true, ..Setup::default() }, async |world| {
        let ran = world.mailroom(&["run"]).await?;
        assert_ne!(ran.code, Some(0));
        assert!(ran.stderr.contains("mailroom migrate"), "the remedy is named: {ran:?}");
        Ok(())
    });
}
