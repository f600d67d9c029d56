//! What the migrations make, as a snapshot: a migration's effect shows in review as a diff of it.
//! `UPDATE_SNAPSHOTS=1` writes it anew.

use std::path::Path;

use mailroom_tests::{Setup, in_world, snapshot};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/suite/schema.snapshot");

#[test]
fn the_migrated_schema_is_the_one_in_the_snapshot() {
    in_world(Setup::default(), async |world| {
        let lines: Vec<String> = world.db.column(include_str!("schema.sql")).await?;
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
