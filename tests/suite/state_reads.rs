//! Reads of state hold where the handler has effects: else its message is handled again.

use std::time::Duration;

use anyhow::{Result, ensure};
use mailroom_tests::{LATER, Manifest, SOON, Setup, World, becomes, eventually, in_world, passes};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::arrange::Scripted;

/// Returns what was emitted for a key, in the order in which it was.
async fn emitted(world: &World, key: &str) -> Result<Vec<Value>> {
    let said = "select convert_from(payload, 'UTF8')::jsonb from mailroom.outbox
                 where convert_from(key, 'UTF8') = $1 order by seq";
    Ok(sqlx::query_scalar(said).bind(key).fetch_all(world.db.pool()).await?)
}

/// Messages that cost an attempt, or were delivered more than once.
const COST: &str = "select count(*) from mailroom.inbox where attempts_made > 0 or deliveries > 1";

/// A value `name` of the scope and key, as somebody else writes it.
fn writes(scope: &str, key: &str, name: &str, value: i64) -> String {
    format!(
        "insert into mailroom.state (consumer_group, scope, key, name, value, version)
         select name, '{scope}', '{key}', '{name}', '{value}', {version}
           from mailroom.consumer_group
             on conflict (consumer_group, scope, key, name)
             do update set value = excluded.value, version = excluded.version",
        version = 1_000 + value,
    )
}

/// A script, what somebody else writes before and while its message waits to be settled, and what it has seen.
struct Case {
    key: &'static str,
    script: Value,
    before: Option<String>,
    meanwhile: String,
    peeked: Value,
    names: Value,
}

fn cases() -> Vec<Case> {
    let peeks = |shared: bool| json!({"peek": "flag", "shared": shared});
    let lists = |shared: bool| json!({"list": true, "shared": shared});
    vec![
        Case {
            key: "k1",
            script: peeks(false),
            before: Some(writes("keyed", "k1", "flag", 1)),
            meanwhile: writes("keyed", "k1", "flag", 2),
            peeked: json!(2),
            names: Value::Null,
        },
        Case {
            key: "k2",
            script: peeks(false),
            before: None,
            meanwhile: writes("keyed", "k2", "flag", 3),
            peeked: json!(3),
            names: Value::Null,
        },
        Case {
            key: "k3",
            script: peeks(true),
            before: Some(writes("shared", "", "flag", 4)),
            meanwhile: "delete from mailroom.state where scope = 'shared'".to_owned(),
            peeked: Value::Null,
            names: Value::Null,
        },
        Case {
            key: "k4",
            script: lists(false),
            before: Some(writes("keyed", "k4", "a", 5)),
            meanwhile: writes("keyed", "k4", "b", 6),
            peeked: Value::Null,
            names: json!(["a", "b"]),
        },
        Case {
            key: "k5",
            script: lists(true),
            before: Some(writes("shared", "", "a", 7)),
            // Another value in its place: there are as many as before.
            meanwhile: writes("shared", "", "a", 8).replace("'a'", "'c'").replace(
                "insert into",
                "with gone as (delete from mailroom.state where scope = 'shared') insert into",
            ),
            peeked: Value::Null,
            names: json!(["c"]),
        },
    ]
}

#[test]
fn a_message_is_handled_again_where_a_value_or_a_name_that_it_read_and_left_was_changed_meanwhile() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        for (done, case) in (0..).zip(cases()) {
            becomes("those before it are done", done, SOON, async || world.db.completed().await).await?;
            if done == 0 {
                let groups = "select count(*) from mailroom.consumer_group";
                becomes("the group is known", 1, SOON, async || world.db.one::<i64>(groups).await).await?;
            }
            if let Some(before) = case.before {
                world.db.execute(AssertSqlSafe(before)).await?;
            }
            let held = world.db.hold("lock table mailroom.outbox in share mode").await?;
            let mut script = case.script.clone();
            script["topic"] = json!(scripted.output);
            world.kafka.send(&scripted.says(case.key, &script)).await?;
            let waits = async || world.db.waits_for_lock("insert into mailroom.outbox").await;
            eventually("its settlement waits", SOON, waits).await?;
            world.db.execute(AssertSqlSafe(case.meanwhile)).await?;
            held.release().await?;

            becomes("it is done", done + 1, SOON, async || world.db.completed().await).await?;
            let said = emitted(world, case.key).await?;
            let seen: Vec<_> = said.iter().map(|said| (&said["peeked"], &said["names"])).collect();
            assert_eq!(seen, [(&case.peeked, &case.names)], "{} saw what was there in the end", case.key);
        }
        assert_eq!(world.db.one::<i64>(COST).await?, 0, "a lost race costs nothing");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_busy_key_emits_nothing_on_the_ground_of_a_shared_value_that_was_replaced_before() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.says("flag", &json!({"add": 1, "shared": true}))).await?;
        becomes("the flag is there", 1, SOON, async || world.db.completed().await).await?;

        let reads = json!({"peek": "sum", "shared": true, "topic": scripted.output});
        let busy: Vec<_> = (0..200).map(|_| scripted.says("hot", &reads)).collect();
        let with_new = "select count(*) from mailroom.outbox
                         where convert_from(payload, 'UTF8')::jsonb->>'peeked' = '101'";
        let mut replaced: Option<String> = None;
        eventually("a busy key has gone on with the new value", LATER, async || {
            world.kafka.send_all(&busy).await?;
            if replaced.is_none() && world.db.completed().await? > 1_000 {
                world.db.execute(AssertSqlSafe(writes("shared", "", "sum", 101))).await?;
                replaced = Some(world.db.one("select clock_timestamp()::text").await?);
            }
            Ok(world.db.one::<i64>(with_new).await? > 1_000)
        })
        .await?;

        let stale = "select count(*) from mailroom.outbox
                      where convert_from(payload, 'UTF8')::jsonb->>'peeked' = '1' and created_at > $1::timestamptz";
        let stale: i64 = sqlx::query_scalar(stale).bind(replaced).fetch_one(world.db.pool()).await?;
        ensure!(stale == 0, "{stale} messages with the old value were settled after it was replaced");
        assert_eq!(world.db.one::<i64>(COST).await?, 0, "a lost race costs nothing");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_saw_the_writes_of_a_producers_duplicate_is_handled_again() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.says("other", &json!({})).id("twice")).await?;
        becomes("the first of two is done", 1, SOON, async || world.db.completed().await).await?;

        let held = world.db.hold("select from mailroom.partition_offset for update").await?;
        // It takes its time, so that its record is on the way to the table before it is decided.
        let duplicate = json!({"add": 5, "behave": "allocate"});
        let follower = json!({"peek": "sum", "topic": scripted.output});
        let both = [scripted.says("k", &duplicate).id("twice"), scripted.says("k", &follower).id("follower")];
        world.kafka.send_all(&both).await?;
        let waits = async || world.db.waits_for_lock("update mailroom.partition_offset").await;
        eventually("they wait to be stored", SOON, waits).await?;
        // Nothing outside the host tells that it has decided them.
        passes(Duration::from_secs(1)).await;
        held.release().await?;

        becomes("the follower is done", 2, SOON, async || world.db.completed().await).await?;
        let seen: Vec<Value> = emitted(world, "k").await?.iter().map(|said| said["peeked"].clone()).collect();
        assert_eq!(seen, [Value::Null], "what the duplicate wrote never was");
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.state").await?, 0);
        host.stop().await?;
        Ok(())
    });
}

const ROUNDS: i64 = 10;

#[test]
fn a_key_stays_in_order_where_its_batch_has_a_bad_message_and_a_lost_race_for_state() {
    in_world(Setup::default(), async |world| {
        let rule = "create function public.no_bad() returns trigger language plpgsql as $$
            begin
                if position('\"value\":242' in convert_from(new.payload, 'UTF8')) > 0 then
                    raise exception 'no 242' using errcode = 'check_violation';
                end if;
                return new;
            end $$;
            create trigger no_bad before insert on mailroom.outbox for each row execute function public.no_bad();";
        sqlx::raw_sql(rule).execute(world.db.pool()).await?;
        let scripted = Scripted::drop_into(world, 1).await?;
        let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]);
        let toml = format!("{}\n[retry]\nattempts-max = 1\n", manifest.to_toml());
        std::fs::write(world.folder().join("handlers").join("scripted.toml"), toml)?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.says("warm", &json!({}))).await?;
        becomes("the handler runs", 1, SOON, async || world.db.completed().await).await?;

        let adds = |value: i64| json!({"add": 1, "shared": true, "topic": scripted.output, "value": value});
        for round in 0..ROUNDS {
            let (x, y, bad) = (format!("x{round}"), format!("y{round}"), format!("bad{round}"));
            world
                .kafka
                .send_all(&[
                    scripted.says(&x, &adds(0)),
                    scripted.says(&y, &adds(1)),
                    scripted.emits(&y, 2),
                    scripted.says(&y, &adds(3)),
                    scripted.emits(&bad, 242),
                ])
                .await?;
            let ended = "select count(*) from mailroom.inbox where status <> 'pending'";
            becomes("the round is over", 6 + round * 5, SOON, async || world.db.one::<i64>(ended).await)
                .await?;
            let values =
                emitted(world, &y).await?.iter().map(|said| said["value"].clone()).collect::<Vec<_>>();
            assert_eq!(values, [json!(1), json!(2), json!(3)], "round {round}");
        }
        let sum = "select convert_from(value, 'UTF8')::bigint from mailroom.state";
        assert_eq!(world.db.column::<i64>(sum).await?, [3 * ROUNDS]);
        host.stop().await?;
        Ok(())
    });
}
