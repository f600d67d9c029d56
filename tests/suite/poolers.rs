//! PgBouncer before Postgres: the whole path and its crashes, with sessions that are the host's and that are not.

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{PoolMode, SOON, Setup, Start, World, becomes, in_world_with_pooler, paths};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Row as _};

use crate::arrange::Scripted;
use crate::{crash, first_light, order};

macro_rules! behind_a_pooler {
    ($module:ident, $mode:expr) => {
        mod $module {
            use super::*;

            #[test]
            fn a_message_becomes_a_committed_effect_and_its_event_is_back_on_kafka() {
                let setup = Setup { own_kafka: true, ..Setup::default() };
                in_world_with_pooler(setup, $mode, first_light::orders_become_invoices);
            }

            #[test]
            fn a_kill_while_settling_leaves_all_or_nothing() {
                in_world_with_pooler(Setup::default(), $mode, crash::kill_while_settling);
            }

            #[test]
            fn hosts_killed_again_and_again_lose_nothing_and_repeat_no_effect() {
                in_world_with_pooler(Setup::default(), $mode, async |world| {
                    crash::kill_again_and_again(world).await?;
                    // Sessions of a transaction's length are others' the next moment.
                    if $mode == PoolMode::Transaction { leaves_nothing_behind(world).await } else { Ok(()) }
                });
            }

            #[test]
            fn a_message_keeps_its_id_though_its_host_was_killed_before_it_had_a_row() {
                in_world_with_pooler(Setup::default(), $mode, crash::kill_before_it_has_a_row);
            }

            #[test]
            fn a_retry_keeps_the_order_of_its_key() {
                in_world_with_pooler(Setup::default(), $mode, order::retry_within_a_key);
            }
        }
    };
}

behind_a_pooler!(in_session_mode, PoolMode::Session);
behind_a_pooler!(in_transaction_mode, PoolMode::Transaction);

/// Looks into the backends of the pool: what others would meet there.
async fn leaves_nothing_behind(world: &World) -> Result<()> {
    const BACKENDS_MAX: usize = 30;
    let options: PgConnectOptions =
        world.pooler.as_ref().context("this world has a pooler")?.url().parse()?;
    let options = options.extra_float_digits(None);
    let mut held = Vec::new();
    for _ in 0..BACKENDS_MAX {
        let mut connection = options.connect().await?;
        sqlx::raw_sql("begin").execute(&mut connection).await?;
        let query =
            "select count(*)::text, (select string_agg(name || ' = ' || setting, ', ') from pg_settings
                      where source = 'session' and name not in
                            ('application_name', 'client_encoding', 'DateStyle', 'TimeZone'))
                       from pg_prepared_statements";
        let row = sqlx::raw_sql(query).fetch_one(&mut connection).await?;
        let (prepared, set): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        ensure!(prepared == "0", "{prepared} prepared statements were left behind");
        ensure!(set.is_none(), "settings were left behind: {set:?}");
        held.push(connection);
    }
    Ok(())
}

/// Set-up with a limit for locks below that of a statement, which would end the wait otherwise.
const SHORT_LOCKS: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[("MAILROOM__POSTGRES__LOCK_TIMEOUT", "200ms")],
};

/// Has a host wait for a lock, which its own setting ends.
async fn locks_are_waited_for_as_the_setting_says(world: &World) -> Result<()> {
    let scripted = Scripted::drop_into(world, 1).await?;
    let host = world.start_host("a")?;
    world.kafka.send(&scripted.emits("k", 1)).await?;
    becomes("a first message is through", 1, SOON, async || world.db.completed().await).await?;

    let held = world.db.hold("lock table mailroom.outbox in share mode").await?;
    world.kafka.send(&scripted.emits("k", 2)).await?;
    host.wait_log("canceling statement due to lock timeout").await?;
    held.release().await?;

    becomes("both are through", 2, SOON, async || world.db.completed().await).await?;
    host.stop().await?;
    Ok(())
}

#[test]
fn settings_of_a_session_hold_behind_a_pooler_in_session_mode() {
    in_world_with_pooler(SHORT_LOCKS, PoolMode::Session, locks_are_waited_for_as_the_setting_says);
}

#[test]
fn settings_hold_for_each_transaction_behind_a_pooler_in_transaction_mode() {
    in_world_with_pooler(SHORT_LOCKS, PoolMode::Transaction, locks_are_waited_for_as_the_setting_says);
}

#[test]
fn a_pooler_in_transaction_mode_that_nobody_declared_is_refused_with_the_remedy() {
    in_world_with_pooler(Setup::default(), PoolMode::Transaction, async |world| {
        let undeclared = [("MAILROOM__POSTGRES__POOL_MODE", "session")];
        let host = world.start_host_with("undeclared", &undeclared)?;
        host.wait_log("postgres.pool-mode = \"transaction\"").await?;
        Ok(())
    });
}

#[test]
fn a_pooler_in_transaction_mode_before_the_sql_of_a_handler_is_refused() {
    in_world_with_pooler(Setup::default(), PoolMode::Transaction, async |world| {
        let pooler = world.pooler.as_ref().context("this world has a pooler")?.url();
        let host = world.start_host_with("a", &[("MAILROOM__SQL__SHOP__URL", &pooler)])?;
        host.wait_log("as the URLs of [sql.NAME] must").await?;
        Ok(())
    });
}

#[test]
fn a_migration_that_knows_no_way_past_a_pooler_in_transaction_mode_says_what_it_needs() {
    in_world_with_pooler(Setup::default(), PoolMode::Transaction, async |world| {
        let pooler = world.pooler.as_ref().context("this world has a pooler")?.url();
        let config = world.folder().join("no-direct-url.toml");
        let text =
            format!("[postgres]\nurl = \"{pooler}\"\n[kafka]\nbrokers = \"{}\"\n", world.kafka.brokers());
        std::fs::write(&config, text)?;
        let env = vec![("MAILROOM__POSTGRES__POOL_MODE".to_owned(), "transaction".to_owned())];
        let log = world.folder().join("no-direct-url.log");
        let start = Start { binary: paths::binary()?, config, env, log };

        start.ran(&["migrate"]).await?.refused(2, &["postgres.direct-url"])?;

        start.ran(&["outbox", "list"]).await?.ok()?;
        Ok(())
    });
}
