//! Handlers that are one file of JavaScript or TypeScript, dropped as they are.

use std::fs;

use anyhow::Result;
use mailroom_tests::{Host, LATER, Manifest, Message, SOON, Setup, World, becomes, in_world};
use serde_json::json;

/// Adds up amounts in the state of the key, and publishes the sum.
const TOTALS: &str = r#"import { defineHandler, publish, state } from "mailroom-guest";

export const handler = defineHandler({
  subscriptions: [{ topics: ["orders"] }],

  handle(message) {
    const { amount } = message.json();
    if (amount < 0) throw new RangeError(`the amount ${amount} is negative`);
    const total = (state.keyed.get("total") ?? 0) + FACTOR * amount;
    state.keyed.set("total", total);
    publish({ topic: "OUTPUT", eventType: "total.changed", key: message.key, json: { total } });
  },
});
"#;

/// The same with types.
const TYPED: &str = r#"import { defineHandler, publish, state, type Message } from "mailroom-guest";

interface Order {
  amount: number;
}

const totalOf = (order: Order): number => ((state.keyed.get("total") as number) ?? 0) + order.amount;

export const handler = defineHandler({
  subscriptions: [{ topics: ["orders"] }],
  handle(message: Message): void {
    const total = totalOf(message.json() as Order);
    state.keyed.set("total", total);
    publish({ topic: "OUTPUT", eventType: "total.changed", key: message.key, json: { total } });
  },
});
"#;

/// A world's topics, and its handlers' folder.
struct Drop<'w> {
    world: &'w World,
    input: String,
    output: String,
}

impl<'w> Drop<'w> {
    async fn new(world: &'w World) -> Result<Self> {
        let (input, output) = (world.kafka.topic("in", 1).await?, world.kafka.topic("out", 1).await?);
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
        fs::write(world.folder().join("handlers/totals.toml"), manifest.to_toml())?;
        Ok(Self { world, input, output })
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let text = text.replace("OUTPUT", &self.output);
        let path = self.world.folder().join("handlers").join(file);
        let partial = path.with_extension("partial");
        fs::write(&partial, text)?;
        Ok(fs::rename(&partial, &path)?)
    }

    async fn order(&self, amount: i64) -> Result<()> {
        self.world.kafka.send(&Message::to(&self.input).key("k").json(&json!({"amount": amount}))).await?;
        Ok(())
    }

    async fn totals(&self) -> Result<Vec<i64>> {
        self.world.kafka.read_all(&self.output).await?.iter().map(|record| record.number("total")).collect()
    }

    async fn totals_become(&self, totals: &[i64]) -> Result<()> {
        becomes("totals are out", totals.to_vec(), SOON, async || self.totals().await).await
    }

    async fn started(&self) -> Result<Host> {
        let host = self.world.start_host("a")?;
        let running = "select count(*) from mailroom.handler where name = 'totals' and state = 'running'";
        becomes("it runs", 1, LATER, async || self.world.db.one::<i64>(running).await).await?;
        Ok(host)
    }
}

#[test]
fn a_script_handles_messages_and_an_edit_of_it_takes_over() {
    in_world(Setup::default(), async |world| {
        let drop = Drop::new(world).await?;
        drop.write("totals.js", &TOTALS.replace("FACTOR", "1"))?;
        let host = drop.started().await?;
        drop.order(5).await?;
        drop.totals_become(&[5]).await?;

        drop.write("totals.js", &TOTALS.replace("FACTOR", "100"))?;
        host.wait_log("now runs").await?;
        drop.order(2).await?;
        drop.totals_become(&[5, 205]).await?;

        drop.write("totals.js", "export const handler = {")?;
        host.wait_log("Handler totals keeps").await?;
        host.wait_log("totals.js").await?;
        drop.order(1).await?;
        drop.totals_become(&[5, 205, 305]).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_scripts_types_are_stripped_and_its_errors_name_its_file_and_line() {
    in_world(Setup::default(), async |world| {
        let drop = Drop::new(world).await?;
        drop.write("totals.ts", TYPED)?;
        let host = drop.started().await?;
        drop.order(5).await?;
        drop.order(6).await?;
        drop.totals_become(&[5, 11]).await?;
        fs::remove_file(world.folder().join("handlers/totals.ts"))?;
        drop.write("totals.js", &TOTALS.replace("FACTOR", "1"))?;
        host.wait_log("now runs").await?;

        drop.order(-1).await?;
        let failed = "select error || E'\n' || coalesce(detail, '') from mailroom.attempt limit 1";
        let count = "select count(*) from mailroom.attempt";
        becomes("it has failed", 1, SOON, async || Ok(world.db.one::<i64>(count).await?.min(1))).await?;
        let said: String = world.db.one(failed).await?;
        assert!(said.contains("the amount -1 is negative") && said.contains("totals.js:8"), "{said}");
        host.kill().await?;
        Ok(())
    });
}

#[test]
fn what_a_script_cannot_have_is_refused_by_name_with_the_way_to_it() {
    in_world(Setup::default(), async |world| {
        let file = world.folder().join("totals.js");
        let check = async |text: &str| {
            fs::write(&file, text)?;
            world.mailroom(&["handler", "check", &file.to_string_lossy()]).await
        };
        for (text, named) in [
            ("import left from 'left-pad'; export const handler = left;", "mailroom handler new NAME"),
            ("export const other = 1;", "totals.js exports no handler"),
            ("export const handler = defineHandler({", "totals.js"),
            ("", "totals.js exports no handler"),
        ] {
            check(text).await?.refused(1, &[named])?;
        }
        let good = check(&TOTALS.replace("FACTOR", "1")).await?.ok()?;
        assert!(good.contains("reused") && good.contains("takes     topics orders"), "{good}");

        let message = world.folder().join("message.json");
        fs::write(&message, r#"{"payload": {"amount": 3}, "key": "k"}"#)?;
        let ran = world
            .mailroom(&[
                "handler",
                "invoke",
                &file.to_string_lossy(),
                "--message",
                &message.to_string_lossy(),
            ])
            .await?;
        ran.refused(13, &[])
    });
}

#[test]
fn a_component_and_a_script_of_one_name_are_refused_and_what_ran_runs_on() {
    in_world(Setup::default(), async |world| {
        let drop = Drop::new(world).await?;
        drop.write("totals.js", &TOTALS.replace("FACTOR", "1"))?;
        let host = drop.started().await?;
        drop.write("totals.ts", TYPED)?;
        host.wait_log("keep one").await?;
        drop.order(5).await?;
        drop.totals_become(&[5]).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_script_that_calls_reject_alone_rejects_the_message() {
    in_world(Setup::default(), async |world| {
        let drop = Drop::new(world).await?;
        let checked = "if (amount < 0) throw new RangeError(`the amount ${amount} is negative`);";
        let rejects = TOTALS
            .replace(checked, "if (amount < 0) reject(`the amount ${amount} is negative`);")
            .replace("{ defineHandler,", "{ defineHandler, reject,")
            .replace("FACTOR", "1");
        drop.write("totals.js", &rejects)?;
        let host = drop.started().await?;

        drop.order(-1).await?;
        drop.order(5).await?;

        drop.totals_become(&[5]).await?;
        let letters = "select reason || ': ' || error from mailroom.dead_letter";
        let said = vec!["rejected: the amount -1 is negative".to_owned()];
        becomes("it is a dead letter", said, SOON, async || world.db.column::<String>(letters).await).await?;
        host.stop().await?;
        Ok(())
    });
}
