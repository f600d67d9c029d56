//! A guest that lies about its key.

use mailroom_tests::{Manifest, Message, SOON, Setup, becomes, in_world};
use serde_json::json;

use crate::arrange::Scripted;

#[test]
fn a_guest_may_publish_under_any_key_but_its_state_is_its_messages_and_the_host_says_what_caused_it() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let other = world.kafka.topic("other", 1).await?;
        world.drop_handler(
            "other",
            "scripted",
            &Manifest::takes(&[&other]).publishes(&[&scripted.output]),
        )?;
        let host = world.start_host("a")?;
        let adds = |add: i64| json!({"topic": scripted.output, "add": add});
        let mut lies = adds(1);
        lies["as_key"] = "victim".into();

        for (n, message) in [
            scripted.says("victim", &adds(5)).id("m-1"),
            scripted.says("liar", &lies).id("m-2"),
            scripted.says("victim", &adds(10)).id("m-3"),
            Message::to(&other).key("victim").id("m-4").json(&adds(100)),
        ]
        .iter()
        .enumerate()
        {
            world.kafka.send(message).await?;
            let all = i64::try_from(n)? + 1;
            becomes("it is completed", all, SOON, async || world.db.completed().await).await?;
        }

        becomes("all are out", 4, SOON, async || Ok(world.kafka.read_all(&scripted.output).await?.len()))
            .await?;
        let mut out = world.kafka.read_all(&scripted.output).await?;
        out.sort_by_key(|record| record.header("causation_id"));
        let seen: Vec<(Option<String>, String, i64)> = out
            .iter()
            .map(|record| Ok((record.header("causation_id"), record.key_text(), record.number("sum")?)))
            .collect::<anyhow::Result<_>>()?;
        let expected = |id: &str, sum| (Some(id.to_owned()), "victim".to_owned(), sum);
        assert_eq!(seen, [expected("m-1", 5), expected("m-2", 1), expected("m-3", 15), expected("m-4", 100)]);
        for record in &out {
            let ids = record.headers.iter().filter(|(name, _)| name == "message_id").count();
            assert!(ids == 1 && record.id()? != "forged", "{record:?}");
        }
        let state =
            "select convert_from(key, 'utf8') || ' ' || convert_from(value, 'utf8') from mailroom.state
                      where consumer_group = $1 order by 1";
        let state = sqlx::query_scalar::<_, String>(state).bind(world.group("scripted"));
        assert_eq!(state.fetch_all(world.db.pool()).await?, ["liar 1", "victim 15"]);
        host.stop().await?;
        Ok(())
    });
}
