//! Statements that are allowed, and leave nothing to the next call on the same connection, nor to the log.

use anyhow::{Context as _, Result};
use mailroom_tests::{Host, SOON, Setup, World, becomes, eventually, in_world};
use serde_json::{Value, json};

use super::{ENDED, SALES, Shop, letters};

/// All calls share one connection.
pub(super) fn start_with_one_connection(world: &World, shop: &Shop) -> Result<Host> {
    let env =
        [("MAILROOM__SQL__SHOP__URL", shop.url.as_str()), ("MAILROOM__SQL__SHOP__CONNECTIONS_MAX", "1")];
    world.start_host_with("a", &env)
}

/// Returns what the statements of the last message gave.
pub(super) async fn last_answers(world: &World, shop: &Shop, messages: usize) -> Result<Value> {
    becomes("what it emitted is on Kafka", messages, SOON, async || {
        Ok(world.kafka.read_all(&shop.output).await?.len())
    })
    .await?;
    let last = world.kafka.read_all(&shop.output).await?.pop().context("nothing is there")?;
    Ok(last.json()?.get("answers").cloned().unwrap_or_default())
}

/// Everything of a session that a guest can change and that would outlast its transaction.
const LEAVES: [&str; 7] = [
    "select pg_backend_pid()",
    "select set_config('search_path', 'nowhere', false), set_config('role', session_user, false),
            set_config('default_transaction_read_only', 'on', false), set_config('TimeZone', 'Asia/Tokyo', false),
            set_config('client_connection_check_interval', '0', false),
            set_config('application_name', 'elsewhere', false), set_config('client_min_messages', 'debug5', false)",
    "select set_config('statement_timeout', '59000', false), set_config('lock_timeout', '59000', false),
            set_config('idle_in_transaction_session_timeout', '0', false)",
    "select 1 as a into temp leftover",
    "select pg_advisory_lock(7)::text, pg_advisory_lock_shared(8)::text, pg_try_advisory_xact_lock(9)",
    "select nextval('public.numbers')",
    "insert into public.entry (id) values ('left')",
];

/// Leaves out of the list what the host itself sets for each transaction; two of them are looked at by their values.
const FINDS: [&str; 5] = [
    "select pg_backend_pid()",
    "select current_user = session_user, current_setting('role'), current_setting('search_path'),
            current_setting('default_transaction_read_only'), current_setting('TimeZone') = 'Asia/Tokyo',
            current_setting('client_connection_check_interval'), current_setting('application_name'),
            current_setting('client_min_messages')",
    "select s.setting from pg_settings s
      where s.source = 'session' and s.name not in
            ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_isolation',
             'transaction_read_only', 'jit', 'client_min_messages', 'client_connection_check_interval')",
    "select to_regclass('leftover') is null, (select count(*) from pg_locks
                where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())),
            (select count(*) from pg_listening_channels()), (select count(*) from pg_cursors where is_holdable)",
    "insert into entry (id) values ('found')",
];

fn statements(of: &[&str]) -> Value {
    of.iter().map(|sql| json!({ "sql": sql })).collect()
}

#[test]
fn the_next_call_on_the_same_connection_finds_a_clean_session() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        world.db.execute("create sequence public.numbers").await?;
        let grant = format!("grant usage on sequence public.numbers to {}", shop.role);
        world.db.execute(sqlx::AssertSqlSafe(grant)).await?;
        let host = start_with_one_connection(world, &shop)?;
        let says = |id: &str, of: &[&str]| {
            shop.says(id, &json!({"statements": statements(of), "topic": shop.output}))
        };

        world.kafka.send(&says("leaves", &LEAVES)).await?;
        let left = last_answers(world, &shop, 1).await?;
        world.kafka.send(&says("finds", &FINDS)).await?;
        let found = last_answers(world, &shop, 2).await?;
        assert_eq!(found[0], left[0], "the connection is the same");
        assert_eq!(found[1], json!([[true, "none", "public", "off", false, "1s", "mailroom sql", "error"]]));
        assert_eq!(found[2], json!([]), "no setting is the last guest's");
        assert_eq!(found[3], json!([[true, 0, 0, 0]]));
        let by = "select string_agg(id || ' ' || (by = $1), ', ' order by id) from entry";
        let by: String = sqlx::query_scalar(by).bind(&shop.role).fetch_one(world.db.pool()).await?;
        assert_eq!(by, "found true, left true", "both wrote as the role");

        // A sequence's last value is a session's too; and what fails leaves no lock either.
        let fails = ["select pg_advisory_lock(7)::text", "select lastval()"];
        world.kafka.send(&says("fails", &fails)).await?;
        becomes("all have ended", 3, SOON, async || world.db.one::<i64>(ENDED).await).await?;
        let letters = letters(world).await?;
        assert!(letters.len() == 1 && letters[0].2.as_deref() == Some("55000"), "{letters:?}");
        let locks = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                      where l.locktype = 'advisory' and d.datname = current_database()";
        becomes("no lock is left", 0, SOON, async || world.db.one::<i64>(locks).await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_statement_of_several_parts_writes_all_of_them_with_its_message() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let host = shop.start(world)?;
        let parts = [
            "with a as (insert into sale values ('one', 1), ('two', 2), ('three', 3) returning id, cents),
                           b as (insert into entry (id) select id from a returning id)
                      select (select sum(cents)::bigint from a), (select count(*) from b)",
            "with gone as (delete from sale where id = 'two' returning cents)
             update sale set cents = sale.cents + gone.cents from gone where id = 'three'",
        ];
        world
            .kafka
            .send(&shop.says("parts", &json!({"statements": statements(&parts), "topic": shop.output})))
            .await?;
        assert_eq!(last_answers(world, &shop, 1).await?, json!([[[6, 3]], []]));
        assert_eq!(world.db.one::<String>(SALES).await?, "one three");
        assert_eq!(world.db.one::<i64>("select sum(cents)::bigint from sale").await?, 6);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_statement_of_ten_minutes_ends_with_its_call_and_neither_it_nor_its_notices_are_in_the_log() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let host = shop.start(world)?;
        let says = [
            "select set_config('client_min_messages', 'debug5', false)",
            "select count(pg_advisory_unlock(i)) from generate_series(1, 1000) i",
            "select pg_sleep(600), 'for nobody else'",
        ];
        world.kafka.send(&shop.says("slow", &json!({ "statements": statements(&says) }))).await?;
        eventually("it sleeps", SOON, async || Ok(shop.busy_sessions(world).await? > 0)).await?;
        becomes("it has failed", 1, SOON, async || world.db.one::<i64>(ENDED).await).await?;
        becomes("its session is gone", 0, SOON, async || shop.busy_sessions(world).await).await?;
        let log = host.log()?;
        for word in ["for nobody else", "you don't own a lock"] {
            assert!(!log.contains(word), "the log says {word}");
        }
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_guest_that_takes_all_locks_of_postgres_fails_by_itself() {
    // Others could take none meanwhile.
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        let shop = Shop::new(world).await?;
        let host = shop.start(world)?;
        let greedy = ["select count(pg_advisory_lock(i)) from generate_series(1, 1000000) i"];
        world
            .kafka
            .send_all(&[
                shop.says("greedy", &json!({ "statements": statements(&greedy) })),
                shop.sale("behind", 1),
            ])
            .await?;
        becomes("both have ended", 2, SOON, async || world.db.one::<i64>(ENDED).await).await?;
        let letters = letters(world).await?;
        assert!(letters.len() == 1 && letters[0].2.as_deref() == Some("53200"), "{letters:?}");
        assert_eq!(world.db.one::<String>(SALES).await?, "behind");
        host.stop().await?;
        Ok(())
    });
}
