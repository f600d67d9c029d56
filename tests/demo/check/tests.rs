//! A flawless play in small, and what the check says of each flaw.

use super::*;
use crate::evidence::{Emitted, Letter, Outgoing, Placed, Taken};
use crate::order::{Fate, fate};

fn id(topic: &str, order: &str) -> String {
    format!("{topic}-{order}")
}

/// Everything that an order leaves behind.
fn add(evidence: &mut Evidence, order: &str, customer: &str, amount_cents: i64) {
    let seq = i64::try_from(evidence.orders.len()).unwrap() + 1;
    let message = id("orders", order);
    evidence.orders.push(Placed {
        order_id: order.into(),
        customer: customer.into(),
        amount_cents,
        message,
        seq: Some(seq),
    });
    let total = evidence.totals.entry(customer.into()).or_default();
    *total += amount_cents;
    let total_cents = Some(*total);
    let (edition, digest) = if seq <= 2 { (1, "one") } else { (2, "two") };
    emit(evidence, "orders", order, customer, None, None);
    take(evidence, "invoice", &id("orders", order), "completed", 0, digest);
    emit(evidence, "invoices", order, customer, total_cents, Some(edition));
    match fate(amount_cents) {
        Fate::Parcel { failures } => {
            take(evidence, "shipping", &id("invoices", order), "completed", failures, "ship");
            emit(evidence, "parcels", order, customer, None, None);
        }
        Fate::DeadLetter { reason, code, failures } => {
            let message_id = id("invoices", order);
            take(evidence, "shipping", &message_id, "failed", failures, "ship");
            let (reason, code) = (reason.to_owned(), code.map(str::to_owned));
            evidence.letters.push(Letter { message_id, reason, code, attempts: failures });
        }
    }
}

fn take(evidence: &mut Evidence, handler: &str, message_id: &str, status: &str, failures: i32, digest: &str) {
    evidence.inbox.push(Taken {
        handler: handler.into(),
        message_id: message_id.into(),
        status: status.into(),
        attempts_made: failures,
        handler_digest: Some(digest.into()),
    });
}

fn emit(
    evidence: &mut Evidence,
    topic: &'static str,
    order: &str,
    customer: &str,
    total_cents: Option<i64>,
    edition: Option<i64>,
) {
    let (message_id, order_id) = (id(topic, order), order.to_owned());
    let status = "completed".to_owned();
    evidence.outbox.push(Outgoing {
        id: message_id.clone(),
        topic: topic.into(),
        order_id: order_id.clone(),
        status,
    });
    let customer = customer.to_owned();
    evidence.records.push(Emitted { topic, message_id, order_id, customer, total_cents, edition });
}

fn flawless() -> Evidence {
    let mut evidence = Evidence::default();
    evidence.editions.extend([("one".to_owned(), 1), ("two".to_owned(), 2)]);
    add(&mut evidence, "plain", "ada", 5_50);
    add(&mut evidence, "busy", "ada", 10_07);
    add(&mut evidence, "refused", "tony", 7_13);
    add(&mut evidence, "negative", "tony", -3_00);
    evidence
}

/// The kinds and subjects that the check names after the flaw.
fn found(flaw: impl FnOnce(&mut Evidence)) -> BTreeSet<(Kind, String)> {
    let mut evidence = flawless();
    flaw(&mut evidence);
    check(&evidence).into_iter().map(|breach| (breach.kind, breach.subject)).collect()
}

fn expect(kind: Kind, subjects: &[&str], flaw: impl FnOnce(&mut Evidence)) {
    let expected = subjects.iter().map(|&subject| (kind, subject.to_owned())).collect();
    assert_eq!(found(flaw), expected);
}

#[test]
fn a_flawless_play_has_no_breach() {
    assert_eq!(check(&flawless()), []);
}

#[test]
fn what_is_missing_is_lost() {
    for topic in TOPICS_OF_PLAIN {
        expect(Kind::Lost, &["plain"], |evidence| {
            evidence.records.retain(|record| record.message_id != id(topic, "plain"));
        });
        expect(Kind::Lost, &["plain"], |evidence| {
            evidence.outbox.retain(|row| row.id != id(topic, "plain"));
        });
        expect(Kind::Lost, &["plain"], |evidence| {
            let row = evidence.outbox.iter_mut().find(|row| row.id == id(topic, "plain")).unwrap();
            row.status = "pending".into();
        });
    }
    for handled in ["orders", "invoices"] {
        expect(Kind::Lost, &["plain"], |evidence| {
            evidence.inbox.retain(|row| row.message_id != id(handled, "plain"));
        });
        expect(Kind::Lost, &["plain"], |evidence| {
            let mut rows = evidence.inbox.iter_mut();
            rows.find(|row| row.message_id == id(handled, "plain")).unwrap().status = "pending".into();
        });
    }
    expect(Kind::Lost, &["negative", "refused"], |evidence| evidence.letters.clear());
}

const TOPICS_OF_PLAIN: [&str; 3] = crate::stage::TOPICS;

#[test]
fn what_is_there_twice_is_repeated() {
    for topic in TOPICS_OF_PLAIN {
        expect(Kind::Repeated, &["plain"], |evidence| {
            let record = evidence.records.iter().find(|record| record.message_id == id(topic, "plain"));
            evidence.records.push(record.unwrap().clone());
        });
    }
    for handled in ["orders", "invoices"] {
        expect(Kind::Repeated, &["plain"], |evidence| {
            let row = evidence.inbox.iter().find(|row| row.message_id == id(handled, "plain"));
            evidence.inbox.push(row.unwrap().clone());
        });
    }
    expect(Kind::Repeated, &["refused"], |evidence| evidence.letters.push(evidence.letters[0].clone()));
}

#[test]
fn what_overtook_is_out_of_order() {
    for topic in TOPICS_OF_PLAIN {
        expect(Kind::Disordered, &["plain"], |evidence| {
            let at = |order: &str| {
                evidence.records.iter().position(|record| record.message_id == id(topic, order)).unwrap()
            };
            let (plain, busy) = (at("plain"), at("busy"));
            evidence.records.swap(plain, busy);
        });
    }
}

#[test]
fn wrong_totals_are_named() {
    expect(Kind::Wrong, &["busy"], |evidence| {
        let mut invoices = evidence.records.iter_mut();
        invoices.find(|record| record.message_id == id("invoices", "busy")).unwrap().total_cents = Some(1);
    });
    expect(Kind::Wrong, &["tony"], |evidence| *evidence.totals.get_mut("tony").unwrap() += 1);
    expect(Kind::Wrong, &["nobody"], |evidence| evidence.totals.extend([("nobody".to_owned(), 1)]));
}

#[test]
fn a_row_and_an_invoice_that_name_different_editions_are_named() {
    for digest in [None, Some("two".to_owned()), Some("another".to_owned())] {
        expect(Kind::Wrong, &["plain"], |evidence| {
            let mut rows = evidence.inbox.iter_mut();
            rows.find(|row| row.message_id == id("orders", "plain")).unwrap().handler_digest = digest;
        });
    }
}

#[test]
fn what_was_rolled_back_and_yet_is_there_is_named() {
    expect(Kind::Wrong, &["ghost"], |evidence| emit(evidence, "orders", "ghost", "ada", None, None));
}

#[test]
fn an_end_that_the_amount_does_not_demand_is_named() {
    let shipped = |order: &'static str, change: fn(&mut Taken)| {
        move |evidence: &mut Evidence| {
            let mut rows = evidence.inbox.iter_mut();
            change(rows.find(|row| row.message_id == id("invoices", order)).unwrap());
        }
    };
    expect(Kind::Wrong, &["busy"], shipped("busy", |row| row.attempts_made = 1));
    expect(Kind::Wrong, &["refused"], shipped("refused", |row| row.status = "completed".into()));
    expect(Kind::Wrong, &["negative"], |evidence| evidence.letters[1].reason = "exhausted".into());
    expect(Kind::Wrong, &["refused"], |evidence| evidence.letters[0].code = None);
    expect(Kind::Wrong, &["negative"], |evidence| emit(evidence, "parcels", "negative", "tony", None, None));
    expect(Kind::Wrong, &["plain"], |evidence| {
        let letter = Letter { message_id: id("invoices", "plain"), ..evidence.letters[0].clone() };
        evidence.letters.push(letter);
    });
}
