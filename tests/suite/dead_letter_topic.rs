//! Copies of dead letters on a Kafka topic: one a death, through the outbox.

use anyhow::Result;
use mailroom_tests::{Manifest, Message, Record, SOON, Setup, World, becomes, in_world};

const DEATHS: &str = "select count(*) from mailroom.dead_letter";

/// The handler `always-fails`, whose dead letters go to the topic `dead`; gives input and that topic.
async fn fails_to(world: &World) -> Result<(String, String)> {
    let (input, dead) = (world.kafka.topic("in", 1).await?, world.kafka.topic("dead", 1).await?);
    world.drop_handler("always-fails", "always-fails", &to(&input, &dead))?;
    Ok((input, dead))
}

fn to(input: &str, dead: &str) -> Manifest {
    Manifest::takes(&[input]).with(&format!("dead-letters.topic = \"{dead}\""))
}

async fn copies(world: &World, topic: &str, expected: usize) -> Result<Vec<Record>> {
    let published = async || Ok(world.kafka.read_all(topic).await?.len());
    becomes("the copies are out", expected, SOON, published).await?;
    world.kafka.read_all(topic).await
}

#[test]
fn each_death_has_one_copy_with_the_record_as_it_came_and_why_it_died() {
    in_world(Setup::default(), async |world| {
        let (input, dead) = fails_to(world).await?;
        let host = world.start_host("a")?;
        let message = Message::to(&input).key("k").payload("x").id("m-1").header("tenant", "north");
        world.kafka.send(&message.null_header("nothing")).await?;

        let copy = copies(world, &dead, 1).await?.remove(0);
        assert_eq!((copy.key.as_deref(), copy.payload.as_deref()), (Some(&b"k"[..]), Some(&b"x"[..])));
        for (name, value) in [
            ("tenant", "north"),
            ("dlq_reason", "exhausted"),
            ("dlq_code", "always"),
            ("dlq_handler", "always-fails"),
            ("dlq_group", &world.group("always-fails")),
            ("dlq_topic", &input),
            ("dlq_partition", "0"),
            ("dlq_offset", "0"),
            ("dlq_message_id", "m-1"),
            ("dlq_attempts", "3"),
        ] {
            assert_eq!(copy.header(name).as_deref(), Some(value), "{name} of {copy:?}");
        }
        assert!(copy.headers.contains(&("nothing".to_owned(), None)), "{copy:?}");
        assert!(copy.header("dlq_error").is_some_and(|error| error.contains("always fails")), "{copy:?}");
        assert!(copy.header("dlq_died_at").is_some_and(|at| at.ends_with('Z')), "{copy:?}");
        let rows = "select o.id = d.id and o.created_at >= d.died_at and d.deliveries = 3
                      from mailroom.outbox o cross join mailroom.dead_letter d";
        assert_eq!(world.db.column::<bool>(rows).await?, [true], "none before the last attempt");

        world.mailroom(&["dead", "replay", "--all"]).await?.ok()?;
        let copies = copies(world, &dead, 2).await?;
        assert_eq!(world.db.one::<i64>(DEATHS).await?, 2);
        let letters: Vec<String> =
            world.db.column("select id::text from mailroom.dead_letter order by died_at").await?;
        let ids: Vec<String> = copies.iter().map(Record::id).collect::<Result<_>>()?;
        assert_eq!(ids, letters, "a copy is known by its letter");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_quarantined_record_is_copied_and_what_came_from_the_topic_of_copies_is_not() {
    in_world(Setup::default(), async |world| {
        let (input, dead) = fails_to(world).await?;
        world.drop_handler("text-only", "scripted", &to(&input, &dead).as_text())?;
        world.drop_handler("mourner", "always-fails", &to(&dead, &dead))?;
        std::fs::remove_file(world.folder().join("handlers/always-fails.wasm"))?;
        let host = world.start_host("a")?;

        let bad = Message::to(&input).key("k").payload([0xff, 0xfe]).header([b'n', 0xff], "value");
        world.kafka.send(&bad).await?;

        becomes("the record and its copy are dead", 2, SOON, async || world.db.one::<i64>(DEATHS).await)
            .await?;
        let copies = copies(world, &dead, 1).await?;
        let copy = &copies[0];
        assert_eq!(copy.payload.as_deref(), Some(&[0xff, 0xfe][..]));
        assert_eq!(copy.header("dlq_reason").as_deref(), Some("quarantined"));
        assert_eq!(copy.header("dlq_handler").as_deref(), Some("text-only"));
        let rows = "select count(*) from mailroom.outbox";
        assert_eq!(world.db.one::<i64>(rows).await?, 1, "the copy's own death makes no other");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_record_with_a_bearer_token_is_copied_without_it() {
    in_world(Setup::default(), async |world| {
        let (input, dead) = fails_to(world).await?;
        let host = world.start_host("a")?;
        let message = Message::to(&input).key("k").payload("x").header("Authorization", "bearer abc");
        let message = message.header("tenant", "north").header("authorization", "Basic eA==");
        world.kafka.send(&message).await?;

        let copy = copies(world, &dead, 1).await?.remove(0);
        let values = |name: &str| {
            let of = copy.headers.iter().filter(|(of, _)| of.eq_ignore_ascii_case(name));
            of.filter_map(|(_, value)| String::from_utf8(value.clone()?).ok()).collect::<Vec<_>>()
        };
        assert_eq!(values("authorization"), ["Basic eA=="]);
        assert_eq!(
            (values("tenant"), values("dlq_reason")),
            (vec!["north".into()], vec!["exhausted".into()])
        );
        host.stop().await?;
        Ok(())
    });
}
