//! Schema that the migrations make, as a snapshot: a migration's effect shows in review as a diff of it.
//! `UPDATE_SNAPSHOTS=1` writes it anew.

use std::path::Path;

use mailroom_tests::{Setup, in_world, snapshot};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/src/db/schema.snapshot");

#[test]
fn the_migrated_schema_is_the_one_in_the_snapshot() {
    in_world(Setup::default(), async |world| {
        let lines: Vec<String> = world.db.column(include_str!("../../host/src/db/schema_lines.sql")).await?;
        snapshot::unchanged(Path::new(SNAPSHOT), &(lines.join("\n") + "\n"))
    });
}

#[test]
fn a_migration_that_is_only_shown_changes_nothing() {
    in_world(Setup { unmigrated: true, ..Setup::default() }, async |world| {
        let shown = world.mailroom(&["migrate", "--dry-run"]).await?.ok()?;

        assert!(shown.contains("create table mailroom.inbox"), "the pending SQL is shown: {shown}");
        let made = "select count(*) from pg_namespace where nspname = 'mailroom'";
        assert_eq!(world.db.one::<i64>(made).await?, 0);
        Ok(())
    });
}

#[test]
fn migrating_twice_is_as_good_as_once() {
    in_world(Setup::default(), async |world| {
        let rows = "select count(*) from mailroom.migrations";
        let before: i64 = world.db.one(rows).await?;

        world.mailroom(&["migrate"]).await?.ok()?;

        assert!(before > 0);
        assert_eq!(world.db.one::<i64>(rows).await?, before);
        Ok(())
    });
}

#[test]
fn every_function_finds_pg_catalog_alone_or_is_bound_when_it_is_made() {
    in_world(Setup::default(), async |world| {
        let open = "select p.oid::regprocedure::text from pg_proc p
                     where p.pronamespace = 'mailroom'::regnamespace and p.prosqlbody is null
                       and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)";
        assert_eq!(world.db.column::<String>(open).await?, Vec::<String>::new());
        Ok(())
    });
}

/// Functions and an operator that match better than those of pg_catalog what our functions call.
const BETTER_MATCHES: [&str; 4] = [
    "create table public.run_as (who text)",
    "create function public.set_bit(bytea, integer, integer) returns bytea language plpgsql as
     $$ begin insert into public.run_as values (current_user); return pg_catalog.set_bit($1, $2::bigint, $3); end $$",
    "create function public.times(numeric, integer) returns numeric language plpgsql as
     $$ begin insert into public.run_as values (current_user); return $1 operator(pg_catalog.*) $2::numeric; end $$",
    "create operator public.* (function = public.times, leftarg = numeric, rightarg = integer)",
];

#[test]
fn what_somebody_created_in_public_runs_for_nobody_who_publishes() {
    in_world(Setup { unmigrated: true, ..Setup::default() }, async |world| {
        for statement in BETTER_MATCHES {
            world.db.execute(statement).await?;
        }
        world.mailroom(&["migrate"]).await?.ok()?;

        let published =
            "select mailroom.publish('orders', ' k ', 'placed', '{\"a\": 1}', '{\"h\": \"v\"}')::text";
        world.db.one::<String>(published).await?;
        world.db.one::<String>("select mailroom.uuid_v7()::text").await?;
        world
            .mailroom(&[
                "outbox",
                "publish",
                "--topic",
                "orders",
                "--type",
                "placed",
                "--payload",
                "{\"a\": 1}",
            ])
            .await?
            .ok()?;

        assert_eq!(world.db.column::<String>("select who from public.run_as").await?, Vec::<String>::new());
        Ok(())
    });
}
