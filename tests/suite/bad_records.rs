//! Records that are odd or cannot be decoded: an answer for each, and the partition goes on.

use mailroom_tests::{Manifest, Message, SOON, Setup, becomes, in_world};
use serde_json::{Value, json};

use crate::arrange::Scripted;

#[test]
fn odd_payloads_and_headers_are_kept_exactly_and_handled() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let huge = vec![b'x'; 900_000];
        let to = || Message::to(&scripted.input);
        let headers = to().payload("h").header("dup", "1").null_header("nothing").header("dup", [0xff, 0]);

        let odd = [to(), to().payload(""), to().payload(&huge), to().payload([0xff, 0x00]), headers];
        world.kafka.send_all(&odd).await?;

        becomes("all are completed", 5, SOON, async || world.db.completed().await).await?;
        let payloads = "select payload from mailroom.inbox order by \"offset\"";
        let expected = [None, Some(vec![]), Some(huge), Some(vec![0xff, 0]), Some(b"h".to_vec())];
        assert!(world.db.column::<Option<Vec<u8>>>(payloads).await? == expected, "payloads as they came");
        let headers = "select headers from mailroom.inbox where headers is not null";
        let kept = json!([["dup", "1"], ["nothing", null], ["dup", {"base64": "/wA="}]]);
        assert_eq!(world.db.column::<Value>(headers).await?, [kept]);
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_header_name_that_is_not_utf_8_is_quarantined_verbatim_and_the_rest_goes_on() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;

        let bad = Message::to(&scripted.input).key("k").payload([1, 2]).header([b'n', 0xff], "value");
        world.kafka.send(&bad).await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;

        becomes("the next of its key is completed", 1, SOON, async || world.db.completed().await).await?;
        let row = "select status, failed_reason, payload, headers from mailroom.inbox where \"offset\" = 0";
        let rows: Vec<(String, String, Vec<u8>, Value)> = world.db.rows(row).await?;
        let headers = json!([[{"base64": "bv8="}, "value"]]);
        assert_eq!(rows, [("failed".into(), "quarantined".into(), vec![1, 2], headers)]);
        let letter = "select reason || ': ' || error from mailroom.dead_letter";
        let letters: Vec<String> = world.db.column(letter).await?;
        assert!(matches!(&letters[..], [why] if why.contains("header name")), "{letters:?}");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_payload_that_is_not_text_is_quarantined_where_the_handler_takes_text() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let manifest = Manifest::takes(&[&scripted.input]).publishes(&[&scripted.output]).as_text();
        world.drop_handler("scripted", "scripted", &manifest)?;
        let host = world.start_host("a")?;

        world.kafka.send(&Message::to(&scripted.input).key("k").payload([0xff, 0xfe])).await?;
        world.kafka.send(&scripted.emits("k", 1)).await?;

        becomes("the next of its key is completed", 1, SOON, async || world.db.completed().await).await?;
        let row = "select failed_reason, payload, attempts_made from mailroom.inbox where \"offset\" = 0";
        let rows: Vec<(Option<String>, Vec<u8>, i32)> = world.db.rows(row).await?;
        assert_eq!(rows, [(Some("quarantined".into()), vec![0xff, 0xfe], 0)]);
        assert_eq!(world.db.one::<i64>("select count(*) from mailroom.dead_letter").await?, 1);
        host.stop().await?;
        Ok(())
    });
}
