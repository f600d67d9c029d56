//! One state value that two hosts write at the same time: whoever lost a race is called again, at no cost.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use mailroom_tests::{LATER, Manifest, Message, SOON, Setup, World, becomes, in_world};
use serde_json::json;

/// Small groups, so that the two hosts take turns instead of adding all they have at once.
const SMALL_GROUPS: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[("MAILROOM__WORKER__SETTLE_ROWS_MAX", "10")],
};

/// Owner and token of the two lanes, in the order of their topics.
const OWNERS: &str = "select h.worker, l.token from mailroom.lane l join mailroom.host h on h.id = l.owner
                       where l.kind = 'inbox' order by l.topic";

/// Query for those who wait to write state.
const WAITING: &str = "select count(*) from pg_stat_activity
                        where datname = current_database() and wait_event_type = 'Lock'
                          and query ilike '%insert into mailroom.state%'";

/// Query for what the guest says of each addition: the id of its message, and the sum after it.
const SUMS: &str = "select said->>'in', (said->>'sum')::bigint
                      from mailroom.outbox cross join lateral (select convert_from(payload, 'UTF8')::jsonb as said) p
                     order by 2";

/// Waits until this many hosts have the lanes of both topics; gives the lanes' owners.
async fn shared_by(hosts: usize, world: &World) -> Result<Vec<(String, i64)>> {
    let mut owners: Vec<(String, i64)> = Vec::new();
    becomes("hosts that have the lanes of both topics", (2, hosts), SOON, async || {
        owners = world.db.rows(OWNERS).await?;
        let workers: BTreeSet<&str> = owners.iter().map(|(worker, _)| worker.as_str()).collect();
        Ok((owners.len(), workers.len()))
    })
    .await?;
    Ok(owners)
}

/// Sends so many messages through each of two topics, which add one each; `key` is the key of the nth.
fn adds_up(shared: bool, messages: i64, key: fn(i64) -> String) {
    in_world(SMALL_GROUPS, async |world| {
        let topics = [world.kafka.topic("left", 1).await?, world.kafka.topic("right", 1).await?];
        let output = world.kafka.topic("out", 1).await?;
        let manifest = Manifest::takes(&[&topics[0], &topics[1]]).publishes(&[&output]);
        world.drop_handler("scripted", "scripted", &manifest)?;
        let first = world.start_host("a")?;
        // So that one lane changes its owner once: where both join at the same time, some change twice.
        shared_by(1, world).await?;
        let second = world.start_host("b")?;
        let owners = shared_by(2, world).await?;

        let script = json!({"topic": output, "add": 1, "shared": shared});
        let both = (0..messages).flat_map(|n| {
            [("left", &topics[0]), ("right", &topics[1])]
                .map(|(side, topic)| Message::to(topic).key(key(n)).id(&format!("{side}-{n}")).json(&script))
        });
        // Both have read state before either writes it.
        let held = world.db.hold("lock table mailroom.state in share mode").await?;
        world.kafka.send_all(&both.collect::<Vec<_>>()).await?;
        becomes("both are about to write", 2, SOON, async || world.db.one::<i64>(WAITING).await).await?;
        held.release().await?;

        let all = 2 * messages;
        becomes("every message completed", all, LATER, async || world.db.completed().await).await?;
        let sums: Vec<(String, i64)> = world.db.rows(SUMS).await?;
        let wrong = sums.iter().map(|(_, sum)| *sum).zip(1..).find(|(found, expected)| found != expected);
        ensure!(
            wrong.is_none() && i64::try_from(sums.len())? == all,
            "an addition was lost or doubled: {wrong:?}"
        );
        let value = "select convert_from(value, 'UTF8')::bigint from mailroom.state";
        ensure!(world.db.column::<i64>(value).await? == [all], "there is one value, the sum of all");
        let cost = "select (select sum(attempts_made)::bigint from mailroom.inbox)
                         + (select count(*) from mailroom.dead_letter)";
        ensure!(world.db.one::<i64>(cost).await? == 0, "a lost race cost an attempt");
        if !shared {
            each_side_in_order(&sums)?;
        }

        ensure!(world.db.rows::<(String, i64)>(OWNERS).await? == owners, "a lane changed its owner");
        let left: Vec<bool> = sums.iter().map(|(id, _)| id.starts_with("left")).collect();
        let turns = left.iter().zip(left.iter().skip(1)).filter(|(one, next)| one != next).count();
        ensure!(turns >= 10, "the hosts did not add at the same time: {turns} turns from one to the other");
        first.stop().await?;
        second.stop().await?;
        Ok(())
    });
}

/// Checks that each topic's messages were added in the order in which they were sent, under one key.
fn each_side_in_order(sums: &[(String, i64)]) -> Result<()> {
    for side in ["left-", "right-"] {
        let of_side = sums.iter().filter_map(|(id, _)| id.strip_prefix(side)?.parse::<i64>().ok());
        ensure!(of_side.is_sorted(), "the messages of {side} were not added in order");
    }
    Ok(())
}

#[test]
fn no_addition_is_lost_though_a_key_comes_through_two_topics_at_two_hosts() {
    adds_up(false, 1_000, |_| "k".to_owned());
}

#[test]
fn no_addition_is_lost_though_two_hosts_share_one_value_of_all_keys() {
    adds_up(true, 200, |n| format!("k{}", n % 4));
}
