//! Outbox rows and Kafka records: each row is one record, and nothing else is there.

use std::collections::HashSet;

use super::{Breach, Kind, by_id, only};
use crate::evidence::Evidence;

/// A row is completed and is one record; a record has its row.
pub(super) fn outbox_and_topics_agree(evidence: &Evidence) -> Vec<Breach> {
    let records = by_id(evidence.records.iter(), |record| &record.message_id);
    let rows = by_id(evidence.outbox.iter(), |row| &row.id);
    let mut breaches = Vec::new();
    for row in &evidence.outbox {
        let what = format!("record on {} of the outbox row {}", row.topic, row.id);
        breaches.extend(only(&records, &row.id, &row.order_id, &what).err());
        if row.status != "completed" {
            let what = format!("its outbox row {} for {} is {}", row.id, row.topic, row.status);
            breaches.push(Breach::new(Kind::Lost, &row.order_id, what));
        }
    }
    for record in &evidence.records {
        if !rows.contains_key(record.message_id.as_str()) {
            let what = format!("outbox row {} of a record on {}", record.message_id, record.topic);
            breaches.push(Breach::new(Kind::Lost, &record.order_id, format!("no {what}")));
        }
    }
    breaches
}

/// An order that the application's table does not have has no row and no record.
pub(super) fn what_was_rolled_back_is_nowhere(evidence: &Evidence) -> Vec<Breach> {
    let committed: HashSet<&str> = evidence.orders.iter().map(|order| order.order_id.as_str()).collect();
    let rows = evidence.outbox.iter().map(|row| (&row.order_id, "in the outbox"));
    let records = evidence.records.iter().map(|record| (&record.order_id, record.topic));
    rows.chain(records)
        .filter(|(order, _)| !committed.contains(order.as_str()))
        .map(|(order, place)| Breach::new(Kind::Wrong, order, format!("was never committed and is {place}")))
        .collect()
}

/// A committed order is one record, under the id that the application was given.
pub(super) fn orders_are_on_kafka_once(evidence: &Evidence) -> Vec<Breach> {
    let records = by_id(evidence.on("orders"), |record| &record.order_id);
    let judge = |order: &crate::evidence::Placed| {
        let found = only(&records, &order.order_id, &order.order_id, "record on orders");
        match found {
            Err(breach) => Some(breach),
            Ok(record) if record.message_id != order.message => {
                let what = format!("is on Kafka as {}, not as {}", record.message_id, order.message);
                Some(Breach::new(Kind::Wrong, &order.order_id, what))
            }
            Ok(_) => None,
        }
    };
    evidence.orders.iter().filter_map(judge).collect()
}
