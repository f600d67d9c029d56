//! Messages that cannot be handled: they end in `failed`, with one dead letter that says why.

use anyhow::Result;
use mailroom_tests::{LATER, Manifest, Message, SOON, Setup, World, becomes, guest, in_world};
use serde_json::json;

use crate::arrange::Scripted;

/// Message, delivery and attempt, the fault and code, and whether all else is as it should be.
type Attempt = (String, i32, i32, Option<String>, Option<String>, Option<bool>);

const DEATHS: &str = "select count(*) from mailroom.dead_letter";

#[test]
fn a_handler_that_always_fails_ends_in_failed_after_its_budget_and_replay_runs_it_again() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("in", 1).await?;
        world.drop_handler("always-fails", "always-fails", &Manifest::takes(&[&topic]))?;
        let host = world.start_host("a")?;
        world.kafka.send(&Message::to(&topic).key("k").payload("x").id("m-1")).await?;

        becomes("one dead letter", 1, SOON, async || world.db.one::<i64>(DEATHS).await).await?;
        let query = "select status, failed_reason, attempts_made, deliveries from mailroom.inbox";
        let failed = |deliveries: i32| vec![("failed".to_owned(), "exhausted".to_owned(), 3, deliveries)];
        assert_eq!(world.db.rows::<(String, String, i32, i32)>(query).await?, failed(3));
        assert_eq!(letter(world).await?, ("m-1".into(), Some("always".into()), true, true, 3));

        world.mailroom(&["dead", "replay", "--all"]).await?.ok()?;
        becomes("a second dead letter", 2, SOON, async || world.db.one::<i64>(DEATHS).await).await?;

        assert_eq!(world.db.rows::<(String, String, i32, i32)>(query).await?, failed(6));
        let open = "select count(*) from mailroom.dead_letter where replayed_at is null";
        assert_eq!(world.db.one::<i64>(open).await?, 1, "the first one is marked as replayed");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn each_failed_attempt_has_its_record_which_goes_into_what_is_shown_of_the_message() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1).id("good")).await?;
        for (id, script) in [
            ("failing", json!({"behave": "fail"})),
            ("mended", json!({"behave": "panic", "until_attempt": 2})),
            ("rejected", json!({"behave": "reject"})),
            ("skipped", json!({"behave": "skip"})),
        ] {
            world.kafka.send(&scripted.says("k", &script).id(id)).await?;
        }
        let ended = "select count(*) from mailroom.inbox where status <> 'pending'";
        becomes("all have ended", 5, 2 * SOON, async || world.db.one::<i64>(ended).await).await?;

        let query = "select i.message_id, a.delivery, a.attempt, a.fault, a.code, a.host = 'a' and a.error like '%told to%'
                            and a.handler_digest = i.handler_digest and a.fuel_used > 0 and a.memory_peak > 0
                            and a.took_ms > 0 and coalesce(a.fault = 'trap', false)
                                = coalesce(a.detail like '%panic%' and a.last_output like '%told to panic%', false)
                       from mailroom.attempt a join mailroom.inbox i on i.lane = a.lane and i.seq = a.seq
                      order by 1, 2";
        let failed = |delivery| {
            (
                "failing".to_owned(),
                delivery,
                delivery,
                Some("failure".to_owned()),
                Some("told".to_owned()),
                Some(true),
            )
        };
        let attempts: Vec<Attempt> = world.db.rows(query).await?;
        let mended = ("mended".to_owned(), 1, 1, Some("trap".to_owned()), None, Some(true));
        let rejected = ("rejected".to_owned(), 1, 1, None, None, Some(true));
        assert_eq!(attempts, [failed(1), failed(2), failed(3), mended, rejected]);

        let shown = world.mailroom(&["inbox", "show", "failing", "--json"]).await?.json()?;
        let deliveries = shown.pointer("/0/failed_attempts/0/delivery");
        assert_eq!(deliveries, Some(&json!(3)), "the newest comes first: {shown}");
        let letter = "select id::text from mailroom.dead_letter where message_id = 'failing'";
        let letter = world.db.one::<String>(letter).await?;
        let shown = world.mailroom(&["dead", "show", &letter, "--json"]).await?.json()?;
        assert_eq!(shown.pointer("/failed_attempts/2/delivery"), Some(&json!(1)), "{shown}");
        for show in [["inbox", "show", "mended"], ["dead", "show", &letter]] {
            let shown = world.mailroom(&show).await?.ok()?;
            assert!(shown.contains("failed attempt:"), "{shown}");
        }
        for part in
            ["fault=\"failure\"", "code=\"told\"", "delivery=3", "memory_peak=", "handler.digest=", "took="]
        {
            host.wait_log(part).await?;
        }
        host.stop().await?;
        Ok(())
    });
}

/// The newest: its message, its code, whether it has an error, whether it has this handler's digest, the host
/// and how long the call took, its attempts.
async fn letter(world: &World) -> Result<(String, Option<String>, bool, bool, i32)> {
    let query = "select d.message_id, d.code, d.error like '%always fails%',
                d.handler_digest = h.digest and d.host = 'a' and d.took_ms > 0, d.attempts
                   from mailroom.dead_letter d join mailroom.handler h on h.name = d.handler
                  order by d.died_at desc limit 1";
    let rows = world.db.rows(query).await?;
    rows.into_iter().next().ok_or_else(|| anyhow::anyhow!("no dead letter with its handler's name"))
}

#[test]
fn a_replayed_message_completes_once_its_handler_was_mended() {
    in_world(Setup::default(), async |world| {
        let (input, output) = (world.kafka.topic("in", 1).await?, world.kafka.topic("out", 1).await?);
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
        world.drop_handler("fickle", "always-fails", &manifest)?;
        let host = world.start_host("a")?;
        world.kafka.send(&Message::to(&input).key("k").header("reply-to", &output).payload("x")).await?;
        becomes("one dead letter", 1, SOON, async || world.db.one::<i64>(DEATHS).await).await?;

        world.drop_handler("fickle", "edition-one", &manifest)?;
        let mended = Some(world.db.digest_of(&guest("edition-one")?).await?);
        let running = "select digest from mailroom.handler";
        becomes("the mended handler runs", mended, SOON, async || world.db.one(running).await).await?;
        world.mailroom(&["dead", "replay", "--handler", "fickle"]).await?.ok()?;

        becomes("the message is completed", 1, SOON, async || world.db.completed().await).await?;
        becomes("its reply is out", 1, SOON, async || Ok(world.kafka.read_all(&output).await?.len())).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_dead_message_is_edited_before_its_replay_and_the_audit_keeps_what_it_said() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let wrong = json!({"behave": "reject"});
        world.kafka.send(&scripted.says("k", &wrong).id("wrong")).await?;
        becomes("one dead letter", 1, SOON, async || world.db.one::<i64>(DEATHS).await).await?;
        let letter = world.db.one::<String>("select id::text from mailroom.dead_letter").await?;
        let file = world.folder().join("mended.json");
        let mended = json!({"behave": "emit", "topic": scripted.output, "value": 7}).to_string();
        std::fs::write(&file, &mended)?;
        let from_file = format!("@{}", file.display());

        let edit = ["dead", "edit", &letter, "--payload", &from_file];
        let shown = world.mailroom(&[&edit[..], &["--dry-run"]].concat()).await?.ok()?;
        assert_eq!(shown, format!("- {wrong}\n+ {mended}\nNothing is changed yet.\n"));
        let said = "select convert_from(payload, 'UTF8') from mailroom.inbox";
        assert_eq!(world.db.one::<String>(said).await?, wrong.to_string());
        world.mailroom(&[&edit[..], &["--because", "a typo"]].concat()).await?.ok()?;
        world.mailroom(&["dead", "replay", &letter]).await?.ok()?;

        becomes("the message is completed", 1, SOON, async || world.db.completed().await).await?;
        becomes("it emits what it says now", 1, SOON, async || {
            Ok(world.kafka.read_all(&scripted.output).await?.len())
        })
        .await?;
        let audited = format!(
            "select before->>'payload', after->>'payload', reason, target = '{letter}' from mailroom.audit
              where action = 'dead.edit'"
        );
        let audited: Vec<(String, String, String, bool)> =
            world.db.rows(sqlx::AssertSqlSafe(audited)).await?;
        assert_eq!(audited, [(wrong.to_string(), mended, "a typo".to_owned(), true)]);
        for payload in [&["--tombstone"][..], &["--payload", "{}"]] {
            let again = world.mailroom(&[&["dead", "edit", &letter], payload].concat()).await?;
            again.refused(3, &["no open dead letter"])?;
        }
        let nothing = world.mailroom(&["dead", "edit", &letter, "--payload", "@/no/such/file"]).await?;
        nothing.refused(2, &["--payload @/no/such/file", "No such file"])?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn the_record_of_a_dead_message_for_kafka_is_edited_and_published() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic_with("small", 1, &[("max.message.bytes", "1000")]).await?;
        let host = world.start_host("a")?;
        let publish = format!(
            "select mailroom.publish('{topic}', null, 'big', json_build_object('x', string_agg(md5(i::text), '')))
               from generate_series(1, 100) i"
        );
        world.db.execute(sqlx::AssertSqlSafe(publish)).await?;
        becomes("one dead letter", 1, LATER, async || world.db.one::<i64>(DEATHS).await).await?;
        let message = world.db.one::<String>("select id::text from mailroom.outbox").await?;

        let edited =
            world.mailroom(&["dead", "edit", &message, "--payload", "{\"x\": 1}", "--json"]).await?.json()?;
        assert_eq!(edited["after"], json!("{\"x\": 1}"), "{edited}");
        assert!(edited["before"].as_str().is_some_and(|before| before.len() > 2000), "{edited}");
        let large = world.folder().join("large.json");
        std::fs::write(&large, "x".repeat(1 << 20))?;
        let large = format!("@{}", large.display());
        let shown =
            world.mailroom(&["dead", "edit", &message, "--payload", &large, "--dry-run"]).await?.ok()?;
        assert!(shown.len() < 10_000 && shown.contains("+ 1048576 bytes in all"), "{}", shown.len());
        world.mailroom(&["dead", "replay", &message]).await?.ok()?;

        becomes("it is published", 1, SOON, async || Ok(world.kafka.read_all(&topic).await?.len())).await?;
        let records = world.kafka.read_all(&topic).await?;
        assert_eq!(
            records.first().and_then(|record| record.payload.as_deref()),
            Some(b"{\"x\": 1}".as_slice())
        );
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_call_loads_no_more_state_than_its_limits_say_and_the_dead_letter_says_so() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("in", 1).await?;
        let manifest =
            Manifest::takes(&[&topic]).with("limits.state-values = 2\nlimits.state-bytes = \"1KiB\"");
        world.drop_handler("scripted", "scripted", &manifest)?;
        let host = world.start_host("a")?;
        let adds = |key: &str| Message::to(&topic).key(key).json(&json!({"add": 1, "shared": true}));
        world.kafka.send(&adds("k1")).await?;
        becomes("its sum is kept", 1, SOON, async || world.db.completed().await).await?;
        let letters = "select message_id from mailroom.dead_letter where error like '%before that the host refused to load
                       its state, ' || $1 order by 1";
        let letters = letters.split_whitespace().collect::<Vec<_>>().join(" ");

        for (n, values, refused) in [(1, 2, "limits.state-values = 2"), (2, 1, "limits.state-bytes = 1024")] {
            let fill = format!(
                "delete from mailroom.state where name <> 'sum';
                 insert into mailroom.state (consumer_group, scope, key, name, value)
                 select s.consumer_group, 'shared', '', 'n' || n, convert_to(repeat('x', 800 / {values} * {n}), 'utf8')
                   from mailroom.state s cross join generate_series(1, {values}) n"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(fill)).execute(world.db.pool()).await?;
            world.kafka.send(&adds(&format!("k{}", n + 1)).id(&format!("m-{n}"))).await?;
            let died = format!("m-{n}");
            becomes(&format!("it dies of {refused}"), Some(died), SOON, async || {
                let found = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(letters.clone()));
                Ok(found.bind(refused).fetch_optional(world.db.pool()).await?)
            })
            .await?;
        }
        let empty = "delete from mailroom.state where name <> 'sum'";
        world.db.execute(empty).await?;
        world.mailroom(&["dead", "replay", "--all"]).await?.ok()?;
        becomes("all are completed once there is less", 3, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn each_way_to_end_is_told_from_the_others() {
    // Script; status, outcome, reason of the failure, attempts.
    let ways = [
        (json!({"behave": "ok"}), ("completed", Some("completed"), None, 0)),
        (json!({"behave": "skip"}), ("completed", Some("skipped"), None, 0)),
        (json!({"behave": "reject"}), ("failed", None, Some("rejected"), 0)),
        (json!({"behave": "fail"}), ("failed", None, Some("exhausted"), 3)),
        (json!({"behave": "panic"}), ("failed", None, Some("exhausted"), 3)),
        (json!({"behave": "loop"}), ("failed", None, Some("exhausted"), 3)),
        (json!({"behave": "memory-bomb"}), ("failed", None, Some("exhausted"), 3)),
        (json!({"behave": "recurse"}), ("failed", None, Some("exhausted"), 3)),
        (json!({"behave": "sleep"}), ("failed", None, Some("exhausted"), 3)),
        (json!({"behave": "fail", "until_attempt": 3}), ("completed", Some("completed"), None, 2)),
    ];
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;

        for (n, (script, _)) in ways.iter().enumerate() {
            let mut script = script.clone();
            script["topic"] = scripted.output.clone().into();
            world.kafka.send(&scripted.says(&format!("k{n}"), &script)).await?;
        }

        let pending = "select count(*) from mailroom.inbox where status <> 'pending'";
        let all = i64::try_from(ways.len())?;
        becomes("all have ended", all, 3 * SOON, async || world.db.one::<i64>(pending).await).await?;
        let query =
            "select status, outcome, failed_reason, attempts_made from mailroom.inbox order by \"offset\"";
        let rows: Vec<(String, Option<String>, Option<String>, i32)> = world.db.rows(query).await?;
        for ((script, expected), row) in ways.iter().zip(&rows) {
            let seen = (row.0.as_str(), row.1.as_deref(), row.2.as_deref(), row.3);
            assert_eq!(&seen, expected, "{script}");
        }
        let emitted = "select count(*) from mailroom.outbox";
        assert_eq!(world.db.one::<i64>(emitted).await?, 2, "only what completed has effects");
        host.stop().await?;
        Ok(())
    });
}
