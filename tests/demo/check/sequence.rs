//! The order of a customer's messages: as the application's outbox rows have it, on every topic and in
//! the totals.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Breach, Kind};
use crate::evidence::Evidence;
use crate::stage::TOPICS;

/// First occurrences; that there is a second is another rule's matter.
pub(super) fn topics_keep_the_order_of_the_outbox(evidence: &Evidence) -> Vec<Breach> {
    let seqs: HashMap<&str, i64> =
        evidence.orders.iter().filter_map(|order| Some((order.order_id.as_str(), order.seq?))).collect();
    let mut breaches = Vec::new();
    for topic in TOPICS {
        let mut last: HashMap<&str, (i64, &str)> = HashMap::new();
        let mut seen = HashSet::new();
        for record in evidence.on(topic).filter(|record| seen.insert(&record.message_id)) {
            let Some(&seq) = seqs.get(record.order_id.as_str()) else { continue };
            let before = last.insert(&record.customer, (seq, &record.order_id));
            if let Some((before_seq, before)) = before
                && seq < before_seq
            {
                let what = format!(
                    "came after {before} on {topic}, though {} wrote it before (outbox seq {seq} and {before_seq})",
                    record.customer
                );
                breaches.push(Breach::new(Kind::Disordered, &record.order_id, what));
            }
        }
    }
    breaches
}

/// Each invoice says the sum of its customer's orders up to its own, and the state says the last one.
pub(super) fn totals_run_in_order(evidence: &Evidence) -> Vec<Breach> {
    let issued: HashMap<&str, Option<i64>> =
        evidence.on("invoices").map(|record| (record.order_id.as_str(), record.total_cents)).collect();
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    let mut breaches = Vec::new();
    for order in evidence.orders.iter().filter(|order| order.seq.is_some()) {
        let sum = sums.entry(&order.customer).or_default();
        *sum += order.amount_cents;
        if let Some(&total) = issued.get(order.order_id.as_str())
            && total != Some(*sum)
        {
            let customer = &order.customer;
            let what =
                format!("its invoice's total is {}, {customer}'s orders up to it make {sum}", shown(total));
            breaches.push(Breach::new(Kind::Wrong, &order.order_id, what));
        }
    }
    let customers: HashSet<&str> =
        sums.keys().copied().chain(evidence.totals.keys().map(String::as_str)).collect();
    for customer in customers {
        let (kept, sum) = (evidence.totals.get(customer).copied(), sums.get(customer).copied());
        if kept != sum {
            let what = format!("the state's total is {}, all orders make {}", shown(kept), shown(sum));
            breaches.push(Breach::new(Kind::Wrong, customer, what));
        }
    }
    breaches
}

fn shown(number: Option<i64>) -> String {
    number.map_or_else(|| "nothing".to_owned(), |number| number.to_string())
}
