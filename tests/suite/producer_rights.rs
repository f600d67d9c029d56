//! Rights of an application, as the documentation gives them: what it may do, and what it may not.

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Manifest, Message, SOON, Setup, World, becomes, in_world};
use serde_json::json;
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::timeout;

const GUIDE: &str = include_str!("../../docs/publishing.md");

/// Statements that are refused, each with the SQLSTATE that says why. GROUP is a handler's, and WHOLE a row with all that
/// a plain insert may have.
const HOSTILE: &[(&str, &str)] = &[
    // A row that is more than a new one.
    ("insert into mailroom.outbox (topic, event_type, status, completed_at) values ('t', 'x', 'completed', now())", "42501"),
    ("insert into mailroom.outbox (topic, event_type, id) values ('t', 'x', gen_random_uuid())", "42501"),
    ("insert into mailroom.outbox (topic, event_type, seq) overriding system value values ('t', 'x', 1)", "42501"),
    ("insert into mailroom.outbox (topic, event_type, lane) values ('t', 'x', 1)", "428C9"),
    ("insert into mailroom.outbox (topic, event_type, okey) values ('t', 'x', 1)", "428C9"),
    ("insert into mailroom.outbox (topic, event_type, attempts_made) values ('t', 'x', 5)", "42501"),
    ("insert into mailroom.outbox (topic, event_type, max_attempts) values ('t', 'x', 1)", "42501"),
    ("insert into mailroom.outbox (topic, event_type, deliveries) values ('t', 'x', 1)", "42501"),
    ("insert into mailroom.outbox (topic, event_type, held) values ('t', 'x', true)", "42501"),
    ("insert into mailroom.outbox (topic, event_type, created_at) values ('t', 'x', now() + interval '9 days')", "42501"),
    ("insert into mailroom.outbox (topic, event_type, published_offset) values ('t', 'x', 1)", "42501"),
    ("insert into mailroom.outbox values (1)", "428C9"),
    // A handler's idempotency key.
    (
        "insert into mailroom.outbox (topic, event_type, idempotency_key) values ('t', 'x', 'GROUP' || chr(31) || 'once')",
        "42501",
    ),
    (
        "select mailroom.publish('t', 'k', 'x', '{\"a\": 1}', idempotency_key => 'GROUP' || chr(31) || 'once')",
        "23514",
    ),
    (
        "select mailroom.emit('GROUP', array[gen_random_uuid()], array['t'], array[null::bytea], array['x'],
             array[null::bytea], array[null], array[null], array[null], array['once'], array[null], array[null], array[null],
             array[null], array[0])",
        "42501",
    ),
    // What others wrote.
    ("select payload from mailroom.outbox", "42501"),
    ("select * from mailroom.outbox", "42501"),
    ("select idempotency_key from mailroom.outbox", "42501"),
    ("select payload from mailroom.outbox_messages", "42501"),
    ("select payload from mailroom.inbox", "42501"),
    ("select key from mailroom.dead_letter", "42501"),
    ("select value from mailroom.state", "42501"),
    ("insert into mailroom.outbox (topic, event_type) values ('t', 'x') returning payload", "42501"),
    ("with w as (insert into mailroom.outbox (topic, event_type) values ('t', 'x') returning *) select * from w", "42501"),
    (
        "insert into mailroom.outbox (topic, event_type) values ('t', 'x')
             on conflict (id) do update set payload = excluded.payload",
        "42501",
    ),
    ("update mailroom.outbox set topic = 'stolen'", "42501"),
    ("update mailroom.outbox set status = 'pending', completed_at = null", "42501"),
    ("delete from mailroom.outbox", "42501"),
    ("truncate mailroom.outbox", "42501"),
    ("lock table mailroom.outbox in access exclusive mode", "42501"),
    ("lock table mailroom.outbox in share mode", "42501"),
    ("select setval('mailroom.outbox_seq_seq', 1)", "42501"),
    ("select nextval('mailroom.outbox_seq_seq')", "42501"),
    // The hosts' own.
    ("select key from mailroom.host_key", "42501"),
    ("select id from mailroom.host", "42501"),
    ("update mailroom.lane set owner = null, owned_since = null", "42501"),
    ("delete from mailroom.relay_sleep", "42501"),
    ("insert into mailroom.relay_sleep values (gen_random_uuid(), 'infinity')", "42501"),
    ("select mailroom.settle_proof(gen_random_uuid(), 1, 1, 1)", "42501"),
    ("select mailroom.settle_with_sql(gen_random_uuid(), 1, 1, 1, 0, 'x', '[]', '[]')", "42501"),
    // The schema itself.
    ("create function mailroom.publish() returns int language sql return 1", "42501"),
    ("create table mailroom.mine (n int)", "42501"),
    ("create trigger mine before insert on mailroom.outbox execute function mailroom.before_outbox_insert()", "42501"),
    ("alter table mailroom.outbox disable trigger user", "42501"),
    ("alter function mailroom.json_or_null(bytea) reset search_path", "42501"),
    ("create rule mine as on insert to mailroom.outbox do instead nothing", "42501"),
    // A credential.
    (
        "insert into mailroom.outbox (topic, event_type, headers) values ('t', 'x', '[[\"authorization\", \"Bearer x\"]]')",
        "23514",
    ),
];

/// Statements that the guide promises work.
const PROMISED: [&str; 4] = [
    "select mailroom.publish('t', 'k', 'x', '{\"a\": 1}')",
    "select mailroom.publish(
         topic => 't', key => 'k', event_type => 'x', payload => '{\"a\": 1}', headers => '{\"tenant\": \"north\"}',
         idempotency_key => 'order-o-2', ordered => true, scheduled_at => now() + interval '1 second',
         correlation_id => 'c', traceparent => '00-1-2-01')",
    "insert into mailroom.outbox (topic, key, event_type, payload, content_type, headers)
     values ('t', 'k', 'x', '\\x00ff', 'application/octet-stream', '[[\"tenant\", \"north\"]]')",
    "insert into mailroom.outbox (topic, event_type, schema_version, aggregate_type, aggregate_id, correlation_id,
         causation_id, trace_id, traceparent, scheduled_at)
     values ('t', 'x', '1', 'order', 'o-1', 'c', 'd', 'e', 'f', now())",
];

/// A connection of a role that has the rights of the guide, and no more.
async fn application(world: &World) -> Result<(String, PgConnection)> {
    let role = format!("app_{}", world.group("x").replace('.', "_"));
    world.db.execute(AssertSqlSafe(format!("create role {role} login password 'app'"))).await?;
    let block = GUIDE
        .split("```")
        .find(|block| block.starts_with("sql\ngrant "))
        .context("no grants in the guide")?;
    let grants: Vec<&str> =
        block.trim_start_matches("sql").split(';').filter(|text| !text.trim().is_empty()).collect();
    ensure!(grants.len() == 3, "{grants:?}");
    for grant in grants {
        world.db.execute(AssertSqlSafe(grant.replace("shop_app", &role))).await?;
    }
    let connection = PgConnection::connect(&world.db.url_as(&role, "app")).await?;
    Ok((role, connection))
}

/// The SQLSTATE by which a statement is refused; none where it was taken.
async fn refusal(connection: &mut PgConnection, statement: &str) -> Result<Option<String>> {
    let mut transaction = connection.begin().await?;
    let ran = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut *transaction).await;
    transaction.rollback().await?;
    match ran {
        Ok(_) => Ok(None),
        Err(error) => {
            let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
            Ok(Some(code.with_context(|| format!("{statement}: {error}"))?))
        }
    }
}

#[test]
fn an_application_with_the_rights_of_the_guide_can_do_what_is_promised_and_nothing_else() {
    in_world(Setup::default(), async |world| {
        let (_, mut app) = application(world).await?;
        let group = world.group("scripted");
        let mut failed = Vec::new();
        for (statement, why) in HOSTILE {
            let refused = refusal(&mut app, &statement.replace("GROUP", &group)).await?;
            if refused.as_deref() != Some(*why) {
                failed.push(format!("{statement}: {refused:?}, not {why}"));
            }
        }
        ensure!(failed.is_empty(), "{}", failed.join("\n"));

        for statement in PROMISED {
            sqlx::query(statement).execute(&mut app).await.with_context(|| statement.to_owned())?;
        }
        let again =
            "select mailroom.publish('t', 'k', 'x', '{\"a\": 2}', idempotency_key => 'order-o-2')::text";
        let id: String = sqlx::query_scalar(again).fetch_one(&mut app).await?;
        let first = "select id::text from mailroom.outbox where idempotency_key = 'order-o-2'";
        assert_eq!(world.db.one::<String>(first).await?, id, "the first one's id");
        let new = "select count(*) from mailroom.outbox where status = 'pending' and attempts_made = 0 and topic = 't'";
        assert_eq!(world.db.one::<i64>(new).await?, 4);
        app.close().await?;
        Ok(())
    });
}

#[test]
fn an_application_wakes_a_relay_that_sleeps_and_takes_no_key_of_a_handler() {
    in_world(Setup::default(), async |world| {
        let (input, output) = (world.kafka.topic("in", 1).await?, world.kafka.topic("out", 1).await?);
        world.drop_handler("scripted", "scripted", &Manifest::takes(&[&input]).publishes(&[&output]))?;
        let (_, mut app) = application(world).await?;
        let sleeps = "insert into mailroom.relay_sleep values (gen_random_uuid(), clock_timestamp() + interval '1 hour')";
        world.db.execute(sleeps).await?;
        let mut listener = PgListener::connect_with(world.db.pool()).await?;
        listener.listen("mailroom_outbox").await?;
        let insert =
            "insert into mailroom.outbox (topic, event_type, payload) values ($1, 'x', '{\"by\": 1}')";
        sqlx::query(insert).bind(&output).execute(&mut app).await?;
        timeout(SOON, listener.recv()).await.context("a plain insert wakes nobody")??;
        let publish = "select mailroom.publish($1, 'k', 'x', '{\"by\": 2}', idempotency_key => 'once')";
        sqlx::query(publish).bind(&output).execute(&mut app).await?;
        timeout(SOON, listener.recv()).await.context("publish wakes nobody")??;

        let host = world.start_host("a")?;
        let script = json!({"topic": output, "once": "once", "value": 3});
        world.kafka.send(&Message::to(&input).key("k").json(&script)).await?;
        let out = async || Ok(world.kafka.read_all(&output).await?.len());
        becomes("both are out, and the handler's", 3, SOON, out).await?;
        app.close().await?;
        host.stop().await?;
        Ok(())
    });
}

/// Better matches than pg_catalog's for what our functions call, each of which tells who runs it.
const TRAPS: [&str; 8] = [
    "create table public.run_as (who text)",
    "grant insert on public.run_as to public",
    "create function public.told() returns void language sql begin atomic insert into public.run_as values (current_user); end",
    "create function public.set_bit(bytea, integer, integer) returns bytea language plpgsql as
     $$ begin perform public.told(); return pg_catalog.set_bit($1, $2::bigint, $3); end $$",
    "create function public.btrim(text, varchar) returns text language plpgsql as
     $$ begin perform public.told(); return pg_catalog.btrim($1, $2::text); end $$",
    "create function public.sha256(text) returns bytea language plpgsql as
     $$ begin perform public.told(); return pg_catalog.sha256($1::bytea); end $$",
    "create function public.times(numeric, integer) returns numeric language plpgsql as
     $$ begin perform public.told(); return $1 operator(pg_catalog.*) $2::numeric; end $$",
    "create operator public.* (function = public.times, leftarg = numeric, rightarg = integer)",
];

#[test]
fn what_a_role_creates_in_public_runs_for_nobody_though_it_is_found_first() {
    in_world(Setup { unmigrated: true, ..Setup::default() }, async |world| {
        let role = format!("maker_{}", world.group("x").replace('.', "_"));
        let name: String = world.db.one("select current_database()::text").await?;
        for statement in [
            format!("create role {role} login password 'maker'"),
            format!("grant create on schema public to {role}"),
            format!("alter database {name} set search_path = public, pg_catalog"),
        ] {
            world.db.execute(AssertSqlSafe(statement)).await?;
        }
        let mut maker = PgConnection::connect(&world.db.url_as(&role, "maker")).await?;
        for trap in TRAPS {
            sqlx::query(trap).execute(&mut maker).await?;
        }
        world.mailroom(&["migrate"]).await?.ok()?;
        let (_, mut app) = application(world).await?;
        for statement in PROMISED {
            sqlx::query(statement).execute(&mut app).await.with_context(|| statement.to_owned())?;
        }
        let by_hand =
            ["outbox", "publish", "--topic", "t", "--type", "x", "--key", " k ", "--payload", "{\"a\": 1}"];
        world.mailroom(&by_hand).await?.ok()?;

        assert_eq!(world.db.column::<String>("select who from public.run_as").await?, Vec::<String>::new());
        let loose = "select p.proname::text from pg_proc p join pg_language l on l.oid = p.prolang
                      where p.pronamespace = 'mailroom'::regnamespace and p.prosqlbody is null
                        and not exists (select from unnest(p.proconfig) c where c = 'search_path=pg_catalog, pg_temp')";
        assert_eq!(
            world.db.column::<String>(loose).await?,
            Vec::<String>::new(),
            "each finds pg_catalog alone"
        );
        let open = "select p.proname::text from pg_proc p
                     where p.pronamespace = 'mailroom'::regnamespace and p.prosecdef
                       and has_function_privilege('public', p.oid, 'execute')";
        assert_eq!(
            world.db.column::<String>(open).await?,
            Vec::<String>::new(),
            "none of the owner's is for all"
        );
        app.close().await?;
        maker.close().await?;
        Ok(())
    });
}
