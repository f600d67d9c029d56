//! The judgement: every message settled once, with its effects once, in the order of its key, after as
//! many attempts as it has failures; every row published, in order; no lane left alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::{Emitted, Evidence, Row};

/// One thing that is not as it was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The promise: `settled once`, `effects once`, `order`, `attempts`, `published`, `state`, `owner`.
    pub promise: &'static str,
    /// Description of the breach, with the message, the key or the lane.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// All breaches; none means that every promise was kept.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Breach> {
    let rules = [settled_once, effects_once, order, attempts, published, published_in_order, state, owner];
    rules.iter().flat_map(|rule| rule(evidence)).collect()
}

fn breach(promise: &'static str, what: String) -> Breach {
    Breach { promise, what }
}

/// A message has one row, and it is completed; there are no other rows.
fn settled_once(evidence: &Evidence) -> Vec<Breach> {
    let mut rows: HashMap<&str, Vec<&str>> = HashMap::new();
    for row in &evidence.handled {
        rows.entry(&row.id).or_default().push(&row.status);
    }
    let mut breaches = Vec::new();
    for sent in &evidence.sent {
        match rows.remove(sent.id.as_str()).as_deref() {
            Some(["completed"]) => {}
            Some(found) => breaches.push(breach("settled once", format!("message {} is {found:?}", sent.id))),
            None => breaches.push(breach("settled once", format!("message {} is not in the inbox", sent.id))),
        }
    }
    let unknown = rows.keys().map(|id| breach("settled once", format!("nobody sent message {id}")));
    breaches.extend(unknown);
    breaches
}

/// A message left one row in the outbox.
fn effects_once(evidence: &Evidence) -> Vec<Breach> {
    let mut count: HashMap<&str, usize> = HashMap::new();
    for (_, emitted) in emitted(evidence) {
        *count.entry(&emitted.cause).or_default() += 1;
    }
    let wrong = evidence.sent.iter().filter_map(|sent| {
        let times = count.get(sent.id.as_str()).copied().unwrap_or(0);
        (times != 1).then(|| breach("effects once", format!("message {} emitted {times} times", sent.id)))
    });
    wrong.collect()
}

/// Checks the order: what a key's messages emitted has their values in the order in which they were sent, and
/// the guest counted them one by one.
fn order(evidence: &Evidence) -> Vec<Breach> {
    let mut found: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for (row, emitted) in emitted(evidence) {
        found.entry(&row.key).or_default().push((emitted.value, emitted.sum));
    }
    let mut wanted: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for sent in &evidence.sent {
        let of_key = wanted.entry(&sent.key).or_default();
        let place = i64::try_from(of_key.len()).unwrap_or(i64::MAX) + 1;
        of_key.push((sent.value, place));
    }
    let differs = wanted.iter().filter_map(|(key, wanted)| {
        let found = found.get(key).map_or(&[][..], Vec::as_slice);
        let (place, (wanted, found)) =
            wanted.iter().zip(found).enumerate().find(|(_, (wanted, found))| wanted != found)?;
        let what = format!("message {place} of {key} should give (value, sum) {wanted:?} and gave {found:?}");
        Some(breach("order", what))
    });
    differs.collect()
}

/// The row counts the failures that the guest decided, and the guest was told of each.
fn attempts(evidence: &Evidence) -> Vec<Breach> {
    let made: HashMap<&str, (i64, i64)> =
        evidence.handled.iter().map(|row| (row.id.as_str(), (row.attempts_made, row.starved))).collect();
    let told: HashMap<&str, i64> =
        emitted(evidence).map(|(_, emitted)| (emitted.cause.as_str(), emitted.attempt)).collect();
    let mut breaches = Vec::new();
    for sent in &evidence.sent {
        let (Some((made, starved)), Some(told)) = (made.get(sent.id.as_str()), told.get(sent.id.as_str()))
        else {
            // Another rule's breach.
            continue;
        };
        let failed = sent.failures + starved;
        if (*made, *told) != (failed, failed + 1) {
            let what = format!(
                "the guest failed {failed} times on message {}; its row counts {made}, and it completed on attempt {told}",
                sent.id
            );
            breaches.push(breach("attempts", what));
        }
    }
    breaches
}

/// Every row is completed and on Kafka; every record is a row's.
fn published(evidence: &Evidence) -> Vec<Breach> {
    let records: HashSet<&str> = evidence.published.iter().map(|record| record.id.as_str()).collect();
    let rows: HashSet<&str> = evidence.rows.iter().map(|row| row.id.as_str()).collect();
    let mut breaches = Vec::new();
    for row in &evidence.rows {
        let on_kafka = records.contains(row.id.as_str());
        if row.status != "completed" || !on_kafka {
            let Row { id, seq, topic, key, status, .. } = row;
            let what = format!("row {id} (seq {seq}, {topic}, {key}) is {status}, on Kafka: {on_kafka}");
            breaches.push(breach("published", what));
        }
    }
    let strange = evidence.published.iter().filter(|record| !rows.contains(record.id.as_str()));
    breaches.extend(
        strange.map(|record| breach("published", format!("record {} has no row in the outbox", record.id))),
    );
    breaches
}

/// The first record of each id comes in the order of `seq` within its (topic, key).
fn published_in_order(evidence: &Evidence) -> Vec<Breach> {
    let seqs: HashMap<&str, i64> = evidence.rows.iter().map(|row| (row.id.as_str(), row.seq)).collect();
    let mut seen = HashSet::new();
    let mut last: HashMap<(&str, &str), i64> = HashMap::new();
    let mut breaches = Vec::new();
    for record in evidence.published.iter().filter(|record| seen.insert(record.id.as_str())) {
        let Some(&seq) = seqs.get(record.id.as_str()) else { continue };
        let before = last.insert((&record.topic, &record.key), seq).unwrap_or(0);
        if seq < before {
            let what = format!("{} of {}: seq {seq} was published after {before}", record.key, record.topic);
            breaches.push(breach("order", what));
        }
    }
    breaches
}

/// The keyed state has counted every message of its key once.
fn state(evidence: &Evidence) -> Vec<Breach> {
    let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
    for sent in &evidence.sent {
        *wanted.entry(&sent.key).or_default() += 1;
    }
    let found: BTreeMap<&str, i64> = evidence.sums.iter().map(|(key, sum)| (key.as_str(), *sum)).collect();
    let differs = wanted.iter().filter(|(key, wanted)| found.get(*key) != Some(wanted));
    differs
        .map(|(key, wanted)| {
            breach("state", format!("{key} had {wanted} messages, its state says {:?}", found.get(key)))
        })
        .collect()
}

/// No lane was without a live owner for longer than it may.
fn owner(evidence: &Evidence) -> Vec<Breach> {
    let long = evidence.gaps.iter().filter(|gap| gap.milliseconds > evidence.gap_milliseconds_max);
    long.map(|gap| {
        let what = format!("lane {} had no live owner for {} ms", gap.lane, gap.milliseconds);
        breach("owner", what)
    })
    .collect()
}

fn emitted(evidence: &Evidence) -> impl Iterator<Item = (&Row, &Emitted)> {
    evidence.rows.iter().filter_map(|row| Some((row, row.emitted.as_ref()?)))
}

#[cfg(test)]
mod tests;
