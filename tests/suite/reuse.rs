//! Handlers whose instances have several messages.

use std::fs;

use anyhow::Result;
use mailroom_tests::{LATER, Load, Manifest, Message, SOON, Setup, World, becomes, guest, in_world};
use serde_json::json;

use crate::arrange::Scripted;

const MESSAGES: i64 = 1_000;
const CALLS_MAX: i64 = 40;
const SWAPS: u64 = 10;
/// Messages that are sent before each swap.
const BETWEEN_SWAPS: u64 = 50;

const FORBEARING: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[("MAILROOM__BREAKER__THRESHOLD", "1000"), ("MAILROOM__RETRY__BASE", "20ms")],
};

/// Takes up to forty messages an instance.
fn reusing(input: &str, output: &str) -> Manifest {
    Manifest::takes(&[input])
        .publishes(&[output])
        .with("instances = \"reuse\"")
        .with(&format!("instances-calls-max = {CALLS_MAX}"))
}

/// One in ten goes wrong at its first attempt.
fn message(scripted: &Scripted, number: i64) -> Message {
    let behave = match number % 40 {
        0 => "panic",
        10 => "fail",
        20 => "recurse",
        30 => "memory-bomb",
        _ => "emit",
    };
    let script = json!({
        "behave": behave, "until_attempt": 2, "topic": scripted.output, "value": number, "add": 1,
    });
    scripted.says(&format!("key-{}", number % 16), &script)
}

async fn one(world: &World, query: &'static str) -> Result<i64> {
    world.db.one(query).await
}

#[test]
fn messages_that_share_instances_are_each_settled_once_whatever_others_do_in_them() {
    in_world(FORBEARING, async |world| {
        let (input, output) = (world.kafka.topic("in", 4).await?, world.kafka.topic("out", 4).await?);
        world.drop_handler("scripted", "scripted", &reusing(&input, &output))?;
        let scripted = Scripted { input, output };
        let host = world.start_host("a")?;
        let messages: Vec<Message> = (0..MESSAGES).map(|number| message(&scripted, number)).collect();
        world.kafka.send_all(&messages).await?;

        becomes("all are completed", MESSAGES, LATER, async || world.db.completed().await).await?;

        let values = "select count(distinct payload_json->>'value') from mailroom.outbox_messages";
        assert_eq!(one(world, values).await?, MESSAGES);
        assert_eq!(one(world, "select count(*) from mailroom.outbox").await?, MESSAGES, "none came twice");
        let retried = "select count(*) from mailroom.inbox where attempts_made > 0";
        assert_eq!(one(world, retried).await?, MESSAGES / 10, "no fault was another message's");
        let sums = "select sum(convert_from(value, 'UTF8')::bigint)::bigint from mailroom.state";
        assert_eq!(one(world, sums).await?, MESSAGES, "state went with the messages");
        let calls = "select max((payload_json->>'calls')::bigint) from mailroom.outbox_messages";
        let longest = one(world, calls).await?;
        assert!((2..=CALLS_MAX).contains(&longest), "an instance had {longest} calls");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_replaced_component_takes_over_from_the_instances_of_the_one_before() {
    in_world(Setup::default(), async |world| {
        let (input, output) = (world.kafka.topic("in", 2).await?, world.kafka.topic("out", 2).await?);
        world.drop_handler("editions", "edition-one", &reusing(&input, &output))?;
        let host = world.start_host("a")?;
        let load = Load::new(&world.kafka, &input, &output);
        let files = [guest("edition-one")?, guest("edition-two")?];
        let digests = [world.db.digest_of(&files[0]).await?, world.db.digest_of(&files[1]).await?];
        for swap in 1..=SWAPS {
            let numbers = swap * BETWEEN_SWAPS..(swap + 1) * BETWEEN_SWAPS;
            world.kafka.send_all(&numbers.map(|number| load.message(number)).collect::<Vec<_>>()).await?;
            let edition = usize::try_from(swap % 2)?;
            world.drop_component("editions", &fs::read(&files[edition])?)?;
            let runs = "select digest from mailroom.handler where name = 'editions'";
            becomes("it took over", digests[edition].clone(), SOON, async || world.db.one(runs).await)
                .await?;
        }

        let sent = i64::try_from(SWAPS * BETWEEN_SWAPS)?;
        becomes("every message completed", sent, LATER, async || world.db.completed().await).await?;
        let agree = "select count(*) from mailroom.inbox i
                       join mailroom.outbox_messages o on o.payload_json->>'in' = i.message_id
                      where (o.payload_json->>'edition', i.handler_digest) in (('1', $1), ('2', $2))";
        let agree = sqlx::query_scalar::<_, i64>(agree).bind(&digests[0]).bind(&digests[1]);
        assert_eq!(agree.fetch_one(world.db.pool()).await?, sent, "an instance never outlives its version");
        host.stop().await?;
        Ok(())
    });
}
