//! The judgement over what the database and the topics hold: every committed order went the whole way
//! exactly once, in order, and nothing else happened. Pure, and it names each breach.

mod publishing;
mod sequence;
mod handling;
mod shipping;

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::evidence::Evidence;

/// Kind of promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Something is not there, or not to its end.
    Lost,
    /// Something is there twice.
    Repeated,
    /// Something came before what was written earlier.
    Disordered,
    /// Something is there that should not be so.
    Wrong,
}

impl Kind {
    /// Returns the words in which it is printed.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Repeated => "repeated",
            Self::Disordered => "out of order",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) kind: Kind,
    /// The order, or the customer, that it is about.
    pub(crate) subject: String,
    pub(crate) what: String,
}

impl Breach {
    fn new(kind: Kind, subject: &str, what: impl Into<String>) -> Self {
        Self { kind, subject: subject.to_owned(), what: what.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind.word(), self.subject, self.what)
    }
}

/// All breaches; none means that the check holds.
pub(crate) fn check(evidence: &Evidence) -> Vec<Breach> {
    let rules = [
        publishing::outbox_and_topics_agree,
        publishing::what_was_rolled_back_is_nowhere,
        publishing::orders_are_on_kafka_once,
        sequence::topics_keep_the_order_of_the_outbox,
        sequence::totals_run_in_order,
        handling::orders_are_invoiced_once,
        handling::rows_name_the_edition_that_emitted,
        shipping::invoices_end_once_as_their_amount_demands,
    ];
    rules.iter().flat_map(|rule| rule(evidence)).collect()
}

/// Counts the orders or customers that suffered it.
pub(crate) fn suffered(breaches: &[Breach], kind: Kind) -> usize {
    let subjects = breaches.iter().filter(|breach| breach.kind == kind).map(|breach| &breach.subject);
    subjects.collect::<BTreeSet<_>>().len()
}

/// Items of each id.
type ById<'e, T> = HashMap<&'e str, Vec<&'e T>>;

fn by_id<'e, T>(items: impl Iterator<Item = &'e T>, id: impl Fn(&'e T) -> &'e str) -> ById<'e, T> {
    let mut found = ById::new();
    for item in items {
        found.entry(id(item)).or_default().push(item);
    }
    found
}

/// The only one of this id, or the breach: `what` names what is missing or there more than once.
fn only<'e, T>(found: &ById<'e, T>, id: &str, subject: &str, what: &str) -> Result<&'e T, Breach> {
    match found.get(id).map_or(&[][..], Vec::as_slice) {
        [] => Err(Breach::new(Kind::Lost, subject, format!("no {what}"))),
        [one] => Ok(one),
        more => Err(Breach::new(Kind::Repeated, subject, format!("{} times: {what}", more.len()))),
    }
}

#[cfg(test)]
mod tests;
