//! `mailroom.publish`, the producers' API: what it takes, how it stores it, what it refuses.

use anyhow::Result;
use mailroom_tests::{Manifest, Message, SOON, Setup, World, becomes, in_world};
use serde_json::json;
use sqlx::types::Uuid;

/// Arguments after topic, key, event type and payload; what the refusal names.
const REFUSED: &[(&str, &str)] = &[
    ("'no topic', 'k', 't', '{\"a\": 1}'", "topic"),
    ("'..', 'k', 't', '{\"a\": 1}'", "topic"),
    ("repeat('x', 250), 'k', 't', '{\"a\": 1}'", "topic"),
    ("null, 'k', 't', '{\"a\": 1}'", "topic"),
    ("'t', '  ', 't', '{\"a\": 1}'", "key"),
    ("'t', repeat('x', 256), 't', '{\"a\": 1}'", "key"),
    ("'t', 'k', ' ', '{\"a\": 1}'", "event_type"),
    ("'t', 'k', null, '{\"a\": 1}'", "event_type"),
    ("'t', 'k', repeat('x', 101), '{\"a\": 1}'", "event_type"),
    ("'t', 'k', 't', '{}'", "payload"),
    ("'t', 'k', 't', E' {\\n\\t} '", "payload"),
    ("'t', 'k', 't', '[1]'", "payload"),
    ("'t', 'k', 't', '\"text\"'", "payload"),
    ("'t', 'k', 't', '{\"a\": NaN}'", "json"),
    ("'t', 'k', 't', json_build_object('a', repeat('x', 1000000))", "payload"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => '[]'", "headers"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => '{\"\": \"v\"}'", "header name"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => '{\"n\": \" \"}'", "header n"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => '{\"n\": 1}'", "header n"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => '{\"n\": \"a\\u0001b\"}'", "header n"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => '{\"n\\u0009m\": \"v\"}'", "header n"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => jsonb_build_object(repeat('x', 65), 'v')", "header name"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => jsonb_build_object('n', repeat('x', 513))", "header n"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => '{\"n\": \"1\", \" n \": \"2\"}'", "header n"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => '{\"n\": \"1\", \"N\": \"2\"}'", "header"),
    (
        "'t', 'k', 't', '{\"a\": 1}',
         headers => (select jsonb_object_agg('h' || n, 'v') from generate_series(1, 101) n)",
        "101 headers",
    ),
    ("'t', 'k', 't', '{\"a\": 1}', headers => '{\"Authorization\": \"Bearer x\"}'", "bearer"),
    ("'t', 'k', 't', '{\"a\": 1}', aggregate_type => ' '", "aggregate_type"),
    ("'t', 'k', 't', '{\"a\": 1}', correlation_id => repeat('x', 65)", "correlation_id"),
    ("'t', 'k', 't', '{\"a\": 1}', causation_id => ''", "causation_id"),
    ("'t', 'k', 't', '{\"a\": 1}', trace_id => repeat('x', 65)", "trace_id"),
    ("'t', 'k', 't', '{\"a\": 1}', schema_version => repeat('x', 51)", "schema_version"),
    ("'t', 'k', 't', '{\"a\": 1}', idempotency_key => repeat('x', 129)", "idempotency_key"),
    ("'t', 'k', 't', '{\"a\": 1}', scheduled_at => now() - interval '120 s'", "scheduled_at"),
    ("'t', 'k', 't', '{\"a\": 1}', scheduled_at => now() + interval '366 d'", "scheduled_at"),
    ("'t', 'k', 't', '{\"a\": 1}', idempotency_key => 'group' || chr(31) || 'key'", "idempotency_key"),
    ("'t', 'k', 't', '{\"a\": 1}', max_attempts => 9", "max_attempts"),
];

/// Arguments that are taken, and a condition that holds for the row.
const TAKEN: &[(&str, &str)] = &[
    (
        "'t', 'k', 't', '{\"a\": 1}'",
        "status = 'pending' and attempts_made = 0 and headers is null
         and content_type = 'application/json'",
    ),
    ("' t ', ' k ', ' type ', '{\"a\": 1}'", "topic = 't' and key = 'k' and event_type = 'type'"),
    ("'t', null, 't', '{\"a\": 1}'", "key is null and okey is null"),
    ("'t', 'k', 't', null", "payload is null and content_type is null"),
    ("'t', 'k', 't', '{\"a\": 1}', headers => '{}'", "headers is null"),
    (
        "'t', 'k', 't', '{\"a\": 1}', headers => '{\" n \": \" a\\tb \"}'",
        "headers = '[[\"n\", \"a\\tb\"]]'",
    ),
    ("'t', 'k', 't', json_build_object('a', repeat('😀', 100000))", "octet_length(payload) > 400000"),
    // What JSON allows and jsonb cannot hold.
    ("'t', 'k', 't', '{\"a\": \"\\u0000\"}'", "convert_from(payload, 'UTF8') = '{\"a\": \"\\u0000\"}'"),
    ("'t', 'k', 't', '{\"a\": \"\\ud800\"}'", "convert_from(payload, 'UTF8') like '%ud800%'"),
    ("'t', 'k', 't', '{\"a\": 1, \"a\": 2}'", "convert_from(payload, 'UTF8') = '{\"a\": 1, \"a\": 2}'"),
    (
        "'t', 'k', 't', ('{\"a\": ' || repeat('[', 900) || repeat(']', 900) || '}')::json",
        "octet_length(payload) = 1807",
    ),
    ("'t', 'k', 't', '{\"a\": 1e200000}'", "convert_from(payload, 'UTF8') like '%1e200000%'"),
    (
        "'t', 'k', 't', '{\"a\": 1}', scheduled_at => now() - interval '10 s'",
        "scheduled_at < clock_timestamp()",
    ),
    (
        "'t', 'k', 't', '{\"a\": 1}', scheduled_at => '2026-01-01 12:00:00+05:00'::timestamptz
             + (now() - '2026-01-01 07:00:00+00:00'::timestamptz)",
        "scheduled_at = created_at or abs(extract(epoch from scheduled_at - created_at)) < 5",
    ),
    (
        "'t', 'k', 't', '{\"a\": 1}', '{\"h\": \"v\"}', 'order', gen_random_uuid(), '1.0', 'corr', 'cause',
         'trace', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'idem', null, true",
        "headers = '[[\"h\", \"v\"]]' and aggregate_type = 'order' and aggregate_id is not null
         and schema_version = '1.0' and correlation_id = 'corr' and causation_id = 'cause' and trace_id = 'trace'
         and traceparent like '00-0af7%' and idempotency_key = 'idem'",
    ),
];

async fn publish(world: &World, arguments: &str) -> Result<Uuid, sqlx::Error> {
    let call = format!("select mailroom.publish({arguments})");
    sqlx::query_scalar(sqlx::AssertSqlSafe(call)).fetch_one(world.db.pool()).await
}

#[test]
fn publish_refuses_what_breaks_its_rules_and_names_it() {
    in_world(Setup::default(), async |world| {
        for (arguments, named) in REFUSED {
            let Err(error) = publish(world, arguments).await else { panic!("was taken: {arguments}") };
            let error = error.to_string();
            assert!(error.contains(named), "{arguments}: `{error}` should name {named}");
        }
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.outbox").await?, 0);
        Ok(())
    });
}

#[test]
fn publish_stores_what_it_takes_by_its_rules() {
    in_world(Setup::default(), async |world| {
        for (arguments, holds) in TAKEN {
            let id = publish(world, arguments).await?;
            let query = format!("select coalesce({holds}, false) from mailroom.outbox where id = $1");
            let query = sqlx::query_scalar::<_, bool>(sqlx::AssertSqlSafe(query)).bind(id);
            assert!(query.fetch_one(world.db.pool()).await?, "{arguments}: {holds}");
        }
        Ok(())
    });
}

#[test]
fn an_ordered_publish_waits_for_every_spelling_of_its_key_and_topic() {
    in_world(Setup::default(), async |world| {
        for (first, second) in [("'t', 'ada'", "'t', 'ada '"), ("' t', E'\\tada'", "'t', 'ada'")] {
            let mut one = world.db.pool().begin().await?;
            let call = format!("select mailroom.publish({first}, 'e', '{{\"a\": 1}}', ordered => true)");
            sqlx::query(sqlx::AssertSqlSafe(call)).execute(&mut *one).await?;
            let mut other = world.db.pool().begin().await?;
            sqlx::query("set local lock_timeout = '300ms'").execute(&mut *other).await?;

            let call = format!("select mailroom.publish({second}, 'e', '{{\"a\": 1}}', ordered => true)");
            let waited = sqlx::query(sqlx::AssertSqlSafe(call)).execute(&mut *other).await;

            let error = waited.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("lock timeout"), "{second} beside {first}: {error:?}");
            other.rollback().await?;
            one.rollback().await?;
        }
        Ok(())
    });
}

#[test]
fn rows_with_a_key_of_no_bytes_are_one_key_and_go_to_one_partition() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 8).await?;
        let insert = "insert into mailroom.outbox (topic, key, event_type, payload)
                      select $1, '', 't', convert_to(json_build_object('value', n)::text, 'UTF8')
                        from generate_series(1, 40) n";
        sqlx::query(insert).bind(&topic).execute(world.db.pool()).await?;
        let host = world.start_host("a")?;

        becomes("all are out", 40, SOON, async || Ok(world.kafka.read_all(&topic).await?.len())).await?;

        let numbers: Result<Vec<i64>> =
            world.kafka.read_all(&topic).await?.iter().map(|record| record.number("value")).collect();
        assert_eq!(numbers?, (1..=40).collect::<Vec<i64>>());
        let partitions = "select count(distinct published_partition) from mailroom.outbox";
        becomes("all are marked", 1, SOON, async || world.db.one::<i64>(partitions).await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn an_idempotency_key_used_again_returns_the_first_id_and_the_transaction_goes_on() {
    in_world(Setup::default(), async |world| {
        let mut transaction = world.db.pool().begin().await?;
        let mut ids = Vec::new();
        for n in 0..2 {
            let call = "select mailroom.publish('t', 'k', 't', json_build_object('n', $1), idempotency_key => 'once')";
            ids.push(sqlx::query_scalar::<_, Uuid>(call).bind(n).fetch_one(&mut *transaction).await?);
        }
        transaction.commit().await?;

        assert_eq!(ids[0], ids[1]);
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.outbox").await?, 1);
        Ok(())
    });
}

#[test]
fn handlers_have_idempotency_keys_of_their_own() {
    in_world(Setup::default(), async |world| {
        let output = world.kafka.topic("out", 1).await?;
        let mut inputs = Vec::new();
        for name in ["one", "two"] {
            let input = world.kafka.topic(name, 1).await?;
            let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
            world.drop_handler(name, "scripted", &manifest)?;
            inputs.push(input);
        }
        publish(world, &format!("'{output}', 'k', 't', '{{\"a\": 1}}', idempotency_key => 'once'")).await?;
        let host = world.start_host("a")?;
        for (n, input) in [(1, &inputs[0]), (2, &inputs[1]), (3, &inputs[0]), (4, &inputs[1])] {
            let script = json!({"topic": output, "once": "once", "value": n});
            world.kafka.send(&Message::to(input).key("k").json(&script)).await?;
        }
        becomes("all are completed", 4, SOON, async || world.db.completed().await).await?;

        let emitted = "select convert_from(payload, 'utf8')::json ->> 'in' is null from mailroom.outbox";
        let mut emitted = world.db.column::<bool>(emitted).await?;
        emitted.sort_unstable();
        assert_eq!(emitted, [false, false, true], "one each: of each handler and of the application");
        host.stop().await?;
        Ok(())
    });
}

/// Headers that no way into the outbox takes.
const BEARERS: [&str; 7] = [
    r#"[["authorization", "Bearer abc"]]"#,
    r#"[["tenant", "a"], ["AUTHORIZATION", "bEaReR\tabc"]]"#,
    r#"[[" Authorization ", "  bearer abc"]]"#,
    r#"[["authorization", "Basic eA=="], ["authorization", "Bearer abc"]]"#,
    r#"[["authorization", {"base64": "QmVhcmVyIGFiYw=="}]]"#,
    r#"[["authorization", {"base64": "not base64"}]]"#,
    r#"[["authoriz\u0061tion", "Bearer abc"]]"#,
];

/// Headers that look like these, and are taken.
const NO_BEARERS: [&str; 6] = [
    r#"[["authorization", "Basic eA=="]]"#,
    r#"[["authorization", "bearer"]]"#,
    r#"[["authorization", null], ["x-authorization", "Bearer abc"]]"#,
    r#"[["note", "authorization: Bearer abc"]]"#,
    r#"[["authorization", {"base64": "QmFzaWMgZUE9PQ=="}]]"#,
    r#"[["authorization"], "authorization", 7]"#,
];

const INSERT: &str = "insert into mailroom.outbox (topic, key, event_type, payload, headers)
                      values ($1, 'k', 't', 'x', $2::jsonb)";

#[test]
fn a_plain_insert_of_a_bearer_token_is_refused_in_every_form() {
    in_world(Setup::default(), async |world| {
        for headers in BEARERS {
            let insert = sqlx::query(INSERT).bind("t").bind(headers).execute(world.db.pool()).await;
            let Err(error) = insert else { panic!("was taken: {headers}") };
            assert!(error.to_string().contains("bearer token"), "{headers}: {error}");
        }
        for headers in NO_BEARERS {
            sqlx::query(INSERT).bind("t").bind(headers).execute(world.db.pool()).await?;
        }
        let several = "insert into mailroom.outbox (topic, event_type, headers)
                       select 't', 't', case n when 3 then '[[\"authorization\", \"Bearer x\"]]'::jsonb end from generate_series(1, 3) n";
        assert!(world.db.execute(several).await.is_err(), "one of several");
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.outbox").await?, 6);
        Ok(())
    });
}

#[test]
fn rows_with_a_bearer_token_that_are_there_already_are_published_and_replayed() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("out", 1).await?;
        world.db.execute("alter table mailroom.outbox disable trigger refuse_bearer").await?;
        for topic in [topic.as_str(), "no topic"] {
            sqlx::query(INSERT).bind(topic).bind(BEARERS[0]).execute(world.db.pool()).await?;
        }
        world.db.execute("alter table mailroom.outbox enable trigger refuse_bearer").await?;
        let host = world.start_host("a")?;
        let out = async || Ok(world.kafka.read_all(&topic).await?.len());
        becomes("the one is out", 1, SOON, out).await?;
        let done = "select count(*) from mailroom.outbox where status = 'completed'";
        becomes("and marked", 1, SOON, async || world.db.one::<i64>(done).await).await?;
        let failed = "select count(*) from mailroom.outbox where status = 'failed'";
        becomes("the other is dead", 1, SOON, async || world.db.one::<i64>(failed).await).await?;

        let mend = format!("update mailroom.outbox set topic = '{topic}' where status = 'failed'");
        world.db.execute(sqlx::AssertSqlSafe(mend)).await?;
        world.mailroom(&["dead", "replay", "--all"]).await?.ok()?;
        becomes("it is out too", 2, SOON, out).await?;
        host.stop().await?;
        Ok(())
    });
}
