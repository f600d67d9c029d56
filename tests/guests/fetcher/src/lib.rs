//! Sends the HTTP requests that its message names, and emits what came back.

use std::time::Duration;

use mailroom_guest::http::{HttpError, Request};
use mailroom_guest::{Handler, Message, Outgoing, Stop, Subscription, json, state};
use serde::Deserialize;
use serde_json::Value;

struct Fetcher;

/// A message's payload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(default)]
    requests: Vec<Asked>,
    /// Topic to which what came back is emitted.
    topic: Option<String>,
    /// Completes although a request has no response.
    #[serde(default)]
    stubborn: bool,
    /// Adds one to the key's state `count`.
    #[serde(default)]
    counts: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    timeout_ms: Option<u64>,
    body_bytes_max: Option<usize>,
    /// Number of times that it is sent.
    #[serde(default = "once")]
    times: u32,
    /// Bytes of host before the URL's own.
    #[serde(default)]
    longer: usize,
}

impl Handler for Fetcher {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("fetch").binary()]
    }

    fn handle(message: Message) -> Result<(), Stop> {
        let script: Script = message.json()?;
        let mut answers = Vec::new();
        for asked in &script.requests {
            for _ in 0..asked.times {
                match send(asked) {
                    Ok(answer) => answers.push(answer),
                    Err(error) if script.stubborn => answers.push(json!({ "error": error.to_string() })),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if script.counts {
            let count = state::keyed().get::<i64>("count")?.unwrap_or(0);
            state::keyed().set("count", &(count + 1))?;
        }
        if let Some(topic) = &script.topic {
            let fetched = json!({ "in": message.message_id, "answers": answers });
            Outgoing::json(topic, "fetched", &fetched)?.key_of(&message).publish()?;
        }
        Ok(())
    }
}

fn send(asked: &Asked) -> Result<Value, HttpError> {
    let url = asked.url.replacen("://", &format!("://{}", "a".repeat(asked.longer)), 1);
    let mut request = Request::new(&asked.method, &url).body(asked.body.as_bytes());
    for (name, value) in &asked.headers {
        request = request.header(name, value);
    }
    if let Some(timeout) = asked.timeout_ms {
        request = request.timeout(Duration::from_millis(timeout));
    }
    if let Some(bytes) = asked.body_bytes_max {
        request = request.body_bytes_max(bytes);
    }
    let response = request.send()?;
    let body = String::from_utf8_lossy(&response.body);
    Ok(json!({ "status": response.status, "location": response.header("location"), "body": body }))
}

fn get() -> String {
    "GET".to_owned()
}

fn once() -> u32 {
    1
}

mailroom_guest::export!(Fetcher);
