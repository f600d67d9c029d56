//! SIGKILL between a handler's statement and the commit: the business row and the completion are both there or
//! both absent, whichever step the host dies at.

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Keep, Message, Proxy, Request, SOON, Setup, World, becomes, eventually, in_world};
use serde_json::json;

use super::{COUNTED, Shop};

/// A step to die at.
struct Point {
    request: Request,
    keep: Keep,
    /// Words of Postgres about the handler's session there.
    session: &'static str,
    /// True if its transaction has written the message's row.
    settling: bool,
    /// Messages that are committed, the one in hand with them where the host only does not know.
    completed: i64,
}

/// A call that stands still is not over before the test has looked at it.
const PATIENT: &[(&str, &str)] = &[("MAILROOM__HOST__EXPIRY", "9s"), ("MAILROOM__LIMITS__DEADLINE", "6s")];

/// Rows that are stored at a moment.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    entries: i64,
    completed: i64,
    emitted: i64,
    counted: i64,
}

async fn left(world: &World) -> Result<Left> {
    let count = async |what: &'static str| world.db.one::<i64>(what).await;
    Ok(Left {
        entries: count("select count(*) from entry").await?,
        completed: world.db.completed().await?,
        emitted: count("select count(*) from mailroom.outbox").await?,
        counted: count(COUNTED).await?,
    })
}

/// Returns the same number of each.
fn all(number: i64) -> Left {
    Left { entries: number, completed: number, emitted: number, counted: number }
}

/// Writes its entry, does something else, counts in state, and emits.
fn entry(shop: &Shop, id: &str) -> Message {
    let statements = json!([
        {"sql": "insert into entry (id) values ($1)", "params": [id]},
        {"sql": "select 'and then', count(*) from sale"},
    ]);
    shop.says(id, &json!({"statements": statements, "topic": shop.output, "counts": true}))
}

/// State and last statement of the role's session, and whether it has written to the inbox.
async fn session(world: &World, shop: &Shop) -> Result<Option<(String, String, bool)>> {
    let query = "select state, query, exists (select from pg_locks l where l.pid = a.pid and l.granted
                        and l.relation = 'mailroom.inbox'::regclass and l.mode = 'RowExclusiveLock')
                   from pg_stat_activity a where usename = $1";
    Ok(sqlx::query_as(query).bind(&shop.role).fetch_optional(world.db.pool()).await?)
}

async fn stands(world: &World, shop: &Shop, point: &Point) -> Result<bool> {
    let Some((state, query, settling)) = session(world, shop).await? else { return Ok(false) };
    let here = format!("{state}: {query}").contains(point.session) && settling == point.settling;
    Ok(here && world.db.completed().await? == point.completed)
}

/// A message in peace, one into the trap, a kill, and one with the next host.
fn dies_at(env: &'static [(&'static str, &'static str)], point: Point) {
    in_world(Setup { env, ..Setup::default() }, async |world| {
        let shop = Shop::new(world).await?;
        let host = shop.start(world)?;
        world.kafka.send(&entry(&shop, "before")).await?;
        becomes("a first message is through", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;

        dies_behind_a_proxy(world, &shop, &point).await?;

        let host = shop.start(world)?;
        world.kafka.send(&entry(&shop, "behind")).await?;
        each_once(world, 3).await?;
        host.stop().await?;
        Ok(())
    });
}

async fn dies_behind_a_proxy(world: &World, shop: &Shop, point: &Point) -> Result<()> {
    let proxy = Proxy::of_postgres(&world.db.address()).await?;
    world.kafka.send(&entry(shop, "in hand")).await?;
    proxy.freeze(point.request, point.keep);
    let host = shop.start_behind(world, &proxy)?;
    eventually("the handler's SQL is frozen", SOON, async || Ok(proxy.frozen() > 0)).await?;
    let stood = eventually("it stands where it should", SOON, async || stands(world, shop, point).await);
    if let Err(error) = stood.await {
        let seen = session(world, shop).await?;
        return Err(error).with_context(|| format!("{:?} of {:?}: {seen:?}", point.keep, point.request));
    }

    host.kill().await?;
    proxy.cut();
    drop(proxy);
    becomes("the dead host's sessions are gone", 0, SOON, async || world.db.busy_sessions().await).await?;
    ensure!(left(world).await? == all(point.completed), "a part of it is there: {:?}", left(world).await?);
    Ok(())
}

/// Each message has its entry, its count and what it emitted, once, and no crash was counted.
async fn each_once(world: &World, sent: i64) -> Result<()> {
    becomes("all are through", sent, 2 * SOON, async || world.db.completed().await).await?;
    ensure!(left(world).await? == all(sent), "not each once: {:?}", left(world).await?);
    let paired = "select count(*) from mailroom.inbox i
        where (select count(*) from entry e where e.id = i.message_id) = 1
          and (select count(*) from mailroom.outbox o where o.causation_id = i.message_id) = 1";
    ensure!(world.db.one::<i64>(paired).await? == sent, "two of one and none of another");
    let spent = "select (select count(*) from mailroom.inbox where attempts_made > 0)
                      + (select count(*) from mailroom.dead_letter)";
    ensure!(world.db.one::<i64>(spent).await? == 0, "a crash cost an attempt");
    Ok(())
}

#[test]
fn a_kill_while_the_guest_runs_after_its_statement_leaves_neither_row_nor_completion() {
    dies_at(
        PATIENT,
        Point {
            request: Request::Statement("'and then'"),
            keep: Keep::Request,
            session: "idle in transaction: prepare mailroom_probe",
            settling: false,
            completed: 1,
        },
    );
}

#[test]
fn a_kill_before_the_settlement_leaves_neither_row_nor_completion() {
    dies_at(
        &[],
        Point {
            request: Request::Statement("mailroom.settle_with_sql"),
            keep: Keep::Request,
            session: "idle in transaction: select mailroom.settle_with_sql",
            settling: false,
            completed: 1,
        },
    );
}

#[test]
fn a_kill_after_the_reply_of_the_settlement_was_dropped_leaves_neither_row_nor_completion() {
    dies_at(
        &[],
        Point {
            request: Request::Statement("mailroom.settle_with_sql"),
            keep: Keep::Reply,
            session: "idle in transaction: select mailroom.settle_with_sql",
            settling: true,
            completed: 1,
        },
    );
}

#[test]
fn a_kill_before_the_commit_leaves_neither_row_nor_completion() {
    dies_at(
        &[],
        Point {
            request: Request::CommitAfter("mailroom.settle_with_sql"),
            keep: Keep::Request,
            session: "idle in transaction: select mailroom.settle_with_sql",
            settling: true,
            completed: 1,
        },
    );
}

#[test]
fn a_kill_after_the_reply_of_the_commit_was_dropped_leaves_both_row_and_completion() {
    dies_at(
        &[],
        Point {
            request: Request::CommitAfter("mailroom.settle_with_sql"),
            keep: Keep::Reply,
            session: "idle: commit",
            settling: false,
            completed: 2,
        },
    );
}

#[test]
fn a_kill_while_the_guests_statement_waits_for_a_lock_leaves_neither_row_nor_completion() {
    in_world(Setup { env: PATIENT, ..Setup::default() }, async |world| {
        let shop = Shop::new(world).await?;
        let host = shop.start(world)?;
        world.kafka.send(&entry(&shop, "before")).await?;
        becomes("a first message is through", 1, SOON, async || world.db.completed().await).await?;

        let held = world.db.hold("lock table public.sale").await?;
        world.kafka.send(&entry(&shop, "in hand")).await?;
        eventually("its second statement waits", SOON, async || world.db.waits_for_lock("'and then'").await)
            .await?;
        let killed = host.kill().await?;
        // It is still waiting, and nobody waits for it.
        becomes("it has ended", 0, SOON, async || shop.busy_sessions(world).await).await?;
        held.release().await?;
        ensure!(left(world).await? == all(1), "a part of it is there: {:?}", left(world).await?);

        let host = killed.restart()?;
        each_once(world, 2).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_that_lost_its_connection_at_the_commit_does_neither_lose_nor_repeat_the_message() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let proxy = Proxy::of_postgres(&world.db.address()).await?;
        let mut host = shop.start_behind(world, &proxy)?;
        for (keep, sent) in [(Keep::Request, 2), (Keep::Reply, 4)] {
            proxy.freeze(Request::CommitAfter("mailroom.settle_with_sql"), keep);
            let id = format!("entry {keep:?}");
            // When it is called again its row is there, and refuses it.
            let once = format!("once {keep:?}");
            let insert = json!([{"sql": "insert into sale values ($1, 1)", "params": [once]}]);
            let once = shop.says(&once, &json!({"statements": insert})).key("other");
            world.kafka.send_all(&[entry(&shop, &id), once]).await?;
            eventually("both commits are frozen", SOON, async || Ok(proxy.frozen() >= 2)).await?;
            proxy.cut();
            becomes("all are through", sent, SOON, async || world.db.completed().await).await?;
        }
        becomes("its calls are over", 0, SOON, async || shop.busy_sessions(world).await).await?;
        let rows = "select (select count(*) from entry) * 10 + (select count(*) from sale)";
        assert_eq!(world.db.one::<i64>(rows).await?, 22);
        let spent = "select (select count(*) from mailroom.inbox where attempts_made > 0)
                          + (select count(*) from mailroom.dead_letter)";
        assert_eq!(world.db.one::<i64>(spent).await?, 0);
        host.still_runs()?;
        host.stop().await?;
        Ok(())
    });
}
