//! Hostile towards what lies outside of the sandbox: the network, and Postgres.

use mailroom_tests::{Setup, Web, in_world};
use serde_json::json;

use super::SHORT;
use super::in_calls::each_ends_as_expected;
use super::stage::{Guest, Hostile, Stage};
use crate::arrange::sql_role;

#[test]
fn a_guest_that_waits_for_what_never_comes_ends_within_its_limits_and_nobody_else_notices() {
    in_world(Setup::default(), async |world| {
        let web = Web::start().await?;
        let (origin, never) = (web.origin("127.0.0.1"), web.url("127.0.0.1", "/never"));
        let (_, url) = sql_role(world, "sleeper").await?;
        let env =
            [("MAILROOM__HTTP__ADDRESSES", "127.0.0.1/32"), ("MAILROOM__SQL__SLEEPER__URL", url.as_str())];
        Stage::with(world, &env, async |stage| {
            let waits_for_http = Hostile {
                name: "waits-for-http",
                guest: Guest::Built("fetcher"),
                manifest: vec![SHORT],
                publishes: vec![],
                reaches: vec![&origin],
                payload: json!({"requests": [{"url": never}]}),
            };
            let waits_for_sql = Hostile {
                name: "waits-for-sql",
                guest: Guest::Built("sql-runner"),
                manifest: vec![SHORT, "grants.sql = \"sleeper\""],
                publishes: vec![],
                reaches: vec![],
                payload: json!({"statements": [{"sql": "select pg_sleep(600)"}]}),
            };
            let all = vec![(waits_for_http, Some("deadline")), (waits_for_sql, Some("deadline"))];
            each_ends_as_expected(stage, all).await
        })
        .await
    });
}

#[test]
fn a_guest_that_reaches_for_this_machine_by_a_name_that_leads_there_is_refused_and_nobody_else_notices() {
    in_world(Setup::default(), async |world| {
        let web = Web::start().await?;
        let (origin, url) = (web.origin("localhost"), web.url("localhost", "/echo"));
        Stage::with(world, &[], async |stage| {
            let reaches = Hostile {
                name: "reaches-loopback",
                guest: Guest::Built("fetcher"),
                manifest: vec![],
                publishes: vec![],
                reaches: vec![&origin],
                payload: json!({"requests": [{"url": url}]}),
            };
            each_ends_as_expected(stage, vec![(reaches, Some("failure"))]).await
        })
        .await?;
        assert!(web.requests().is_empty(), "it got through");
        Ok(())
    });
}
