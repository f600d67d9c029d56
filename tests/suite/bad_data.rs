//! Effects that Postgres refuses: they are their message's failure, and nobody else's.

use std::time::Duration;

use anyhow::{Result, ensure};
use mailroom_tests::{LATER, Message, SOON, Setup, World, becomes, eventually, in_world, passes};
use serde_json::json;

use crate::arrange::Scripted;

const GROUP: i64 = 500;
const KEYS: i64 = 100;
/// The guilty one; two messages of its key come before it, two after it.
const BAD: i64 = 242;

/// An application's own rule: no row says `"value":242`. What a sequence was set to outlives the transaction,
/// and tells the size of the largest statement that was refused.
const RULE: &str = r#"
    create sequence public.refused;
    create function public.no_bad_value() returns trigger language plpgsql as $$
    begin
        if exists (select from emitted where position('"value":242}' in convert_from(payload, 'UTF8')) > 0
                                          or position('"value":242,' in convert_from(payload, 'UTF8')) > 0) then
            perform setval('public.refused', greatest(
                (select last_value from public.refused), (select count(*) from emitted)));
            raise exception 'no 242 here' using errcode = 'check_violation';
        end if;
        return null;
    end $$;
    create trigger no_bad_value after insert on mailroom.outbox referencing new table as emitted
        for each statement execute function public.no_bad_value();"#;

fn message(scripted: &Scripted, n: i64) -> Message {
    let script = json!({"topic": scripted.output, "value": n, "add": 1});
    scripted.says(&format!("k{}", n % KEYS), &script).id(&format!("m-{n}"))
}

/// Has all of them decided while the settlement of one before them waits, so that they go together.
async fn sent_as_a_group(world: &World, scripted: &Scripted, count: i64) -> Result<()> {
    let held = world.db.hold("lock table mailroom.outbox in share mode").await?;
    world.kafka.send(&scripted.emits("before", 1_000)).await?;
    let waits = async || world.db.waits_for_lock("insert into mailroom.outbox").await;
    eventually("a settlement waits", SOON, waits).await?;
    let messages: Vec<Message> = (0..count).map(|n| message(scripted, n)).collect();
    world.kafka.send_all(&messages).await?;
    // Nothing outside the host tells that it has decided them. Too short, and the group is found too small.
    passes(Duration::from_secs(2)).await;
    held.release().await
}

#[test]
fn one_bad_message_in_a_group_of_500_fails_alone() {
    in_world(Setup::default(), async |world| {
        sqlx::raw_sql(RULE).execute(world.db.pool()).await?;
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;

        sent_as_a_group(world, &scripted, GROUP).await?;

        let ended = "select count(*) from mailroom.inbox where status <> 'pending'";
        becomes("all have ended", GROUP + 1, LATER, async || world.db.one::<i64>(ended).await).await?;
        let together: i64 = world.db.one("select last_value from public.refused").await?;
        ensure!(together >= KEYS, "the bad one was refused among {together} only: that is no group");
        let bad = "select message_id, failed_reason, attempts_made, last_error like '%no 242 here%'
                     from mailroom.inbox where status = 'failed' or attempts_made > 0 or last_error is not null";
        let bad: Vec<(String, Option<String>, i32, Option<bool>)> = world.db.rows(bad).await?;
        let alone = [(format!("m-{BAD}"), Some("exhausted".to_owned()), 3, Some(true))];
        assert_eq!(bad, alone, "it alone fails, counted");
        assert_eq!(world.db.completed().await?, GROUP, "the others are done");
        let letters = "select message_id || ' ' || reason || ' ' || attempts from mailroom.dead_letter";
        assert_eq!(world.db.column::<String>(letters).await?, [format!("m-{BAD} exhausted 3")]);

        let emitted = "select convert_from(key, 'UTF8'), array_agg((said->>'value')::bigint order by seq),
                              array_agg((said->>'sum')::bigint order by seq)
                         from mailroom.outbox
                        cross join lateral (select convert_from(payload, 'UTF8')::jsonb as said) p
                        where key <> 'before' group by key";
        let emitted: Vec<(String, Vec<i64>, Vec<i64>)> = world.db.rows(emitted).await?;
        assert_eq!(i64::try_from(emitted.len())?, KEYS);
        for (key, values, sums) in emitted {
            let of_key = (0..GROUP).filter(|n| format!("k{}", n % KEYS) == key && *n != BAD);
            assert_eq!(values, of_key.collect::<Vec<_>>(), "{key} in order, without the bad one");
            // Those behind it never saw what it had added.
            assert_eq!(sums, (1..).take(values.len()).collect::<Vec<i64>>(), "{key}");
        }
        host.stop().await?;
        Ok(())
    });
}

/// Each of its statements takes less than Postgres gives it, four fifths of a second, and all more than the host has.
const SLOW_GROUP: i64 = 50;
const SLOW: &str = "
    create function public.slow() returns trigger language plpgsql as $$
    begin perform pg_sleep(0.012); return new; end $$;
    create trigger slow before insert on mailroom.inbox for each row execute function public.slow();
    create trigger slow before insert on mailroom.outbox for each row execute function public.slow();";

#[test]
fn a_settlement_that_takes_longer_than_the_host_has_is_divided() {
    in_world(Setup::default(), async |world| {
        sqlx::raw_sql(SLOW).execute(world.db.pool()).await?;
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        sent_as_a_group(world, &scripted, SLOW_GROUP).await?;
        let all = SLOW_GROUP + 1;
        becomes("all are completed", all, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}
