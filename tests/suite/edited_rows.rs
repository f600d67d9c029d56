//! Rows that somebody edited: what the checks of the table let through is set aside alone, or handled.

use mailroom_tests::{SOON, Setup, becomes, in_world};
use serde_json::json;

use crate::arrange::Scripted;

#[test]
fn a_row_that_was_edited_into_nonsense_is_set_aside_with_its_reason_and_the_others_go_on() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let later = json!({"behave": "retry-after", "after_ms": 3_600_000, "until_attempt": 2});
        let host = world.start_host("a")?;
        for key in ["headers", "attempts", "fine"] {
            world.kafka.send(&scripted.says(key, &later).id(key)).await?;
        }
        let waiting = "select count(*) from mailroom.inbox where attempts_made = 1 and scheduled_at > now()";
        becomes("all wait for an hour", 3, SOON, async || world.db.one::<i64>(waiting).await).await?;
        host.stop().await?;

        world.db.execute("update mailroom.inbox set scheduled_at = now()").await?;
        for edit in [
            "update mailroom.inbox set headers = '[1]' where message_id = 'headers'",
            "update mailroom.inbox set attempts_made = 2147483646, max_attempts = 2147483647,
                    payload = '{\"behave\": \"fail\"}' where message_id = 'attempts'",
        ] {
            assert_eq!(world.db.execute(edit).await?, 1, "{edit}");
        }
        let never = "update mailroom.inbox set scheduled_at = 'infinity'";
        assert!(world.db.execute(never).await.is_err(), "a moment that never comes is refused by the table");
        let host = world.start_host("b")?;

        becomes("the one that is fine is done", 1, SOON, async || world.db.completed().await).await?;
        let dead = "select message_id || ': ' || reason from mailroom.dead_letter order by message_id";
        let expected = vec!["attempts: exhausted".to_owned(), "headers: quarantined".to_owned()];
        becomes("the others are dead", expected, SOON, async || world.db.column(dead).await).await?;
        let why = "select error from mailroom.dead_letter where message_id = 'headers'";
        let why: String = world.db.one(why).await?;
        assert!(why.contains("header"), "{why}");
        world.kafka.send(&scripted.emits("headers", 1)).await?;
        becomes("its key goes on", 2, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}
