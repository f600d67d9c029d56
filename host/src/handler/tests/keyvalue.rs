//! State by `wasi:keyvalue`, for a guest that knows nothing else.

use super::*;
use crate::settle::Scope;

const STATE: &str = "[grants]\nstate = true\n";

fn script(store: &str, steps: &str) -> String {
    format!(r#"{{"store": "{store}", "steps": [{steps}]}}"#)
}

async fn keep(limits: &str, store: &str, steps: &str, state: StateView) -> Called {
    let component = load("keyvalue", &format!("{STATE}[limits]\n{limits}")).await.unwrap();
    component.call(&message(&script(store, steps)), Form::Binary, state).await
}

/// Returns what the steps gave, a line each.
fn said(called: &Called) -> Vec<&str> {
    called.last_output.as_deref().unwrap_or_default().lines().collect()
}

fn keyed(names: impl IntoIterator<Item = String>) -> StateView {
    let values = names.into_iter().map(|name| ((Scope::Keyed, name), b"v".to_vec()));
    StateView::holding(Some(b"k".to_vec()), values)
}

#[tokio::test]
async fn a_bucket_is_the_state_of_its_scope_and_the_call_sees_its_own_writes() {
    let steps = r#"{"get": "a"}, {"set": ["a", "1"]}, {"get": "a"}, {"exists": "a"}, {"delete": "a"},
                   {"exists": "a"}, {"delete": "a"}, {"set": ["b", "2"]}, {"get_many": ["b", "none", "b"]}"#;
    for (store, scope) in
        [("", Scope::Keyed), ("default", Scope::Keyed), ("keyed", Scope::Keyed), ("shared", Scope::Shared)]
    {
        let mut called = keep("", store, steps, no_state()).await;
        assert!(completed(&called), "{:?}", called.end);
        let expected = [
            "None",
            "()",
            "Some(\"1\")",
            "true",
            "()",
            "false",
            "()",
            "()",
            "[Some(\"2\"), None, Some(\"2\")]",
        ];
        assert_eq!(said(&called), expected, "{store}");
        assert_eq!(called.state.get(scope, "b").await.unwrap().as_deref(), Some(b"2".as_slice()), "{store}");
        assert_eq!(called.state.get(scope, "a").await.unwrap(), None);
    }
}

#[tokio::test]
async fn only_numbers_are_incremented_and_no_further_than_they_go() {
    let steps = r#"{"increment": ["n", 5]}, {"increment": ["n", 2]}, {"get": "n"}, {"set": ["n", "words"]},
                   {"increment": ["n", 1]}, {"set": ["n", "-1"]}, {"increment": ["n", 1]},
                   {"set": ["n", "18446744073709551615"]}, {"increment": ["n", 0]}, {"increment": ["n", 1]},
                   {"get": "n"}"#;
    let called = keep("", "keyed", steps, no_state()).await;
    let said = said(&called);
    assert_eq!(said[..3], ["5", "7", "Some(\"7\")"]);
    assert!(said[4].contains("Other") && said[4].contains("not a whole number"), "{said:?}");
    assert!(said[6].contains("not a whole number"), "{said:?}");
    assert_eq!(said[8], "18446744073709551615");
    assert!(said[9].contains("would be more than 18446744073709551615"), "{said:?}");
    assert_eq!(said[10], "Some(\"18446744073709551615\")", "what failed left it as it was");
}

#[tokio::test]
async fn keys_come_in_pages_though_those_of_the_last_one_are_gone() {
    let names = (0..2500).map(|n| format!("{n:04}"));
    let called = keep("effects = 3000", "keyed", r#"{"keys": null}, {"keys_behind": 7}"#, keyed(names)).await;
    assert!(completed(&called), "{:?}", called.end);
    let said = said(&called);
    assert_eq!(said[0], "[1000, 1000, 500]");
    assert!(said[1].contains("cursor 7 was not given in this call"), "{said:?}");
    assert_eq!(called.state.values().count(), 0);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_what_is_not_there_is_no_store() {
    let component = load("keyvalue", "").await.unwrap();
    let world = component.world().unwrap();
    assert!(!world.imports.iter().any(|name| name.starts_with("mailroom:contract/state")), "{world:?}");
    let end = async |component: &Component, store: &str| {
        fault(call(component, &script(store, "")).await).to_string()
    };
    assert!(end(&component, "keyed").await.contains("AccessDenied"));
    let granted = load("keyvalue", STATE).await.unwrap();
    for store in ["cache", "Keyed", "shared/x"] {
        assert!(end(&granted, store).await.contains("NoSuchStore"), "{store}");
    }
    let state = StateView::new(None, "mailroom.fixture".into(), None);
    let message = message(&script("keyed", r#"{"get": "a"}"#));
    let called = granted.call(&message, Form::Binary, state).await;
    assert!(said(&called)[0].contains("the message has no key"), "{:?}", said(&called));
}

#[tokio::test]
async fn the_bounds_of_state_hold() {
    let called = keep("effects = 3", "keyed", r#"{"set": ["", "x"]}, {"set_many": 5}"#, no_state()).await;
    let said_of = said(&called);
    assert!(said_of[0].contains("must have 1 to 255 bytes"), "{said_of:?}");
    assert!(said_of[1].contains("a call may have 3 effects"), "{said_of:?}");
    assert_eq!(called.state.values().count(), 3, "what came before the error stays set");

    let steps = format!(
        r#"{{"set": ["a", "{}"]}}, {{"get_again": ["a", 100]}}, {{"get_again": ["a", 2000]}}"#,
        "x".repeat(999)
    );
    let called = keep("state-bytes = \"1MiB\"", "keyed", &steps, no_state()).await;
    let said_of = said(&called);
    assert_eq!(said_of[..2], ["()", "100"]);
    assert!(said_of[2].contains("an answer may have 1048576 bytes"), "{said_of:?}");
}

#[tokio::test]
async fn a_guest_that_opens_store_after_store_has_its_fault_told() {
    let called = keep("", "keyed", r#"{"open": 2000}"#, no_state()).await;
    let told = fault(called).to_string();
    assert!(told.contains("resource table has no free keys"), "{told}");
}

#[tokio::test]
async fn what_earlier_calls_left_open_in_an_instance_takes_nothing_from_a_later_one() {
    let component =
        load("keyvalue", &format!("instances = \"reuse\"\n{STATE}[limits]\neffects = 2000")).await.unwrap();
    for opened in [60; 30].into_iter().chain([990, 990]) {
        let called = call(&component, &script("keyed", &format!(r#"{{"open": {opened}}}"#))).await;
        assert!(completed(&called), "{:?}", called.end);
    }
    let told = fault(call(&component, &script("keyed", r#"{"open": 1000}"#)).await).to_string();
    assert!(told.contains("resource table has no free keys"), "{told}");
}

#[tokio::test]
async fn a_call_that_fails_leaves_the_state_as_it_was() {
    let component = load("keyvalue", STATE).await.unwrap();
    let before = call(&component, &script("keyed", r#"{"increment": ["n", 5]}"#)).await.state;
    let fails = r#"{"store": "keyed", "steps": [{"increment": ["n", 1]}, {"keys": null}], "fails": true}"#;
    let mut called = component.call(&message(fails), Form::Binary, before).await;
    assert_eq!(said(&called), ["6", "[1]"]);
    assert_eq!(called.state.get(Scope::Keyed, "n").await.unwrap().as_deref(), Some(b"5".as_slice()));
}

#[tokio::test]
async fn a_bucket_that_an_instance_keeps_is_the_state_of_the_key_in_hand() {
    let component =
        load("keyvalue", &format!("instances = \"reuse\"\n{STATE}[limits]\neffects = 2000")).await.unwrap();
    let keeps = r#"{"store": "keyed", "steps": [{"set_many": 1000}, {"keys": null}, {"set": ["a", "1"]}], "keeps": true}"#;
    let first = call(&component, keeps).await;
    assert_eq!(said(&first), ["()", "[1000, 0]", "()"]);

    let steps = r#"{"get": "a"}, {"keys_behind": 0}, {"set": ["b", "2"]}"#;
    let message = message(&format!(r#"{{"store": "none", "kept": true, "steps": [{steps}]}}"#));
    let state = StateView::new(None, "mailroom.fixture".into(), Some(b"other".to_vec()));
    let mut second = component.call(&message, Form::Binary, state).await;
    assert!(completed(&second), "it has opened nothing anew: {:?}", second.end);
    let said = said(&second);
    assert!(said[0] == "None" && said[1].contains("cursor 0 was not given in this call"), "{said:?}");
    assert_eq!(second.state.get(Scope::Keyed, "b").await.unwrap().as_deref(), Some(b"2".as_slice()));
}
