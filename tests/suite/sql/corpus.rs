//! Corpus of what a hostile guest says in SQL, and what it gets: nothing of it ends the transaction, outlives
//! it, runs as another, or touches mailroom's own tables.

use anyhow::Result;
use mailroom_tests::{Message, SOON, Setup, World, becomes, in_world};
use serde_json::json;

use super::{ENDED, SALES, Shop};

/// Each with the SQLSTATE that the guest gets.
const CORPUS: &[(&str, &str)] = &[
    // Not one of the statements that can be prepared, or more than one.
    ("commit", "42601"),
    ("commit and chain", "42601"),
    ("rollback", "42601"),
    ("abort", "42601"),
    ("begin", "42601"),
    ("savepoint s", "42601"),
    ("release savepoint s", "42601"),
    ("rollback to savepoint s", "42601"),
    ("prepare transaction 'x'", "42601"),
    ("commit prepared 'x'", "42601"),
    ("set transaction isolation level serializable", "42601"),
    ("set role mailroom", "42601"),
    ("set local role mailroom", "42601"),
    ("set session authorization default", "42601"),
    ("set statement_timeout = 0", "42601"),
    ("reset role", "42601"),
    ("reset all", "42601"),
    ("discard all", "42601"),
    ("select 1; select 2", "42601"),
    ("select 1; commit", "42601"),
    ("select 1; set role mailroom; select 2", "42601"),
    ("copy sale to program 'touch /tmp/owned'", "42601"),
    ("copy sale from program 'echo owned'", "42601"),
    ("copy sale to '/tmp/owned'", "42601"),
    ("copy sale to stdout", "42601"),
    ("copy sale from stdin", "42601"),
    ("do $$ begin end $$", "42601"),
    ("do $$ begin commit; end $$", "42601"),
    ("call commits()", "42601"),
    ("declare c cursor with hold for select 1", "42601"),
    ("fetch all from c", "42601"),
    ("prepare p as select 1", "42601"),
    ("execute mailroom_probe", "42601"),
    ("deallocate all", "42601"),
    ("explain analyze insert into sale values ('lost', 1)", "42601"),
    ("create temp table t (a int)", "42601"),
    ("create function f() returns int language sql as 'select 1'", "42601"),
    ("drop table sale", "42601"),
    ("truncate sale", "42601"),
    ("lock table sale", "42601"),
    ("vacuum", "42601"),
    ("load 'plpgsql'", "42601"),
    ("listen x", "42601"),
    ("unlisten *", "42601"),
    ("notify x", "42601"),
    ("", "42601"),
    ("-- nothing", "42601"),
    ("select 1\0; commit", "22021"),
    // The same through a function of Postgres or of the operator.
    ("select commits_inside()", "2D000"),
    ("select query_to_xml('commit', true, false, '')", "22000"),
    ("select query_to_xml('set role mailroom', true, false, '')", "0A000"),
    ("select query_to_xml('delete from sale', true, false, '')", "0A000"),
    ("select set_config('transaction_isolation', 'serializable', true)", "25001"),
    ("select dblink_exec('dbname=postgres', 'drop table sale')", "42883"),
    // As another, or with another's rights.
    ("select set_config('role', 'mailroom', true)", "42501"),
    ("select set_config('role', 'mailroom', false)", "42501"),
    ("select set_config('session_authorization', 'mailroom', true)", "42501"),
    ("select set_config('session_replication_role', 'replica', true)", "42501"),
    ("select pg_read_file('/etc/passwd')", "42501"),
    ("select pg_ls_dir('/')", "42501"),
    ("select lo_import('/etc/passwd')", "42501"),
    ("select lo_export(1, '/tmp/owned')", "42501"),
    ("select pg_reload_conf()", "42501"),
    ("select * from pg_authid", "42501"),
    ("select pg_terminate_backend(pid) from pg_stat_activity where usename <> current_user", "42501"),
    ("select 1 into public.t", "42501"),
    // Mailroom's own.
    ("select * from mailroom.inbox", "42501"),
    ("insert into mailroom.outbox (topic, event_type) values ('stolen', 'x')", "42501"),
    ("update mailroom.inbox set status = 'completed'", "42501"),
    ("delete from mailroom.lane", "42501"),
    ("delete from mailroom.dead_letter", "42501"),
    ("with gone as (delete from mailroom.state returning 1) select count(*) from gone", "42501"),
    ("select id from mailroom.host", "42501"),
    ("select owner from mailroom.lane", "42501"),
    ("select mailroom.publish('stolen', 'k', 'x', '{\"a\": 1}'::json)", "42501"),
    ("select mailroom.settle_with_sql(gen_random_uuid(), 1, 1, 1, 0, 'x', '[]', '[]')", "MR001"),
    ("select mailroom.settle_with_sql(null, 1, 1, 1, 0, 'x', '[]', '[]')", "MR001"),
    (
        "select mailroom.settle_with_sql(gen_random_uuid(), lane, token, seq, 0, 'x', '[]', '[]')
           from generate_series(0, 5) lane, generate_series(0, 5) token, generate_series(0, 20) seq",
        "MR001",
    ),
    // Against its own session.
    ("select pg_sleep(600)", "57014"),
    ("select pg_sleep(600), set_config('statement_timeout', '0', true)", "57014"),
    ("select pg_cancel_backend(pg_backend_pid())", "57014"),
    ("select pg_terminate_backend(pg_backend_pid())", "57P01"),
    // What any statement may get.
    ("select uuid_nil from (select gen_random_uuid() as uuid_nil) s", "42846"),
    ("select 'fine'::public.mood", "42846"),
    ("select query_to_xml('select 1', true, false, '')", "42846"),
    ("insert into sale values ('zero', 0)", "23514"),
];

/// Objects that an operator may have left about.
const LEFT_ABOUT: [&str; 3] = [
    "create type public.mood as enum ('fine')",
    "create procedure public.commits() language plpgsql as 'begin commit; end'",
    "create function public.commits_inside() returns int language plpgsql as 'begin commit; return 1; end'",
];

/// The statement after one that is fine: the guest fails of it, or goes on as if nothing had been.
fn message(shop: &Shop, place: usize, statement: &str, stubborn: bool) -> Message {
    let id = format!("m{place:03}-{}", if stubborn { "stubborn" } else { "fails" });
    let first = json!({"sql": "insert into sale values ($1, 1)", "params": [id]});
    let script = json!({"statements": [first, {"sql": statement}], "stubborn": stubborn});
    Message::to(&shop.input).key(&id).id(&id).json(&script)
}

#[test]
fn a_statement_that_fails_or_is_none_of_the_five_takes_the_call_with_it_and_nothing_else() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        for statement in LEFT_ABOUT {
            world.db.execute(statement).await?;
        }
        let host = shop.start(world)?;
        world.kafka.send(&shop.sale("before", 1)).await?;
        let both = |(place, (statement, _)): (usize, &(&str, &str))| {
            [false, true].map(|stubborn| message(&shop, place, statement, stubborn))
        };
        let messages: Vec<Message> = CORPUS.iter().enumerate().flat_map(both).collect();
        world.kafka.send_all(&messages).await?;
        world.kafka.send(&shop.sale("behind", 1)).await?;

        let sent = i64::try_from(messages.len())?;
        becomes("all have ended", sent + 2, 4 * SOON, async || world.db.one::<i64>(ENDED).await).await?;
        each_as_it_says(world).await?;
        assert_eq!(world.db.one::<String>(SALES).await?, "before behind");
        let spent = "select count(*) from mailroom.inbox where status = 'failed' and attempts_made = 3";
        assert_eq!(world.db.one::<i64>(spent).await?, sent, "each was tried as often as any failure");
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.outbox").await?, 2, "sales' own");
        becomes("no statement goes on", 0, SOON, async || shop.busy_sessions(world).await).await?;
        host.stop().await?;
        Ok(())
    });
}

/// The guest that fails says what it got, and of the other one the host says it.
async fn each_as_it_says(world: &World) -> Result<()> {
    let query = "select message_id, error, code from mailroom.dead_letter order by message_id";
    let letters: Vec<(String, String, Option<String>)> = world.db.rows(query).await?;
    assert_eq!(letters.len(), 2 * CORPUS.len(), "{letters:#?}");
    for (pair, (statement, sqlstate)) in letters.chunks(2).zip(CORPUS) {
        for (id, error, code) in pair {
            let named = error.contains(sqlstate) || code.as_deref() == Some(sqlstate);
            let late = *sqlstate == "57014" && error.contains("deadline");
            assert!(named || late, "{id}: {statement:?} should give {sqlstate}: {error} {code:?}");
        }
    }
    Ok(())
}
