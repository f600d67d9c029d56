//! Does by event type what the tests of all SDKs ask for.

use std::hint::black_box;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mailroom_guest::http::Request;
use mailroom_guest::log::{self, Level};
use mailroom_guest::sql::{self, Value};
use mailroom_guest::state::{self, StateError};
use mailroom_guest::{
    Data, Dispatcher, Handler, Message, Outgoing, Pattern, PublishError, Stop, Subscription, config, json,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const RESULTS: &str = "conformance-results";
const RESULT: &str = "conformance.result";

struct Conformance;

impl Handler for Conformance {
    fn subscriptions() -> Vec<Subscription> {
        let subscription = Subscription::topic("conformance").binary();
        vec![subscription.event_type("conformance.**").event_type("order.**")]
    }

    fn handle(message: Message) -> Result<(), Stop> {
        dispatcher().dispatch(message)
    }
}

mailroom_guest::export!(Conformance);

fn dispatcher() -> Dispatcher {
    let dispatcher = Dispatcher::topic("conformance")
        .on("conformance.echo", echo)
        .on("conformance.size", size)
        .on("conformance.json", typed)
        .on("conformance.completed", |_| Ok(()))
        .on("conformance.retry-after", retry_after)
        .on("conformance.uncounted", uncounted)
        .on("conformance.skipped", |_| Err(Stop::skip("nothing to do")))
        .on("conformance.rejected", |_| Err(Stop::reject("never")))
        .on("conformance.failed", |_| {
            Err(Stop::fail("the bank refused").code("bank-refused").detail("account 7").into())
        })
        .on("conformance.uncaught", |_| deep_in_the_stack())
        .on("conformance.published-then-failed", published_then_failed)
        .on("conformance.publish", publish)
        .on("conformance.publish-denied", |message| publish_refused(&message, "elsewhere"))
        .on("conformance.publish-invalid", |message| publish_refused(&message, ""))
        .on("conformance.state", keyed_state)
        .on("conformance.state-kept", |message| {
            let a: Option<serde_json::Value> = state::keyed().get("a")?;
            result(&message, &json!({ "a": a }))
        })
        .on("conformance.state-invalid", |message| state_refused(&message, ""))
        .on("conformance.state-no-key", |message| state_refused(&message, "a"))
        .on("conformance.shared", |_| {
            let count: i64 = state::shared().get("count")?.unwrap_or(0);
            Ok(state::shared().set("count", &(count + 1))?)
        })
        .on("conformance.shared-read", |message| {
            let count: i64 = state::shared().get("count")?.unwrap_or(0);
            result(&message, &json!({ "count": count }))
        });
    let dispatcher = dispatcher
        .on("conformance.sql", sql_types)
        .on("conformance.sql-error", |_| match sql::query("select 1/0", &[]) {
            Ok(_) => Err(Stop::fail("1/0 has a value").into()),
            Err(error) => Err(Stop::fail(error.message).code(error.sqlstate).into()),
        })
        .on("conformance.config", configuration)
        .on("conformance.log", log_lines)
        .on("conformance.http", http)
        .on("conformance.spin", |_| {
            loop {
                black_box(());
            }
        })
        .on("conformance.allocate", |_| {
            let mut kept = Vec::new();
            loop {
                kept.push(black_box(vec![1_u8; 1 << 20]));
            }
        });
    dispatcher
        .upcast("order.placed", "1", "2", |old: PlacedV1| {
            Ok(PlacedV2 { amount_cents: (old.amount * 100.0).round() as i64 })
        })
        .upcast("order.placed", "2", "3", |old: PlacedV2| {
            Ok(Placed { amount_cents: old.amount_cents, currency: "EUR".to_owned() })
        })
        .on(Pattern::event_type("order.placed").schema_version("3"), |message| {
            let placed: Placed = message.json()?;
            result(&message, &placed)
        })
        .on(Pattern::event_type("order.cancelled").source("shop.*"), |message| {
            result(&message, &json!({ "cancelled_by": message.source }))
        })
}

/// Publishes what the tests read.
fn result(message: &Message, value: &impl Serialize) -> Result<(), Stop> {
    Outgoing::json(RESULTS, RESULT, value)?.key_of(message).publish()?;
    Ok(())
}

fn shown(data: Option<&Data>) -> serde_json::Value {
    match data {
        None => json!(null),
        Some(Data::Text(text)) => json!({ "text": text }),
        Some(Data::Binary(bytes)) => json!({ "base64": BASE64.encode(bytes) }),
    }
}

fn echo(message: Message) -> Result<(), Stop> {
    let headers: Vec<_> =
        message.headers.iter().map(|header| (&header.name, shown(header.value.as_ref()))).collect();
    let echo = json!({
        "id": message.id,
        "message_id": message.message_id,
        "event_type": message.event_type,
        "source": message.source,
        "schema_version": message.schema_version,
        "topic": message.position.topic,
        "partition": message.position.partition,
        "offset": message.position.offset,
        "key": shown(message.key.as_ref()),
        "payload": shown(message.payload.as_ref()),
        "content_type": message.content_type,
        "headers": headers,
        "produced_at_ms": message.produced_at_ms,
        "correlation_id": message.correlation_id,
        "causation_id": message.causation_id,
        "traceparent": message.traceparent,
        "attempt": message.attempt,
        "max_attempts": message.max_attempts,
        "delivery": message.delivery,
    });
    result(&message, &echo)
}

fn size(message: Message) -> Result<(), Stop> {
    let payload = message.payload.as_ref().map_or(&[][..], Data::as_bytes);
    let sha256: String = Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect();
    result(&message, &json!({ "bytes": payload.len(), "sha256": sha256 }))
}

#[derive(Deserialize, Serialize)]
struct Order {
    order_id: String,
    amount_cents: i64,
}

fn typed(message: Message) -> Result<(), Stop> {
    let order: Order = message.json()?;
    result(&message, &order)
}

fn tries(message: &Message) -> Result<(), Stop> {
    result(message, &json!({ "attempt": message.attempt, "delivery": message.delivery }))
}

#[derive(Deserialize)]
struct RetryAfter {
    after_ms: u64,
}

fn retry_after(message: Message) -> Result<(), Stop> {
    let RetryAfter { after_ms } = message.json()?;
    if message.attempt == 1 {
        return Err(Stop::retry("later").after(Duration::from_millis(after_ms)).into());
    }
    tries(&message)
}

fn uncounted(message: Message) -> Result<(), Stop> {
    if message.delivery <= 2 {
        return Err(Stop::retry("not yet").after(Duration::from_millis(50)).uncounted().into());
    }
    tries(&message)
}

#[inline(never)]
fn deep_in_the_stack() -> Result<(), Stop> {
    panic!("boom 😀")
}

fn published_then_failed(message: Message) -> Result<(), Stop> {
    result(&message, &json!({ "never": true }))?;
    state::keyed().set("never", &true)?;
    Err(Stop::fail("after effects").into())
}

#[derive(Deserialize)]
struct PublishDelayed {
    delay_ms: u64,
}

fn publish(message: Message) -> Result<(), Stop> {
    let PublishDelayed { delay_ms } = message.json()?;
    Outgoing::raw(RESULTS, RESULT, "hello 😀")
        .key("k😀")
        .header("a", "1")
        .null_header("a")
        .header("b", [0xff, 0x00].as_slice())
        .content_type("text/plain")
        .schema_version("2.1")
        .publish()?;
    Outgoing::raw(RESULTS, RESULT, [0x00, 0xff].as_slice()).publish()?;
    Outgoing::tombstone(RESULTS, RESULT).publish()?;
    Outgoing::raw(RESULTS, RESULT, "late").delay(Duration::from_millis(delay_ms)).publish()?;
    let once = || {
        let message = Outgoing::raw(RESULTS, RESULT, "once").idempotency_key(format!("once-{}", message.id));
        message.publish()
    };
    result(&message, &json!({ "same_id": once()? == once()? }))
}

/// Publishes to a topic and reports why that was not possible.
fn publish_refused(message: &Message, topic: &str) -> Result<(), Stop> {
    match Outgoing::tombstone(topic, RESULT).publish() {
        Err(PublishError::NotGranted { topic }) => {
            result(message, &json!({ "error": "not-granted", "topic": topic }))
        }
        Err(PublishError::Invalid { reason, .. }) => {
            result(message, &json!({ "error": "invalid", "words": reason }))
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err(Stop::fail("the host took the message").into()),
    }
}

fn keyed_state(message: Message) -> Result<(), Stop> {
    let keyed = state::keyed();
    keyed.set("a", &json!({ "n": 1 }))?;
    keyed.set_bytes("b", &[0x00, 0xff])?;
    for (name, value) in [("c/1", 1), ("c/2", 2), ("c/3", 3)] {
        keyed.set(name, &value)?;
    }
    keyed.remove("b")?;
    let a: Option<serde_json::Value> = keyed.get("a")?;
    let b = keyed.get_bytes("b")?;
    let names = keyed.all_names("c/").collect::<Result<Vec<_>, _>>()?;
    result(&message, &json!({ "a": a, "b": b, "names": names }))
}

/// Sets keyed state and reports why that was not possible.
fn state_refused(message: &Message, name: &str) -> Result<(), Stop> {
    match state::keyed().set(name, &true) {
        Err(StateError::InvalidName { .. }) => result(message, &json!({ "error": "invalid-name" })),
        Err(StateError::NoKey { .. }) => result(message, &json!({ "error": "no-key" })),
        Err(error) => Err(error.into()),
        Ok(()) => Err(Stop::fail("the host took the value").into()),
    }
}

fn sql_types(message: Message) -> Result<(), Stop> {
    let table = sql::query(
        "select $1::boolean, $2::bigint, $3::float8, $4::text, $5::bytea, null::text",
        &[
            true.into(),
            Value::Integer(9_007_199_254_740_993),
            1.5.into(),
            "ü😀".into(),
            Value::Bytes(vec![0x00, 0xff]),
        ],
    )?;
    let Some(row) = table.first() else { return Err(Stop::fail("no row").into()) };
    let row = (
        row.get::<bool>(0)?,
        row.get::<i64>(1)?.to_string(),
        row.get::<f64>(2)?,
        row.get::<String>("text")?,
        BASE64.encode(row.get::<Vec<u8>>("bytea")?),
        row.get::<Option<String>>(5)?,
    );
    result(&message, &json!({ "columns": table.columns.len(), "row": row }))?;
    let id = message.id.as_str().into();
    let inserted = sql::execute("insert into conformance (id) values ($1)", &[id])?;
    result(&message, &json!({ "inserted": inserted }))
}

fn configuration(message: Message) -> Result<(), Stop> {
    let Err(absent) = config::get("ABSENT") else { return Err(Stop::fail("ABSENT has a value").into()) };
    let config = json!({ "greeting": config::get("GREETING")?, "absent": absent.to_string() });
    result(&message, &config)
}

fn log_lines(_: Message) -> Result<(), Stop> {
    for (level, name) in [
        (Level::Trace, "TRACE"),
        (Level::Debug, "DEBUG"),
        (Level::Info, "INFO"),
        (Level::Warn, "WARN"),
        (Level::Error, "ERROR"),
        (Level::Critical, "CRITICAL"),
    ] {
        log::line(level, "conformance", format_args!("a line at {name} 😀"));
    }
    println!("printed 😀");
    Ok(())
}

#[derive(Deserialize)]
struct SendTo {
    url: String,
}

fn http(message: Message) -> Result<(), Stop> {
    let SendTo { url } = message.json()?;
    let answer = match Request::post(&url).header("x-conformance", "yes").body("ping 😀").send() {
        Ok(response) => json!({ "status": response.status, "body": response.text() }),
        Err(error) => json!({ "error": error.to_string() }),
    };
    result(&message, &answer)
}

#[derive(Deserialize)]
struct PlacedV1 {
    amount: f64,
}

#[derive(Deserialize, Serialize)]
struct PlacedV2 {
    amount_cents: i64,
}

#[derive(Deserialize, Serialize)]
struct Placed {
    amount_cents: i64,
    currency: String,
}
