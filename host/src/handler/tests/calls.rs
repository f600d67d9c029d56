//! Results of single calls.

use std::time::Duration;

use super::*;
use crate::db::Db;
use crate::message::emitted_id;
use crate::settle::Scope;

#[tokio::test]
async fn a_completed_call_carries_its_effects_out() {
    let component = load("scripted", GRANTED).await.unwrap();
    let message = message(r#"{"topic": "out", "count": 2, "value": "v", "add": 5}"#);
    let mut called = component.call(&message, Form::Text, no_state()).await;
    assert!(completed(&called), "{:?}", called.end);
    assert_eq!(called.digest, *component.digest());
    let ids: Vec<Uuid> = called.outgoing.iter().map(|outgoing| outgoing.id).collect();
    assert_eq!(ids, [emitted_id(message.id, 0), emitted_id(message.id, 1)]);
    let payload: serde_json::Value =
        serde_json::from_slice(called.outgoing[1].payload.as_deref().unwrap()).unwrap();
    assert_eq!(payload["attempt"], 2, "attempts count from 1");
    assert_eq!(payload["delivery"], 3, "deliveries count from 1");
    assert_eq!((&payload["n"], &payload["sum"]), (&1.into(), &5.into()));
    assert_eq!(called.outgoing[0].key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(called.state.get(Scope::Keyed, "sum").await.unwrap().as_deref(), Some(b"5".as_slice()));
    assert!(called.usage.fuel > 0 && called.usage.memory_peak > 0);
}

#[tokio::test]
async fn a_later_call_sees_the_state_that_an_earlier_one_wrote() {
    let component = load("scripted", GRANTED).await.unwrap();
    let first = call(&component, r#"{"add": 2}"#).await;
    let second = component.call(&message(r#"{"add": 3}"#), Form::Binary, first.state).await;
    assert!(completed(&second));
    let mut state = second.state;
    assert_eq!(state.get(Scope::Keyed, "sum").await.unwrap().as_deref(), Some(b"5".as_slice()));
}

#[tokio::test]
async fn whatever_does_not_complete_has_no_effects_and_leaves_the_state_as_it_was() {
    let component = load("scripted", GRANTED).await.unwrap();
    let before = call(&component, r#"{"add": 2}"#).await.state;
    for behave in ["skip", "reject", "fail", "retry", "retry-after", "retry-uncounted", "panic"] {
        let script = format!(r#"{{"behave": "{behave}", "topic": "out", "add": 3}}"#);
        let mut called = component.call(&message(&script), Form::Binary, before.clone()).await;
        assert!(!completed(&called) && called.outgoing.is_empty(), "{behave}: {:?}", called.end);
        let sum = called.state.get(Scope::Keyed, "sum").await.unwrap();
        assert_eq!(sum.as_deref(), Some(b"2".as_slice()), "{behave}");
    }
}

#[tokio::test]
async fn each_way_to_end_is_told_apart() {
    let component = load("scripted", GRANTED).await.unwrap();
    let end = async |behave: &str| {
        let called = call(&component, &format!(r#"{{"behave": "{behave}", "after_ms": 20}}"#)).await;
        called.end
    };
    assert!(matches!(end("skip").await, End::Decided(Outcome::Skipped(why)) if why == "told to skip"));
    assert!(matches!(end("reject").await, End::Decided(Outcome::Rejected(why)) if why == "told to reject"));
    assert!(matches!(end("retry").await, End::Decided(Outcome::Retry { after: None, counts: true, .. })));
    assert!(matches!(end("retry-uncounted").await, End::Decided(Outcome::Retry { counts: false, .. })));
    assert!(matches!(
        end("retry-after").await,
        End::Decided(Outcome::Retry { after: Some(after), .. }) if after == Duration::from_millis(20)
    ));
    let End::Faulted(Fault::Failed { message, code, .. }) = end("fail").await else { panic!("no failure") };
    assert_eq!((message.as_str(), code.as_deref()), ("told to fail", Some("told")));
}

#[tokio::test]
async fn what_is_not_granted_is_denied_by_the_name_of_the_grant() {
    let component = load("scripted", "").await.unwrap();
    let publish = fault(call(&component, r#"{"topic": "out"}"#).await);
    assert!(publish.to_string().contains("`out`") && publish.to_string().contains("grants"), "{publish}");
    let state = fault(call(&component, r#"{"add": 1}"#).await);
    assert!(state.to_string().contains("grant"), "{state}");
    let illegal = fault(call(&component, r#"{"topic": "no topic"}"#).await);
    assert!(illegal.to_string().contains("not a Kafka topic's name"), "{illegal}");
}

#[tokio::test]
async fn keyed_state_of_a_message_without_a_key_is_refused() {
    let component = load("scripted", GRANTED).await.unwrap();
    let state = StateView::new(None, "mailroom.fixture".into(), None);
    let called = component.call(&message(r#"{"add": 1}"#), Form::Binary, state).await;
    assert!(fault(called).to_string().contains("key"));
}

#[tokio::test]
async fn null_empty_and_binary_payloads_reach_the_guest() {
    let component = load("scripted", GRANTED).await.unwrap();
    for payload in [None, Some(vec![]), Some(vec![0xff, 0xfe])] {
        for form in [Form::Text, Form::Binary] {
            let message = Message { payload: payload.clone(), ..message("") };
            let called = component.call(&message, form, no_state()).await;
            assert!(completed(&called), "{payload:?} as {form:?}: {:?}", called.end);
        }
    }
}

#[tokio::test]
async fn postgres_away_ends_the_call_at_no_fault_of_the_guest() {
    let nobody = ("MAILROOM__POSTGRES__URL".to_owned(), "postgres://u:p@127.0.0.1:1/none".to_owned());
    let config = Config::load_with(None, std::iter::once(nobody), Servers::Unneeded).unwrap().0;
    let db = Db::new(&config.postgres, &config.sql).unwrap();
    let component = load("scripted", &format!("{GRANTED}[limits]\ndeadline = \"300ms\"")).await.unwrap();
    let state = StateView::new(Some(db), "mailroom.fixture".into(), Some(b"k".to_vec()));
    let called = component.call(&message(r#"{"add": 1}"#), Form::Binary, state).await;
    assert!(matches!(called.end, End::Unavailable(_)), "{:?}", called.end);
}
