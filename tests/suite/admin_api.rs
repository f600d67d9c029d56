//! The JSON API of the admin port: it tells what the command line tells, changes what that changes, and every change of
//! either is in the audit with who made it and why.

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Admin, Answer, LATER, SOON, Setup, World, becomes, eventually, in_world};
use serde_json::{Value, json};

use crate::arrange::Scripted;

const VIEWER: &str = "viewer-0123456789abcdef";
const OPERATOR: &str = "operator-0123456789abcdef";
const ADMIN: &str = "admin-0123456789abcdef";
const OPEN: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[
        ("MAILROOM__ADMIN__LISTEN", "127.0.0.1:0"),
        ("MAILROOM__ADMIN__TOKENS__VERA__TOKEN", VIEWER),
        ("MAILROOM__ADMIN__TOKENS__OLLIE__TOKEN", OPERATOR),
        ("MAILROOM__ADMIN__TOKENS__OLLIE__ROLE", "operator"),
        ("MAILROOM__ADMIN__TOKENS__ADA__TOKEN", ADMIN),
        ("MAILROOM__ADMIN__TOKENS__ADA__ROLE", "admin"),
    ],
};
const OPEN_LETTERS: &str =
    "select count(*) from mailroom.dead_letter where replayed_at is null and discarded_at is null";

fn head(token: &str) -> String {
    if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") }
}

/// Answer of a path to whoever shows this token.
async fn told(admin: Admin, token: &str, path: &str) -> Result<Value> {
    let answer = admin.ask("GET", path, &head(token)).await?;
    ensure!(answer.status == 200, "{path}: {answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

async fn change(admin: Admin, token: &str, path: &str, body: &Value) -> Result<Answer> {
    let body = body.to_string();
    let content = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let address = admin.address();
    let head = head(token);
    admin.send(&format!("POST {path} HTTP/1.1\r\nHost: {address}\r\n{head}{content}\r\n{body}")).await
}

/// The answer to a change that has to be done.
async fn changed(admin: Admin, token: &str, path: &str, body: &Value) -> Result<Value> {
    let answer = change(admin, token, path, body).await?;
    ensure!(answer.status == 200, "{path}: {answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

/// Two letters of one fault and one of another.
async fn three_die(world: &World, scripted: &Scripted) -> Result<()> {
    for (id, key, behave) in [("p-1", "ann", "panic"), ("p-2", "bo", "panic"), ("r-1", "cy", "reject")] {
        world.kafka.send(&scripted.says(key, &json!({"behave": behave})).id(id)).await?;
    }
    becomes("three are dead", 3, LATER, async || world.db.one::<i64>(OPEN_LETTERS).await).await
}

async fn letter_of(world: &World, message_id: &str) -> Result<String> {
    let letters = world.mailroom(&["dead", "list", "--status", "all", "--json"]).await?.json()?;
    let letters = letters.as_array().context("a list")?;
    let found = letters.iter().find(|letter| letter["message_id"] == message_id).context("a letter")?;
    Ok(found["id"].as_str().context("an id")?.to_owned())
}

#[test]
fn it_tells_what_the_command_line_tells_and_content_only_to_operators() {
    in_world(OPEN, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let admin = host.admin().await?;
        three_die(world, &scripted).await?;

        for (path, command) in [
            ("/api/v1/handlers", &["handler", "list", "--json"][..]),
            ("/api/v1/dead-letters", &["dead", "list", "--json"]),
            ("/api/v1/dead-letters?reason=rejected", &["dead", "list", "--reason", "rejected", "--json"]),
            ("/api/v1/dead-letters?fault=trap", &["dead", "list", "--fault", "trap", "--json"]),
            ("/api/v1/inbox?status=failed", &["inbox", "list", "--status", "failed", "--json"]),
            ("/api/v1/outbox", &["outbox", "list", "--json"]),
            ("/api/v1/keys/blocked", &["keys", "blocked", "--json"]),
        ] {
            let said = world.mailroom(command).await?.json()?;
            assert_eq!(told(admin, VIEWER, path).await?, said, "{path}");
        }
        assert_eq!(
            told(admin, "", "/api/v1/dead-letters?fault=trap").await?.as_array().map(Vec::len),
            Some(2)
        );
        let status = told(admin, "", "/api/v1/status").await?;
        let said = world.mailroom(&["status", "--json"]).await?.json()?;
        let names =
            |status: &Value| status.as_object().map(|status| status.keys().cloned().collect::<Vec<_>>());
        assert_eq!(names(&status), names(&said));
        assert_eq!(status["dead_letters"], said["dead_letters"]);
        let groups = told(admin, VIEWER, "/api/v1/dead-letters/groups").await?;
        let counts: Vec<_> = groups.as_array().context("groups")?.iter().map(|of| &of["letters"]).collect();
        assert_eq!(counts, [2, 1], "{groups}");

        let letter = format!("/api/v1/dead-letters/{}", letter_of(world, "p-1").await?);
        let whole = told(admin, OPERATOR, &letter).await?;
        assert_eq!((&whole["key"], &whole["payload"]), (&json!("ann"), &json!(r#"{"behave":"panic"}"#)));
        assert!(
            whole["failed_attempts"][0]["detail"].as_str().is_some_and(|detail| detail.contains("panic"))
        );
        for token in ["", VIEWER] {
            let part = told(admin, token, &letter).await?;
            assert_eq!(part["error"], whole["error"]);
            assert!(part.get("key").is_none() && part.get("payload").is_none(), "{part}");
            let message = told(admin, token, "/api/v1/inbox/p-1").await?;
            assert!(message[0].get("headers").is_none() && message[0].get("payload").is_none(), "{message}");
        }
        assert_eq!(told(admin, OPERATOR, "/api/v1/inbox?key=ann").await?[0]["message_id"], "p-1");
        assert_eq!(told(admin, OPERATOR, "/api/v1/inbox/p-1").await?[0]["payload"], whole["payload"]);
        for (path, status) in [
            ("/api/v1/inbox?key=ann", 403),
            ("/api/v1/inbox?status=odd", 400),
            ("/api/v1/inbox?limit=0", 400),
            ("/api/v1/inbox?since=tomorrow", 400),
            ("/api/v1/dead-letters?handlr=scripted", 400),
            ("/api/v1/dead-letters/none", 404),
            ("/api/v1/inbox/none", 404),
            ("/api/v1/outbox/none", 404),
        ] {
            let answer = admin.ask("GET", path, &head(VIEWER)).await?;
            let body: Value = serde_json::from_str(&answer.body)?;
            assert!(answer.status == status && body["remedy"].is_string(), "{path}: {answer:?}");
        }
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_it_changes_and_what_the_command_line_changes_is_in_the_audit_with_who_and_why() {
    in_world(OPEN, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let admin = host.admin().await?;
        three_die(world, &scripted).await?;
        let group = world.group("scripted");

        let because = json!({"because": "the bank is closed"});
        let paused = changed(admin, OPERATOR, "/api/v1/handlers/scripted/pause", &because).await?;
        assert_eq!(paused["consumer_groups"], json!([group]));
        host.wait_log("is paused: nothing of it is started").await?;
        let status = world.mailroom(&["status"]).await?.ok()?;
        assert!(status.contains("by ollie (the bank is closed)"), "{status}");
        world.mailroom(&["handler", "resume", "scripted", "--reason", "it is open"]).await?.ok()?;
        let resumed = change(admin, OPERATOR, "/api/v1/handlers/scripted/resume", &json!({})).await?;
        assert_eq!(resumed.status, 409, "it goes on already: {resumed:?}");
        let unknown = change(admin, OPERATOR, "/api/v1/handlers/absent/pause", &json!({})).await?;
        assert_eq!(unknown.status, 404, "{unknown:?}");

        let (first, third) = (letter_of(world, "p-1").await?, letter_of(world, "r-1").await?);
        let discarded = json!({"ids": [third], "because": "nobody wants it"});
        let discarded = changed(admin, ADMIN, "/api/v1/dead-letters/discard", &discarded).await?;
        assert_eq!(discarded, json!({"done": 1, "left": 0, "open": 0}));
        let replay = json!({"handler": "scripted", "fault": "trap"});
        let replayed = changed(admin, OPERATOR, "/api/v1/dead-letters/replay", &replay).await?;
        assert_eq!(replayed["done"], 2, "{replayed}");
        let again = change(admin, OPERATOR, "/api/v1/dead-letters/replay", &json!({"ids": [first]})).await?;
        assert_eq!(again.status, 409, "a replay of what was replayed: {again:?}");
        for (body, named) in [
            (json!({}), "say which"),
            (json!({"all": true, "handler": "scripted"}), "all goes with nothing"),
            (json!({"handlr": "scripted"}), "handlr"),
            (json!({"ids": ["x"]}), "ids"),
        ] {
            let refused = change(admin, OPERATOR, "/api/v1/dead-letters/replay", &body).await?;
            assert!(refused.status == 400 && refused.body.contains(named), "{body}: {refused:?}");
        }

        let audit = told(admin, ADMIN, "/api/v1/audit").await?;
        assert_eq!(world.mailroom(&["audit", "list", "--json"]).await?.json()?, audit);
        let rows = audit.as_array().context("a list")?;
        let seen: Vec<_> = rows.iter().map(|row| (&row["action"], &row["via"], &row["reason"])).collect();
        let row = |action: &str, via: &str, reason: Value| (json!(action), json!(via), reason);
        let expected = [
            row("dead.replay", "http", Value::Null),
            row("dead.replay", "http", Value::Null),
            row("dead.discard", "http", json!("nobody wants it")),
            row("handler.resume", "cli", json!("it is open")),
            row("handler.pause", "http", json!("the bank is closed")),
        ];
        assert_eq!(seen, expected.iter().map(|(a, v, r)| (a, v, r)).collect::<Vec<_>>(), "{audit}");
        let actors: Vec<_> = rows.iter().filter_map(|row| row["actor"].as_str()).collect();
        assert!(actors[3].ends_with("@cli") && actors[2] == "ada" && actors[4] == "ollie", "{actors:?}");
        assert_eq!((&rows[2]["target"], &rows[2]["after"]), (&json!(third), &json!({"status": "discarded"})));
        assert_eq!(rows[3]["before"]["by"], "ollie", "{audit}");
        let of_one = world.mailroom(&["audit", "list", "--target", &first, "--json"]).await?.json()?;
        assert_eq!(of_one.as_array().map(Vec::len), Some(1), "{of_one}");
        let shown = world.mailroom(&["audit", "list"]).await?.ok()?;
        assert!(shown.contains("nobody wants it") && shown.contains("ollie"), "{shown}");
        assert!(!host.log()?.contains(OPERATOR), "a token is in the log");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn an_edit_changes_what_was_shown_or_nothing() {
    in_world(OPEN, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let admin = host.admin().await?;
        three_die(world, &scripted).await?;
        let letter = format!("/api/v1/dead-letters/{}", letter_of(world, "p-1").await?);
        let (edit, shown) = (format!("{letter}/edit"), told(admin, OPERATOR, &letter).await?);

        for (body, status, words) in [
            (json!({"because": "nothing"}), 400, "payload"),
            (json!({"payload": 1}), 400, "payload must be text"),
            (json!({"payload": {"base64": "?"}}), 400, "payload must be text"),
            (json!({"payload": "", "key": "other"}), 400, "key"),
            (json!({"payload": "x".repeat(70_000)}), 413, "bytes at most"),
            (json!({"payload": "", "was": "0123"}), 409, "somebody else has changed"),
        ] {
            let answer = change(admin, OPERATOR, &edit, &body).await?;
            assert!(answer.status == status && answer.body.contains(words), "{body}: {answer:?}");
        }
        for (id, status) in [("0195d1a0-0000-7000-8000-000000000000", 409), ("none", 404)] {
            let path = format!("/api/v1/dead-letters/{id}/edit");
            assert_eq!(change(admin, OPERATOR, &path, &json!({"payload": ""})).await?.status, status, "{id}");
        }
        assert_eq!(told(admin, OPERATOR, &letter).await?["payload"], shown["payload"], "nothing is changed");

        // The second of two who were shown the same is told so.
        let body = json!({"payload": {"base64": "AP8="}, "was": shown["payload_digest"], "because": "bytes"});
        changed(admin, OPERATOR, &edit, &body).await?;
        assert_eq!(change(admin, OPERATOR, &edit, &body).await?.status, 409);
        let says = "select encode(payload, 'hex') from mailroom.inbox where message_id = 'p-1'";
        assert_eq!(world.db.one::<String>(says).await?, "00ff");
        let audit = told(admin, ADMIN, "/api/v1/audit?action=dead.edit").await?;
        assert_eq!(audit[0]["after"], json!({"payload": {"base64": "AP8="}}), "{audit}");
        assert_eq!((&audit[0]["actor"], &audit[1]), (&json!("ollie"), &Value::Null), "{audit}");
        for token in ["", VIEWER] {
            let whole = told(admin, token, &letter).await?;
            assert!(whole.get("payload_digest").is_none(), "{whole}");
        }
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_change_whose_audit_cannot_be_written_is_not_made() {
    in_world(OPEN, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let admin = host.admin().await?;
        three_die(world, &scripted).await?;
        world.db.execute("alter table mailroom.audit add constraint refuses_all check (false)").await?;

        for path in ["/api/v1/dead-letters/replay", "/api/v1/dead-letters/discard"] {
            let answer = change(admin, OPERATOR, path, &json!({"all": true})).await?;
            assert!(answer.status >= 400, "{answer:?}");
        }
        let answer = change(admin, OPERATOR, "/api/v1/handlers/scripted/pause", &json!({})).await?;
        assert!(answer.status >= 400, "{answer:?}");
        assert_ne!(world.mailroom(&["dead", "discard", "--all"]).await?.code, Some(0));

        assert_eq!(world.db.one::<i64>(OPEN_LETTERS).await?, 3);
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.handler_pause").await?, 0);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_hundred_who_ask_at_once_and_two_who_replay_the_same_harm_nobody() {
    in_world(OPEN, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let mut host = world.start_host("a")?;
        let admin = host.admin().await?;
        three_die(world, &scripted).await?;

        let paths = ["/api/v1/status", "/api/v1/inbox", "/", "/dead-letters"];
        let asks = (0..100).map(|number: usize| {
            let path = paths.get(number % paths.len()).copied().unwrap_or("/");
            async move { admin.ask("GET", path, "").await }
        });
        let answers = futures_util::future::join_all(asks).await;
        // Those beyond the number of connections are dropped, the oldest first.
        let good = answers.iter().flatten().filter(|answer| answer.status == 200).count();
        assert!(
            good > 0 && answers.iter().flatten().all(|answer| [200, 503].contains(&answer.status)),
            "{good}"
        );
        let body = json!({"reason": "rejected"});
        let replay = || change(admin, OPERATOR, "/api/v1/dead-letters/replay", &body);
        let (one, other) = tokio::join!(replay(), replay());
        let done = |answer: &Answer| {
            serde_json::from_str::<Value>(&answer.body).ok().and_then(|closed| closed["done"].as_i64())
        };
        assert_eq!(done(&one?).unwrap_or(0) + done(&other?).unwrap_or(0), 1, "it is replayed once");
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("messages go on", 1, SOON, async || world.db.completed().await).await?;
        eventually("it is answered", SOON, async || Ok(admin.ask("GET", "/", "").await?.status == 200))
            .await?;
        host.still_runs()?;
        host.stop().await?;
        Ok(())
    });
}
