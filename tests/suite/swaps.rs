//! Many versions, one after another, while messages flow.

use std::fs;

use mailroom_tests::{LATER, Load, Manifest, Message, SOON, Setup, becomes, guest, in_world};

const SWAPS: u64 = 200;
/// Messages that are sent before each swap, and are handled while it happens.
const MESSAGES: u64 = 20;

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

        for swap in 1..=SWAPS {
            let messages: Vec<Message> =
                (swap * MESSAGES..(swap + 1) * MESSAGES).map(|number| load.message(number)).collect();
            world.kafka.send_all(&messages).await?;
            let edition = usize::try_from(swap % 2)?;
            world.drop_component("editions", &components[edition])?;
            let runs = "select digest from mailroom.handler where name = 'editions'";
            becomes("it took over", digests[edition].clone(), SOON, async || world.db.one(runs).await)
                .await?;
        }

        let sent = i64::try_from(SWAPS * MESSAGES)?;
        becomes("every message completed", sent, LATER, async || world.db.completed().await).await?;
        let rows: i64 = world.db.one("select count(*) from mailroom.inbox").await?;
        assert_eq!(rows, sent, "none failed or came twice");
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
