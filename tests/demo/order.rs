//! The orders of the demo, and what must become of each: decided by the amount alone, as the example
//! handlers do.

/// The customers; a message's key is its customer.
const CUSTOMERS: [&str; 8] = ["ada", "barbara", "edsger", "frances", "grace", "katherine", "leslie", "tony"];

/// An order before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) customer: &'static str,
    pub(crate) amount_cents: i64,
    /// True if its transaction is rolled back.
    pub(crate) withdrawn: bool,
}

/// End that an invoice's shipping must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A parcel after so many failed attempts.
    Parcel { failures: i32 },
    /// One dead letter.
    DeadLetter { reason: &'static str, code: Option<&'static str>, failures: i32 },
}

/// Returns what shipping does with an invoice of this amount: its source says so.
pub(crate) fn fate(amount_cents: i64) -> Fate {
    if amount_cents < 0 {
        return Fate::DeadLetter { reason: "rejected", code: None, failures: 0 };
    }
    match amount_cents % 100 {
        13 => Fate::DeadLetter { reason: "exhausted", code: Some("carrier-refused"), failures: 3 },
        7 => Fate::Parcel { failures: 2 },
        _ => Fate::Parcel { failures: 0 },
    }
}

/// Makes so many orders. Every fate comes up among any twenty of them, and two rollbacks.
pub(crate) fn plan(count: u32) -> Vec<Order> {
    let mut chance = fastrand::Rng::new();
    let order = |number: u32| Order {
        id: format!("o-{number:05}"),
        customer: chance.choice(CUSTOMERS).unwrap_or_default(),
        amount_cents: amount(number, &mut chance),
        withdrawn: number % 10 == 9,
    };
    (1..=count).map(order).collect()
}

fn amount(number: u32, chance: &mut fastrand::Rng) -> i64 {
    let hundreds = chance.i64(3..300) * 100;
    match number % 20 {
        3 => hundreds + 13,
        7 | 14 => hundreds + 7,
        11 => -hundreds,
        // 20 to 99 cents: nothing that the carrier minds.
        _ => hundreds + chance.i64(20..100),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn twenty_orders_show_everything() {
        let orders = plan(20);
        assert_eq!(orders.iter().filter(|order| order.withdrawn).count(), 2);
        let committed = orders.iter().filter(|order| !order.withdrawn);
        let fates: HashSet<String> =
            committed.map(|order| format!("{:?}", fate(order.amount_cents))).collect();
        assert_eq!(fates.len(), 4, "{fates:?}");
    }
}
