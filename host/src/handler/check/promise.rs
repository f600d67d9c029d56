//! The guarantee that follows from what a component can do: what it imports and is granted.

use super::{Import, Standing};
use crate::config::{Ack, Instances, Manifest};
use crate::handler::world::Contract;

/// Lists what a component of this contract is held to, with how other contracts than ours are read.
pub(super) fn of(contract: Option<Contract>, imports: &[Import], manifest: &Manifest) -> Vec<String> {
    let read = match contract {
        None | Some(Contract::Mailroom) => None,
        Some(Contract::Wasmcloud) => Some("a subject is a Kafka topic, and reply-to the header of that name"),
        Some(Contract::Wasi) => Some("metadata are headers whose values are text"),
    };
    let read = read.map(|read| {
        format!(
            "{read}; what it publishes has the key of its message, and the topic's name for its type; an error is a \
             failure, after which the message comes again; a request is refused, since nobody waits for replies"
        )
    });
    read.into_iter().chain(guarantee(imports, manifest)).collect()
}

/// A sentence each. That there is no network holds as long as no import gives one, whatever a manifest says.
fn guarantee(imports: &[Import], manifest: &Manifest) -> Vec<String> {
    let can = |interface: &str| {
        let named = |import: &&Import| import.name.split('@').next() == Some(interface);
        imports.iter().find(named).is_some_and(|import| import.standing == Standing::Granted)
    };
    let publishes = ["mailroom:contract/outbox", "wasmcloud:messaging/consumer", "wasi:messaging/producer"]
        .into_iter()
        .any(can);
    let state = can("mailroom:contract/state") || can("wasi:keyvalue/store");
    let effects = match (state, publishes) {
        (false, false) if can("mailroom:contract/sql") => Some("what its SQL writes commits"),
        (false, false) => None,
        (true, false) => Some("the state that it writes commits"),
        (false, true) => Some("the messages that it publishes commit"),
        (true, true) => Some("the state that it writes and the messages that it publishes commit"),
    };
    let asks = can("wasi:http/outgoing-handler");
    let where_to = if asks { " in Postgres" } else { "" };
    let mut sentences = vec![match effects {
        None if asks => {
            "it has no effects in Postgres: it only decides what becomes of its message".to_owned()
        }
        None => "it has no effects: it only decides what becomes of its message".to_owned(),
        Some(what) => {
            format!(
                "effects{where_to} are exactly once: {what} with its message in one transaction, or not at all"
            )
        }
    }];
    if publishes {
        let once = "Kafka sees a message again only after a crash or a take-over before its acknowledgement was noted, with the same id";
        sentences.push(once.to_owned());
    }
    if effects.is_some() && manifest.ack == Ack::AtMostOnce {
        let lost =
            "ack = \"at-most-once\": a call that is lost with its host is not repeated, and has no effects";
        sentences.push(lost.to_owned());
    }
    if can("mailroom:contract/sql") {
        let role = "its SQL runs in the transaction that completes its message, and may do what its role may";
        sentences.push(role.to_owned());
    }
    if can("wasi:logging/logging") {
        sentences.push(
            "its log lines are written at once, and again where its message is handled again".to_owned(),
        );
    }
    let environment = if can("wasi:config/store") {
        "no environment but the configuration keys that it is granted, which only the operator changes"
    } else {
        "no environment"
    };
    if asks {
        let hosts = manifest.grants.http.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        sentences.push(asked(&hosts, manifest.ack));
        sentences.push(format!(
            "it reaches {hosts} over HTTP, nothing else of the network, no files and {environment}"
        ));
    } else {
        sentences.push(format!("it reaches no network, no files and {environment}"));
    }
    if let Instances::Reuse { calls_max } = manifest.instances() {
        sentences.push(format!(
            "instances = \"reuse\": up to {calls_max} messages share an instance, and what one leaves in its memory the next may find; \
             messages are not isolated from each other"
        ));
    }
    sentences
}

/// Describes the guarantee for HTTP requests, which lie outside of the transaction.
fn asked(hosts: &str, ack: Ack) -> String {
    match ack {
        Ack::ExactlyOnce | Ack::AtLeastOnce => format!(
            "its requests to {hosts} are sent at least once where it completes: a call that fails, or is lost with its \
             host, is repeated with them; send message.id as idempotency key"
        ),
        Ack::AtMostOnce => format!(
            "its requests to {hosts} may be lost with their host, and are repeated only where it fails and is retried; \
             send message.id as idempotency key"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::standing;
    use super::*;
    use crate::config::{Grants, LogLevel, Origin, Secret};
    use crate::handler::tests::config;

    fn promised(imports: &[&str], grants: &Grants, ack: Ack) -> String {
        promised_by(imports, Manifest { grants: grants.clone(), ack, ..Manifest::default_for(&config()) })
    }

    fn promised_by(imports: &[&str], manifest: Manifest) -> String {
        let full = |name: &&str| match *name {
            "keyvalue" => "wasi:keyvalue/store@0.2.0-draft".to_owned(),
            "http" => "wasi:http/outgoing-handler@0.2.12".to_owned(),
            name => format!("mailroom:contract/{name}@0.1.0"),
        };
        let imports: Vec<String> = imports.iter().map(full).collect();
        guarantee(&standing::of(&imports, &manifest.grants), &manifest).join("\n")
    }

    #[test]
    fn a_reused_instance_is_said_to_be_no_isolation() {
        let new = Manifest::default_for(&config());
        let reused = Manifest { instances: Some(Instances::Reuse { calls_max: 7 }), ..new.clone() };
        assert!(promised_by(&[], reused).contains("up to 7 messages share an instance"));
        assert!(!promised_by(&[], new).contains("share"));
    }

    #[test]
    fn what_reads_configuration_or_logs_has_no_effects_by_that() {
        let key = [("KEY".to_owned(), Secret::new("hunter2".to_owned()))].into();
        let grants = Grants { config: key, log: LogLevel::Info, ..Grants::default() };
        let imports = ["wasi:config/store@0.2.0-rc.1", "wasi:logging/logging@0.1.0-draft"].map(str::to_owned);
        let said = |grants: &Grants| {
            let manifest = Manifest { grants: grants.clone(), ..Manifest::default_for(&config()) };
            guarantee(&standing::of(&imports, grants), &manifest).join("\n")
        };
        let granted = said(&grants);
        assert!(
            granted.contains("no effects") && granted.contains("log lines are written at once"),
            "{granted}"
        );
        assert!(
            granted.contains("no environment but the configuration keys") && !granted.contains("hunter2")
        );
        assert!(said(&Grants::default()).ends_with("no environment"), "{}", said(&Grants::default()));
    }

    #[test]
    fn what_is_promised_follows_from_imports_and_grants_together() {
        let all = Grants { publish: vec!["out".to_owned()], state: true, ..Grants::default() };
        let once = Ack::ExactlyOnce;
        assert!(promised(&["outbox", "state"], &all, once).contains("state that it writes and the messages"));
        assert!(promised(&["state"], &all, once).contains("exactly once: the state that it writes commits"));
        assert!(
            promised(&["keyvalue"], &all, once).contains("exactly once: the state that it writes commits")
        );
        assert!(promised(&["outbox"], &all, once).contains("with the same id"));
        assert!(promised(&["outbox", "state"], &Grants::default(), once).contains("no effects"));
        assert!(promised(&[], &all, once).contains("no effects"));
        assert!(promised(&["state"], &all, Ack::AtMostOnce).contains("is not repeated"));
        assert!(!promised(&[], &all, Ack::AtMostOnce).contains("is not repeated"));
    }

    #[test]
    fn requests_are_promised_only_where_they_are_imported_and_granted() {
        let http =
            Grants { http: Origin::parse("api.example.com").into_iter().collect(), ..Grants::default() };
        let all = Grants { publish: vec!["out".to_owned()], ..http.clone() };
        let once = Ack::ExactlyOnce;
        for (imports, grants) in [(&["http"][..], &Grants::default()), (&[], &http)] {
            let promised = promised(imports, grants, once);
            assert!(promised.contains("it reaches no network, no files and no environment"), "{promised}");
            assert!(promised.contains("it has no effects:") && !promised.contains("HTTP"), "{promised}");
        }
        let asks = promised(&["http"], &http, once);
        assert!(asks.contains("no effects in Postgres") && asks.contains("at least once"), "{asks}");
        assert!(asks.contains("it reaches api.example.com over HTTP, nothing else"), "{asks}");
        let both = promised(&["http", "outbox"], &all, once);
        assert!(both.contains("effects in Postgres are exactly once: the messages"), "{both}");
        assert!(promised(&["http"], &http, Ack::AtMostOnce).contains("may be lost"));
    }
}
