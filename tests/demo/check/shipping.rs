//! Invoices and the shipping handler: each ends once, as its amount demands.

use super::{Breach, ById, Kind, by_id, only};
use crate::evidence::{Emitted, Evidence, Letter, Placed, Taken};
use crate::order::{Fate, fate};

struct Ends<'e> {
    rows: ById<'e, Taken>,
    letters: ById<'e, Letter>,
    parcels: ById<'e, Emitted>,
}

/// One inbox row an invoice, and either a parcel after the right number of failures or a dead letter of
/// the right reason.
pub(super) fn invoices_end_once_as_their_amount_demands(evidence: &Evidence) -> Vec<Breach> {
    let invoices = by_id(evidence.on("invoices"), |record| &record.order_id);
    let ends = Ends {
        rows: by_id(evidence.inbox.iter().filter(|row| row.handler == "shipping"), |row| &row.message_id),
        letters: by_id(evidence.letters.iter(), |letter| &letter.message_id),
        parcels: by_id(evidence.on("parcels"), |record| &record.order_id),
    };
    let mut breaches = Vec::new();
    for order in &evidence.orders {
        // An order without an invoice is another rule's matter.
        let Some(invoice) = invoices.get(order.order_id.as_str()).and_then(|found| found.first()) else {
            continue;
        };
        breaches.extend(row(&ends, order, invoice));
        breaches.extend(end(&ends, order, invoice));
    }
    breaches
}

fn row(ends: &Ends<'_>, order: &Placed, invoice: &Emitted) -> Option<Breach> {
    let (status, failures) = match fate(order.amount_cents) {
        Fate::Parcel { failures } => ("completed", failures),
        Fate::DeadLetter { failures, .. } => ("failed", failures),
    };
    let what = "inbox row of the handler shipping";
    match only(&ends.rows, &invoice.message_id, &order.order_id, what) {
        Err(breach) => Some(breach),
        Ok(row) if row.status == "pending" => {
            Some(Breach::new(Kind::Lost, &order.order_id, format!("its {what} is still pending")))
        }
        Ok(row) if (row.status.as_str(), row.attempts_made) != (status, failures) => {
            let what = format!(
                "its {what} is {} after {} failures; {} cents demand {status} after {failures}",
                row.status, row.attempts_made, order.amount_cents
            );
            Some(Breach::new(Kind::Wrong, &order.order_id, what))
        }
        Ok(_) => None,
    }
}

fn end(ends: &Ends<'_>, order: &Placed, invoice: &Emitted) -> Option<Breach> {
    let id = order.order_id.as_str();
    let parcel = ends.parcels.contains_key(id);
    let letter = ends.letters.contains_key(invoice.message_id.as_str());
    match fate(order.amount_cents) {
        Fate::Parcel { .. } if letter => {
            Some(Breach::new(Kind::Wrong, id, "has a dead letter and deserves none"))
        }
        Fate::Parcel { .. } => only(&ends.parcels, id, id, "record on parcels").err(),
        Fate::DeadLetter { .. } if parcel => {
            Some(Breach::new(Kind::Wrong, id, "has a parcel and deserves none"))
        }
        Fate::DeadLetter { reason, code, failures } => {
            match only(&ends.letters, &invoice.message_id, id, "dead letter") {
                Err(breach) => Some(breach),
                Ok(letter) => {
                    let found = (letter.reason.as_str(), letter.code.as_deref(), letter.attempts);
                    (found != (reason, code, failures)).then(|| {
                        let what =
                            format!("its dead letter says {found:?}, not {:?}", (reason, code, failures));
                        Breach::new(Kind::Wrong, id, what)
                    })
                }
            }
        }
    }
}
