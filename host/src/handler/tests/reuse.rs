//! Instances that have several calls: what goes from one to the next, and what does not.

use std::time::{Duration, Instant};

use super::*;

/// A manifest that reuses instances, with these limits.
fn reusing(top: &str, limits: &str) -> String {
    format!("instances = \"reuse\"\n{top}\n{GRANTED}[limits]\n{limits}\n")
}

async fn load_into(engine: &Arc<Engine>, manifest: &str) -> Component {
    let manifest = Arc::new(Manifest::parse(manifest, &config()).unwrap());
    let name = HandlerName::parse("fixture").unwrap();
    engine.load(&name, Wasm::new(guest("scripted")), manifest).await.unwrap()
}

/// Returns which call of its instance one more call is.
async fn place(component: &Component) -> u64 {
    place_of(&call(component, r#"{"topic": "out"}"#).await)
}

fn place_of(called: &Called) -> u64 {
    assert!(completed(called), "{:?}", called.end);
    let payload = called.outgoing.first().unwrap().payload.as_deref().unwrap();
    let payload: serde_json::Value = serde_json::from_slice(payload).unwrap();
    payload["calls"].as_u64().unwrap()
}

#[tokio::test]
async fn an_instance_has_as_many_calls_as_its_manifest_says() {
    let engine = engine();
    let reused = load_into(&engine, &reusing("instances-calls-max = 3", "")).await;
    let new = load_into(&engine, GRANTED).await;
    for expected in [1, 2, 3, 1, 2] {
        assert_eq!(place(&reused).await, expected);
        assert_eq!(place(&new).await, 1);
    }
}

#[tokio::test]
async fn after_what_was_decided_the_instance_goes_on_and_after_any_fault_it_is_gone() {
    let limits = "memory = \"8MiB\"\nfuel = 1000000000\ndeadline = \"2s\"\neffects = 3";
    let component = load_into(&engine(), &reusing("", limits)).await;
    for behave in ["ok", "skip", "reject", "retry", "retry-after", "retry-uncounted"] {
        let before = place(&component).await;
        call(&component, &format!(r#"{{"behave": "{behave}"}}"#)).await;
        assert_eq!(place(&component).await, before + 2, "{behave}");
    }
    for behave in ["panic", "fail", "loop", "sleep", "memory-bomb", "recurse", "go-without", "flood"] {
        place(&component).await;
        fault(call(&component, &format!(r#"{{"behave": "{behave}"}}"#)).await);
        assert_eq!(place(&component).await, 1, "{behave}");
    }
    assert!(completed(&call(&component, r#"{"behave": "do-without"}"#).await));
    assert_eq!(place(&component).await, 1, "memory was refused");
    fault(call(&component, r#"{"topic": "out", "count": 4}"#).await);
    assert_eq!(place(&component).await, 1, "an effect was refused");
}

#[tokio::test]
async fn a_deadline_that_ends_a_loop_ends_the_instance() {
    let limits = "fuel = 1000000000000000\ndeadline = \"1s\"";
    let component = load_into(&engine(), &reusing("", limits)).await;
    assert_eq!((place(&component).await, place(&component).await), (1, 2));
    let ended = fault(call(&component, r#"{"behave": "loop"}"#).await);
    assert!(matches!(ended, Fault::Deadline { .. }), "{ended:?}");
    assert_eq!(place(&component).await, 1);
}

#[tokio::test]
async fn each_call_has_fuel_effects_and_output_of_its_own() {
    let engine = engine();
    let emits = r#"{"topic": "out", "count": 2, "say": "twice"}"#;
    let first = call(&load_into(&engine, &reusing("", "")).await, emits).await.usage.fuel;
    let limits = format!("fuel = {}\neffects = 2\nlog-bytes = 6", first + first / 10);
    let component = load_into(&engine, &reusing("", &limits)).await;
    for expected in 1..=5 {
        let called = call(&component, emits).await;
        assert_eq!((place_of(&called), called.outgoing.len()), (expected, 2));
        assert_eq!(called.last_output.as_deref(), Some("twice\n"));
        assert!(expected == 1 || called.usage.fuel < first, "what it took to begin was the first call's");
    }
    let silent = call(&component, r#"{"topic": "out"}"#).await;
    assert_eq!((place_of(&silent), silent.last_output), (6, None));
}

#[tokio::test]
async fn each_call_has_time_of_its_own_and_reads_the_state_of_its_own_message() {
    let top = "instances-calls-max = 1000000";
    let component = load_into(&engine(), &reusing(top, "deadline = \"1s\"")).await;
    let emits = r#"{"topic": "out", "add": 5}"#;
    let (begun, mut expected) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_millis(1200) {
        expected += 1;
        let mut called = call(&component, emits).await;
        assert_eq!(place_of(&called), expected);
        let sum = called.state.get(crate::settle::Scope::Keyed, "sum").await.unwrap();
        assert_eq!(sum.as_deref(), Some(b"5".as_slice()), "nobody gave it the state of the call before");
    }
}

#[tokio::test]
async fn a_guest_that_holds_more_with_each_call_ends_at_its_limit_and_begins_anew() {
    let component = load_into(&engine(), &reusing("", "memory = \"8MiB\"")).await;
    let holds = r#"{"topic": "out", "hold_mib": 2}"#;
    let mut peak = 0;
    for expected in 1..=3 {
        let called = call(&component, holds).await;
        assert_eq!(place_of(&called), expected);
        assert!(called.usage.memory_peak > peak + (1 << 20), "what it holds counts on");
        peak = called.usage.memory_peak;
    }
    let ended = fault(call(&component, holds).await);
    assert!(matches!(ended, Fault::Memory { limit: 8_388_608, .. }), "{ended:?}");
    assert_eq!(place_of(&call(&component, holds).await), 1);
}

#[tokio::test]
async fn another_version_shares_no_instance() {
    let component = load_into(&engine(), &reusing("", "")).await;
    assert_eq!((place(&component).await, place(&component).await), (1, 2));
    let manifest = Arc::new(Manifest::parse(&reusing("", "memory = \"9MiB\""), &config()).unwrap());
    let reloaded = component.clone().with_manifest(manifest).unwrap();
    assert_eq!((place(&reloaded).await, place(&component).await), (1, 3));
}

#[tokio::test]
async fn kept_instances_are_bounded_together_and_the_longest_idle_goes_first() {
    let engine = Engine::new(settings(1), Handle::current()).unwrap();
    let (one, two) = (load_into(&engine, &reusing("", "")).await, load_into(&engine, &reusing("", "")).await);
    assert_eq!((place(&one).await, place(&one).await), (1, 2));
    assert_eq!((place(&two).await, place(&two).await), (1, 2), "a kept one of another holds up nobody");
    assert_eq!((place(&one).await, place(&one).await), (1, 2), "its instance made room");
}

#[tokio::test]
async fn what_is_idle_for_long_is_let_go() {
    let engine = engine();
    let component = load_into(&engine, &reusing("", "")).await;
    assert_eq!(place(&component).await, 1);
    engine.keeping.let_go(Duration::from_secs(60));
    assert_eq!(place(&component).await, 2);
    engine.keeping.let_go(Duration::ZERO);
    assert_eq!(place(&component).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_with_faults_among_them_end_as_they_should() {
    let engine = engine();
    let mut calls = tokio::task::JoinSet::new();
    for manifest in
        [reusing("concurrency = 4", ""), reusing("instances-calls-max = 5", ""), GRANTED.to_owned()]
    {
        let component = Arc::new(load_into(&engine, &manifest).await);
        for number in 0..100 {
            let component = Arc::clone(&component);
            calls.spawn(async move {
                if number % 7 == 0 {
                    let Fault::Trap { .. } = fault(call(&component, r#"{"behave": "panic"}"#).await) else {
                        panic!("it panics");
                    };
                } else {
                    place(&component).await;
                }
            });
        }
    }
    calls.join_all().await;
}
