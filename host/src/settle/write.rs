//! The state writes of a settlement: each only where nobody else has written since it was read.

use std::collections::{BTreeMap, HashSet};

use super::Settlement;
use super::state::{Identity, Write};
use crate::db::{DbError, Tx};

/// Several writes of one value, folded into the last.
struct Folded<'s> {
    /// The version that the first of them read; 0 for none.
    read: i64,
    last: &'s Write,
    rows: Vec<(i32, i64)>,
}

/// Writes the state of the messages in `hit`; gives those whose reading was overtaken.
pub(super) async fn state(
    tx: &mut Tx,
    group: &str,
    items: &[Settlement],
    hit: &HashSet<(i32, i64)>,
) -> Result<HashSet<(i32, i64)>, DbError> {
    let (folded, mut lost) = fold(items, hit);
    if folded.is_empty() {
        return Ok(lost);
    }
    let mut written = update(tx, group, &folded).await?;
    written.extend(insert(tx, group, &folded).await?);
    written.extend(remove(tx, group, &folded).await?);
    for (identity, fold) in &folded {
        let nothing_to_do = fold.read == 0 && fold.last.value.is_none();
        if !written.contains(*identity) && !nothing_to_do {
            lost.extend(&fold.rows);
        }
    }
    Ok(lost)
}

/// Folds writes by value, in the order of their messages. A write that did not read what the one
/// before it wrote lost a race within this host.
fn fold<'s>(
    items: &'s [Settlement],
    hit: &HashSet<(i32, i64)>,
) -> (BTreeMap<&'s Identity, Folded<'s>>, HashSet<(i32, i64)>) {
    let mut folded: BTreeMap<&Identity, Folded<'_>> = BTreeMap::new();
    let mut lost = HashSet::new();
    for item in items {
        let row = (item.message.lane, item.message.seq);
        if !hit.contains(&row) {
            continue;
        }
        for write in &item.writes {
            match folded.get_mut(&write.identity) {
                None => {
                    folded.insert(&write.identity, Folded { read: write.read, last: write, rows: vec![row] });
                }
                Some(fold) if fold.last.written == write.read => {
                    fold.last = write;
                    fold.rows.push(row);
                }
                Some(_) => {
                    lost.insert(row);
                }
            }
        }
    }
    (folded, lost)
}

/// The folded writes that `choose` picks, by column.
struct Columns<'f> {
    scopes: Vec<&'f str>,
    keys: Vec<&'f [u8]>,
    names: Vec<&'f str>,
    values: Vec<&'f [u8]>,
    read: Vec<i64>,
    written: Vec<i64>,
}

fn columns<'f>(
    folded: &'f BTreeMap<&Identity, Folded<'f>>,
    choose: impl Fn(&Folded<'_>) -> bool,
) -> Option<Columns<'f>> {
    let chosen: Vec<_> = folded.iter().filter(|(_, fold)| choose(fold)).collect();
    (!chosen.is_empty()).then(|| Columns {
        scopes: chosen.iter().map(|(identity, _)| identity.scope.as_str()).collect(),
        keys: chosen.iter().map(|(identity, _)| identity.key.as_slice()).collect(),
        names: chosen.iter().map(|(identity, _)| identity.name.as_str()).collect(),
        values: chosen.iter().map(|(_, fold)| fold.last.value.as_deref().unwrap_or_default()).collect(),
        read: chosen.iter().map(|(_, fold)| fold.read).collect(),
        written: chosen.iter().map(|(_, fold)| fold.last.written).collect(),
    })
}

async fn update(
    tx: &mut Tx,
    group: &str,
    folded: &BTreeMap<&Identity, Folded<'_>>,
) -> Result<HashSet<Identity>, DbError> {
    let Some(of) = columns(folded, |fold| fold.read != 0 && fold.last.value.is_some()) else {
        return Ok(HashSet::new());
    };
    let rows = sqlx::query!(
        "update mailroom.state s set value = w.value, version = w.written, updated_at = clock_timestamp()
           from unnest($2::text[], $3::bytea[], $4::text[], $5::bytea[], $6::bigint[], $7::bigint[])
                w(scope, key, name, value, read, written)
          where s.consumer_group = $1 and s.scope = w.scope and s.key = w.key and s.name = w.name
            and s.version = w.read
         returning s.scope, s.key, s.name",
        group,
        &of.scopes as &[&str],
        &of.keys as &[&[u8]],
        &of.names as &[&str],
        &of.values as &[&[u8]],
        &of.read,
        &of.written,
    );
    let rows = rows.fetch_all(&mut **tx).await.map_err(DbError::new("writing state"))?;
    Ok(rows.into_iter().filter_map(|row| Identity::read(&row.scope, row.key, row.name)).collect())
}

async fn insert(
    tx: &mut Tx,
    group: &str,
    folded: &BTreeMap<&Identity, Folded<'_>>,
) -> Result<HashSet<Identity>, DbError> {
    let Some(of) = columns(folded, |fold| fold.read == 0 && fold.last.value.is_some()) else {
        return Ok(HashSet::new());
    };
    let rows = sqlx::query!(
        "insert into mailroom.state (consumer_group, scope, key, name, value, version)
         select $1, w.scope, w.key, w.name, w.value, w.written
           from unnest($2::text[], $3::bytea[], $4::text[], $5::bytea[], $6::bigint[])
                w(scope, key, name, value, written)
         on conflict do nothing
         returning scope, key, name",
        group,
        &of.scopes as &[&str],
        &of.keys as &[&[u8]],
        &of.names as &[&str],
        &of.values as &[&[u8]],
        &of.written,
    );
    let rows = rows.fetch_all(&mut **tx).await.map_err(DbError::new("writing state"))?;
    Ok(rows.into_iter().filter_map(|row| Identity::read(&row.scope, row.key, row.name)).collect())
}

async fn remove(
    tx: &mut Tx,
    group: &str,
    folded: &BTreeMap<&Identity, Folded<'_>>,
) -> Result<HashSet<Identity>, DbError> {
    let Some(of) = columns(folded, |fold| fold.read != 0 && fold.last.value.is_none()) else {
        return Ok(HashSet::new());
    };
    let rows = sqlx::query!(
        "delete from mailroom.state s
          using unnest($2::text[], $3::bytea[], $4::text[], $5::bigint[]) w(scope, key, name, read)
          where s.consumer_group = $1 and s.scope = w.scope and s.key = w.key and s.name = w.name
            and s.version = w.read
         returning s.scope, s.key, s.name",
        group,
        &of.scopes as &[&str],
        &of.keys as &[&[u8]],
        &of.names as &[&str],
        &of.read,
    );
    let rows = rows.fetch_all(&mut **tx).await.map_err(DbError::new("removing state"))?;
    Ok(rows.into_iter().filter_map(|row| Identity::read(&row.scope, row.key, row.name)).collect())
}
