//! Plans of the product's statements over a long past: none may depend on how much is settled, nor on
//! what the planner happens to believe.

mod arguments;
mod plan;
mod product;
mod rows;

use anyhow::Result;
use mailroom_tests::{Setup, World, in_world};

use plan::Planner;

/// Statements by a sign in their text, the index that they have to go by, and on which columns.
const BY: [(&str, &str, &[&str]); 26] = [
    ("delete from mailroom.inbox i using due", "attempt_pkey", &["lane", "seq"]),
    ("delete from mailroom.dead_letter l using due", "attempt_pkey", &["lane", "seq"]),
    ("delete from mailroom.dead_letter l using due", "inbox_identity", &["message_id", "consumer_group"]),
    ("delete from mailroom.dead_letter l using due", "outbox_pkey", &["id"]),
    ("with ordinality e(header, place)", "inbox_identity", &["message_id", "consumer_group"]),
    ("and not held and seq > $3", "inbox_ready", &["lane", "seq"]),
    ("-- Ends deliveries", "inbox_ready", &["lane", "seq"]),
    ("-- The same as `rows.sql`", "inbox_held_first", &["lane", "seq"]),
    ("greatest(i.crashes, $2) + 1", "inbox_ready", &["lane", "seq"]),
    ("greatest(i.crashes, $2) + 1", "inbox_held", &["lane", "okey"]),
    ("greatest(i.crashes, $2) + 1", "inbox_due", &["lane", "scheduled_at"]),
    ("-- Rows that wait are held", "inbox_ready", &["lane", "seq"]),
    ("-- Rows that wait are held", "inbox_held_first", &["lane", "seq"]),
    ("-- Notes what a delivery", "inbox_ready", &["lane", "seq"]),
    ("-- Notes what a delivery", "inbox_held_first", &["lane", "seq"]),
    ("-- The first held rows", "inbox_held", &["lane", "okey", "seq"]),
    ("-- Held rows without a key", "inbox_held_first", &["lane", "seq"]),
    ("-- Keys with held rows", "inbox_held", &["lane", "okey"]),
    ("-- Rows that wait no longer", "inbox_due", &["lane", "scheduled_at"]),
    ("-- The next rows of all lanes", "outbox_ready", &["lane", "seq"]),
    ("-- Scheduled rows that are due", "outbox_delayed", &["lane", "scheduled_at"]),
    ("-- The first rows of one topic", "outbox_ready", &["lane"]),
    ("published_offset = s.at", "outbox_ready", &["lane", "seq"]),
    ("failed_reason = 'rejected', last_error = $3", "outbox_ready", &["lane", "seq"]),
    ("and i.seq = letter.seq and i.status = 'failed'", "inbox_identity", &["message_id", "consumer_group"]),
    ("o.id = letter.message and o.status = 'failed'", "outbox_pkey", &["id"]),
];

/// Statements among these that read a bounded page of what may be a long backlog.
const IN_ORDER: [(&str, &str); 7] = [
    ("and not held and seq > $3", "inbox_ready"),
    ("-- The first held rows", "inbox_held"),
    ("-- Keys with held rows", "inbox_held"),
    ("-- Rows that wait no longer", "inbox_due"),
    ("-- The next rows of all lanes", "outbox_ready"),
    ("-- Scheduled rows that are due", "outbox_delayed"),
    ("-- The first rows of one topic", "outbox_ready"),
];

/// Statements that read a stretch of a table's blocks, wherever its rows are in any index.
const BY_BLOCKS: [(&str, &str); 3] = [
    ("delete from mailroom.inbox i using due", "inbox"),
    ("delete from mailroom.outbox i using due", "outbox"),
    ("delete from mailroom.dead_letter l using due", "dead_letter"),
];

/// Blocks that 500 rows may touch, indexes included: a scan of the backlog for each row touches hundreds of thousands.
const BLOCKS_MAX: u64 = 60_000;

/// Rows that 500 rows may walk over in all parts of a plan: a scan of the backlog for each row walks over millions.
const WALKED_MAX: u64 = 60_000;

#[test]
fn no_statement_scans_a_million_settled_rows_whatever_the_planner_believes() {
    in_world(Setup::default(), plans_over_a_million);
}

pub(crate) async fn plans_over_a_million(world: &World) -> Result<()> {
    rows::a_million_settled(world).await?;
    let mut planner = Planner::connect(&world.db.url()).await?;

    plans_hold(&mut planner, "nothing was ever counted").await?;
    rows::analyze(world).await?;
    plans_hold(&mut planner, "nothing is pending").await?;
    rows::fifty_thousand_pending(world).await?;
    plans_hold(&mut planner, "50,000 rows came since the count").await?;
    five_hundred_rows_cost_what_they_are(world, &mut planner, "50,000 rows came since the count").await?;
    rows::forget_statistics(world).await?;
    plans_hold(&mut planner, "50,000 rows are pending, uncounted").await?;
    five_hundred_rows_cost_what_they_are(world, &mut planner, "50,000 rows are pending, uncounted").await?;
    rows::analyze(world).await?;
    plans_hold(&mut planner, "50,000 rows are pending").await?;
    five_hundred_rows_cost_what_they_are(world, &mut planner, "50,000 rows are pending").await
}

#[test]
fn a_lane_is_read_by_as_few_blocks_after_300_000_messages_though_a_transaction_keeps_all_of_them() {
    in_world(Setup::default(), async |world| {
        rows::lanes(world).await?;
        let mut planner = Planner::connect(&world.db.url()).await?;
        // It has written, so that whatever ends after it stays in the tables and their indexes.
        let held = world.db.hold("create temporary table written ()").await?;
        let read = product::the_one_with("and not held and seq > $3")?;

        let mut blocks = Vec::new();
        for batch in 0..30 {
            let mark: i64 = world.db.one("select coalesce(max(seq), 0) from mailroom.inbox").await?;
            rows::ten_thousand_in_one_lane(world, batch).await?;
            let page = planner.run(&read, &arguments::lane_read(mark)).await?;
            assert_eq!(page.rows()?, 500);
            blocks.push(page.blocks()?);
            rows::settle_all(world).await?;
        }
        held.release().await?;

        let most = blocks.iter().skip(1).max();
        assert!(
            most < blocks.first().map(|first| 2 * first).as_ref(),
            "a page of 500 rows read ever more blocks: {blocks:?}"
        );
        Ok(())
    });
}

#[test]
fn a_look_at_the_outbox_walks_over_nothing_after_300_000_messages_though_a_transaction_keeps_all_of_them() {
    in_world(Setup::default(), async |world| {
        rows::lanes(world).await?;
        let mut planner = Planner::connect(&world.db.url()).await?;
        let held = world.db.hold("create temporary table written ()").await?;
        let straggler = "select backend_xid::text from pg_stat_activity
                          where datname = current_database() and state = 'idle in transaction'
                            and backend_xid is not null";
        let straggler = format!("{{{}}}", world.db.one::<String>(straggler).await?);
        let look = product::the_one_with("-- The next rows of all lanes")?;

        let mut blocks = Vec::new();
        for _ in 0..30 {
            let horizon: i64 = world.db.one("select coalesce(max(seq), 0) from mailroom.outbox").await?;
            rows::ten_thousand_to_publish(world).await?;
            let page = planner.run(&look, &arguments::outbox_look(horizon, &straggler, "{0}")).await?;
            assert_eq!(page.rows()?, 500);
            blocks.push(page.blocks()?);
            rows::publish_all(world).await?;
        }
        let most = blocks.iter().skip(1).max();
        assert!(
            most < blocks.first().map(|first| 2 * first).as_ref(),
            "a look at 500 rows read ever more blocks: {blocks:?}"
        );

        held.release().await?;
        let horizon: i64 = world.db.one("select max(seq) from mailroom.outbox").await?;
        let late = planner.run(&look, &arguments::outbox_look(horizon, &straggler, "{0}")).await?;
        let later = planner.run(&look, &arguments::outbox_look(horizon, "{}", "{}")).await?;
        assert!(late.blocks()? > 10 * later.blocks()?, "it ended, and what it may have left is looked for");
        Ok(())
    });
}

async fn plans_hold(planner: &mut Planner, when: &str) -> Result<()> {
    let mut wrong = Vec::new();
    for statement in product::about_messages()? {
        let scans = planner.plan(&statement).await?.scans();
        if !scans.is_empty() {
            wrong.push(format!("{scans:?} by\n{}", statement.text));
        }
    }
    for (sign, index, columns) in BY {
        let plan = planner.plan(&product::the_one_with(sign)?).await?;
        if !plan.goes_by(index, columns) {
            wrong.push(format!("`{sign}` does not go by {index} on {columns:?}"));
        }
    }
    for (sign, index) in IN_ORDER {
        let plan = planner.plan(&product::the_one_with(sign)?).await?;
        if !plan.reads_in_order(index) {
            wrong.push(format!("`{sign}` reads all that is pending for each page: {plan:#?}"));
        }
    }
    for (sign, table) in BY_BLOCKS {
        let plan = planner.plan(&product::the_one_with(sign)?).await?;
        if !plan.reads_a_stretch_of(table) {
            wrong.push(format!("`{sign}` does not read a stretch of {table}: {plan:#?}"));
        }
    }
    assert!(wrong.is_empty(), "while {when}:\n{}", wrong.join("\n"));
    Ok(())
}

async fn five_hundred_rows_cost_what_they_are(
    world: &World,
    planner: &mut Planner,
    when: &str,
) -> Result<()> {
    for (sign, arguments) in arguments::for_five_hundred_rows(world).await? {
        let done = planner.run(&product::the_one_with(sign)?, &arguments).await?;
        let (rows, blocks, walked) = (done.rows()?, done.blocks()?, done.walked()?);
        assert!(rows >= 500, "while {when}: `{sign}` found {rows} rows of 500");
        assert!(blocks < BLOCKS_MAX, "while {when}: `{sign}` touched {blocks} blocks: {done:#?}");
        assert!(walked < WALKED_MAX, "while {when}: `{sign}` walked over {walked} rows: {done:#?}");
    }
    Ok(())
}
