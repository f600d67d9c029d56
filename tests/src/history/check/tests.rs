//! A history without a fault, and each fault that the judgement must find in it.

use super::super::{Evidence, Gap, Handled, Published, Sent};
use super::*;

/// Three messages of one key, the second after one failure.
fn good() -> Evidence {
    let failures = [0, 1, 0];
    let numbers = 0..3;
    let id = |n: i64| format!("m-{n}");
    let key = || "k".to_owned();
    let with = |n: i64| failures[usize::try_from(n).unwrap()];
    Evidence {
        sent: numbers.clone().map(|n| Sent { id: id(n), key: key(), value: n, failures: with(n) }).collect(),
        handled: numbers
            .clone()
            .map(|n| Handled { id: id(n), status: "completed".into(), attempts_made: with(n), starved: 0 })
            .collect(),
        rows: numbers
            .clone()
            .map(|n| Row {
                seq: 10 + n,
                id: format!("row-{n}"),
                topic: "out".into(),
                key: key(),
                status: "completed".into(),
                emitted: Some(Emitted { cause: id(n), attempt: with(n) + 1, value: n, sum: n + 1 }),
            })
            .collect(),
        published: numbers
            .map(|n| Published { id: format!("row-{n}"), topic: "out".into(), key: key() })
            .collect(),
        sums: vec![(key(), 3)],
        gaps: vec![Gap { lane: 1, milliseconds: 900 }],
        gap_milliseconds_max: 1000,
    }
}

/// The promises that are broken once `harm` is done.
fn broken(harm: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    let mut evidence = good();
    harm(&mut evidence);
    let mut promises: Vec<&'static str> = check(&evidence).iter().map(|breach| breach.promise).collect();
    promises.dedup();
    promises
}

#[test]
fn a_history_without_a_fault_has_no_breach_and_repeats_on_kafka_are_none() {
    assert_eq!(check(&good()), []);
    assert_eq!(broken(|of| of.published.push(of.published[0].clone())), Vec::<&str>::new());
}

#[test]
fn a_message_that_is_lost_doubled_or_unknown_is_found() {
    assert_eq!(broken(|of| drop(of.handled.remove(2))), ["settled once"]);
    assert_eq!(broken(|of| of.handled[0].status = "failed".into()), ["settled once"]);
    assert_eq!(broken(|of| of.handled.push(of.handled[0].clone())), ["settled once"]);
    let unknown = Handled { id: "x".into(), status: "completed".into(), attempts_made: 0, starved: 0 };
    assert_eq!(broken(|of| of.handled.push(unknown)), ["settled once"]);
}

#[test]
fn an_effect_that_is_missing_or_there_twice_is_found() {
    let missing = |of: &mut Evidence| {
        of.rows.remove(2);
        of.published.remove(2);
    };
    assert_eq!(broken(missing), ["effects once"]);
    let twice = |of: &mut Evidence| {
        let again = Row { seq: 99, id: "row-9".into(), ..of.rows[2].clone() };
        of.published.push(Published { id: again.id.clone(), ..of.published[2].clone() });
        of.rows.push(again);
    };
    assert_eq!(broken(twice), ["effects once"]);
    assert_eq!(broken(|of| of.sums[0].1 = 4), ["state"]);
}

#[test]
fn a_swap_within_a_key_is_found_in_the_rows_and_on_the_topic() {
    let swapped_rows = |of: &mut Evidence| {
        let first = of.rows[0].emitted.take();
        of.rows[0].emitted = std::mem::replace(&mut of.rows[1].emitted, first);
    };
    assert_eq!(broken(swapped_rows), ["order"]);
    assert_eq!(broken(|of| of.published.swap(0, 1)), ["order"]);
}

#[test]
fn a_miscounted_attempt_is_found() {
    assert_eq!(broken(|of| of.handled[1].attempts_made = 2), ["attempts"]);
    assert_eq!(broken(|of| of.handled[1].starved = 1), ["attempts"]);
    assert_eq!(broken(|of| of.rows[0].emitted.as_mut().unwrap().attempt = 2), ["attempts"]);
}

#[test]
fn a_row_that_was_not_published_and_a_record_of_no_row_are_found() {
    assert_eq!(broken(|of| drop(of.published.remove(0))), ["published"]);
    assert_eq!(broken(|of| of.rows[0].status = "pending".into()), ["published"]);
    assert_eq!(broken(|of| of.published[0].id = "stranger".into()), ["published"]);
}

#[test]
fn a_lane_that_was_left_alone_is_found() {
    assert_eq!(broken(|of| of.gaps[0].milliseconds = 1001), ["owner"]);
}
