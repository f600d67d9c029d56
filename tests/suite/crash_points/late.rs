//! A host that is stopped past its expiry while it settles, and goes on when another has its work.

use anyhow::{Result, ensure};
use mailroom_tests::{Host, Keep, Proxy, Request, SOON, Setup, becomes, eventually, in_world};
use tokio::process::Command;

use super::check::everything_once;
use super::{ROUND, all_relayed, round};
use crate::arrange::Scripted;

/// All that a settlement writes, as text.
const WRITTEN: &str = "select concat(
    (select string_agg(i::text, ',' order by seq) from mailroom.inbox i),
    (select string_agg(o::text, ',' order by seq) from mailroom.outbox o),
    (select string_agg(s::text, ',' order by key) from mailroom.state s),
    (select count(*) from mailroom.dead_letter))";

const OPEN: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and state like 'idle in transaction%'";

/// A transaction that holds its lanes' rows hinders a take-over until Postgres ends it.
const SOON_ENDED: &[(&str, &str)] = &[("MAILROOM__POSTGRES__STATEMENT_TIMEOUT", "2s")];

#[test]
fn a_settlement_that_begins_after_the_hosts_burial_changes_nothing() {
    let setup = Setup::default();
    // Its first statement is on its way, and holds no lock yet.
    comes_late(setup, Request::Statement("select l.id, l.reread from unnest"));
}

#[test]
fn a_settlements_commit_that_comes_after_the_hosts_burial_changes_nothing() {
    let setup = Setup { env: SOON_ENDED, ..Setup::default() };
    comes_late(setup, Request::CommitAfter("insert into mailroom.outbox"));
}

fn comes_late(setup: Setup, request: Request) {
    in_world(setup, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let proxy = Proxy::of_postgres(&world.db.address()).await?;
        let late = world.start_host_behind("late", &proxy)?;
        world.kafka.send_all(&round(&scripted, 0)).await?;
        all_relayed(world, ROUND).await?;
        proxy.freeze(request, Keep::Request);
        world.kafka.send_all(&round(&scripted, 1)).await?;
        let frozen = async || Ok(proxy.frozen() > 0 && world.db.one::<i64>(OPEN).await? > 0);
        eventually("a settlement is on its way", SOON, frozen).await?;
        signal(&late, "STOP").await?;

        let other = world.start_host("other")?;
        all_relayed(world, 2 * ROUND).await?;
        let before: String = world.db.one(WRITTEN).await?;
        proxy.release();
        signal(&late, "CONT").await?;
        late.wait_log("was taken for dead").await?;
        becomes("no late transaction is open", 0, SOON, async || world.db.one::<i64>(OPEN).await).await?;
        assert_eq!(world.db.one::<String>(WRITTEN).await?, before, "the late settlement changed something");

        world.kafka.send_all(&round(&scripted, 2)).await?;
        everything_once(world, &scripted, 3 * ROUND).await?;
        late.stop().await?;
        other.stop().await?;
        Ok(())
    });
}

async fn signal(host: &Host, name: &str) -> Result<()> {
    let sent = Command::new("kill").args(["-s", name, &host.pid()?.to_string()]).status().await?;
    ensure!(sent.success(), "SIG{name} was not sent");
    Ok(())
}
