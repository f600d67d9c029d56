//! Cost of a statement to the host: it is bounded, and is the guest's failure where it asks for more.

use anyhow::{Result, ensure};
use mailroom_tests::{Manifest, SOON, Setup, World, becomes, in_world};
use serde_json::{Value, json};

use super::session::{last_answers, start_with_one_connection};
use super::{ENDED, Shop, letters};

/// A handler whose messages have one attempt that counts.
fn with_one_attempt(world: &World, shop: &Shop) -> Result<()> {
    let manifest =
        Manifest::takes(&[&shop.input]).publishes(&[&shop.output]).sql("shop").with("retry.attempts-max = 1");
    world.drop_handler("sql-runner", "sql-runner", &manifest)
}

fn runs(sql: &str, params: &[Value]) -> Value {
    json!({ "statements": [{ "sql": sql, "params": params }] })
}

#[test]
fn a_statement_beyond_a_bound_is_a_failure_of_its_guest_and_is_counted() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        with_one_attempt(world, &shop)?;
        let host = shop.start(world)?;
        let many = |count: i32| (0..count).map(Value::from).collect::<Vec<_>>();
        let messages = [
            shop.says("parameters", &runs("select 1", &many(70_000))),
            shop.says("one-parameter-more", &runs("select 1", &many(65_536))),
            shop.says("twice-the-parameters", &runs("select 1", &many(131_072))),
            shop.says("no-columns", &runs("select from generate_series(1, 300000)", &[])),
            shop.says("no-values", &runs("select null::text from generate_series(1, 300000)", &[])),
        ];
        for message in &messages {
            world.kafka.send(message).await?;
        }
        becomes("all have ended", 5, SOON, async || world.db.one::<i64>(ENDED).await).await?;
        for (id, error, code) in letters(world).await? {
            ensure!(code.as_deref() == Some("54000"), "{id}: {error} ({code:?})");
        }
        ensure!(letters(world).await?.len() == 5);
        let attempts = "select count(*) from mailroom.inbox where attempts_made = 1";
        ensure!(world.db.one::<i64>(attempts).await? == 5, "each was counted");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_the_client_learns_of_types_goes_with_the_call() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let host = start_with_one_connection(world, &shop)?;
        let pid = "select pg_backend_pid()";
        // Rows of a made type, none of them, and a temporary one.
        let learn = [
            vec![pid, "select null::public.sale as s"],
            vec![pid, "select s from public.sale s where false"],
            vec![pid, "select 1 as a, 'x'::text as b into temp wide", "select null::wide as w"],
        ];
        let mut seen = Vec::new();
        for (number, statements) in learn.iter().enumerate() {
            let statements: Vec<Value> = statements.iter().map(|sql| json!({ "sql": sql })).collect();
            let script = json!({ "statements": statements, "topic": shop.output });
            world.kafka.send(&shop.says(&format!("learns-{number}"), &script)).await?;
            let answers = last_answers(world, &shop, number + 1).await?;
            let session = answers[0][0][0].clone();
            ensure!(session.is_i64(), "{answers}");
            ensure!(!seen.contains(&session), "call {number} has the session of one before: {seen:?}");
            seen.push(session);
        }
        host.stop().await?;
        Ok(())
    });
}
