//! Identity of records: a producer's id within topic and source, or the record's place; and the fate of
//! records that are dropped since their id was there.

use anyhow::{Result, ensure};
use mailroom_tests::{Host, Manifest, Message, SOON, Setup, World, becomes, in_world};
use serde_json::{Value, json};

/// A handler of two topics that have a partition each.
struct Two {
    one: String,
    other: String,
}

impl Two {
    async fn drop_into(world: &World) -> Result<Self> {
        let (one, other) = (world.kafka.topic("one", 1).await?, world.kafka.topic("other", 1).await?);
        world.drop_handler("scripted", "scripted", &Manifest::takes(&[&one, &other]))?;
        Ok(Self { one, other })
    }
}

fn says(topic: &str, value: i64) -> Message {
    Message::to(topic).key(format!("k{value}")).json(&json!({ "value": value }))
}

fn cloud(topic: &str, value: i64, id: &str, source: &str) -> Message {
    says(topic, value).header("ce_id", id).header("ce_source", source)
}

/// Sends the records, and gives the values of those that are in the inbox once all have been read.
async fn kept(world: &World, records: &[Message]) -> Result<Vec<i64>> {
    let read = "select coalesce(sum(next_offset), 0)::bigint from mailroom.partition_offset";
    let before: i64 = world.db.one(read).await?;
    let rows: i64 = world.db.one("select coalesce(max(seq), 0) from mailroom.inbox").await?;
    world.kafka.send_all(records).await?;
    let all = before + i64::try_from(records.len())?;
    becomes("all are read", all, SOON, async || world.db.one::<i64>(read).await).await?;
    let values = "select (convert_from(payload, 'UTF8')::json->>'value')::bigint from mailroom.inbox where seq > $1 order by 1";
    Ok(sqlx::query_scalar(values).bind(rows).fetch_all(world.db.pool()).await?)
}

async fn duplicates(world: &World) -> Result<i64> {
    let status = world.mailroom(&["status", "--json"]).await?.json()?;
    let lanes = status.get("lanes").and_then(Value::as_array).into_iter().flatten();
    Ok(lanes.filter_map(|lane| lane["duplicates"].as_i64()).sum())
}

async fn listed(world: &World, more: &[&str]) -> Result<Vec<Value>> {
    let args = [&["inbox", "list", "--duplicates", "--json"], more].concat();
    let listed = world.mailroom(&args).await?.json()?;
    Ok(listed.as_array().cloned().unwrap_or_default())
}

/// Counts how often the log tells of dropped records.
fn told(host: &Host) -> Result<usize> {
    Ok(host.log()?.matches("records whose ids it had already").count())
}

#[test]
fn an_id_counts_within_its_topic_and_its_source() {
    in_world(Setup::default(), async |world| {
        let Two { one, other } = Two::drop_into(world).await?;
        let host = world.start_host("a")?;
        let apart = [
            cloud(&one, 1, "1", "/shop"),
            cloud(&one, 2, "1", "/till"),
            cloud(&one, 3, "1", "/shop/"),
            cloud(&other, 4, "1", "/shop"),
            says(&one, 5).id("m"),
            says(&other, 6).id("m"),
            says(&one, 7).id("m").header("source", "shop"),
            says(&one, 8).id("m").header("source", "till"),
            says(&one, 9).id("M"),
        ];
        assert_eq!(kept(world, &apart).await?, (1..=9).collect::<Vec<i64>>());

        let again = [
            cloud(&one, 11, "1", "/till"),
            cloud(&other, 12, "1", "/shop").header("source", "another"),
            says(&other, 13).header("event_id", "m"),
            says(&one, 14).header("source_service", "till").id(" m "),
        ];
        assert_eq!(kept(world, &again).await?, Vec::<i64>::new());
        assert_eq!(duplicates(world).await?, 4);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_is_no_id_drops_nothing() {
    in_world(Setup::default(), async |world| {
        let Two { one, other } = Two::drop_into(world).await?;
        let published = world.kafka.topic("published", 1).await?;
        let publish = format!("select mailroom.publish('{published}', 'k', 't', '{{\"a\": 1}}')::text");
        world.db.one::<String>(sqlx::AssertSqlSafe(publish)).await?;
        let host = world.start_host("a")?;
        becomes("it is out", 1, SOON, async || Ok(world.kafka.read_all(&published).await?.len())).await?;
        let from = world.kafka.read_all(&published).await?.remove(0);
        let copied = |value| {
            let headers = from.headers.iter().filter_map(|(name, of)| Some((name, of.as_deref()?)));
            headers.fold(says(&one, value), |message, (name, of)| message.header(name, of))
        };
        let records = [
            says(&one, 1).header("id", "tenant-7"),
            says(&one, 2).header("id", "tenant-7"),
            says(&other, 3).header("id", "x".repeat(300)),
            says(&one, 4).header("ce_id", "1"),
            says(&one, 5).header("ce_id", "1").header("source", "shop"),
            says(&one, 6).header("ce_id", "1").header("ce_source", " "),
            copied(7),
            copied(8),
            copied(9),
        ];
        assert_eq!(kept(world, &records).await?, (1..=9).collect::<Vec<i64>>());
        assert_eq!((duplicates(world).await?, told(&host)?), (0, 0));
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_header_that_names_the_place_of_another_record_silences_none() {
    in_world(Setup::default(), async |world| {
        let Two { one, other } = Two::drop_into(world).await?;
        let host = world.start_host("a")?;
        assert_eq!(kept(world, &[says(&one, 0)]).await?, [0]);
        let place: String = world.db.one("select message_id from mailroom.inbox").await?;
        let (_, topic_id) = place.rsplit_once(':').unwrap_or_default();
        let at = |offset: i64| format!("{one}:0:{offset}:{topic_id}");
        assert_eq!(place, at(0), "the record's place");

        let records = [
            // Of what was, of itself, of what comes: the records at 4 to 7 have no ids.
            says(&one, 1).id(&at(0)),
            says(&one, 2).header("event_id", at(4)),
            cloud(&one, 3, &at(5), &one),
            says(&one, 4),
            says(&one, 5),
            says(&one, 6),
            says(&one, 7),
            says(&other, 8).id(&at(0)).header("source", &one),
            says(&other, 9).id(&at(9)).header("source", &one),
        ];
        assert_eq!(kept(world, &records).await?, (1..=9).collect::<Vec<i64>>());
        assert_eq!(kept(world, &[says(&one, 10), says(&one, 11)]).await?, [10, 11]);
        assert_eq!(duplicates(world).await?, 0);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_header_is_an_id_where_a_setting_says_so() {
    in_world(Setup { env: &[("MAILROOM__INGEST__ID_HEADER", "id")], ..Setup::default() }, async |world| {
        let Two { one, other } = Two::drop_into(world).await?;
        let host = world.start_host("a")?;
        let plain = |topic: &str, value| says(topic, value).header("id", "7");
        let records = [
            plain(&one, 1),
            plain(&one, 2),
            plain(&other, 3),
            plain(&one, 4).header("source", "shop"),
            plain(&one, 5).id("m"),
            plain(&one, 6).id("m"),
            plain(&one, 7).header("id", ""),
        ];
        assert_eq!(kept(world, &records).await?, [1, 3, 4, 5, 7]);
        assert_eq!(duplicates(world).await?, 2);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn records_that_are_dropped_are_counted_and_told_and_explained() {
    in_world(Setup::default(), async |world| {
        let Two { one, other } = Two::drop_into(world).await?;
        let host = world.start_host("a")?;
        let first = [says(&one, 1).id("m").header("event_type", "order.placed"), says(&other, 2).id("n")];
        assert_eq!(kept(world, &first).await?, [1, 2]);

        assert_eq!(kept(world, &[says(&one, 1).id("m")]).await?, Vec::<i64>::new());
        assert_eq!(
            kept(world, &[says(&other, 3), says(&other, 4).id("n"), says(&one, 1).id("m")]).await?,
            [3]
        );

        assert_eq!(duplicates(world).await?, 3);
        let text = world.mailroom(&["status"]).await?.ok()?;
        ensure!(text.contains("DUPLICATES"), "{text}");
        ensure!(text.contains("1 records of") && text.contains("though their content is another"), "{text}");
        host.wait_log("dropped 1 records whose ids it had already, such as: ").await?;
        host.wait_log(&format!("{one}/0@1 has the id \"m\" of {one}/0@0, and the same content")).await?;
        assert_eq!(told(&host)?, 1, "one line a minute");

        let all = listed(world, &[]).await?;
        let told = |of: &Value| {
            json!([of["topic"], of["message_id"], of["offset"], of["first_offset"], of["same_content"]])
        };
        let mut explained: Vec<String> = all.iter().map(|of| told(of).to_string()).collect();
        explained.sort();
        let mut expected = vec![
            json!([one, "m", 1, 0, true]).to_string(),
            json!([one, "m", 2, 0, true]).to_string(),
            json!([other, "n", 2, 0, false]).to_string(),
        ];
        expected.sort();
        assert_eq!(explained, expected);
        assert_eq!(listed(world, &["--topic", &other]).await?.len(), 1);
        assert_eq!(listed(world, &["--handler", "scripted", "--limit", "2"]).await?.len(), 2);
        assert_eq!(listed(world, &["--handler", "nobody"]).await?.len(), 0);
        let text = world.mailroom(&["inbox", "list", "--duplicates"]).await?.ok()?;
        ensure!(text.contains(&format!("{other}/0@2")) && text.contains("another"), "{text}");
        world
            .mailroom(&["inbox", "list", "--duplicates", "--status", "failed"])
            .await?
            .refused(2, &["--status"])?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn of_a_flood_of_duplicates_all_are_counted_and_a_hundred_kept_until_retention_takes_them() {
    in_world(Setup { env: &[("MAILROOM__RETENTION__INBOX", "1h")], ..Setup::default() }, async |world| {
        let Two { one, .. } = Two::drop_into(world).await?;
        let host = world.start_host("a")?;
        assert_eq!(kept(world, &[says(&one, 0).id("m")]).await?, [0]);
        for _ in 0..3 {
            let flood: Vec<Message> = (0..130).map(|value| says(&one, value).id("m")).collect();
            assert_eq!(kept(world, &flood).await?, Vec::<i64>::new());
        }

        assert_eq!(duplicates(world).await?, 390);
        let offsets = "select \"offset\" from mailroom.duplicate order by 1";
        assert_eq!(
            world.db.column::<i64>(offsets).await?,
            (291..=390).collect::<Vec<i64>>(),
            "the last ones"
        );
        assert_eq!(told(&host)?, 1, "one line a minute");

        world
            .db
            .execute(
                "update mailroom.duplicate set dropped_at = dropped_at - interval '2 hours' where slot < 40",
            )
            .await?;
        world
            .db
            .execute("update mailroom.retention set ended_at = null, oldest_at = null where of = 'inbox'")
            .await?;
        host.stop().await?;
        let host = world.start_host("b")?;
        let left = "select count(*) from mailroom.duplicate";
        becomes("those of two hours ago go", 60, SOON, async || world.db.one::<i64>(left).await).await?;
        assert_eq!(duplicates(world).await?, 390, "the count stays");
        host.stop().await?;
        Ok(())
    });
}
