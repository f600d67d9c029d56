//! Messages that cannot be handled: they end in `failed`, with one dead letter that says why.

use anyhow::Result;
use mailroom_tests::{Manifest, Message, SOON, Setup, World, becomes, guest, in_world};
use serde_json::json;

use crate::arrange::Scripted;

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

/// The newest: its message, its code, whether it has an error and this handler's digest, its attempts.
async fn letter(world: &World) -> Result<(String, Option<String>, bool, bool, i32)> {
    let query =
        "select d.message_id, d.code, d.error like '%always fails%', d.handler_digest = h.digest, d.attempts
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
