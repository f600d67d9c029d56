//! Retention: what was settled long ago goes, in batches; what anybody still needs stays.

use anyhow::Result;
use mailroom_tests::{SOON, Setup, World, becomes, in_world};
use sqlx::raw_sql;

const FORTNIGHT: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[
        ("MAILROOM__RETENTION__INBOX", "14d"),
        ("MAILROOM__RETENTION__OUTBOX", "14d"),
        ("MAILROOM__RETENTION__DEAD", "14d"),
        ("MAILROOM__RETENTION__BATCH_ROWS_MAX", "10"),
    ],
};

/// A row a status and an age, in both tables; letters for those that failed.
const ROWS: &str = r#"
    create function pg_temp.inbox(id text, status text, age interval) returns void language sql as $$
        insert into mailroom.inbox (
            lane, id, message_id, consumer_group, topic, partition, "offset", source, event_type, produced_at_ms,
            status, outcome, failed_reason, created_at, completed_at)
        values (1000, gen_random_uuid(), $1, 'g', 't', 0, 0, 's', 'e', 0, $2,
                case when $2 = 'completed' then 'completed' end, case when $2 = 'failed' then 'rejected' end,
                now() - interval '40 days', case when $2 = 'completed' then now() - $3 end);
        insert into mailroom.outbox (topic, event_type, aggregate_id, status, failed_reason, created_at, completed_at)
        values ('a-topic-that-is-not-there', 'e', $1, $2, case when $2 = 'failed' then 'rejected' end,
                now() - interval '40 days', case when $2 = 'completed' then now() - $3 end) $$;
    create function pg_temp.letter(id text, replayed interval, discarded interval) returns void language sql as $$
        insert into mailroom.dead_letter (
            origin, lane, seq, message, message_id, consumer_group, topic, event_type, reason, error, attempts,
            deliveries, died_at, replayed_at, discarded_at)
        select 'inbox', lane, seq, id, message_id, consumer_group, topic, event_type, 'rejected', 'no', 1, 1,
               now() - interval '40 days', now() - $2, now() - $3 from mailroom.inbox where message_id = $1;
        insert into mailroom.dead_letter (
            origin, lane, seq, message, message_id, topic, event_type, reason, error, attempts, deliveries, died_at,
            replayed_at, discarded_at)
        select 'outbox', lane, seq, id, aggregate_id, topic, event_type, 'rejected', 'no', 1, 1,
               now() - interval '40 days', now() - $2, now() - $3 from mailroom.outbox where aggregate_id = $1 $$;
    select pg_temp.inbox('done-15', 'completed', '15 days'), pg_temp.inbox('done-13', 'completed', '13 days'),
           pg_temp.inbox('pending', 'pending', '0'), pg_temp.inbox('open', 'failed', '0'),
           pg_temp.inbox('discarded-15', 'failed', '0'), pg_temp.inbox('discarded-13', 'failed', '0'),
           pg_temp.inbox('blocks', 'failed', '0'), pg_temp.inbox('replayed', 'completed', '13 days');
    insert into mailroom.attempt (
        lane, seq, delivery, attempt, host, handler_digest, error, fuel_used, memory_peak, took_ms)
    select lane, seq, d, d, message_id, 'd', 'no', 0, 0, 0 from mailroom.inbox cross join generate_series(1, 2) d;
    select pg_temp.letter('open', null, null), pg_temp.letter('discarded-15', null, '15 days'),
           pg_temp.letter('discarded-13', null, '13 days'), pg_temp.letter('blocks', null, '15 days'),
           pg_temp.letter('replayed', '15 days', null);
    insert into mailroom.blocked_key (lane, okey, seq, consumer_group, topic, partition, "offset", key, policy)
    select lane, 1, seq, 'g', 't', 0, "offset", 'k', 'block' from mailroom.inbox where message_id = 'blocks';"#;

const INBOX: &str = "select message_id from mailroom.inbox order by 1";
const OUTBOX: &str = "select aggregate_id from mailroom.outbox order by 1";
/// Query for the messages of attempts: a test's rows have the message's id for a host.
const ATTEMPTS: &str = "select distinct host from mailroom.attempt order by 1";
const LETTERS: &str = "select message_id from mailroom.dead_letter where origin = 'inbox' order by 1";

#[test]
fn what_was_settled_before_the_time_goes_and_what_is_needed_stays() {
    in_world(FORTNIGHT, async |world| {
        raw_sql(ROWS).execute(world.db.pool()).await?;
        // Another host is at the inbox.
        let held = world.db.hold("select from mailroom.retention where of = 'inbox' for update").await?;
        let host = world.start_host("a")?;

        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<String>>();
        // Nothing blocks a key of the outbox: that letter's row goes there.
        let outbox = names(&["discarded-13", "done-13", "open", "pending", "replayed"]);
        becomes("old rows of the outbox are gone", outbox, SOON, async || world.db.column(OUTBOX).await)
            .await?;
        let done = "select count(*) from mailroom.inbox where message_id = 'done-15'";
        assert_eq!(world.db.one::<i64>(done).await?, 1, "one host at a time");
        held.release().await?;
        let inbox = names(&["blocks", "discarded-13", "done-13", "open", "pending", "replayed"]);
        becomes("old rows of the inbox are gone", inbox.clone(), SOON, async || world.db.column(INBOX).await)
            .await?;
        assert_eq!(world.db.column::<String>(ATTEMPTS).await?, inbox, "attempts go with their message");
        let letters = names(&["blocks", "discarded-13", "open"]);
        becomes("old closed letters are gone", letters, SOON, async || world.db.column(LETTERS).await)
            .await?;
        host.wait_log("Retention deleted 1 completed messages of the inbox").await?;
        host.stop().await?;
        Ok(())
    });
}

/// Notes each transaction that deletes from the inbox, and how many rows.
const WATCH: &str = "
    create table public.deletes (transaction bigint, rows bigint);
    create function public.watch() returns trigger language plpgsql as $$
        begin
            insert into public.deletes select txid_current(), count(*) from gone having count(*) > 0;
            return null;
        end $$;
    create trigger watch after delete on mailroom.inbox referencing old table as gone
       for each statement execute function public.watch();";

#[test]
fn many_rows_go_in_bounded_batches_each_in_a_transaction_of_its_own() {
    in_world(FORTNIGHT, async |world| {
        raw_sql(WATCH).execute(world.db.pool()).await?;
        let rows = "insert into mailroom.inbox (
                lane, id, message_id, consumer_group, topic, partition, \"offset\", source, event_type, produced_at_ms,
                status, outcome, completed_at)
            select 1000, gen_random_uuid(), n::text, 'g', 't', 0, n, 's', 'e', 0, 'completed', 'completed',
                   now() - interval '15 days' from generate_series(1, 25) n";
        world.db.execute(rows).await?;
        let host = world.start_host("a")?;

        host.wait_log("Retention deleted 25 completed messages of the inbox").await?;
        assert!(world.db.column::<String>(INBOX).await?.is_empty());
        let deletes: Vec<(i64, i64)> =
            world.db.rows("select count(distinct transaction), max(rows) from public.deletes").await?;
        assert_eq!(deletes, [(3, 10)], "10, 10 and 5");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn everything_stays_where_nobody_says_how_long() {
    in_world(Setup::default(), async |world| {
        raw_sql(ROWS).execute(world.db.pool()).await?;
        let before: Vec<String> = world.db.column(INBOX).await?;
        let host = world.start_host("a")?;
        becomes("the host works", 64, SOON, async || owned_lanes(world).await).await?;
        assert_eq!(world.db.column::<String>(INBOX).await?, before);
        let walked =
            "select count(*) from mailroom.retention where ended_at is not null or began_at is not null";
        assert_eq!(world.db.one::<i64>(walked).await?, 0);
        host.stop().await?;
        Ok(())
    });
}

async fn owned_lanes(world: &World) -> Result<i64> {
    world.db.one("select count(*) from mailroom.lane where owner is not null").await
}
