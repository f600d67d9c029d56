//! The admin port: whether a host lives and is ready, who may ask, and what nobody who asks can do to it.

use std::fs;

use anyhow::{Context as _, Result};
use mailroom_tests::{Admin, LATER, SOON, Setup, World, becomes, eventually, in_world};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::arrange::Scripted;

const OPEN: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[("MAILROOM__ADMIN__LISTEN", "127.0.0.1:0")],
};

/// Names of the checks that fail, once the answer's status says the same.
async fn failing(admin: Admin) -> Result<Vec<String>> {
    let (status, failing) = admin.failing().await?;
    anyhow::ensure!((status == 200) == failing.is_empty(), "{status} with {failing:?}");
    Ok(failing.into_iter().map(|(name, _)| name).collect())
}

async fn becomes_ready(admin: Admin) -> Result<()> {
    becomes("the host is ready", Vec::<String>::new(), LATER, async || failing(admin).await).await
}

/// The reason of a check that fails.
async fn reason(admin: Admin, check: &str) -> Result<String> {
    let (_, failing) = admin.failing().await?;
    let found = failing.into_iter().find(|(name, _)| name == check);
    Ok(found.with_context(|| format!("{check} does not fail"))?.1)
}

#[test]
fn a_host_lives_and_is_not_ready_while_postgres_or_kafka_is_away_and_is_ready_again_after_it() {
    in_world(Setup { own_postgres: true, own_kafka: true, ..OPEN }, async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let mut host = world.start_host("a")?;
        let admin = host.admin().await?;
        becomes_ready(admin).await?;

        world.with_postgres(|postgres| postgres.stop()).await?;
        becomes("postgres is missed", vec!["postgres".to_owned()], SOON, async || failing(admin).await)
            .await?;
        assert!(reason(admin, "postgres").await?.starts_with("away for "));
        assert_eq!(admin.ask("GET", "/livez", "").await?.status, 200, "it lives");
        world.with_postgres(|postgres| postgres.restart()).await?;
        becomes_ready(admin).await?;

        world.with_kafka(|kafka| kafka.stop()).await?;
        becomes("kafka is missed", vec!["kafka".to_owned()], SOON, async || failing(admin).await).await?;
        assert_eq!(admin.ask("GET", "/livez", "").await?.status, 200, "it lives");
        world.with_kafka(|kafka| kafka.restart()).await?;
        becomes_ready(admin).await?;

        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("it works", 1, LATER, async || world.db.completed().await).await?;
        host.still_runs()?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_host_that_starts_while_postgres_is_away_says_what_it_waits_for() {
    in_world(Setup { own_postgres: true, ..OPEN }, async |world| {
        world.with_postgres(|postgres| postgres.stop()).await?;
        let host = world.start_host("a")?;
        let admin = host.admin().await?;
        eventually("it was tried", SOON, async || {
            Ok(reason(admin, "postgres").await?.starts_with("away for "))
        })
        .await?;
        let expected = ["postgres", "migrations", "session", "kafka", "handlers"];
        assert_eq!(failing(admin).await?, expected);
        world.with_postgres(|postgres| postgres.restart()).await?;
        becomes_ready(admin).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_handler_of_which_no_version_runs_keeps_a_host_from_being_ready_and_is_named() {
    in_world(OPEN, async |world| {
        Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let admin = host.admin().await?;
        becomes_ready(admin).await?;

        world.drop_component("broken", b"no component")?;
        becomes("it is missed", vec!["handlers".to_owned()], SOON, async || failing(admin).await).await?;
        let why = reason(admin, "handlers").await?;
        assert!(why.starts_with("broken is refused: ") && !why.contains("scripted"), "{why}");
        // A bad new version of one that runs changes nothing.
        world.drop_component("scripted", b"no component")?;
        fs::remove_file(world.folder().join("handlers/broken.wasm"))?;
        host.wait_log("Handler scripted keeps").await?;
        becomes_ready(admin).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn an_address_that_was_set_has_to_be_had_and_the_default_one_is_gone_without() {
    in_world(Setup::default(), async |world| {
        let taken = TcpListener::bind("127.0.0.1:0").await?;
        let address = taken.local_addr()?.to_string();
        let run = world.mailroom_with(&["run"], &[("MAILROOM__ADMIN__LISTEN", &address)]).await?;
        run.refused(1, &["admin.listen", &address, "set another address, or \"off\""])?;

        // Whoever has the default port already, this test or another process of the machine.
        let _taken = TcpListener::bind("127.0.0.1:9180").await;
        let config = world.settings_file()?;
        let text = fs::read_to_string(&config)?.replace("listen = \"off\"\n", "");
        let host = world.start_host_at(&text, "second")?;
        host.wait_log("127.0.0.1:9180 cannot be had").await?;
        host.wait_log("works; handlers are taken from").await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn an_address_that_other_machines_reach_needs_a_token_and_config_check_says_so() {
    in_world(Setup::default(), async |world| {
        let check = async |env: &[(&str, &str)]| world.mailroom_with(&["config", "check"], env).await;
        let all = ("MAILROOM__ADMIN__LISTEN", "0.0.0.0:0");
        check(&[all])
            .await?
            .refused(2, &["admin.listen", "[admin.tokens.NAME]", "MAILROOM__ADMIN__TOKENS__"])?;
        check(&[("MAILROOM__ADMIN__LISTEN", "[::ffff:10.0.0.1]:1")]).await?.refused(2, &["needs a token"])?;
        check(&[all, ("MAILROOM__ADMIN__TOKENS__PROBE__TOKEN", "short-secret")])
            .await?
            .refused(2, &["admin.tokens.probe.token", "16"])?;
        let empty = world.folder().join("empty");
        fs::write(&empty, "\n")?;
        let empty = empty.display().to_string();
        let of_file = "MAILROOM__ADMIN__TOKENS__PROBE__TOKEN_FILE";
        check(&[all, (of_file, &empty)]).await?.refused(2, &["the file is empty"])?;

        let (file, token) = (world.folder().join("token"), "0123456789abcdef0123456789abcdef");
        fs::write(&file, format!("{token}\n"))?;
        let file = file.display().to_string();
        let env = [all, (of_file, file.as_str())];
        let checked = check(&env).await?;
        assert!(!format!("{checked:?}").contains(token));
        checked.ok()?;
        let host = world.start_host_with("a", &env)?;
        let port = host.admin().await?.address().port();
        let admin = Admin::at(([127, 0, 0, 1], port).into());
        let shows = format!("Authorization: Bearer {token}\r\n");
        for (path, bare) in [("/livez", 200), ("/metrics", 401), ("/nothing", 401)] {
            for head in ["", "Authorization: Bearer 0123456789abcdef0123456789abcdeg\r\n"] {
                let answer = admin.ask("GET", path, head).await?;
                assert_eq!(answer.status, bare, "{path} {head}");
                assert!(!answer.body.contains("mailroom_"), "{answer:?}");
            }
        }
        assert_eq!(admin.ask("GET", "/metrics", &shows).await?.status, 200);
        // Without a token a probe hears yes or no.
        eventually("it is ready", SOON, async || Ok(admin.ask("GET", "/readyz", "").await?.status == 200))
            .await?;
        assert_eq!(admin.ask("GET", "/readyz", "").await?.body.trim(), "{\n  \"ready\": true\n}");
        assert!(admin.ask("GET", "/readyz", &shows).await?.body.contains("migrations"));
        assert!(!host.log()?.contains(token), "the token is in the log");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn nobody_who_asks_badly_hangs_or_comes_in_hundreds_keeps_another_from_an_answer() {
    in_world(OPEN, async |world| {
        Scripted::drop_into(world, 1).await?;
        let mut host = world.start_host("a")?;
        let admin = host.admin().await?;
        becomes_ready(admin).await?;

        bad_requests(admin).await?;
        // Connections that send nothing, send half of a head, or ask and never read.
        let mut held = Vec::new();
        for number in 0..300 {
            let mut stream = admin.connect().await?;
            let sent = ["", "GET /metr", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"];
            let sent = sent.get(number % 3).copied().unwrap_or_default();
            stream.write_all(sent.as_bytes()).await?;
            held.push(stream);
            if number % 50 == 0 {
                assert_eq!(admin.ask("GET", "/livez", "").await?.status, 200);
            }
        }
        assert!(admin.metrics().await?.sum("mailroom_build", &[]).is_some());
        for mut stream in held {
            // Each of them is ended, the silent ones by their time.
            let mut read = Vec::new();
            tokio::time::timeout(SOON, stream.read_to_end(&mut read)).await.context("it is kept open")?.ok();
        }
        host.still_runs()?;
        host.stop().await?;
        Ok(())
    });
}

async fn bad_requests(admin: Admin) -> Result<()> {
    let unknown = admin.ask("GET", "/nothing", "").await?;
    assert!(unknown.status == 404 && unknown.body.contains("/livez, /readyz and /metrics"), "{unknown:?}");
    for method in ["POST", "PUT", "DELETE", "BREW"] {
        let answer = admin.ask(method, "/metrics", "Content-Length: 0\r\n").await?;
        assert_eq!(answer.status, 401, "{method} would change something: {answer:?}");
    }
    let head = admin.ask("HEAD", "/livez", "").await?;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let large = admin.ask("GET", "/metrics", "Content-Length: 100000000\r\n").await?;
    assert_eq!(large.status, 413, "{large:?}");
    let foreign = admin.send("GET /metrics HTTP/1.1\r\nHost: evil.example:9180\r\n\r\n").await?;
    assert_eq!(foreign.status, 421, "{foreign:?}");
    let long = format!("X: {}\r\n", "x".repeat(100_000));
    // It may be refused, or the connection closed in the middle of it.
    let long = admin.ask("GET", "/livez", &long).await.map(|answer| answer.status).unwrap_or(431);
    assert_eq!(long, 431);
    assert_eq!(admin.send("no HTTP at all\r\n\r\n").await?.status, 400);
    Ok(())
}

#[test]
fn a_stop_is_answered_until_its_end_and_is_not_held_up_by_who_reads() {
    in_world(OPEN, async |world: &World| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let admin = host.admin().await?;
        becomes_ready(admin).await?;
        let says = scripted.says("k", &serde_json::json!({"behave": "sleep"}));
        world.kafka.send(&says).await?;
        let busy = async || {
            let busy = [("handler_name", "scripted"), ("state", "busy")];
            Ok(admin.metrics().await?.sum("mailroom_handler_instances", &busy) == Some(1.0))
        };
        eventually("a call is under way", SOON, busy).await?;

        let _silent = admin.connect().await?;
        let (stopped, seen) = tokio::join!(
            host.stop(),
            becomes("it says that it stops", vec!["serving".to_owned()], SOON, async || failing(admin).await),
        );
        seen?;
        stopped?;
        assert!(admin.connect().await.is_err(), "nobody listens any more");
        Ok(())
    });
}
