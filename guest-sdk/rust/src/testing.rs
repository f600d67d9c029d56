//! A host in memory, for unit tests of handlers by `cargo test`, without a component. It is there on all targets but
//! wasm32.
//!
//! ```
//! use mailroom_guest::testing::{self, TestHost};
//! use mailroom_guest::{Handler, Message, Outgoing, Stop, Subscription, json, state};
//!
//! struct Counter;
//!
//! impl Handler for Counter {
//!     fn subscriptions() -> Vec<Subscription> {
//!         vec![Subscription::topic("orders")]
//!     }
//!
//!     fn handle(message: Message) -> Result<(), Stop> {
//!         let count = state::keyed().get("count")?.unwrap_or(0) + 1;
//!         state::keyed().set("count", &count)?;
//!         Outgoing::json("counts", "count.changed", &count)?.key_of(&message).publish()?;
//!         Ok(())
//!     }
//! }
//!
//! let mut host = TestHost::new();
//! host.set_keyed("ada", "count", &41);
//! let order = testing::message("orders", "order.placed", &json!({ "order_id": "o-1" }));
//! let call = host.call::<Counter>(Message { key: Some("ada".into()), ..order });
//!
//! assert_eq!(call.ending, Ok(()));
//! assert_eq!(host.keyed("ada", "count"), Some(42));
//! assert_eq!(call.published, [Outgoing::json("counts", "count.changed", &42)?.key("ada")]);
//! # Ok::<(), serde_json::Error>(())
//! ```

pub(crate) mod answers;
mod call;
mod kept;

use std::fmt;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::{HttpError, Response};
use crate::pattern::{is_version, matches};
use crate::sql::{SqlError, Table, Value};
use crate::{Data, Handler, Message, Position, Subscription};
use answers::Running;
pub use call::{Call, Line, Published, SentRequest};
use kept::Kept;

/// A host that keeps what calls left behind. As the real one it drops what a call published and stored unless the call
/// completes. It grants messages and state unless told otherwise, and has no limits on sizes and numbers.
#[derive(Debug, Default)]
pub struct TestHost {
    grants: Grants,
    kept: Kept,
}

type Query = dyn Fn(&str, &[Value]) -> Result<Table, SqlError>;
type Execute = dyn Fn(&str, &[Value]) -> Result<u64, SqlError>;
type Exchange = dyn Fn(&SentRequest) -> Result<Response, HttpError>;

#[derive(Clone, Default)]
struct Grants {
    /// None grants all.
    topics: Option<Vec<String>>,
    is_state_denied: bool,
    config: Vec<(String, String)>,
    query: Option<Rc<Query>>,
    execute: Option<Rc<Execute>>,
    http: Option<Rc<Exchange>>,
}

impl TestHost {
    /// A host without state, configuration, SQL and HTTP.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants these topics and no others, as `grants.publish` does.
    #[must_use]
    pub fn publish<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.grants.topics = Some(topics.into_iter().map(Into::into).collect());
        self
    }

    /// Denies state.
    #[must_use]
    pub fn without_state(mut self) -> Self {
        self.grants.is_state_denied = true;
        self
    }

    /// Grants a key of the configuration, with this value.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.grants.config.push((key.into(), value.into()));
        self
    }

    /// Answers [`sql::query`](crate::sql::query).
    #[must_use]
    pub fn on_query(mut self, answer: impl Fn(&str, &[Value]) -> Result<Table, SqlError> + 'static) -> Self {
        self.grants.query = Some(Rc::new(answer));
        self
    }

    /// Answers [`sql::execute`](crate::sql::execute).
    #[must_use]
    pub fn on_execute(mut self, answer: impl Fn(&str, &[Value]) -> Result<u64, SqlError> + 'static) -> Self {
        self.grants.execute = Some(Rc::new(answer));
        self
    }

    /// Answers HTTP requests.
    #[must_use]
    pub fn on_http(mut self, answer: impl Fn(&SentRequest) -> Result<Response, HttpError> + 'static) -> Self {
        self.grants.http = Some(Rc::new(answer));
        self
    }

    /// Calls a handler once. A panic of the handler, which is a fault in the sandbox, is one of the test.
    ///
    /// # Panics
    /// Where a call is running in this thread.
    pub fn call<H: Handler>(&mut self, message: Message) -> Call {
        let key = message.key.as_ref().map(|key| key.as_bytes().to_vec());
        let running = answers::begin(Running::new(self.grants.clone(), key, self.kept.clone()));
        let ending = H::handle(message);
        let Running { kept, mut published, lines, requests, .. } = running.end();
        if ending.is_ok() {
            self.kept = kept;
        } else {
            published.clear();
        }
        Call { ending, published, lines, requests }
    }

    /// A JSON value in the keyed state of a key, or `None` where it was never set.
    ///
    /// # Panics
    /// Where it is not the JSON that `T` expects.
    #[track_caller]
    pub fn keyed<T: DeserializeOwned>(&self, key: impl Into<Data>, name: &str) -> Option<T> {
        self.keyed_bytes(key, name).map(|value| from_json(name, value))
    }

    /// The bytes of a value in the keyed state of a key.
    pub fn keyed_bytes(&self, key: impl Into<Data>, name: &str) -> Option<&[u8]> {
        self.kept.keyed.get(key.into().as_bytes())?.get(name).map(Vec::as_slice)
    }

    /// A JSON value in the shared state, or `None` where it was never set.
    ///
    /// # Panics
    /// Where it is not the JSON that `T` expects.
    #[track_caller]
    pub fn shared<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.shared_bytes(name).map(|value| from_json(name, value))
    }

    /// The bytes of a value in the shared state.
    #[must_use]
    pub fn shared_bytes(&self, name: &str) -> Option<&[u8]> {
        self.kept.shared.get(name).map(Vec::as_slice)
    }

    /// Sets a JSON value in the keyed state of a key, for calls to come.
    ///
    /// # Panics
    /// Where the value cannot be written as JSON.
    #[track_caller]
    pub fn set_keyed<T: Serialize + ?Sized>(&mut self, key: impl Into<Data>, name: &str, value: &T) {
        let values = self.kept.keyed.entry(key.into().as_bytes().to_vec()).or_default();
        values.insert(name.to_owned(), to_json(value).into_bytes());
    }

    /// Sets a JSON value in the shared state, for calls to come.
    ///
    /// # Panics
    /// As [`TestHost::set_keyed`].
    #[track_caller]
    pub fn set_shared<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.kept.shared.insert(name.to_owned(), to_json(value).into_bytes());
    }
}

/// A first delivery with `payload` as JSON and without key and headers; others by
/// `Message { key: Some("ada".into()), ..message }`.
///
/// # Panics
/// Where the payload cannot be written as JSON.
#[track_caller]
pub fn message<T: Serialize + ?Sized>(topic: &str, event_type: &str, payload: &T) -> Message {
    Message {
        id: "00000000-0000-7000-8000-000000000001".to_owned(),
        message_id: format!("{topic}:0:0"),
        event_type: event_type.to_owned(),
        source: topic.to_owned(),
        schema_version: None,
        position: Position { topic: topic.to_owned(), partition: 0, offset: 0 },
        key: None,
        payload: Some(Data::Text(to_json(payload))),
        content_type: None,
        headers: Vec::new(),
        produced_at_ms: 0,
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        attempt: 1,
        max_attempts: 6,
        delivery: 1,
    }
}

/// True if one of the handler's subscriptions takes the message.
#[must_use]
pub fn takes<H: Handler>(message: &Message) -> bool {
    let fits = |patterns: &[String], value: &str| {
        patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, value))
    };
    let takes = |subscription: &Subscription| {
        let Subscription { topics, event_types, sources, schema_versions, form: _ } = subscription;
        (topics.is_empty() || topics.contains(&message.position.topic))
            && fits(event_types, &message.event_type)
            && fits(sources, &message.source)
            && (schema_versions.is_empty()
                || message
                    .schema_version
                    .as_ref()
                    .is_some_and(|version| schema_versions.iter().any(|prefix| is_version(prefix, version))))
    };
    H::subscriptions().iter().any(takes)
}

#[track_caller]
#[expect(clippy::panic, reason = "a test fails where it asks for something that is not there")]
fn from_json<T: DeserializeOwned>(name: &str, value: &[u8]) -> T {
    match serde_json::from_slice(value) {
        Ok(value) => value,
        Err(error) => panic!("the value of `{name}` is not the JSON that this test expects: {error}"),
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "a test fails where its own value is none")]
fn to_json<T: Serialize + ?Sized>(value: &T) -> String {
    match serde_json::to_string(value) {
        Ok(json) => json,
        Err(error) => panic!("the value cannot be written as JSON: {error}"),
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("topics", &self.topics)
            .field("is_state_denied", &self.is_state_denied)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
