//! Orders and the invoice handler: one inbox row, one invoice, one edition.

use std::collections::HashMap;

use super::{Breach, Kind, by_id, only};
use crate::evidence::{Evidence, Taken};

/// An order's message has one row, completed at the first attempt, and the order one invoice.
pub(super) fn orders_are_invoiced_once(evidence: &Evidence) -> Vec<Breach> {
    let rows = by_id(rows(evidence), |row| &row.message_id);
    let invoices = by_id(evidence.on("invoices"), |record| &record.order_id);
    let mut breaches = Vec::new();
    for order in &evidence.orders {
        match only(&rows, &order.message, &order.order_id, "inbox row of the handler invoice") {
            Ok(row) if row.status != "completed" => {
                let what = format!("its inbox row of the handler invoice is {}", row.status);
                breaches.push(Breach::new(Kind::Lost, &order.order_id, what));
            }
            Ok(row) if row.attempts_made != 0 => {
                let what = format!("invoice failed on it {} times", row.attempts_made);
                breaches.push(Breach::new(Kind::Wrong, &order.order_id, what));
            }
            Ok(_) => {}
            Err(breach) => breaches.push(breach),
        }
        breaches.extend(only(&invoices, &order.order_id, &order.order_id, "record on invoices").err());
    }
    breaches
}

/// The component that the inbox row names emits the edition that stands in the invoice.
pub(super) fn rows_name_the_edition_that_emitted(evidence: &Evidence) -> Vec<Breach> {
    let invoices: HashMap<&str, Option<i64>> =
        evidence.on("invoices").map(|record| (record.order_id.as_str(), record.edition)).collect();
    let rows: HashMap<&str, &Taken> = rows(evidence).map(|row| (row.message_id.as_str(), row)).collect();
    let judge = |order: &crate::evidence::Placed| {
        let (row, &emitted) = rows.get(order.message.as_str()).zip(invoices.get(order.order_id.as_str()))?;
        let digest = row.handler_digest.as_deref().unwrap_or("no component");
        let named = evidence.editions.get(digest).copied();
        (named.is_none() || named != emitted).then(|| {
            let what =
                format!("its inbox row names {digest} (edition {named:?}), its invoice edition {emitted:?}");
            Breach::new(Kind::Wrong, &order.order_id, what)
        })
    };
    evidence.orders.iter().filter_map(judge).collect()
}

fn rows(evidence: &Evidence) -> impl Iterator<Item = &Taken> {
    evidence.inbox.iter().filter(|row| row.handler == "invoice")
}
