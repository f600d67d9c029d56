//! The guarantee that follows from what a component can do: what it imports and is granted.

use super::{Import, Standing};
use crate::config::Ack;

/// A sentence each. That there is no network holds as long as no import gives one, whatever a manifest says.
pub(super) fn guarantee(imports: &[Import], ack: Ack) -> Vec<String> {
    let can = |interface: &str| {
        let named = |import: &&Import| import.name.split('@').next() == Some(interface);
        imports.iter().find(named).is_some_and(|import| import.standing == Standing::Granted)
    };
    let publishes = can("mailroom:contract/outbox");
    let effects = match (can("mailroom:contract/state"), publishes) {
        (false, false) if can("mailroom:contract/sql") => Some("what its SQL writes commits"),
        (false, false) => None,
        (true, false) => Some("the state that it writes commits"),
        (false, true) => Some("the messages that it publishes commit"),
        (true, true) => Some("the state that it writes and the messages that it publishes commit"),
    };
    let mut sentences = vec![match effects {
        None => "it has no effects: it only decides what becomes of its message".to_owned(),
        Some(what) => {
            format!("effects are exactly once: {what} with its message in one transaction, or not at all")
        }
    }];
    if publishes {
        let once = "Kafka sees a message again only after a crash or a take-over before its acknowledgement was noted, with the same id";
        sentences.push(once.to_owned());
    }
    if effects.is_some() && ack == Ack::AtMostOnce {
        let lost =
            "ack = \"at-most-once\": a call that is lost with its host is not repeated, and has no effects";
        sentences.push(lost.to_owned());
    }
    if can("mailroom:contract/sql") {
        let role = "its SQL runs in the transaction that completes its message, and may do what its role may";
        sentences.push(role.to_owned());
    }
    sentences.push("it reaches no network, no files and no environment".to_owned());
    sentences
}

#[cfg(test)]
mod tests {
    use super::super::standing;
    use super::*;
    use crate::config::Grants;

    fn promised(imports: &[&str], grants: &Grants, ack: Ack) -> String {
        let imports: Vec<String> =
            imports.iter().map(|name| format!("mailroom:contract/{name}@0.1.0")).collect();
        guarantee(&standing::of(&imports, grants), ack).join("\n")
    }

    #[test]
    fn what_is_promised_follows_from_imports_and_grants_together() {
        let all = Grants { publish: vec!["out".to_owned()], state: true, sql: None };
        let once = Ack::ExactlyOnce;
        assert!(promised(&["outbox", "state"], &all, once).contains("state that it writes and the messages"));
        assert!(promised(&["state"], &all, once).contains("exactly once: the state that it writes commits"));
        assert!(promised(&["outbox"], &all, once).contains("with the same id"));
        assert!(promised(&["outbox", "state"], &Grants::default(), once).contains("no effects"));
        assert!(promised(&[], &all, once).contains("no effects"));
        assert!(promised(&["state"], &all, Ack::AtMostOnce).contains("is not repeated"));
        assert!(!promised(&[], &all, Ack::AtMostOnce).contains("is not repeated"));
    }
}
