//! `wasi:keyvalue` and `state` are the same values, and commit with the message.

use anyhow::Result;
use mailroom_tests::{Manifest, Message, SOON, Setup, World, becomes, in_world};
use serde_json::{Value, json};

fn says(topic: &str, key: &str, id: &str, script: &Value) -> Message {
    Message::to(topic).key(key).id(id).json(script)
}

async fn ended(world: &World, messages: i64) -> Result<()> {
    let ended = "select count(*) from mailroom.inbox where status <> 'pending'";
    becomes("all have ended", messages, SOON, async || world.db.one::<i64>(ended).await).await
}

const VALUES: &str = "select coalesce(string_agg(concat_ws(' ', scope, convert_from(key, 'UTF8'), name,
        convert_from(value, 'UTF8')), ', ' order by scope, key, name), '') from mailroom.state";

#[test]
fn what_a_handler_keeps_by_keyvalue_is_its_state_and_goes_with_a_call_that_fails() {
    in_world(Setup::default(), async |world| {
        let (input, output) = (world.kafka.topic("in", 1).await?, world.kafka.topic("out", 1).await?);
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
        world.drop_handler("keeper", "keyvalue", &manifest)?;
        let host = world.start_host("a")?;
        let adds = json!({"store": "keyed", "steps": [{"increment": ["sum", 5]}, {"set": ["word", "kept"]}]});
        let fails = json!({"store": "keyed", "steps": [{"increment": ["sum", 100]}, {"delete": "word"}], "fails": true});
        let shares = json!({"store": "shared", "steps": [{"increment": ["sum", 1]}]});
        world
            .kafka
            .send_all(&[
                says(&input, "k1", "adds", &adds),
                says(&input, "k1", "fails", &fails),
                says(&input, "k1", "adds again", &adds),
                says(&input, "k2", "shares", &shares),
                says(&input, "k1", "shares too", &shares),
            ])
            .await?;
        ended(world, 5).await?;
        let kept = "keyed k1 sum 10, keyed k1 word kept, shared  sum 2";
        assert_eq!(world.db.one::<String>(VALUES).await?, kept);
        assert_eq!(world.db.completed().await?, 4);

        // The next version of the handler reads the same by `state`.
        world.drop_handler("keeper", "scripted", &manifest)?;
        let digest = world.db.digest_of(&mailroom_tests::guest("scripted")?).await?;
        let loaded = "select count(*) from mailroom.handler where name = 'keeper' and digest = $1";
        becomes("it is loaded", 1, SOON, async || {
            Ok(sqlx::query_scalar::<_, i64>(loaded).bind(&digest).fetch_one(world.db.pool()).await?)
        })
        .await?;
        let reads = json!({"behave": "emit", "topic": output, "add": 1});
        world.kafka.send(&says(&input, "k1", "reads", &reads)).await?;
        becomes("it has answered", 1, SOON, async || Ok(world.kafka.read_all(&output).await?.len())).await?;
        let answered = world.kafka.read_all(&output).await?;
        assert_eq!(answered[0].number("sum")?, 11);
        host.stop().await?;
        Ok(())
    });
}
