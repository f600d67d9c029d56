//! Handing each message to the function made for it.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pattern::{is_version, matches};
use crate::{Data, Form, Message, Stop, Subscription};

/// A table of functions by event type, source and schema version. The first match gets the message; where none
/// matches, it is skipped.
///
/// Payloads of old schema versions are brought to the newest before, by functions from one version to the next. A
/// message without a schema version counts as the newest.
///
/// ```no_run
/// use mailroom_guest::{Dispatcher, Handler, Message, Pattern, Stop, Subscription};
///
/// #[derive(serde::Deserialize)]
/// struct OrderV1 {
///     amount: f64,
/// }
///
/// #[derive(serde::Deserialize, serde::Serialize)]
/// struct Order {
///     amount_cents: i64,
/// }
///
/// fn placed(message: Message) -> Result<(), Stop> {
///     let order: Order = message.json()?;
/// #   let _ = order;
///     Ok(())
/// }
///
/// fn cancelled(message: Message) -> Result<(), Stop> {
/// #   let _ = message;
///     Ok(())
/// }
///
/// fn dispatcher() -> Dispatcher {
///     Dispatcher::topic("orders")
///         .upcast("order.placed", "1", "2", |old: OrderV1| {
///             Ok(Order { amount_cents: (old.amount * 100.0).round() as i64 })
///         })
///         .on("order.placed", placed)
///         .on(Pattern::event_type("order.cancelled").source("shop.*"), cancelled)
/// }
///
/// struct Orders;
///
/// impl Handler for Orders {
///     fn subscriptions() -> Vec<Subscription> {
///         dispatcher().subscriptions()
///     }
///
///     fn handle(message: Message) -> Result<(), Stop> {
///         dispatcher().dispatch(message)
///     }
/// }
/// ```
#[must_use = "nothing is handled before `dispatch`"]
pub struct Dispatcher {
    topics: Vec<String>,
    form: Form,
    routes: Vec<Route>,
    upcasts: Vec<Upcast>,
}

type Handle = dyn Fn(Message) -> Result<(), Stop>;

/// Function that changes a message to its payload in JSON of a later version.
type Change = dyn Fn(&Message) -> Result<String, Stop>;

struct Route {
    pattern: Pattern,
    handle: Box<Handle>,
}

struct Upcast {
    event_type: String,
    from: String,
    to: String,
    change: Box<Change>,
}

/// Filter of messages for [`Dispatcher::on`]; text is a filter by event type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "give it to `Dispatcher::on`"]
pub struct Pattern {
    event_type: String,
    source: String,
    schema_version: Option<String>,
}

impl Pattern {
    /// Messages of this event type, for example `order.placed`. `order.*` takes one more segment,
    /// `order.**` all that follow.
    pub fn event_type(pattern: impl Into<String>) -> Self {
        Self { event_type: pattern.into(), source: "**".to_owned(), schema_version: None }
    }

    /// Only from this source, with the same patterns as event types.
    pub fn source(mut self, pattern: impl Into<String>) -> Self {
        self.source = pattern.into();
        self
    }

    /// Only in this schema version after upcasting; `1` takes `1.2.3` too.
    pub fn schema_version(mut self, prefix: impl Into<String>) -> Self {
        self.schema_version = Some(prefix.into());
        self
    }

    fn takes(&self, message: &Message) -> bool {
        let is_wanted =
            |version: &String| self.schema_version.as_ref().is_none_or(|prefix| is_version(prefix, version));
        matches(&self.event_type, &message.event_type)
            && matches(&self.source, &message.source)
            && message.schema_version.as_ref().is_none_or(is_wanted)
    }
}

impl From<&str> for Pattern {
    fn from(event_type: &str) -> Self {
        Self::event_type(event_type)
    }
}

impl Dispatcher {
    /// An empty table for the messages of a topic.
    pub fn topic(topic: impl Into<String>) -> Self {
        Self { topics: vec![topic.into()], form: Form::Text, routes: Vec::new(), upcasts: Vec::new() }
    }

    /// Subscribes to this topic too.
    pub fn or_topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// Subscribes to payloads as bytes, see [`Subscription::binary`].
    pub fn binary(mut self) -> Self {
        self.form = Form::Binary;
        self
    }

    /// Adds a function after those that are there.
    pub fn on(
        mut self,
        pattern: impl Into<Pattern>,
        handle: impl Fn(Message) -> Result<(), Stop> + 'static,
    ) -> Self {
        self.routes.push(Route { pattern: pattern.into(), handle: Box::new(handle) });
        self
    }

    /// Adds a step from one schema version to a later one, for event types that fit a pattern. `1` takes `1.2.3` too.
    /// A payload that is not the JSON that `Old` expects rejects the message, and so does a tombstone.
    pub fn upcast<Old: DeserializeOwned, New: Serialize>(
        mut self,
        event_type: impl Into<String>,
        from: impl Into<String>,
        to: impl Into<String>,
        change: impl Fn(Old) -> Result<New, Stop> + 'static,
    ) -> Self {
        let change = Box::new(move |message: &Message| {
            let new = change(message.json()?)?;
            serde_json::to_string(&new).map_err(Stop::from)
        });
        self.upcasts.push(Upcast { event_type: event_type.into(), from: from.into(), to: to.into(), change });
        self
    }

    /// Subscriptions to what the table takes, one for each function. Schema versions are left out, since a message may
    /// have none.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let subscription = |Route { pattern, .. }: &Route| Subscription {
            topics: self.topics.clone(),
            event_types: vec![pattern.event_type.clone()],
            sources: vec![pattern.source.clone()],
            schema_versions: Vec::new(),
            form: self.form,
        };
        self.routes.iter().map(subscription).collect()
    }

    /// Calls the function of the first match.
    ///
    /// # Errors
    /// The function's own, or that of a step between schema versions; [`Stop::Skip`] where nothing matches.
    pub fn dispatch(&self, message: Message) -> Result<(), Stop> {
        let message = self.newest(message)?;
        match self.routes.iter().find(|route| route.pattern.takes(&message)) {
            Some(route) => (route.handle)(message),
            None => Err(Stop::skip(no_route(&message))),
        }
    }

    fn newest(&self, mut message: Message) -> Result<Message, Stop> {
        // Each step once: a chain that came back to a version would never end.
        let mut steps: Vec<&Upcast> = self.upcasts.iter().collect();
        while let Some(version) = &message.schema_version {
            let is_next = |step: &&Upcast| {
                matches(&step.event_type, &message.event_type) && is_version(&step.from, version)
            };
            let Some(next) = steps.iter().position(is_next) else { break };
            let step = steps.remove(next);
            let json = (step.change)(&message)?;
            message.payload = Some(match message.payload {
                Some(Data::Binary(_)) => Data::Binary(json.into_bytes()),
                Some(Data::Text(_)) | None => Data::Text(json),
            });
            message.schema_version = Some(step.to.clone());
        }
        Ok(message)
    }
}

fn no_route(message: &Message) -> String {
    let version = message.schema_version.as_ref().map(|version| format!(" in version `{version}`"));
    format!("no route for `{}` from `{}`{}", message.event_type, message.source, version.unwrap_or_default())
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<&Pattern> = self.routes.iter().map(|route| &route.pattern).collect();
        let steps = self.upcasts.iter().map(|step| (&step.event_type, &step.from, &step.to));
        f.debug_struct("Dispatcher")
            .field("topics", &self.topics)
            .field("form", &self.form)
            .field("routes", &patterns)
            .field("upcasts", &steps.collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use crate::{Failure, json};
    use serde_json::Value;

    /// Ends with the name of the function and the message that it got.
    fn got(name: &'static str) -> impl Fn(Message) -> Result<(), Stop> {
        move |message| Err(Stop::fail(name).detail(message.json::<Value>()?.to_string()).into())
    }

    fn ending(name: &str, payload: &Value) -> Result<(), Stop> {
        let failure: Failure = Stop::fail(name).detail(payload.to_string());
        Err(failure.into())
    }

    fn table() -> Dispatcher {
        Dispatcher::topic("orders")
            .upcast("order.placed", "1", "2", |old: Value| {
                Ok(json!({ "cents": old["euros"].as_f64().map(|euros| euros * 100.0) }))
            })
            .upcast("order.placed", "2", "3", |mut old: Value| {
                old["currency"] = json!("EUR");
                Ok(old)
            })
            .on(Pattern::event_type("order.placed").schema_version("3"), got("placed"))
            .on(Pattern::event_type("order.*").source("shop.*"), got("shop"))
            .on("order.returned", got("returned"))
    }

    fn message(event_type: &str, version: Option<&str>, payload: &Value) -> Message {
        let message = testing::message("orders", event_type, payload);
        Message { schema_version: version.map(str::to_owned), ..message }
    }

    #[test]
    fn an_old_payload_passes_all_steps_to_the_newest_version() {
        let newest = json!({ "cents": 150.0, "currency": "EUR" });
        for (version, payload) in [
            (Some("1"), json!({ "euros": 1.5 })),
            (Some("1.7"), json!({ "euros": 1.5 })),
            (Some("2"), json!({ "cents": 150.0 })),
            (Some("3.1"), newest.clone()),
            (None, newest.clone()),
        ] {
            let message = message("order.placed", version, &payload);
            assert_eq!(table().dispatch(message), ending("placed", &newest), "{version:?}");
        }
    }

    #[test]
    fn a_binary_payload_stays_binary() {
        let payload = Some(Data::from(br#"{"euros": 1.5}"#.as_slice()));
        let message = Message { payload, ..message("order.placed", Some("1"), &json!(0)) };
        let newest = table().newest(message).unwrap();
        assert!(matches!(newest.payload, Some(Data::Binary(_))));
        assert_eq!(newest.schema_version.as_deref(), Some("3"));
    }

    #[test]
    fn a_payload_that_is_none_of_its_version_is_rejected() {
        let table = Dispatcher::topic("orders").upcast("**", "1", "2", |old: Vec<u8>| Ok(old));
        for payload in [None, Some("{".into()), Some("[-1]".into())] {
            let message = Message { payload, ..message("order.placed", Some("1"), &json!(0)) };
            assert!(matches!(table.dispatch(message), Err(Stop::Reject(_))));
        }
    }

    #[test]
    fn steps_that_go_round_end() {
        let table = Dispatcher::topic("orders")
            .upcast("**", "1", "2", |old: Value| Ok(old))
            .upcast("**", "2", "1", |old: Value| Ok(old))
            .on("**", got("any"));
        let payload = json!([]);
        assert_eq!(table.dispatch(message("order.placed", Some("1"), &payload)), ending("any", &payload));
    }

    #[test]
    fn the_first_match_wins_and_no_match_is_skipped() {
        let payload = json!({});
        let from_shop = |message| Message { source: "shop.berlin".to_owned(), ..message };
        let returned = message("order.returned", None, &payload);
        assert_eq!(table().dispatch(from_shop(returned.clone())), ending("shop", &payload));
        assert_eq!(table().dispatch(returned), ending("returned", &payload));
        let cancelled = message("order.cancelled", Some("1"), &payload);
        let reason = "no route for `order.cancelled` from `orders` in version `1`";
        assert_eq!(table().dispatch(cancelled), Err(Stop::skip(reason)));
    }

    #[test]
    fn subscriptions_take_what_the_routes_take() {
        let subscriptions = table().or_topic("returns").binary().subscriptions();
        let topics = |event_type: &str, source: &str| {
            let subscription = Subscription::topic("orders").or_topic("returns").binary();
            subscription.event_type(event_type).source(source)
        };
        let expected =
            [topics("order.placed", "**"), topics("order.*", "shop.*"), topics("order.returned", "**")];
        assert_eq!(subscriptions, expected);
    }
}
