//! Native handlers: what a call gives back, and what it must not be able to do.

use std::time::{Duration, Instant};

use super::super::{Call, Failure, NativeHandler, Outgoing, PublishError, Subscription};
use super::*;
use crate::db::Db;
use crate::handler::Message as Delivery;
use crate::message::emitted_id;
use crate::settle::Scope;

/// Does what the payload says.
struct Scripted;

impl NativeHandler for Scripted {
    fn version(&self) -> &str {
        "1"
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::topic("scripted").event_type("a.*")]
    }

    async fn handle(&self, message: Delivery<'_>, call: &mut Call) -> Result<Outcome, Failure> {
        let script = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
        let (behave, then) = script.split_once(' ').unwrap_or((&script, ""));
        match behave {
            "emit" => {
                call.keyed().set("sum", message.attempt().to_string()).await?;
                let out = Outgoing::new("out", "native.said").key_of(message).header("h", "v");
                call.publish(out.clone().payload("one")).await?;
                call.publish(out.payload("two")).await?;
            }
            "publish" => drop(call.publish(Outgoing::new(then, "native.said")).await?),
            "keyed" => call.keyed().set("n", "v").await?,
            "swallow" => drop(call.keyed().get("n").await),
            "panic" => {
                call.publish(Outgoing::new("out", "native.said")).await?;
                panic!("told to panic over {}", message.message_id());
            }
            "sleep" => std::future::pending().await,
            "block" => {
                let until = Instant::now() + Duration::from_millis(600);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
            "skip" => return Ok(Outcome::Skipped("told to skip".to_owned())),
            "fail" => return Err(Failure::new("told to fail").code("told")),
            other => panic!("{other:?} is no script"),
        }
        Ok(Outcome::Completed)
    }
}

pub(super) fn handler(name: &str, manifest: &str) -> crate::handler::Handler {
    let manifest = Manifest::parse(manifest, &config()).unwrap();
    let name = HandlerName::parse(name).unwrap();
    crate::handler::Handler::native(name, manifest, Scripted, &config()).unwrap()
}

async fn run(script: &str, manifest: &str) -> Called {
    call(&handler("fixture", manifest).current(), script).await
}

#[tokio::test]
async fn a_completed_call_carries_its_effects_out() {
    let component = handler("fixture", GRANTED).current();
    let message = message("emit");
    let mut called = component.call(&message, Form::Binary, no_state()).await;
    assert!(completed(&called), "{:?}", called.end);
    assert_eq!(called.digest, *component.digest());
    let ids: Vec<Uuid> = called.outgoing.iter().map(|outgoing| outgoing.id).collect();
    assert_eq!(ids, [emitted_id(message.id, 0), emitted_id(message.id, 1)]);
    let second = &called.outgoing[1];
    assert_eq!((second.payload.as_deref(), second.key.as_deref()), (Some(&b"two"[..]), Some(&b"k"[..])));
    assert!(second.headers[0].is("h"));
    assert_eq!(called.state.get(Scope::Keyed, "sum").await.unwrap().as_deref(), Some(&b"2"[..]));
}

#[tokio::test]
async fn a_panic_is_a_fault_in_its_own_words_and_has_no_effects() {
    let called = run("panic", GRANTED).await;
    let Fault::Trap { reason, .. } = fault(called) else { panic!("not a trap") };
    assert_eq!(reason, "panicked: told to panic over m-1");
}

#[tokio::test]
async fn a_call_that_waits_or_computes_past_its_deadline_is_a_deadline_fault() {
    let limits = "[limits]\ndeadline = \"300ms\"";
    for script in ["sleep", "block"] {
        let called = run(script, limits).await;
        assert!(called.usage.took >= Duration::from_millis(300), "{script}: {:?}", called.usage.took);
        let deadline = fault(called);
        let limit = Duration::from_millis(300);
        assert_eq!(deadline, Fault::Deadline { limit, backtrace: String::new(), awaited: None }, "{script}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_denied_by_the_name_of_the_grant() {
    let publish = fault(run("publish out", "").await).to_string();
    assert!(publish.contains(r#"grants.publish = ["out"]"#), "{publish}");
    let state = fault(run("keyed", "").await).to_string();
    assert!(state.contains("grants.state = true"), "{state}");
}

#[tokio::test]
async fn effects_are_bounded_and_checked_as_a_guests_are() {
    let many = fault(run("emit", &format!("{GRANTED}[limits]\neffects = 2")).await).to_string();
    let refused = "before that the host refused its effect number 3, limits.effects = 2";
    assert_eq!(many, format!("{}; {refused}", PublishError::TooMany(2)));
    let invalid = fault(run("publish ..", GRANTED).await).to_string();
    assert!(invalid.contains("not a Kafka topic's name"), "{invalid}");
}

#[tokio::test]
async fn its_own_endings_are_told_apart() {
    assert!(
        matches!(run("skip", "").await.end, End::Decided(Outcome::Skipped(why)) if why == "told to skip")
    );
    let Fault::Failed { message, code, .. } = fault(run("fail", "").await) else { panic!("no failure") };
    assert_eq!((message.as_str(), code.as_deref()), ("told to fail", Some("told")));
}

#[tokio::test]
async fn postgres_away_is_not_its_fault_even_where_it_does_not_mind() {
    let nobody = ("MAILROOM__POSTGRES__URL".to_owned(), "postgres://u:p@127.0.0.1:1/none".to_owned());
    let config = Config::load_with(None, std::iter::once(nobody), Servers::Unneeded).unwrap().0;
    let db = Db::new(&config.postgres, &config.sql).unwrap();
    let state = StateView::new(Some(db), "mailroom.fixture".into(), Some(b"k".to_vec()));
    let limits = format!("{GRANTED}[limits]\ndeadline = \"300ms\"");
    let called = handler("fixture", &limits).current().call(&message("swallow"), Form::Binary, state).await;
    assert!(matches!(called.end, End::Unavailable(_)), "{:?}", called.end);
}

#[tokio::test]
async fn its_manifest_wins_and_its_digest_is_of_name_and_version() {
    let (own, told) = (handler("one", ""), handler("one", "group = \"g\"\n[subscribe]\ntopics = [\"b\"]"));
    assert_eq!(
        (&*own.group, own.current().subscriptions()[0].topics[0].as_str()),
        ("mailroom.one", "scripted")
    );
    assert_eq!((&*told.group, told.current().subscriptions()[0].topics[0].as_str()), ("g", "b"));
    assert_eq!(own.current().digest(), told.current().digest());
    assert_ne!(own.current().digest(), handler("two", "").current().digest());
}
