//! What messages relied on: state that they read and did not write, and messages before them in their key.

use std::collections::{BTreeMap, HashMap, HashSet};

use mailroom_core::state::{Fingerprint, Read, ValueId, Write};

use super::Settlement;
use crate::db::{DbError, Tx};

/// Something that must be so before the settlement's own writes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Expected<'s> {
    pub(super) scope: &'static str,
    pub(super) key: &'s [u8],
    /// `None` for the whole scope.
    pub(super) name: Option<&'s str>,
    pub(super) version: i64,
    pub(super) count: i64,
}

/// Messages in `hit` that saw what one before them in their key wrote which was not hit, and so has no effects: a
/// producer's duplicate, or one that somebody else has ended.
pub(super) fn based_on_nothing(items: &[Settlement], hit: &HashSet<(i32, i64)>) -> HashSet<(i32, i64)> {
    if hit.len() == items.len() {
        return HashSet::new();
    }
    let missed = items.iter().map(Settlement::place).filter(|place| !hit.contains(place));
    let missed: HashSet<i64> = missed.map(|(_, seq)| seq).collect();
    let hits = items.iter().filter(|item| hit.contains(&item.place()));
    let lost = hits.filter(|item| item.based_on.is_some_and(|seq| missed.contains(&seq)));
    lost.map(Settlement::place).collect()
}

/// Messages in `hit` of which something that they read is not so any more.
pub(super) async fn stale(
    tx: &mut Tx,
    group: &str,
    items: &[Settlement],
    hit: &HashSet<(i32, i64)>,
) -> Result<HashSet<(i32, i64)>, DbError> {
    let expected = expected(items, hit);
    if expected.is_empty() {
        return Ok(HashSet::new());
    }
    let of = |field: fn(&Expected<'_>) -> i64| expected.keys().map(field).collect::<Vec<_>>();
    let stale = sqlx::query_file_scalar!(
        "src/settle/reads.sql",
        group,
        &expected.keys().map(|of| of.scope).collect::<Vec<_>>() as &[&str],
        &expected.keys().map(|of| of.key).collect::<Vec<_>>() as &[&[u8]],
        &expected.keys().map(|of| of.name).collect::<Vec<_>>() as &[Option<&str>],
        &of(|of| of.version),
        &of(|of| of.count),
    );
    let stale = stale.fetch_all(&mut **tx).await.map_err(DbError::new("checking what was read"))?;
    let stale: HashSet<i64> = stale.into_iter().collect();
    let places = (1..).zip(expected.into_values()).filter(|(place, _)| stale.contains(place));
    Ok(places.flat_map(|(_, places)| places).collect())
}

/// What a message expects that is settled on its own.
pub(super) fn alone(item: &Settlement) -> Vec<Expected<'_>> {
    item.reads.iter().map(|read| before(read, item, &HashMap::new())).collect()
}

/// What the messages in `hit` expect, and which do. A version that the settlement itself writes is what an earlier
/// message of the key left, which [`based_on_nothing`] answers for.
fn expected<'s>(
    items: &'s [Settlement],
    hit: &HashSet<(i32, i64)>,
) -> BTreeMap<Expected<'s>, Vec<(i32, i64)>> {
    let mut expected: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let reading = |item: &&Settlement| !item.reads.is_empty() && hit.contains(&item.place());
    if !items.iter().any(|item| reading(&item)) {
        return expected;
    }
    let hits = || items.iter().filter(|item| hit.contains(&item.place()));
    let written: HashSet<(&ValueId, i64)> =
        hits().flat_map(|item| &item.writes).map(|write| (&write.id, write.written)).collect();
    let by_seq: HashMap<i64, &Settlement> = hits().map(|item| (item.message.seq, item)).collect();
    for item in hits() {
        for read in &item.reads {
            if matches!(read, Read::Value { id, version } if written.contains(&(id, *version))) {
                continue;
            }
            expected.entry(before(read, item, &by_seq)).or_default().push(item.place());
        }
    }
    expected
}

/// What a read of `item` found, without what those before it in its key write in this settlement.
fn before<'s>(read: &'s Read, item: &Settlement, by_seq: &HashMap<i64, &Settlement>) -> Expected<'s> {
    match read {
        Read::Value { id, version } => Expected {
            scope: id.scope.as_str(),
            key: &id.key,
            name: Some(&id.name),
            version: *version,
            count: i64::from(*version != 0),
        },
        Read::Scope { scope, key, print } => {
            let mut print: Fingerprint = *print;
            let mut next = item.based_on;
            while let Some(earlier) = next.and_then(|seq| by_seq.get(&seq)) {
                let of_scope = |write: &&Write| write.id.scope == *scope && write.id.key == *key;
                earlier.writes.iter().filter(of_scope).for_each(|write| print.undo(write));
                next = earlier.based_on;
            }
            let Fingerprint { count, versions: version } = print;
            Expected { scope: scope.as_str(), key, name: None, version, count }
        }
    }
}
