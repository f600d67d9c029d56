//! Checks of what has to hold, whatever died: nothing lost, no effect twice, order kept, repeats known.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, Result, bail, ensure};
use mailroom_tests::kafka::record::{ensure_rising_per_key, first_occurrences};
use mailroom_tests::{Record, SOON, World, becomes};

use super::{KEYS, all_relayed};
use crate::arrange::Scripted;

/// Rows that are stored at a moment.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) stored: i64,
    pub(super) completed: i64,
    /// Rows of the outbox.
    pub(super) emitted: i64,
    pub(super) relayed: i64,
    /// All sums of the guest's state together.
    pub(super) sum: i64,
    pub(super) next_offset: i64,
    pub(super) epoch: i64,
    /// Lanes that have an owner.
    pub(super) owned: i64,
    /// Sessions that stand in an open transaction.
    pub(super) in_transaction: i64,
    /// Records on Kafka.
    pub(super) records: i64,
}

const LEFT: &str = "select array[
    (select count(*) from mailroom.inbox),
    (select count(*) from mailroom.inbox where status = 'completed'),
    (select count(*) from mailroom.outbox),
    (select count(*) from mailroom.outbox where status = 'completed'),
    (select coalesce(sum(convert_from(value, 'UTF8')::bigint), 0)::bigint from mailroom.state where name = 'sum'),
    (select coalesce(sum(next_offset), 0)::bigint from mailroom.partition_offset),
    (select coalesce(max(epoch), 0) from mailroom.partition_offset),
    (select count(*) from mailroom.lane where owner is not null),
    (select count(*) from pg_stat_activity
      where datname = current_database() and state = 'idle in transaction')]";

pub(super) async fn left(world: &World, scripted: &Scripted) -> Result<Left> {
    let counts: Vec<i64> = world.db.one(LEFT).await?;
    let Ok([stored, completed, emitted, relayed, sum, next_offset, epoch, owned, in_transaction]) =
        <[i64; 9]>::try_from(counts)
    else {
        bail!("the query gives other columns");
    };
    let records = i64::try_from(world.kafka.read_all(&scripted.output).await?.len())?;
    Ok(Left { stored, completed, emitted, relayed, sum, next_offset, epoch, owned, in_transaction, records })
}

/// Waits until all messages are through and fails where one of them is not there exactly once. Gives the
/// number of repeats on Kafka.
pub(super) async fn everything_once(world: &World, scripted: &Scripted, sent: i64) -> Result<usize> {
    becomes("every message completed", sent, 2 * SOON, async || world.db.completed().await).await?;
    all_relayed(world, sent).await?;
    let seen = left(world, scripted).await?;
    ensure!(seen.stored == sent && seen.emitted == sent && seen.sum == sent, "not each once: {seen:?}");
    // A message that emitted twice, and another that emitted nothing, would add up as well.
    let unpaired = "select count(*) from mailroom.inbox i
                     where (select count(*) from mailroom.outbox o where o.causation_id = i.message_id) <> 1";
    ensure!(world.db.one::<i64>(unpaired).await? == 0, "a message did not emit exactly once");
    let spent = "select (select count(*) from mailroom.inbox where attempts_made > 0)
                      + (select count(*) from mailroom.outbox where attempts_made > 0)
                      + (select count(*) from mailroom.dead_letter)";
    ensure!(world.db.one::<i64>(spent).await? == 0, "a crash cost an attempt");
    on_kafka(world, scripted, sent).await
}

async fn on_kafka(world: &World, scripted: &Scripted, sent: i64) -> Result<usize> {
    let records = world.kafka.read_all(&scripted.output).await?;
    let firsts = first_occurrences(&records)?;
    let known: Vec<String> = world.db.column("select id::text from mailroom.outbox").await?;
    let known: HashSet<String> = known.into_iter().collect();
    let seen: HashSet<String> = firsts.iter().map(|record| record.id()).collect::<Result<_>>()?;
    ensure!(seen == known, "the ids on Kafka are not those of the outbox");
    ensure!(i64::try_from(firsts.len())? == sent, "{} of {sent} on Kafka", firsts.len());
    ensure_rising_per_key(&firsts, "value")?;
    let mut sums: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for record in &firsts {
        sums.entry(record.key_text()).or_default().push(record.number("sum")?);
    }
    for (key, sums) in sums {
        let expected: Vec<i64> = (1..=sent / KEYS).collect();
        ensure!(sums == expected, "key {key}: the sums are {sums:?}");
    }
    repeats_are_the_same(&records, &firsts)?;
    Ok(records.len() - firsts.len())
}

/// A repeat differs from its first occurrence in its place only.
fn repeats_are_the_same(records: &[Record], firsts: &[&Record]) -> Result<()> {
    let firsts: BTreeMap<String, &Record> =
        firsts.iter().map(|first| Ok((first.id()?, *first))).collect::<Result<_>>()?;
    for record in records {
        let first = firsts.get(&record.id()?).context("a record without a first occurrence")?;
        ensure!(
            (&record.key, &record.payload) == (&first.key, &first.payload),
            "{record:?} has the id of {first:?}"
        );
    }
    Ok(())
}
