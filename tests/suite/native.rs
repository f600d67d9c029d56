//! A program with a handler in Rust, around the library: the same path as a component's.

use std::fs;
use std::path::Path;

use anyhow::Result;
use mailroom_tests::{Manifest, Message, SOON, Setup, becomes, in_world};

const BINARY: &str = env!("CARGO_BIN_EXE_native-host");

#[test]
fn a_native_handlers_effects_commit_with_its_message_and_are_back_on_kafka() {
    in_world(Setup::default(), async |world| {
        let input = world.kafka.topic("in", 1).await?;
        let output = world.kafka.topic("out", 1).await?;
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]).to_toml();
        fs::write(world.folder().join("native.toml"), manifest)?;
        // A component of the same name stays outside, and one of another name runs beside it.
        world.drop_handler("native", "noop", &Manifest::takes(&[&input]))?;
        world.drop_handler("beside", "noop", &Manifest::takes(&[&input]))?;
        let host = world.start_host_of(Path::new(BINARY), "a")?;
        host.wait_log("a native handler of this process has this name").await?;

        let asks = |id: &str| Message::to(&input).key("ada").id(id).header("answer-to", &output);
        for message in [asks("m-1"), asks("m-2").header("panic", "once"), asks("m-3")] {
            world.kafka.send(&message).await?;
        }

        let answers = async || world.kafka.read_all(&output).await;
        becomes("every message is answered", 3, SOON, async || Ok(answers().await?.len())).await?;
        let counts: Result<Vec<i64>> =
            answers().await?.iter().map(|answer| answer.number("answers")).collect();
        assert_eq!(
            counts?,
            [1, 2, 3],
            "state holds the key's count, and the panic cost neither order nor effect"
        );

        let rows = "select message_id, attempts_made from mailroom.inbox
                     where consumer_group = $1 and status = 'completed' order by seq";
        let rows = sqlx::query_as(rows).bind(world.group("native")).fetch_all(world.db.pool()).await?;
        let rows: Vec<(String, i32)> = rows;
        assert_eq!(rows, [("m-1".to_owned(), 0), ("m-2".to_owned(), 1), ("m-3".to_owned(), 0)]);
        becomes("the component beside it has them all", 6, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}
