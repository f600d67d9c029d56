//! Checks of what messages relied on: state that they read and did not write, and messages before them in
//! their key.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use mailroom_core::ids::Seq;
use mailroom_core::state::{Fingerprint, Read, ValueId, Write};

use super::settlement::{Place, Settlement};
use crate::db::{DbError, Tx};

/// Expectation that must hold before the settlement's own writes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Expected<'s> {
    pub(super) scope: &'static str,
    pub(super) key: &'s [u8],
    /// `None` for the whole scope.
    pub(super) name: Option<&'s str>,
    pub(super) version: i64,
    pub(super) count: i64,
}

/// Gives the messages in `hit` that rest on one before them in their key which was not hit, and so has no effects: a
/// producer's duplicate, or one that somebody else has ended.
pub(super) fn based_on_nothing(items: &[Settlement<'_>], hit: &HashSet<Place>) -> BTreeSet<Place> {
    if hit.len() == items.len() {
        return BTreeSet::new();
    }
    let missed = items.iter().filter(|item| !hit.contains(&item.place()));
    let missed: HashSet<Seq> = missed.map(Settlement::seq).collect();
    let hits = items.iter().filter(|item| hit.contains(&item.place()));
    let lost = hits.filter(|item| item.based_on.is_some_and(|seq| missed.contains(&seq)));
    lost.map(Settlement::place).collect()
}

/// Gives those of `hits` that read something which is not so any more.
pub(super) async fn stale(
    tx: &mut Tx,
    group: &str,
    hits: &[&Settlement<'_>],
) -> Result<BTreeSet<Place>, DbError> {
    let expected = expected(hits);
    if expected.is_empty() {
        return Ok(BTreeSet::new());
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

/// Gives the expectations of a message that is settled on its own.
pub(super) fn alone<'w>(item: &Settlement<'w>) -> Vec<Expected<'w>> {
    item.reads.iter().map(|read| before(read, item, &HashMap::new())).collect()
}

/// Gives the expectations of messages, and which have them. A version that the settlement itself writes is what an earlier message of the
/// key left, which [`based_on_nothing`] answers for.
fn expected<'w>(hits: &[&Settlement<'w>]) -> BTreeMap<Expected<'w>, Vec<Place>> {
    let mut expected: BTreeMap<_, Vec<_>> = BTreeMap::new();
    if hits.iter().all(|item| item.reads.is_empty()) {
        return expected;
    }
    let written: HashSet<(&ValueId, i64)> =
        hits.iter().flat_map(|item| item.writes).map(|write| (&write.id, write.written)).collect();
    let by_seq: HashMap<Seq, &Settlement<'_>> = hits.iter().map(|item| (item.seq(), *item)).collect();
    for item in hits {
        for read in item.reads {
            if matches!(read, Read::Value { id, version } if written.contains(&(id, *version))) {
                continue;
            }
            expected.entry(before(read, item, &by_seq)).or_default().push(item.place());
        }
    }
    expected
}

/// Gives the expectation by a read of `item`, without what those before it in its key write in this settlement.
fn before<'w>(read: &'w Read, item: &Settlement<'_>, by_seq: &HashMap<Seq, &Settlement<'_>>) -> Expected<'w> {
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

#[cfg(test)]
mod tests {
    use mailroom_core::state::Scope;

    use super::*;
    use crate::handler::tests::message;
    use crate::message::Message;

    fn numbered(seq: i64) -> Message {
        Message { seq, ..message("payload") }
    }

    #[test]
    fn what_rests_on_a_message_that_was_not_hit_is_lost() {
        let messages = [numbered(1), numbered(2), numbered(3)];
        let [first, second, third] = messages.each_ref().map(Settlement::completed);
        let second = Settlement { based_on: Some(Seq(1)), ..second };
        let third = Settlement { based_on: Some(Seq(0)), ..third };
        let places = [&first, &second, &third].map(Settlement::place);
        let items = [first, second, third];
        assert!(based_on_nothing(&items, &HashSet::from(places)).is_empty());
        let [_, second, third] = places;
        let lost = based_on_nothing(&items, &HashSet::from([second, third]));
        assert_eq!(lost, BTreeSet::from([second]), "what the third rests on is committed");
    }

    #[test]
    fn a_scope_is_expected_as_it_was_before_the_messages_of_its_key_in_the_same_settlement() {
        let (one, two) = (numbered(1), numbered(2));
        let id = ValueId { scope: Scope::Shared, key: Vec::new(), name: "sum".to_owned() };
        let writes = [Write { id, read: Some(7), written: 5, value: Some(b"1".to_vec()) }];
        let print = Fingerprint { count: 1, versions: 5 };
        let reads = [Read::Scope { scope: Scope::Shared, key: Vec::new(), print }];
        let first = Settlement { writes: &writes, ..Settlement::completed(&one) };
        let second = Settlement { reads: &reads, based_on: Some(Seq(1)), ..Settlement::completed(&two) };
        let whole = |version| Expected { scope: "shared", key: &[], name: None, version, count: 1 };
        let together = expected(&[&first, &second]);
        assert_eq!(together, BTreeMap::from([(whole(7), vec![second.place()])]));
        assert_eq!(expected(&[&second]), BTreeMap::from([(whole(5), vec![second.place()])]));
    }
}
