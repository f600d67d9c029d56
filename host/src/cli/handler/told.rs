//! Report of a call: for scripts, and for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use serde_json::{Map, Value, json};

use super::given::Given;
use crate::handler::Asked;
use crate::message::Outgoing;
use crate::pipeline::decide::{Cause, cause};
use crate::pipeline::outcome::{Called, End, Fault, Outcome};
use crate::settle::Scope;
use crate::shown::bytes_as_json;

/// One call, and the times of all.
pub(super) struct Told<'c> {
    pub(super) name: &'c str,
    pub(super) given: &'c Given,
    pub(super) called: &'c Called,
    pub(super) asked: &'c [Asked],
    pub(super) calls: &'c Calls,
}

/// Durations and ends of the calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    took: Vec<Duration>,
    outcomes: BTreeMap<&'static str, u32>,
}

impl Calls {
    pub(super) fn add(&mut self, called: &Called) {
        self.took.push(called.usage.took);
        *self.outcomes.entry(Ending::of(&called.end).outcome).or_default() += 1;
    }

    /// The fastest, the median, the 99th percentile and the slowest, in microseconds to a tenth.
    fn spread(&self) -> [f64; 4] {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let calls = sorted.len();
        let places = [0, calls / 2, calls.saturating_mul(99) / 100, calls.saturating_sub(1)];
        places.map(|place| {
            let took = sorted.get(place).copied().unwrap_or_default();
            (took.as_secs_f64() * 1e7).round() / 10.0
        })
    }
}

/// End of a call, in the words of a dead letter.
pub(super) struct Ending {
    pub(super) outcome: &'static str,
    pub(super) cause: Cause,
    /// Delay that a retry asks for, and whether it costs an attempt.
    pub(super) retry: Option<(Option<Duration>, bool)>,
}

impl Ending {
    pub(super) fn of(end: &End) -> Self {
        let said = |outcome, error: &str| {
            let cause = Cause { error: error.to_owned(), ..Cause::default() };
            Self { outcome, cause, retry: None }
        };
        match end {
            End::Decided(Outcome::Completed) => said("completed", ""),
            End::Decided(Outcome::Skipped(reason)) => said("skipped", reason),
            End::Decided(Outcome::Rejected(reason)) => said("rejected", reason),
            End::Decided(Outcome::Retry { reason, after, counts }) => {
                Self { retry: Some((*after, *counts)), ..said("retry", reason) }
            }
            End::Faulted(fault) => {
                let outcome = if fault.is_failure() { "failure" } else { "fault" };
                Self { outcome, cause: cause(Fault::clone(fault)), retry: None }
            }
            End::Unavailable(why) | End::NotCalled(why) => said("unavailable", why),
        }
    }
}

impl Told<'_> {
    /// Names as in the tables where there are such.
    pub(super) fn to_json(&self) -> Value {
        let Ending { outcome, cause, retry } = Ending::of(&self.called.end);
        let message = &self.given.message;
        let usage = self.called.usage;
        let [fastest, median, most, slowest] = self.calls.spread();
        json!({
            "handler": self.name,
            "digest": &*self.called.digest,
            "message": {
                "id": message.id, "topic": &*message.topic, "event_type": message.event_type,
                "key": bytes_as_json(message.key.as_deref()), "taken": self.given.taken,
                "attempt": message.attempts_made + 1, "max_attempts": message.attempts_max,
            },
            "outcome": outcome,
            "error": (!cause.error.is_empty()).then_some(&cause.error),
            "fault": cause.fault, "code": cause.code, "detail": cause.detail,
            "retry_after_ms": retry.and_then(|(after, _)| after).map(millis),
            "retry_counts": retry.map(|(_, counts)| counts),
            "emitted": self.called.outgoing.iter().map(emitted).collect::<Vec<_>>(),
            "asked": self.asked.iter().map(asked).collect::<Vec<_>>(),
            "state": self.state(),
            "last_output": self.called.last_output,
            "fuel_used": usage.fuel, "memory_peak": usage.memory_peak, "took_us": micros(usage.took),
            "calls": {
                "count": self.calls.took.len(), "outcomes": self.calls.outcomes,
                "fastest_us": fastest, "median_us": median, "p99_us": most, "slowest_us": slowest,
            },
        })
    }

    /// Returns what the next message of the key would find, in the form that `--state` takes.
    fn state(&self) -> Value {
        let mut scopes = [Scope::Keyed, Scope::Shared].map(|scope| (scope, Map::new()));
        for (scope, name, value) in self.called.state.values() {
            for (_, values) in scopes.iter_mut().filter(|(of, _)| *of == scope) {
                values.insert(name.to_owned(), bytes_as_json(Some(value)));
            }
        }
        scopes
            .into_iter()
            .map(|(scope, values)| (scope.as_str().to_owned(), values.into()))
            .collect::<Map<_, _>>()
            .into()
    }
}

fn emitted(message: &Outgoing) -> Value {
    let headers: Vec<Value> = message
        .headers
        .iter()
        .map(|header| json!([header.name.to_string(), bytes_as_json(header.value.as_deref())]))
        .collect();
    json!({
        "id": message.id, "topic": message.topic, "event_type": message.event_type,
        "key": bytes_as_json(message.key.as_deref()), "payload": bytes_as_json(message.payload.as_deref()),
        "content_type": message.content_type, "headers": headers, "schema_version": message.schema_version,
        "idempotency_key": message.idempotency_key, "delay_ms": message.delay.map(millis),
    })
}

fn asked(asked: &Asked) -> Value {
    let bytes = |value: &Option<Vec<u8>>| bytes_as_json(value.as_deref());
    match asked {
        Asked::Published(message) => json!({ "did": "publish", "message": emitted(message) }),
        Asked::Repeated { topic } => json!({ "did": "publish-repeated", "topic": topic }),
        Asked::Read { scope, name, value } => {
            json!({ "did": "read", "scope": scope.as_str(), "name": name, "value": bytes(value) })
        }
        Asked::Listed { scope, prefix, names } => {
            json!({ "did": "list", "scope": scope.as_str(), "prefix": prefix, "names": names })
        }
        Asked::Written { scope, name, value } => {
            json!({ "did": "write", "scope": scope.as_str(), "name": name, "value": bytes(value) })
        }
        // Not the value: it may be a secret.
        Asked::Config { key, bytes: length } => json!({ "did": "config", "key": key, "bytes": length }),
        Asked::Logged { level, text } => json!({ "did": "log", "level": level, "text": text }),
        Asked::Requested { request, answer } => {
            json!({ "did": "request", "request": request, "answer": answer.get() })
        }
        Asked::Refused { request, grant, why } => {
            json!({ "did": "refused", "request": request, "grant": grant, "why": why })
        }
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ending { outcome, cause, retry } = Ending::of(&self.called.end);
        let message = &self.given.message;
        writeln!(f, "{}: {outcome}", self.name)?;
        let key = message.key.as_deref().map_or("no key".to_owned(), |key| format!("key {}", shown(key)));
        let (attempt, most) = (message.attempts_made + 1, message.attempts_max);
        let (topic, event_type) = (&message.topic, &message.event_type);
        field(f, "message", &format!("{event_type} from {topic}, {key}, attempt {attempt} of {most}"))?;
        if !self.given.taken {
            field(f, "", "no subscription of the handler takes it: a host would not have called")?;
        }
        let causes = [
            ("fault", cause.fault),
            ("code", cause.code.as_deref()),
            ("error", Some(cause.error.as_str())),
            ("detail", cause.detail.as_deref()),
        ];
        for (label, text) in causes {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                field(f, label, text)?;
            }
        }
        if let Some((after, counts)) = retry {
            let after = after.map_or("after the backoff".to_owned(), |after| {
                format!("after {}", humantime::format_duration(after))
            });
            field(
                f,
                "again",
                &format!("{after}; {}", if counts { "costs an attempt" } else { "costs no attempt" }),
            )?;
        }
        self.requests(f)?;
        for (scope, name, value) in self.called.state.values() {
            field(f, "state", &format!("{} {name} = {}", scope.as_str(), shown(value)))?;
        }
        if let Some(output) = &self.called.last_output {
            field(f, "output", output.trim_end())?;
        }
        self.costs(f)
    }
}

impl Told<'_> {
    fn requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = matches!(self.called.end, End::Decided(Outcome::Completed));
        let dropped = if kept { "" } else { "dropped: " };
        for asked in self.asked {
            match asked {
                Asked::Published(message) => {
                    let key =
                        message.key.as_deref().map_or(String::new(), |key| format!(", key {}", shown(key)));
                    let payload = message.payload.as_deref().map_or("a tombstone".to_owned(), shown);
                    let Outgoing { topic, event_type, .. } = &**message;
                    field(f, "emitted", &format!("{dropped}{event_type} to {topic}{key}: {payload}"))
                }
                Asked::Repeated { topic } => {
                    field(f, "emitted", &format!("nothing to {topic}: its idempotency key was used before"))
                }
                Asked::Read { scope, name, value } => {
                    let value = value.as_deref().map_or("none".to_owned(), shown);
                    field(f, "read", &format!("{} {name} = {value}", scope.as_str()))
                }
                Asked::Listed { scope, prefix, names } => {
                    field(f, "listed", &format!("{} {prefix}*: {}", scope.as_str(), names.join(", ")))
                }
                Asked::Written { scope, name, value } => {
                    let value = value.as_deref().map_or("none".to_owned(), shown);
                    field(f, "wrote", &format!("{dropped}{} {name} = {value}", scope.as_str()))
                }
                Asked::Config { key, bytes } => {
                    field(f, "config", &format!("{key} = a value of {bytes} bytes"))
                }
                // They are part of its output.
                Asked::Logged { .. } => Ok(()),
                Asked::Requested { request, answer } => {
                    let answer = answer.get().map_or("no answer within the call", String::as_str);
                    field(f, "requested", &format!("{request}: {answer}"))
                }
                Asked::Refused { request, grant, why } => {
                    let label = if grant.is_some() { "denied" } else { "refused" };
                    field(f, label, &format!("{request}: {why}"))
                }
            }?;
        }
        Ok(())
    }

    fn costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = self.called.usage;
        let (fuel, memory) = (usage.fuel, ByteSize(usage.memory_peak));
        write!(f, "  used      fuel {fuel}; memory {memory}; {} µs", micros(usage.took))?;
        let count = self.calls.took.len();
        if count < 2 {
            return Ok(());
        }
        let [fastest, median, most, slowest] = self.calls.spread();
        let outcomes: Vec<String> =
            self.calls.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        let outcomes = outcomes.join(", ");
        write!(
            f,
            "\n  calls     {outcomes}; median {median} µs, 99 of 100 within {most} µs, fastest {fastest} µs, slowest {slowest} µs"
        )
    }
}

/// A labelled text; its further lines stand below its first.
fn field(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    let text = text.replace('\n', "\n            ");
    writeln!(f, "  {label:<9} {text}")
}

/// Text as it is; other bytes in base64.
fn shown(bytes: &[u8]) -> String {
    let value = bytes_as_json(Some(bytes));
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
