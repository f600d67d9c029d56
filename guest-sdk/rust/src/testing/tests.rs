use super::*;
use crate::http::Request;
use crate::log::{self, Level};
use crate::outgoing::PublishError;
use crate::state::StateError;
use crate::{Header, Outgoing, Stop, config, json, sql, state};
use std::panic::catch_unwind;

type Act = fn(Message) -> Result<(), Stop>;

thread_local! {
    static ACT: std::cell::Cell<Act> = const { std::cell::Cell::new(|_| Ok(())) };
}

/// A handler that does what the test says.
struct Acts;

impl Handler for Acts {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("orders").event_type("order.*").source("shop.**").schema_version("1")]
    }

    fn handle(message: Message) -> Result<(), Stop> {
        ACT.get()(message)
    }
}

fn order() -> Message {
    Message { key: Some("ada".into()), ..message("orders", "order.placed", &json!({})) }
}

fn call(host: &mut TestHost, message: Message, act: Act) -> Call {
    ACT.set(act);
    host.call::<Acts>(message)
}

#[test]
fn effects_are_kept_where_the_call_completes_and_dropped_elsewhere() {
    let mut host = TestHost::new();
    let act: Act = |message| {
        let count = state::keyed().get("count")?.unwrap_or(0) + 1;
        state::keyed().set("count", &count)?;
        state::shared().set_bytes("seen", b"\xff")?;
        let id = Outgoing::json("counts", "count.changed", &count)?.idempotency_key("once").publish()?;
        log::info(format_args!("{id} {count}"));
        if message.attempt == 2 { Err(Stop::skip("no")) } else { Ok(()) }
    };
    let completed = call(&mut host, order(), act);
    let skipped = call(&mut host, Message { attempt: 2, ..order() }, act);

    assert_eq!(completed.ending, Ok(()));
    assert_eq!(
        completed.published,
        [Outgoing::json("counts", "count.changed", &1).unwrap().idempotency_key("once")]
    );
    assert_eq!(completed.published[0].json::<i64>().unwrap(), 1);
    assert_eq!(skipped.ending, Err(Stop::skip("no")));
    assert!(skipped.published.is_empty());
    let text = format!("{} 2", completed.published[0].id);
    assert_eq!(skipped.lines, [Line { level: Level::Info, context: String::new(), text }]);
    assert_eq!(host.keyed("ada", "count"), Some(1));
    assert_eq!(host.keyed::<i64>("bob", "count"), None);
    assert_eq!(host.shared_bytes("seen"), Some(b"\xff".as_slice()));
}

#[test]
fn an_idempotency_key_emits_once_for_all_calls() {
    let mut host = TestHost::new();
    let act: Act = |_| {
        let once = || Outgoing::tombstone("a", "b").idempotency_key("once").publish();
        if once()? == once()? { Ok(()) } else { Err(Stop::reject("two ids")) }
    };
    assert_eq!(call(&mut host, order(), act).published.len(), 1);
    assert_eq!(call(&mut host, order(), act).published.len(), 0);
}

#[test]
fn a_message_keeps_all_that_it_was_given() {
    let mut host = TestHost::new();
    let call = call(&mut host, order(), |message| {
        let message = Outgoing::raw("a", "b", [0xff].as_slice()).key_of(&message).null_header("n");
        message.header("h", "v").delay(std::time::Duration::from_millis(5)).publish()?;
        Ok(())
    });
    let published = &call.published[0];
    assert_eq!(published.key, Some("ada".into()));
    assert_eq!(published.payload, Some([0xff].as_slice().into()));
    let header = |name: &str, value| Header { name: name.to_owned(), value };
    assert_eq!(published.headers, [header("n", None), header("h", Some("v".into()))]);
    assert_eq!(published.delay, Some(std::time::Duration::from_millis(5)));
}

#[test]
fn what_is_not_granted_is_a_typed_error() {
    let mut host = TestHost::new().publish(["totals"]).without_state();
    let denied = call(&mut host, order(), |_| {
        let publish = |topic: &str| Outgoing::tombstone(topic, "a").publish();
        assert!(
            matches!(publish("elsewhere"), Err(PublishError::NotGranted { topic }) if topic == "elsewhere")
        );
        assert!(matches!(publish(""), Err(PublishError::Invalid { .. })));
        assert!(publish("totals").is_ok());
        assert!(matches!(state::shared().set("a", &1), Err(StateError::NotGranted)));
        assert!(config::get("A").is_err() && config::all().is_err());
        assert_eq!(
            sql::execute("delete from a", &[]).map_err(|error| error.sqlstate),
            Err("42501".to_owned())
        );
        let words = sql::query("select 1", &[]).unwrap_err().to_string();
        assert_eq!(words, "this test host has no SQL: set `on_query` (SQLSTATE 42501)");
        let denied = HttpError::Denied { host: "a.example:8080".to_owned() };
        assert_eq!(Request::get("http://a.example:8080/b").send(), Err(denied.clone()));
        assert!(matches!(Request::get("a.example").send(), Err(HttpError::Invalid { .. })));
        Err(denied.into())
    });
    let words = "this handler may not send requests to `a.example:8080`: add it to `http` under `[grants]` in its \
                 manifest";
    assert_eq!(denied.ending, Err(Stop::fail(words).into()));
}

#[test]
fn state_refuses_a_missing_key_and_bad_names() {
    let mut host = TestHost::new();
    let ending = call(&mut host, message("orders", "order.placed", &1), |_| {
        assert!(matches!(state::keyed().set("a", &1), Err(StateError::NoKey { .. })));
        for name in ["", "a\0", &"a".repeat(256)] {
            assert!(matches!(state::shared().set(name, &1), Err(StateError::InvalidName { .. })));
        }
        Ok(())
    });
    assert_eq!(ending.ending, Ok(()));
}

#[test]
fn names_come_in_byte_order_over_all_pages() {
    let mut host = TestHost::new();
    for number in 0..2500 {
        host.set_shared(&format!("n/{number:04}"), &number);
    }
    host.set_shared("m", &0);
    host.set_shared("o", &0);
    let act: Act = |_| {
        let names = state::shared().all_names("n/").collect::<Result<Vec<_>, _>>()?;
        let expected: Vec<String> = (0..2500).map(|number| format!("n/{number:04}")).collect();
        assert_eq!(names, expected);
        assert_eq!(state::shared().names("n/", Some("n/0001"), 2)?, ["n/0002", "n/0003"]);
        state::shared().remove("m")?;
        Ok(())
    };
    assert_eq!(call(&mut host, order(), act).ending, Ok(()));
    assert_eq!(host.shared::<i64>("m"), None);
    assert_eq!(host.shared("o"), Some(0));

    let mut denying = TestHost::new().without_state();
    let denied = call(&mut denying, order(), |_| {
        let mut names = state::shared().all_names("");
        assert!(matches!(names.next(), Some(Err(StateError::NotGranted))));
        assert!(names.next().is_none());
        Ok(())
    });
    assert_eq!(denied.ending, Ok(()));
}

#[test]
fn sql_http_and_configuration_are_answered_by_the_test() {
    let mut host = TestHost::new()
        .config("GREETING", "hello")
        .on_query(|statement, params| {
            assert_eq!((statement, params), ("select $1", [Value::Integer(7)].as_slice()));
            Ok(Table { columns: vec!["n".to_owned()], rows: vec![params.to_vec()] })
        })
        .on_execute(|_, _| Ok(3))
        .on_http(|request| {
            let headers = vec![("x-a".to_owned(), b"b".to_vec())];
            Ok(Response { status: 201, headers, body: request.body.clone() })
        });
    let answered = call(&mut host, order(), |_| {
        let table = sql::query("select $1", &[7.into()])?;
        assert_eq!(table.first().map(|row| row.get::<i64>("n")), Some(Ok(7)));
        assert_eq!(sql::execute("delete from a", &[]), Ok(3));
        assert_eq!(config::get("GREETING")?, "hello");
        assert_eq!(config::all()?, [("GREETING".to_owned(), "hello".to_owned())]);
        let response = Request::post("https://a.example/").body("ü").send()?;
        assert_eq!(
            (response.status, response.header("X-A"), response.text().as_ref()),
            (201, Some("b"), "ü")
        );
        Ok(())
    });
    assert_eq!(answered.ending, Ok(()));
    assert_eq!(
        (answered.requests[0].method.as_str(), answered.requests[0].body.as_slice()),
        ("POST", "ü".as_bytes())
    );
}

#[test]
fn subscriptions_take_by_topic_type_source_and_version() {
    let taken =
        Message { source: "shop.berlin".to_owned(), schema_version: Some("1.2".to_owned()), ..order() };
    assert!(takes::<Acts>(&taken));
    let position = Position { topic: "returns".to_owned(), ..taken.position.clone() };
    for other in [
        Message { position, ..taken.clone() },
        Message { event_type: "order".to_owned(), ..taken.clone() },
        Message { source: "bank".to_owned(), ..taken.clone() },
        Message { schema_version: Some("2".to_owned()), ..taken.clone() },
        Message { schema_version: None, ..taken },
    ] {
        assert!(!takes::<Acts>(&other), "{other:?}");
    }
}

#[test]
fn a_panic_is_one_of_the_test_and_leaves_the_thread_to_the_next() {
    let panicked = catch_unwind(|| call(&mut TestHost::new(), order(), |_| panic!("boom")));
    assert!(panicked.is_err());
    assert_eq!(call(&mut TestHost::new(), order(), |_| Ok(())).ending, Ok(()));
    assert!(catch_unwind(|| state::shared().get::<i64>("a")).is_err());
}
