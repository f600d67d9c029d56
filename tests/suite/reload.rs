//! A handler's file is replaced while messages flow.

use std::fs;

use anyhow::{Result, ensure};
use mailroom_tests::{LATER, Load, Manifest, SOON, Setup, World, becomes, eventually, guest, in_world};
use tokio::try_join;

async fn emitted_with(world: &World, edition: &str) -> Result<i64> {
    let query = "select count(*) from mailroom.outbox_messages where payload_json->>'edition' = $1";
    Ok(sqlx::query_scalar(query).bind(edition).fetch_one(world.db.pool()).await?)
}

/// The three files, one after another, each while messages are being handled.
async fn replace_twice(world: &World, load: &Load<'_>) -> Result<()> {
    let first = async |n: i64| Ok(emitted_with(world, "1").await? >= n);
    eventually("the first edition emits", SOON, async || first(20).await).await?;

    let good = fs::read(guest("edition-two")?)?;
    let half = good.get(..good.len() / 2).unwrap_or_default();
    world.drop_component("editions", half)?;
    let refused = "select count(*) from mailroom.handler where name = 'editions' and last_error is not null";
    becomes("the half file is refused", 1, SOON, async || world.db.one::<i64>(refused).await).await?;
    let before = emitted_with(world, "1").await?;
    eventually("the first edition goes on", SOON, async || first(before + 20).await).await?;
    ensure!(emitted_with(world, "2").await? == 0);

    world.drop_component("editions", &good)?;
    let second = async || Ok(emitted_with(world, "2").await? >= 20);
    eventually("the second edition takes over", SOON, second).await?;
    load.stop();
    Ok(())
}

#[test]
fn a_broken_file_changes_nothing_and_a_good_one_takes_over_without_a_lost_message() {
    in_world(Setup::default(), async |world| {
        let (input, output) = (world.kafka.topic("in", 2).await?, world.kafka.topic("out", 2).await?);
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
        world.drop_handler("editions", "edition-one", &manifest)?;
        let host = world.start_host("a")?;
        let load = Load::new(&world.kafka, &input, &output);

        try_join!(load.run(), replace_twice(world, &load))?;

        becomes("every message completed", load.sent()?, LATER, async || world.db.completed().await).await?;
        becomes("every message emitted once", load.sent()?, LATER, async || {
            Ok(i64::try_from(world.kafka.read_all(&output).await?.len())?)
        })
        .await?;
        let digests = [
            world.db.digest_of(&guest("edition-one")?).await?,
            world.db.digest_of(&guest("edition-two")?).await?,
        ];
        let agree = "select count(*) from mailroom.inbox i
                       join mailroom.outbox_messages o on o.payload_json->>'in' = i.message_id
                      where (o.payload_json->>'edition', i.handler_digest) in (('1', $1), ('2', $2))";
        let agree = sqlx::query_scalar::<_, i64>(agree).bind(&digests[0]).bind(&digests[1]);
        assert_eq!(
            agree.fetch_one(world.db.pool()).await?,
            load.sent()?,
            "row and constant name one version"
        );
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_handler_that_was_taken_away_leaves_its_messages_until_it_is_back() {
    in_world(Setup::default(), async |world| {
        let (input, output) = (world.kafka.topic("in", 1).await?, world.kafka.topic("out", 1).await?);
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
        world.drop_handler("editions", "edition-one", &manifest)?;
        let host = world.start_host("a")?;
        let load = Load::new(&world.kafka, &input, &output);
        world.kafka.send(&load.message(0)).await?;
        becomes("the first is completed", 1, SOON, async || world.db.completed().await).await?;

        fs::remove_file(world.folder().join("handlers/editions.wasm"))?;
        let gone = "select count(*) from mailroom.handler where name = 'editions' and state = 'running'";
        becomes("the handler is gone", 0, SOON, async || world.db.one::<i64>(gone).await).await?;
        world.kafka.send(&load.message(1)).await?;
        world.drop_handler("editions", "edition-two", &manifest)?;

        becomes("the second is completed", 2, SOON, async || world.db.completed().await).await?;
        assert_eq!((emitted_with(world, "1").await?, emitted_with(world, "2").await?), (1, 1));
        host.stop().await?;
        Ok(())
    });
}
