//! Fence of the settlement of messages with SQL: a secret apart from the host's id, which people see.

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Host, SOON, Setup, World, becomes, in_world};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::Shop;

const KEYS: &str = "select string_agg(key::text, ',') from mailroom.host_key";

/// A message that is stored and pending while its handler is paused.
async fn waits(world: &World, shop: &Shop) -> Result<Host> {
    let host = shop.start(world)?;
    world.kafka.send(&shop.sale("first", 1)).await?;
    becomes("the first is done", 1, 2 * SOON, async || world.db.completed().await).await?;
    world.mailroom(&["handler", "pause", "sql-runner"]).await?.ok()?;
    host.wait_log("is paused").await?;
    world.kafka.send(&shop.sale("second", 2)).await?;
    let pending = "select count(*) from mailroom.inbox where status = 'pending'";
    becomes("the second waits", 1, SOON, async || world.db.one::<i64>(pending).await).await?;
    Ok(host)
}

/// The settlement of the message that waits, proved by this expression over its lane `l`, row `i` and key `k`.
async fn settlement(connection: &mut PgConnection, proof: &str) -> Result<String> {
    let call = format!(
        "select format('select mailroom.settle_with_sql(%L, %s, %s, %s, %s, ''x'', ''[]'', ''[]'')',
                       {proof}, l.id, l.token, i.seq, i.deliveries)
           from mailroom.inbox i join mailroom.lane l on l.id = i.lane join mailroom.host_key k on k.host = l.owner
          where i.status = 'pending'"
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(call)).fetch_one(connection).await?)
}

/// The SQLSTATE with which it ends; none where it settles.
async fn ends(connection: &mut PgConnection, call: String) -> Result<Option<String>> {
    match sqlx::query(AssertSqlSafe(call)).execute(connection).await {
        Ok(_) => Ok(None),
        Err(error) => {
            let error = error.into_database_error().context("no answer of Postgres")?;
            Ok(error.code().map(|code| code.into_owned()))
        }
    }
}

#[test]
fn who_knows_the_hosts_id_or_what_a_statement_showed_settles_nothing() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let host = waits(world, &shop).await?;
        let mut guest = PgConnection::connect(&shop.url).await?;
        for proof in [
            "l.owner",
            "k.key",
            "null::uuid",
            "(select h.id from mailroom.host h)",
            // Of another transaction, however it was come by.
            "mailroom.settle_proof(k.key, l.id, l.token, i.seq)",
        ] {
            let call = settlement(&mut *world.db.pool().acquire().await?, proof).await?;
            assert_eq!(ends(&mut guest, call).await?.as_deref(), Some("MR001"), "{proof}");
        }

        // In one transaction, of another message or under another token.
        for other in ["l.id, l.token, i.seq + 1", "l.id, l.token - 1, i.seq", "l.id + 1, l.token, i.seq"] {
            let mut transaction = world.db.pool().begin().await?;
            let call =
                settlement(&mut transaction, &format!("mailroom.settle_proof(k.key, {other})")).await?;
            assert_eq!(ends(&mut transaction, call).await?.as_deref(), Some("MR001"), "{other}");
            transaction.rollback().await?;
        }

        // So all else was right.
        let mut transaction = world.db.pool().begin().await?;
        let call = settlement(&mut transaction, "mailroom.settle_proof(k.key, l.id, l.token, i.seq)").await?;
        assert_eq!(ends(&mut transaction, call).await?, None, "its owner's proof");
        transaction.rollback().await?;
        guest.close().await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_of_the_version_before_which_has_no_key_settles_by_its_id() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let host = waits(world, &shop).await?;
        let by_id = settlement(&mut *world.db.pool().acquire().await?, "l.owner").await?;
        world.db.execute("delete from mailroom.host_key").await?;
        let mut guest = PgConnection::connect(&shop.url).await?;
        assert_eq!(ends(&mut guest, by_id).await?, None);
        guest.close().await?;
        host.stop().await?;
        Ok(())
    });
}

/// Settings by which a role makes its session print more, which it may set itself.
const LOUD: [&str; 5] = [
    "select set_config('log_parameter_max_length_on_error', '100000', false)",
    "select set_config('debug_print_plan', 'on', false)",
    "select set_config('debug_print_parse', 'on', false)",
    "select set_config('client_min_messages', 'debug5', false)",
    "insert into late values ('a'), ('a')",
];

#[test]
fn the_key_is_in_no_log_and_no_table_that_a_guest_may_read() {
    in_world(
        Setup { env: &[("MAILROOM__LOG__FILTER", "info,mailroom=trace,sqlx=trace")], ..Setup::default() },
        async |world| {
            let shop = Shop::new(world).await?;
            let host = shop.start(world)?;
            let statements: Vec<_> = LOUD.iter().map(|sql| json!({ "sql": sql })).collect();
            world
                .kafka
                .send_all(&[shop.sale("one", 1), shop.says("loud", &json!({ "statements": statements }))])
                .await?;
            let ended = "select count(*) from mailroom.inbox where status <> 'pending'";
            becomes("both have ended", 2, 2 * SOON, async || world.db.one::<i64>(ended).await).await?;
            let key: String = world.db.one(KEYS).await?;
            let log = host.log()?;
            ensure!(
                log.contains("DEBUG") && log.contains("are refused by the database"),
                "the log is a loud one"
            );
            ensure!(!log.contains(&key) && !log.contains(&key.replace('-', "")), "the log has the key");

            let mut guest = PgConnection::connect(&shop.url).await?;
            for table in
                ["host_key", "host", "lane", "buried_host", "suspicion", "partition_offset", "inbox_messages"]
            {
                let read = format!("select * from mailroom.{table}");
                assert_eq!(ends(&mut guest, read).await?.as_deref(), Some("42501"), "{table}");
            }
            let shown = "select count(*) from pg_stat_activity where strpos(query, $1) > 0 and pid <> pg_backend_pid()";
            let shown: i64 = sqlx::query_scalar(shown).bind(&key).fetch_one(world.db.pool()).await?;
            assert_eq!(shown, 0, "a session shows it");
            guest.close().await?;
            host.stop().await?;
            assert_eq!(
                world.db.one::<i64>("select count(*) from mailroom.host_key").await?,
                0,
                "it goes with its host"
            );
            Ok(())
        },
    );
}
