//! Parts of the suite on other releases than its own Postgres and Kafka: the oldest and the newest that mailroom works
//! with. What is older is refused by name.

use mailroom_servers::{KafkaRelease, PostgresRelease};
use mailroom_tests::{Releases, Setup, in_world_on};

use crate::order::CAREFUL_WITH_FEW;
use crate::{crash, first_light, horizon, order, plans, sql};

const POSTGRES_13: Releases = Releases { postgres: Some(PostgresRelease::V13), kafka: None };
const POSTGRES_14: Releases = Releases { postgres: Some(PostgresRelease::V14), kafka: None };
const POSTGRES_18: Releases = Releases { postgres: Some(PostgresRelease::V18), kafka: None };
const KAFKA_3: Releases = Releases { postgres: None, kafka: Some(KafkaRelease::V3) };

/// The path from end to end, crashes and order on these releases.
macro_rules! on {
    ($module:ident, $releases:expr) => {
        mod $module {
            use super::*;

            #[test]
            fn a_message_becomes_a_committed_effect_and_its_event_is_back_on_kafka() {
                let setup = Setup { own_kafka: true, ..Setup::default() };
                in_world_on($releases, setup, first_light::orders_become_invoices);
            }

            #[test]
            fn a_kill_while_settling_leaves_all_or_nothing() {
                in_world_on($releases, Setup::default(), crash::kill_while_settling);
            }

            #[test]
            fn hosts_killed_again_and_again_lose_nothing_and_repeat_no_effect() {
                in_world_on($releases, Setup::default(), crash::kill_again_and_again);
            }

            #[test]
            fn a_retry_keeps_the_order_of_its_key() {
                in_world_on($releases, Setup::default(), order::retry_within_a_key);
            }

            #[test]
            fn other_keys_go_on_while_one_waits() {
                in_world_on($releases, Setup::default(), order::others_go_on);
            }

            #[test]
            fn a_key_keeps_its_order_where_a_host_stops_being_careful_after_a_take_over() {
                in_world_on($releases, CAREFUL_WITH_FEW, order::take_over);
            }

            #[test]
            fn what_producers_commit_out_of_the_order_of_seq_is_relayed() {
                in_world_on($releases, Setup::default(), horizon::commits_out_of_order);
            }

            #[test]
            fn what_a_handler_writes_by_sql_commits_with_its_message_and_goes_with_it() {
                in_world_on($releases, Setup::default(), sql::sales_by_sql);
            }
        }
    };
}

on!(postgres_14, POSTGRES_14);
on!(postgres_18, POSTGRES_18);

#[test]
fn no_statement_scans_a_million_settled_rows_by_the_planner_of_postgres_14() {
    in_world_on(POSTGRES_14, Setup::default(), plans::plans_over_a_million);
}

#[test]
fn no_statement_scans_a_million_settled_rows_by_the_planner_of_postgres_18() {
    in_world_on(POSTGRES_18, Setup::default(), plans::plans_over_a_million);
}
on!(kafka_3, KAFKA_3);

#[test]
fn a_postgres_that_is_too_old_is_refused_with_the_first_that_is_not() {
    let setup = Setup { unmigrated: true, ..Setup::default() };
    in_world_on(POSTGRES_13, setup, async |world| {
        let says = ["Postgres 13.23 is too old", "Postgres 14"];
        world.mailroom(&["migrate"]).await?.refused(1, &says)?;
        world.mailroom(&["migrate", "--dry-run"]).await?.refused(1, &says)?;

        world.mailroom(&["config", "check", "--connect"]).await?.refused(1, &says)?;
        world.mailroom(&["run"]).await?.refused(1, &says)?;

        let made = "select count(*) from pg_namespace where nspname = 'mailroom'";
        assert_eq!(world.db.one::<i64>(made).await?, 0, "nothing was made");
        Ok(())
    });
}
