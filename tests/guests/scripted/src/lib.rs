//! Does what each message's JSON payload says; `script.rs` has the words.
//!
//! Effects come first and the ending after them, so that a test sees whether the effects of a call
//! that did not complete were dropped.

mod memory;
mod mischief;
mod script;

use std::time::Duration;

use mailroom_guest::log::{self, Level};
use mailroom_guest::{Handler, Message, Outgoing, Stop, Subscription, config, json, state};

use crate::script::{Behave, Script};

struct Scripted;

impl Handler for Scripted {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("scripted").binary()]
    }

    /// Handles a message, and is not inlined, so that backtraces name it.
    #[inline(never)]
    fn handle(message: Message) -> Result<(), Stop> {
        match Script::of(&message)? {
            Some(script) => {
                act(&script, &message)?;
                end(&script, message.attempt)
            }
            None => Ok(()),
        }
    }
}

fn act(script: &Script, message: &Message) -> Result<(), Stop> {
    for _ in 0..script.log_times {
        for (level, context, text) in &script.log {
            log::line(level_of(level)?, context, text);
        }
    }
    let config = match script.config.as_deref() {
        Some("*") => Some(json!(config::all()?)),
        Some(key) => Some(json!(config::get(key)?)),
        None => None,
    };
    let calls = memory::count_call();
    memory::hold(script.hold_mib);
    if let Some(line) = &script.say {
        println!("{line}");
    }
    let sum = match script.add {
        Some(add) => {
            let state = if script.shared { state::shared() } else { state::keyed() };
            let sum = state.get::<i64>("sum")?.unwrap_or(0) + add;
            state.set("sum", &sum)?;
            Some(sum)
        }
        None => None,
    };
    let scope = if script.shared { state::shared() } else { state::keyed() };
    let peeked = match &script.peek {
        Some(name) => Some(scope.get::<serde_json::Value>(name)?),
        None => None,
    };
    let names = if script.list { Some(scope.names("", None, 100)?) } else { None };
    let Some(topic) = &script.topic else { return Ok(()) };
    for n in 0..script.count {
        let payload = json!({
            "in": message.message_id, "attempt": message.attempt, "delivery": message.delivery,
            "value": script.value, "n": n, "sum": sum, "config": config, "calls": calls,
            "peeked": peeked, "names": names,
        });
        let mut outgoing = Outgoing::json(topic, "scripted.done", &payload)?;
        outgoing = match &script.as_key {
            Some(key) => outgoing.key(key.as_str()).header("message_id", "forged"),
            None => outgoing.key_of(message),
        };
        for _ in 0..script.headers {
            outgoing = outgoing.header("", "");
        }
        if let Some(once) = &script.once {
            outgoing = outgoing.idempotency_key(once);
        }
        outgoing.publish()?;
    }
    Ok(())
}

fn level_of(word: &str) -> Result<Level, Stop> {
    Ok(match word {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        "critical" => Level::Critical,
        other => return Err(Stop::reject(format!("{other} is no level"))),
    })
}

fn end(script: &Script, attempt: u32) -> Result<(), Stop> {
    if script.until_attempt.is_some_and(|until| attempt >= until) {
        return Ok(());
    }
    match script.behave {
        Behave::Ok | Behave::Emit => Ok(()),
        Behave::Skip => Err(Stop::skip("told to skip")),
        Behave::Reject => Err(Stop::reject("told to reject")),
        Behave::Fail => Err(Stop::fail("told to fail").code("told").into()),
        Behave::Retry => Err(Stop::retry("told to retry").into()),
        Behave::RetryAfter => {
            let after = Duration::from_millis(script.after_ms);
            Err(Stop::retry("told to retry later").after(after).into())
        }
        Behave::RetryUncounted => Err(Stop::retry("told to retry uncounted").uncounted().into()),
        Behave::Panic => panic!("told to panic"),
        Behave::Loop => mischief::spin(),
        Behave::DoWithout => {
            mischief::go_without();
            Ok(())
        }
        Behave::GoWithout => {
            mischief::go_without();
            panic!("told to panic")
        }
        Behave::Flood => {
            mischief::flood();
            panic!("told to panic")
        }
        Behave::MemoryBomb => mischief::hoard(),
        Behave::Recurse => mischief::recurse(),
        Behave::Sleep => mischief::sleep(),
        Behave::Allocate => {
            mischief::allocate();
            Ok(())
        }
        Behave::FailAtLength => Err(Stop::fail(mischief::long_text()).into()),
        Behave::PrintForEver => mischief::print_for_ever(),
        Behave::PublishForEver => mischief::publish_for_ever(script.topic.as_deref().unwrap_or_default()),
        Behave::StoreForEver => mischief::store_for_ever(),
    }
}

mailroom_guest::export!(Scripted);
