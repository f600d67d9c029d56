//! Behaviours of the handler of each language, and how each shows.
#![expect(
    clippy::indexing_slicing,
    reason = "what JSON does not have is null; else a test that fails panics"
)]

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mailroom_tests::{Message, Record};
use serde_json::{Value, json};

use super::{Ended, Surroundings, TOPIC};

/// One named behaviour.
pub(super) struct Behaviour {
    pub(super) name: &'static str,
    /// Messages of the behaviour. Their ids begin with the behaviour's name.
    pub(super) messages: fn(&Surroundings) -> Vec<Message>,
    pub(super) check: fn(&All, &str, &Surroundings) -> Result<()>,
}

type All = BTreeMap<String, Ended>;

const LARGE: usize = 900_000;
const TEXT: &str = "grüße 😀";

pub(super) const ALL: [Behaviour; 26] = [
    Behaviour {
        name: "every field of a message",
        messages: |_| vec![every_field()],
        check: |all, _, _| has_every_field(all),
    },
    Behaviour {
        name: "headers that are null, repeat or are bytes",
        messages: |_| {
            let message = asks("headers", "conformance.echo", &json!(1));
            vec![message.header("a", "1").null_header("a").header("b", [0xff, 0x00])]
        },
        check: |all, _, _| {
            let headers = at(all, "headers")?.result()?;
            let own: Vec<(String, Option<Vec<u8>>)> = headers["headers"]
                .as_array()
                .context("no list")?
                .iter()
                .map(|header| (header[0].as_str().unwrap_or_default().to_owned(), shown(&header[1])))
                .filter(|(name, _)| name == "a" || name == "b")
                .collect();
            let expected = [("a", Some(&b"1"[..])), ("a", None), ("b", Some(&[0xff, 0x00][..]))]
                .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
            same(&own, &expected.to_vec())
        },
    },
    Behaviour {
        name: "a tombstone and an empty payload",
        messages: |_| {
            let echo = |id: &str| Message::to(TOPIC).id(id).key(id).header("event_type", "conformance.echo");
            vec![echo("tombstone"), echo("empty").payload("")]
        },
        check: |all, _, _| {
            same(&at(all, "tombstone")?.result()?["payload"], &Value::Null)?;
            same(&shown(&at(all, "empty")?.result()?["payload"]), &Some(Vec::new()))
        },
    },
    Behaviour {
        name: "binary payload and key",
        messages: |_| {
            vec![asks("binary", "conformance.echo", &Value::Null).payload([0xff, 0x00, 0xfe]).key([0xfd])]
        },
        check: |all, _, _| {
            let echo = at(all, "binary")?.result()?;
            same(&shown(&echo["payload"]), &Some(vec![0xff, 0x00, 0xfe]))?;
            same(&shown(&echo["key"]), &Some(vec![0xfd]))
        },
    },
    Behaviour {
        name: "a payload of 900 kB",
        messages: |_| vec![asks("large", "conformance.size", &Value::Null).payload(large())],
        check: |all, _, _| {
            let size = at(all, "large")?.result()?;
            same(&size["bytes"], &json!(LARGE))?;
            let sum = large().iter().map(|byte| u64::from(*byte)).sum::<u64>() % (1 << 32);
            let by_sum = size.get("sum").is_some_and(|found| *found == json!(sum));
            ensure!(by_sum || size["sha256"] == json!(sha256()), "{size}");
            Ok(())
        },
    },
    Behaviour {
        name: "JSON, and what is none is rejected",
        messages: |_| {
            let order = json!({"order_id": "ö-1 😀", "amount_cents": 4200});
            vec![
                asks("json", "conformance.json", &order),
                asks("json-malformed", "conformance.json", &Value::Null).payload("{\"order_id\": "),
                asks("json-other", "conformance.json", &json!({"order_id": 7})),
            ]
        },
        check: |all, _, _| {
            same(&at(all, "json")?.result()?, &json!({"order_id": "ö-1 😀", "amount_cents": 4200}))?;
            same(&at(all, "json-malformed")?.how, &"rejected".to_owned())?;
            same(&at(all, "json-other")?.how, &"rejected".to_owned())
        },
    },
    Behaviour {
        name: "completed",
        messages: |_| vec![asks("completed", "conformance.completed", &json!(1))],
        check: |all, _, _| same(&at(all, "completed")?.how, &"completed".to_owned()),
    },
    Behaviour {
        name: "retry after a delay",
        messages: |_| vec![asks("retry", "conformance.retry-after", &json!({"after_ms": 300}))],
        check: |all, _, _| same(&at(all, "retry")?.result()?, &json!({"attempt": 2, "delivery": 2})),
    },
    Behaviour {
        name: "retry that costs no attempt",
        messages: |_| vec![asks("uncounted", "conformance.uncounted", &json!(1))],
        check: |all, _, _| same(&at(all, "uncounted")?.result()?, &json!({"attempt": 1, "delivery": 3})),
    },
    Behaviour {
        name: "skipped",
        messages: |_| vec![asks("skipped", "conformance.skipped", &json!(1))],
        check: |all, _, _| {
            same(&at(all, "skipped")?.how, &"skipped".to_owned())?;
            same(&at(all, "skipped")?.error, &"nothing to do".to_owned())
        },
    },
    Behaviour {
        name: "rejected",
        messages: |_| vec![asks("rejected", "conformance.rejected", &json!(1))],
        check: |all, _, _| {
            let ended = at(all, "rejected")?;
            same(&(&*ended.how, &*ended.error, ended.attempts), &("rejected", "never", 0))
        },
    },
    Behaviour {
        name: "a failure with code and detail",
        messages: |_| vec![asks("failed", "conformance.failed", &json!(1))],
        check: |all, _, _| {
            let ended = at(all, "failed")?;
            same(&(&*ended.how, &*ended.error, ended.attempts), &("exhausted", "the bank refused", 3))?;
            same(
                &(ended.code.as_deref(), ended.detail.as_deref()),
                &(Some("bank-refused"), Some("account 7")),
            )
        },
    },
    Behaviour {
        name: "an error that nobody caught, with its words and its stack",
        messages: |_| vec![asks("uncaught", "conformance.uncaught", &json!(1))],
        check: |all, _, _| {
            let ended = at(all, "uncaught")?;
            same(&ended.how, &"exhausted".to_owned())?;
            // What aborts in C, or panics in Rust for WebAssembly, nobody can catch: it is a trap with the same words.
            let is_told = matches!(ended.fault.as_deref(), None | Some("failure"))
                || ["c", "rust"].contains(&ended.language);
            ensure!(is_told, "it is a fault: {:?}", ended.fault);
            ensure!(ended.error.contains("boom 😀"), "its words are {:?}", ended.error);
            let stack = ended.detail.clone().unwrap_or_default().to_lowercase().replace('_', "");
            ensure!(stack.contains("deepinthestack"), "its stack is {stack:?}");
            Ok(())
        },
    },
    Behaviour {
        name: "effects of what fails are dropped",
        messages: |_| vec![asks("dropped", "conformance.published-then-failed", &json!(1))],
        check: |all, _, _| {
            let ended = at(all, "dropped")?;
            same(&(ended.error.as_str(), ended.results.len()), &("after effects", 0))
        },
    },
    Behaviour {
        name: "publish: key, headers, types, delay, idempotency key",
        messages: |_| vec![asks("publish", "conformance.publish", &json!({"delay_ms": 500}))],
        check: |all, _, _| published(&at(all, "publish")?.results),
    },
    Behaviour {
        name: "publish: what is not granted or invalid is an error by its kind",
        messages: |_| {
            vec![
                asks("denied", "conformance.publish-denied", &json!(1)),
                asks("invalid", "conformance.publish-invalid", &json!(1)),
            ]
        },
        check: |all, _, _| {
            same(&at(all, "denied")?.result()?, &json!({"error": "not-granted", "topic": "elsewhere"}))?;
            let invalid = at(all, "invalid")?.result()?;
            ensure!(
                ["invalid", "not-granted"].iter().any(|kind| invalid["error"] == json!(kind)),
                "{invalid}"
            );
            Ok(())
        },
    },
    Behaviour {
        name: "keyed state, by names, and kept for the key",
        messages: |_| {
            let of_key = |id: &str, behave: &str| asks(id, behave, &json!(1)).key("of-state");
            vec![of_key("state", "conformance.state"), of_key("state-kept", "conformance.state-kept")]
        },
        check: |all, _, _| {
            let state = json!({"a": {"n": 1}, "b": null, "names": ["c/1", "c/2", "c/3"]});
            same(&at(all, "state")?.result()?, &state)?;
            same(&at(all, "state-kept")?.result()?, &json!({"a": {"n": 1}}))
        },
    },
    Behaviour {
        name: "state: an invalid name and a missing key are errors by their kind",
        messages: |_| {
            let no_key = Message::to(TOPIC)
                .id("no-key")
                .header("event_type", "conformance.state-no-key")
                .json(&json!(1));
            vec![asks("invalid-name", "conformance.state-invalid", &json!(1)), no_key]
        },
        check: |all, _, _| {
            same(&at(all, "invalid-name")?.result()?["error"], &json!("invalid-name"))?;
            same(&at(all, "no-key")?.result()?["error"], &json!("no-key"))
        },
    },
    Behaviour {
        name: "shared state: who loses a race runs again",
        messages: |_| {
            let count = |n: usize| asks(&format!("shared-{n}"), "conformance.shared", &json!(1));
            (0..10)
                .map(count)
                .chain([asks("shared-late", "conformance.retry-after", &json!({"after_ms": 1}))])
                .collect()
        },
        check: |all, _, _| {
            for n in 0..10 {
                same(&at(all, &format!("shared-{n}"))?.how, &"completed".to_owned())?;
            }
            Ok(())
        },
    },
    Behaviour {
        name: "SQL: parameters and rows of every type, and a count",
        messages: |_| vec![asks("sql", "conformance.sql", &json!(1))],
        check: |all, _, _| {
            let results = &at(all, "sql")?.results;
            ensure!(results.len() == 2, "{} results", results.len());
            let row = results[0].json()?;
            same(&row["columns"], &json!(6))?;
            let values = row["row"].as_array().context("no row")?;
            let large = values.get(1).and_then(Value::as_str).and_then(|large| large.parse::<i64>().ok());
            ensure!(large.is_some_and(|large| large >= 9_007_199_254_740_991), "{row}");
            same(
                &(&values[0], &values[2], &values[3], &values[4], &values[5]),
                &(&json!(true), &json!(1.5), &json!("ü😀"), &json!("AP8="), &Value::Null),
            )?;
            same(&results[1].json()?, &json!({"inserted": 1}))
        },
    },
    Behaviour {
        name: "SQL: an error has its SQLSTATE",
        messages: |_| vec![asks("sql-error", "conformance.sql-error", &json!(1))],
        check: |all, _, _| {
            let ended = at(all, "sql-error")?;
            same(&ended.code.as_deref(), &Some("22012"))?;
            ensure!(ended.error.contains("division by zero"), "{:?}", ended.error);
            Ok(())
        },
    },
    Behaviour {
        name: "configuration",
        messages: |_| vec![asks("config", "conformance.config", &json!(1))],
        check: |all, _, _| {
            let config = at(all, "config")?.result()?;
            same(&config["greeting"], &json!("hello 😀"))?;
            ensure!(config["absent"].as_str().is_some_and(|words| words.contains("ABSENT")), "{config}");
            Ok(())
        },
    },
    Behaviour {
        name: "lines in the host's log, by level",
        messages: |_| vec![asks("log", "conformance.log", &json!(1))],
        check: |all, log, _| {
            same(&at(all, "log")?.how, &"completed".to_owned())?;
            for level in ["INFO", "WARN", "ERROR"] {
                let line =
                    log.lines().find(|line| line.to_uppercase().contains(&format!("A LINE AT {level} 😀")));
                let line = line.with_context(|| format!("no line at {level}"))?;
                ensure!(line.contains(&format!(" {level} ")) && line.contains("conformance"), "{line}");
            }
            Ok(())
        },
    },
    Behaviour {
        name: "HTTP: what is granted is sent, what is not is denied",
        messages: |of| {
            let to = |id: &str, url: String| asks(id, "conformance.http", &json!({"url": url}));
            vec![
                to("http", of.web.url("127.0.0.1", "/echo")),
                to("http-denied", "http://elsewhere.invalid/".to_owned()),
            ]
        },
        check: |all, _, _| {
            let answer = at(all, "http")?.result()?;
            same(&answer["status"], &json!(200))?;
            ensure!(
                answer["body"].as_str().is_some_and(|body| body.contains("POST") && body.contains("ping 😀")),
                "{answer}"
            );
            let denied = at(all, "http-denied")?.result()?;
            ensure!(denied["error"].as_str().is_some_and(|words| !words.is_empty()), "{denied}");
            Ok(())
        },
    },
    Behaviour {
        name: "limits of time and memory end a call",
        messages: |_| {
            vec![
                asks("spin", "conformance.spin", &json!(1)),
                asks("allocate", "conformance.allocate", &json!(1)),
            ]
        },
        check: |all, _, _| {
            let spin = at(all, "spin")?;
            ensure!(matches!(spin.fault.as_deref(), Some("deadline" | "out-of-fuel")), "{spin:?}");
            let allocate = at(all, "allocate")?;
            same(&allocate.how, &"exhausted".to_owned())?;
            Ok(())
        },
    },
    Behaviour {
        name: "dispatch by type, source and version; old versions are upcast",
        messages: |_| {
            let placed = |id: &str, version: &str, payload: Value| {
                let message = asks(id, "order.placed", &payload);
                if version.is_empty() { message } else { message.header("schema_version", version) }
            };
            let cancelled =
                |id: &str, source: &str| asks(id, "order.cancelled", &json!(1)).header("source", source);
            vec![
                placed("v1", "1", json!({"amount": 12.5})),
                placed("v2", "2", json!({"amount_cents": 1250})),
                placed("v3", "3.1", json!({"amount_cents": 1250, "currency": "USD"})),
                placed("v-none", "", json!({"amount_cents": 1250, "currency": "GBP"})),
                cancelled("cancelled", "shop.north"),
                cancelled("cancelled-elsewhere", "bank"),
            ]
        },
        check: |all, _, _| {
            for (id, currency) in [("v1", "EUR"), ("v2", "EUR"), ("v3", "USD"), ("v-none", "GBP")] {
                let order = at(all, id)?.result().with_context(|| id.to_owned())?;
                same(&order, &json!({"amount_cents": 1250, "currency": currency}))?;
            }
            same(&at(all, "cancelled")?.result()?, &json!({"cancelled_by": "shop.north"}))?;
            same(&at(all, "cancelled-elsewhere")?.how, &"skipped".to_owned())
        },
    },
];

fn asks(id: &str, event_type: &str, payload: &Value) -> Message {
    Message::to(TOPIC).id(id).key(id).header("event_type", event_type).json(payload)
}

fn at<'a>(all: &'a All, id: &str) -> Result<&'a Ended> {
    all.get(id).with_context(|| format!("nothing is known of the message {id}"))
}

fn same<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<()> {
    ensure!(found == expected, "it is {found:?}, and should be {expected:?}");
    Ok(())
}

/// Bytes of `{"text": …}` or `{"base64": …}`.
fn shown(value: &Value) -> Option<Vec<u8>> {
    match (value["text"].as_str(), value["base64"].as_str()) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (_, Some(base64)) => BASE64.decode(base64).ok(),
        (None, None) => None,
    }
}

fn large() -> Vec<u8> {
    (0..LARGE).map(|place| u8::try_from(place % 251).unwrap_or_default()).collect()
}

/// The digest of the large payload.
fn sha256() -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(large()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn every_field() -> Message {
    let message = asks("fields", "conformance.echo", &json!(TEXT)).header("source", "shop.north");
    let message = message.header("schema_version", "1.2").header("content-type", "application/json");
    message.header("correlation_id", "c-1").at(1_700_000_000_123)
}

fn has_every_field(all: &All) -> Result<()> {
    let echo = at(all, "fields")?.result()?;
    for (name, expected) in [
        ("message_id", json!("fields")),
        ("event_type", json!("conformance.echo")),
        ("source", json!("shop.north")),
        ("schema_version", json!("1.2")),
        ("topic", json!(TOPIC)),
        ("partition", json!(0)),
        ("offset", json!(0)),
        ("produced_at_ms", json!(1_700_000_000_123_i64)),
        ("correlation_id", json!("c-1")),
        ("content_type", json!("application/json")),
        ("attempt", json!(1)),
        ("max_attempts", json!(3)),
        ("delivery", json!(1)),
    ] {
        ensure!(echo[name] == expected, "{name} is {}, and should be {expected}", echo[name]);
    }
    same(&shown(&echo["key"]), &Some(b"fields".to_vec()))?;
    same(&shown(&echo["payload"]), &Some(json!(TEXT).to_string().into_bytes()))
}

fn published(results: &[Record]) -> Result<()> {
    let of_payload = |payload: Option<&[u8]>| -> Vec<&Record> {
        results.iter().filter(|of| of.payload.as_deref() == payload).collect()
    };
    let text = of_payload(Some("hello 😀".as_bytes())).first().copied().context("no text")?;
    same(&text.key_text(), &"k😀".to_owned())?;
    let own: Vec<_> = text.headers.iter().filter(|(name, _)| name == "a" || name == "b").cloned().collect();
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    same(&own, &vec![header("a", Some(b"1")), header("a", None), header("b", Some(&[0xff, 0x00]))])?;
    same(&text.header("content-type").as_deref(), &Some("text/plain"))?;
    same(&text.header("schema_version").as_deref(), &Some("2.1"))?;
    same(&of_payload(Some(&[0x00, 0xff])).len(), &1)?;
    same(&of_payload(None).len(), &1)?;
    let same_id = json!({"same_id": true});
    ensure!(
        results.iter().any(|of| of.json().is_ok_and(|of| of == same_id)),
        "an idempotency key gave two ids"
    );
    // Text, bytes, tombstone, delayed, once, and whether the ids were the same.
    same(&results.len(), &6)
}
