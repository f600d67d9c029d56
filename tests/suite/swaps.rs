//! Many versions, one after another, while messages flow.
//!
//! `MAILROOM_SWAP_MESSAGES` sets how many messages there are, 100,000 if it is not set.

use std::fs;
use std::time::Instant;

use anyhow::Result;
use mailroom_tests::{
    LATER, Load, Manifest, Message, SOON, Setup, World, becomes, eventually, guest, in_world,
};
use tokio::try_join;

use crate::arrange::number;

const SWAPS: u64 = 200;
const MESSAGES: u64 = 100_000;

#[test]
fn of_two_hundred_swaps_during_a_load_no_message_fails_or_is_lost_and_each_row_names_its_version() {
    in_world(Setup::default(), async |world| {
        let (input, output) = (world.kafka.topic("in", 2).await?, world.kafka.topic("out", 2).await?);
        let manifest = Manifest::takes(&[&input]).publishes(&[&output]);
        world.drop_handler("editions", "edition-one", &manifest)?;
        let host = world.start_host("a")?;
        let load = Load::new(&world.kafka, &input, &output);
        let files = [guest("edition-one")?, guest("edition-two")?];
        let components = [fs::read(&files[0])?, fs::read(&files[1])?];
        let digests = [world.db.digest_of(&files[0]).await?, world.db.digest_of(&files[1]).await?];
        let part = number("MAILROOM_SWAP_MESSAGES")?.unwrap_or(MESSAGES).div_ceil(SWAPS);
        let began = Instant::now();

        for swap in 1..=SWAPS {
            let (from, to) = ((swap - 1) * part, swap * part);
            let messages: Vec<Message> = (from..to).map(|number| load.message(number)).collect();
            let edition = usize::try_from(swap % 2)?;
            let swapped = async {
                world.drop_component("editions", &components[edition])?;
                let runs = "select digest from mailroom.handler where name = 'editions'";
                becomes("it took over", digests[edition].clone(), SOON, async || world.db.one(runs).await)
                    .await
            };
            // Before, during and after each swap there are messages at hand.
            try_join!(world.kafka.send_all(&messages), swapped, handled(world, i64::try_from(from)?))?;
        }

        let sent = i64::try_from(SWAPS * part)?;
        becomes("every message completed", sent, LATER, async || world.db.completed().await).await?;
        eprintln!("{SWAPS} swaps during {sent} messages took {:?}", began.elapsed());
        let rows: i64 = world.db.one("select count(*) from mailroom.inbox").await?;
        assert_eq!(rows, sent, "none came twice");
        let failed: i64 = world.db.one("select count(*) from mailroom.attempt").await?;
        assert_eq!(failed, 0, "none failed on its way");
        becomes("every message emitted once", sent, LATER, async || {
            Ok(i64::try_from(world.kafka.read_all(&output).await?.len())?)
        })
        .await?;
        let agree =
            "select count(*) filter (where o.payload_json->>'edition' = '1' and i.handler_digest = $1),
                            count(*) filter (where o.payload_json->>'edition' = '2' and i.handler_digest = $2)
                       from mailroom.inbox i
                       join mailroom.outbox_messages o on o.payload_json->>'in' = i.message_id";
        let agree = sqlx::query_as::<_, (i64, i64)>(agree).bind(&digests[0]).bind(&digests[1]);
        let (one, two) = agree.fetch_one(world.db.pool()).await?;
        assert_eq!(one + two, sent, "row and constant name one version");
        assert!(one > 0 && two > 0, "both handled some: {one} and {two}");
        host.stop().await?;
        Ok(())
    });
}

/// Waits until so many messages are stored and not pending; counting what is completed would take ever longer.
async fn handled(world: &World, messages: i64) -> Result<()> {
    let handled = "select coalesce((select sum(next_offset) from mailroom.partition_offset), 0)::bigint
                        - (select count(*) from mailroom.inbox where status = 'pending')";
    let enough = async || Ok(world.db.one::<i64>(handled).await? >= messages);
    eventually("the messages before are handled", SOON, enough).await
}
